"""A folder of diffusers as an engine: known by its configs, drawn by its own pipeline.

What is found without weights is kept by the configs' digest, so that the next request is refused
or let through at once, without a library.
"""

import hashlib
import json
import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.memory import memory_gb
from core.operations.operation import Cost, Model
from core.refusal import Refusal
from video.engines.engine import Abilities, Ability, Loaded, refuse_inability
from video.engines.folder_files import EngineFolder
from video.engines.folder_needs import needs, shape_of
from video.engines.placement import (
    NO_CACHE,
    ROOM,
    Placement,
    Room,
    Weights,
    main_gb,
    place,
    read_placement,
)
from video.engines.places import known_folder, states_kept
from video.engines.rules import Rules
from video.fields import EMPTY
from video.request import VideoRequest

if TYPE_CHECKING:
    from video.engines.canvas import Canvas
    from video.engines.survey import Survey

KNOWN_BY = 6  # raise it where a survey finds something else than before
WITHOUT_GIVEN = "LTX"  # pipelines that walk without the latents of given pictures
IMAGE_FIRST = "ImageToVideo"  # in the names of pipelines that begin from a picture


@dataclass(frozen=True)
class DiffusersFolder:
    """See ``video.engines.engine.Engine``.

    Attributes:
        path: Of the folder.
        placement: How it is put into memory; see ``video.engines.placement``.
    """

    path: Path
    placement: str = ""
    kind = "diffusers"
    delivered = False
    slow = True

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @cached_property
    def folder(self) -> EngineFolder:
        """Its files, which were looked at."""
        folder = EngineFolder(self.path)
        folder.check()
        return folder

    @cached_property
    def survey(self) -> "Survey":
        """What is known without weights, from the last time or found now."""
        return _known(self._known_file, self.folder)

    @property
    def known_abilities(self) -> Abilities:
        """What it can, if that was found before; nothing is built, and nothing refused."""
        from video.engines.survey import Survey

        if "survey" in vars(self):
            return self.abilities
        try:
            said = json.loads(self._known_file.read_text())
            return frozenset(Survey.of_plain(said).abilities)
        except (OSError, ValueError, TypeError, KeyError):
            return frozenset()

    @property
    def _known_file(self) -> Path:
        from importlib.metadata import version

        key = f"{KNOWN_BY} {version('diffusers')} {self.folder.config_digest}"
        digest = hashlib.sha256(key.encode()).hexdigest()[:32]
        return known_folder() / f"{digest}.json"

    @property
    def rules(self) -> Rules:
        """What it takes."""
        return self.survey.rules

    @property
    def abilities(self) -> Abilities:
        """What it can."""
        return frozenset(self.survey.abilities) - self._lost

    @property
    def _lost(self) -> Abilities:
        """What a cache takes away: a state holds nothing of it, so no clip goes on from one."""
        cached = read_placement(self.placement).get("cache", NO_CACHE) != NO_CACHE
        return frozenset({"resume"}) if cached else frozenset()

    @cached_property
    def digest(self) -> str:
        """SHA-256 over configs and weights; each file of weights is read once, not every time."""
        digest = hashlib.sha256(self.folder.config_digest.encode())
        for path in self.folder.weights():
            digest.update(_digest_of(path).encode())
        return digest.hexdigest()

    @cached_property
    def weights(self) -> Weights:
        """How many numbers its parts hold."""
        parts = [part.name for part in self.folder.parts if part.weighs]
        return Weights.of({name: self.folder.values_of(name) for name in parts})

    def placed(self, gpu_gb: float | None = None) -> Placement:
        """How its weights are held and computed on this machine, by a clip of its usual size.

        Args:
            gpu_gb: Memory of the GPU that draws; None where the CPU does.
        """
        room, usual = Room(memory_gb(), gpu_gb), shape_of(self.survey.usual)
        return place(read_placement(self.placement), self.weights, *usual, room)

    def in_tiles(self, request: VideoRequest, how: Placement) -> bool:
        """Whether a clip is decoded in tiles: it is said, or main memory would not do else."""
        if said := read_placement(self.placement).get("tiling"):
            return said == "on"
        whole, shape = replace(how, tiling="off"), shape_of(request.model_dump())
        return ROOM * main_gb(whole, self.weights, *shape) > memory_gb()

    def settled(self, request: VideoRequest) -> VideoRequest:
        """The request with the pipeline's own defaults."""
        told = {name: getattr(request, name) for name in self.survey.usual}
        usual = {n: self.survey.usual[n] for n, value in told.items() if value == EMPTY}
        whole = {n: int(v) if n in ("num_frames", "height", "width", "steps") else float(v)
                 for n, v in usual.items()}  # fmt: skip
        return request.model_copy(update=whole)

    def check(self, request: VideoRequest) -> None:
        """Refuse what it cannot, or what is off its rules."""
        from video.engines.shelf import able

        wanted: dict[str, Ability] = {"prompt": "text"}
        wanted |= {"guidance": "guidance"} if request.guidance else {}
        wanted |= {"negative": "negative"} if request.negative else {}
        wanted |= {"first": "image"} if request.first else {}
        wanted |= {"last": "last"} if request.last else {}
        wanted |= {"key": "key"} if request.key else {}
        wanted |= {"lora": "lora"} if request.lora else {}
        refuse_inability(self.name, self.abilities, wanted, able)
        if "frames" not in self.survey.words:
            raise Refusal(
                f"engine={request.engine}: {self.folder.pipeline} changes clips and draws none of "
                "words alone; change one by `lamina video edit`, or name another engine."
            )
        if IMAGE_FIRST in self.folder.pipeline and not request.first:
            raise Refusal(
                f"first= is empty with engine={request.engine}: {self.folder.pipeline} begins "
                "from a picture; name one in first, or an engine that makes clips of text alone."
            )
        _check_files(request)
        if "decode_apart" not in self.abilities:
            raise Refusal(
                f"engine={request.engine}: {self.folder.pipeline} does not decode at its end, "
                "as the engines do that can be driven here; name another."
            )
        asked = self.settled(request)
        self.rules.check(self.name, asked.num_frames, asked.height, asked.width, asked.steps)
        self._check_words(asked)

    def check_change(self, request: VideoRequest) -> None:
        """Refuse a clip of a size that is off its rules, or a prompt that is too long."""
        asked = self.settled(request)
        self.rules.check(self.name, asked.num_frames, asked.height, asked.width, asked.steps)
        self._check_words(asked)

    def _check_words(self, asked: VideoRequest) -> None:
        from video.engines.words import check_words

        if asked.negative and "guidance" in self.abilities and asked.guidance <= 1:
            raise Refusal(
                f"negative={asked.negative[:60]} with guidance={asked.guidance:g}: what is led "
                "away from counts where guidance is above 1; ask for more, or leave negative out."
            )
        for field in ("prompt", "negative"):
            check_words(self.folder, field, getattr(asked, field), self.rules.tokens)

    def needs(self, request: VideoRequest) -> Cost:
        """From the weights and the pixels, by what such networks take at least."""
        return needs(self, self.settled(request))

    def record(self) -> dict[str, Any]:
        """Name, kind of engine, pipeline and digest, as a model's record has them."""
        from core.models.files import WEIGHTS

        return {
            "name": self.name,
            "kind": "video",
            "engine": self.kind,
            "objective": self.folder.pipeline,
            "sha256": {WEIGHTS: self.digest},
        }

    def encode(self, request: VideoRequest) -> None:
        """Nothing: the pipeline reads the prompt itself."""

    def ready(self, model: Model) -> Loaded:
        """The pipeline itself."""
        return model.network

    def goes_on(self, request: VideoRequest) -> bool:
        """Where its scheduler tells all of the state, and what it predicts is the whole clip."""
        shown = request.first or request.last or request.key
        apart = shown and self.folder.pipeline.startswith(WITHOUT_GIVEN)
        return "resume" in self.abilities and not apart

    def key(self, request: VideoRequest, canvas: "Canvas | None" = None) -> dict[str, Any]:
        """What makes a clip."""
        left_out = {"engine", "draft_after", "placement"}
        left_out |= set() if "fps" in self.survey.words else {"fps"}  # some networks are told it
        asked = self.settled(request).model_dump(mode="json", exclude=left_out)
        asked |= {"canvas": canvas.digest} if canvas else {}
        if not (request.first or request.last or request.key or request.lora):
            return {"asked": asked, "engine": self.digest}
        from video.engines.pictures import digests

        return {"asked": asked | digests(request), "engine": self.digest}

    def forget(self, request: VideoRequest, canvas: "Canvas | None" = None) -> None:
        """Remove the state of a clip that stands."""
        if states_kept():
            from video.engines.states import forget_clip

            forget_clip(self, request, canvas)

    def load(self, device: Any) -> Model:
        """The pipeline with its weights."""
        from video.engines.diffusers_pipeline import LoadedFolder

        return Model(LoadedFolder(self, device), self.record())


def _check_files(request: VideoRequest) -> None:
    if request.first or request.last or request.key:
        from video.engines.pictures import check_pictures

        check_pictures(request)
    if request.lora:
        from video.engines.adapters import check_adapter

        check_adapter(Path(request.lora).expanduser())


def _known(path: Path, folder: EngineFolder) -> "Survey":
    """What stands in a file, or is found and put there."""
    if path.is_file():
        from video.engines.survey import Survey

        try:
            return Survey.of_plain(json.loads(path.read_text()))
        except (ValueError, TypeError, KeyError):
            pass  # of a release that wrote something else
    from core.records import atomic_path
    from video.engines.skeleton import survey

    found = survey(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(found.plain()))
    return found


def _digest_of(path: Path) -> str:
    """SHA-256 of a file, from the last time if it has not changed since."""
    from core.records import atomic_path, sha256_file

    state = os.stat(path)
    key = f"{path} {state.st_size} {state.st_mtime_ns} {state.st_ino}"
    kept = known_folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.sha256"
    if kept.is_file() and len(text := kept.read_text()) == 64:
        return text
    digest = sha256_file(path)
    kept.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(kept, overwrite=True) as temporary:
        temporary.write_text(digest)
    return digest
