"""An output made again from its origin, and held against the one that stands."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import get_num_threads, set_num_threads

from core.models.checkpoints import load_model
from core.progress import Meter, steps_of, timed
from core.records import sha256_file
from flows.jobs.mri import check_result, record_result
from flows.jobs.origins import Origin
from flows.jobs.video import make_clip
from flows.machines.devices import choose_device, slot
from flows.settings.settings import read_settings
from medical.request import SuperResolutionRequest
from video.request import VideoRequest


@dataclass(frozen=True)
class Verdict:
    """How an output that was made again compares with the one that stands.

    Attributes:
        same: Whether every pixel or voxel is the same.
        words: The finding in one line.
    """

    same: bool
    words: str


def remake(origin: Origin, target: Path, meter: Meter) -> Path:
    """Make the output again, on as many threads, with its record; the file to compare.

    Args:
        origin: As found.
        target: The clip or the main volume to write; maps and record go beside it.
        meter: Told how many sampling steps are done.
    """
    with threads(origin.threads):
        if isinstance(origin.request, VideoRequest):
            return _generate(origin.request, target, meter)
        assert isinstance(origin.request, SuperResolutionRequest)
        return _restore(origin, origin.request, target, meter)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Compute on this many threads, as many as now for 0; sums are split over threads."""
    before = get_num_threads()
    set_num_threads(number or before)
    try:
        yield
    finally:
        set_num_threads(before)


def _generate(request: VideoRequest, target: Path, meter: Meter) -> Path:
    from video.engines.own import VideoModel

    device = choose_device(read_settings().device)
    model = VideoModel.load(request.model, device=device)
    with slot(device):
        return make_clip(request, target, model, meter=meter, overwrite=True)


def _restore(origin: Origin, request: SuperResolutionRequest, target: Path, meter: Meter) -> Path:
    from medical.files.nifti import read_volume
    from medical.operations.super_resolve import super_resolve

    device = choose_device(read_settings().device)
    timings: dict[str, float] = {}
    network, model = load_model(origin.model, device=device)
    with timed(timings, "sample"), slot(device):
        volume = read_volume(request.scan)
        restored = super_resolve(volume, request, network, on_step=steps_of(meter))
    paths = restored.write(target, overwrite=True)
    facts = restored.record() | check_result(paths, request)
    record_result(paths, request, model, facts, timings, overwrite=True)
    return paths[origin.role]


def compare(old: Path, new: Path) -> Verdict:
    """Whether two outputs are the same: the files, else what they decode to."""
    digest = sha256_file(new)
    if digest == sha256_file(old):
        return Verdict(True, f"identical: every bit of the file (sha256 {digest})")
    clips = old.suffix.lower() == ".mp4"
    before, after, what = _decoded(old, new, clips=clips)
    if before.shape != after.shape:
        return Verdict(False, f"different: {before.shape} then, {after.shape} now")
    changed = before != after
    if not changed.any():
        return Verdict(
            True, f"identical: every {what}, though the files' bytes differ (sha256 {digest})"
        )
    largest = float(np.abs(before.astype(np.float64) - after.astype(np.float64)).max())
    share = 100 * float(changed.mean())
    return Verdict(
        False, f"different: {share:.3g} % of the {what}s, by up to {largest:.4g} (sha256 {digest})"
    )


def _decoded(
    old: Path, new: Path, *, clips: bool
) -> tuple[NDArray[np.generic], NDArray[np.generic], str]:
    """What both files decode to, as arrays, and what one value of them is called."""
    if clips:
        from video.files.clip import read_mp4

        return read_mp4(old).frames, read_mp4(new).frames, "pixel"
    from medical.files.nifti import read_volume

    first, second = read_volume(old), read_volume(new)
    if not np.array_equal(first.affine, second.affine):
        return first.affine, second.affine, "entry of the affine"
    return first.data.numpy(), second.data.numpy(), "voxel"
