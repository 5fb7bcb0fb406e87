"""How one item of a shard is made, in three steps that can overlap with those of others.

``prepare`` needs the CPU and no device, ``sample`` the device, ``finish`` the CPU and the disk.
Only ``sample`` must run alone. ``finish`` writes the item's record last.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch

from core.conditioning import Conditioning
from core.models.checkpoints import find_model, load_model, read_record
from core.networks.unet import SpatioTemporalUNet
from core.progress import timed
from core.records import atomic_path
from flows.batches.items import Item, drawn_again
from flows.batches.ledger import Batch
from medical.request import SuperResolutionRequest
from video.request import VideoRequest

Timings = dict[str, float]
Paths = dict[str, Path]
LARGEST_PICTURE = 2_000_000  # bytes


@dataclass
class Job:
    """An item on its way through a shard.

    Attributes:
        item: What to make.
        draw: How often it was drawn, with this time.
        timings: Step to seconds.
        score: How much of what was asked it shows, 0 to 1; None where nobody judges.
        prepared: What ``prepare`` returned.
        sampled: What ``sample`` returned.
    """

    item: Item
    draw: int = 1
    timings: Timings = field(default_factory=dict)
    score: float | None = None
    prepared: Any = None
    sampled: Any = None


class NotAsAskedError(Exception):
    """A clip does not show what was asked; the message names what is not as asked.

    Attributes:
        score: Which share of it the clip shows.
    """

    def __init__(self, message: str, score: float = 0.0) -> None:
        """Take what to say."""
        super().__init__(message)
        self.score = score


class Maker(Protocol):
    """Makes items of one kind.

    Attributes:
        networks: The networks it samples with.
    """

    networks: "Networks"

    def load(self, model: str) -> None:
        """Have ready what most items need."""
        ...

    def prepare(self, job: Job) -> Any:
        """Whatever ``sample`` needs beyond the request."""
        ...

    def sample(self, job: Job) -> Any:
        """The result in memory, off the device."""
        ...

    def finish(self, job: Job, batch: Batch) -> Paths:
        """Write, read back, record; the files by role, the record last."""
        ...


class Networks:
    """Networks on the device, each loaded once."""

    def __init__(self, device: torch.device, kind: str) -> None:
        """Load nothing yet."""
        self._device, self._kind = device, kind
        self._loaded: dict[str, tuple[SpatioTemporalUNet, dict[str, Any]]] = {}

    def named(self, name: str) -> tuple[SpatioTemporalUNet, dict[str, Any]]:
        """The network and its record."""
        if name not in self._loaded:
            folder = find_model(name, self._kind)
            self._loaded[name] = load_model(folder, device=self._device)
        return self._loaded[name]

    def record(self, name: str) -> dict[str, Any]:
        """The network's record, which needs no network."""
        if name in self._loaded:
            return self._loaded[name][1]
        return read_record(find_model(name, self._kind))


class ClipMaker:
    """Makes clips; with ``judge``, only those that show what was asked."""

    def __init__(self, device: torch.device, *, judge: bool) -> None:
        """Load nothing yet."""
        self.networks, self._judge = Networks(device, "video"), judge

    def load(self, model: str) -> None:
        """Read network and text encoder."""
        self.networks.named(model)
        self._encoder.encode([""])

    @cached_property
    def _encoder(self) -> Any:
        from video.engines.text import TextEncoder

        return TextEncoder()

    def prepare(self, job: Job) -> Conditioning:
        """The prompt's text states."""
        from video.engines.own import embed

        return embed(_clip(job), self._encoder)

    def sample(self, job: Job) -> torch.Tensor:
        """The clip in [-1, 1], on the CPU."""
        from video.engines.own import sample

        network, record = self.networks.named(_clip(job).model)
        return sample(_clip(job), job.prepared, network, record).cpu()

    def finish(self, job: Job, batch: Batch) -> Paths:
        """Judge, encode, verify, draw the pictures, record.

        Raises:
            NotAsAskedError: The clip does not show what was asked; nothing is written.
        """
        from flows.jobs.video import check_clip, record_clip, save_pictures, write_clip
        from video.engines.own import frame_rate, to_frames
        from video.files.clip import Clip

        request, path = _clip(job), batch.results / f"{job.item.stem}.mp4"
        frames = to_frames(job.sampled).numpy()
        extra: dict[str, Any] = {"item": job.item.address, "batch": batch.root.name}
        if self._judge:
            extra |= {"draw": job.draw, "shows": judged(frames, request.prompt)}
            job.score = 1.0
        with timed(job.timings, "encode"):
            write_clip(Clip(frames, frame_rate(request)), path, request, overwrite=True)
        with timed(job.timings, "verify"):
            facts = check_clip(path, request)
        with timed(job.timings, "pictures"):
            save_pictures(path)
        record = self.networks.record(request.model)
        recorded = record_clip(path, request, record, facts | extra, job.timings, overwrite=True)
        pictures = {"preview": path.with_suffix(".webp"), "sheet": path.with_suffix(".png")}
        return {"video": path, **pictures, "record": recorded}


class ScanMaker:
    """Restores scans."""

    def __init__(
        self, device: torch.device, at_hand: Callable[[Item], Item] = lambda item: item
    ) -> None:
        """Load nothing yet.

        Args:
            device: Where to sample.
            at_hand: Has the scan of an item on this disk.
        """
        self.networks, self._at_hand = Networks(device, "mri"), at_hand

    def load(self, model: str) -> None:
        """Read the network."""
        self.networks.named(model)

    def prepare(self, job: Job) -> Any:
        """The scan, read and checked."""
        from flows.jobs.mri import check_request
        from medical.files.nifti import read_volume

        job.item = self._at_hand(job.item)
        return read_volume(check_request(_scan(job)))

    def sample(self, job: Job) -> Any:
        """The restoration."""
        from medical.operations.super_resolve import super_resolve

        network, _ = self.networks.named(_scan(job).model)
        return super_resolve(job.prepared, _scan(job), network)

    def finish(self, job: Job, batch: Batch) -> Paths:
        """Write, verify, draw the picture, record."""
        from flows.jobs.mri import check_result, record_result
        from medical.operations.report import picture

        request, restored = _scan(job), job.sampled
        with timed(job.timings, "encode"):
            paths = restored.write(batch.results / f"{job.item.stem}.nii.gz", overwrite=True)
        with timed(job.timings, "verify"):
            facts = restored.record() | check_result(paths, request)
        drawing = batch.results / f"{job.item.stem}.png"
        with timed(job.timings, "pictures"), atomic_path(drawing, overwrite=True) as temporary:
            temporary.write_bytes(picture(job.prepared, restored, max_bytes=LARGEST_PICTURE))
        model = self.networks.record(request.model)
        facts |= {"item": job.item.address, "batch": batch.root.name}
        record = record_result(paths, request, model, facts, job.timings, overwrite=True)
        return {**paths, "picture": drawing, "record": record}


def judged(frames: Any, prompt: str) -> dict[str, bool]:
    """What the clip shows as asked, axis by axis.

    Raises:
        NotAsAskedError: Not all of it.
    """
    from video.oracle.oracle import read_clip, score
    from video.world.prompts import parse_caption

    verdict = score(read_clip(frames), parse_caption(prompt))
    if missed := [axis for axis, met in verdict.items() if not met]:
        met = 1 - len(missed) / len(verdict)
        raise NotAsAskedError(f"not as asked: {', '.join(missed)}", met)
    return verdict


def _clip(job: Job) -> VideoRequest:
    """What this draw is asked."""
    assert isinstance(job.item.request, VideoRequest)
    return drawn_again(job.item.request, job.draw)


def _scan(job: Job) -> SuperResolutionRequest:
    assert isinstance(job.item.request, SuperResolutionRequest)
    return job.item.request
