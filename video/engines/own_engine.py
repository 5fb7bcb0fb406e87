"""Our own model as one engine among others."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.models.adapters import Lora
from core.numerics import USUAL
from core.operations.operation import Cost, Model
from core.refusal import Refusal
from video.engines.engine import Abilities
from video.engines.places import MOST_STATE_BYTES, WALK, states_kept, walk_bytes
from video.engines.rules import Rules
from video.request import VideoRequest

if TYPE_CHECKING:
    from core.conditioning import Conditioning
    from core.models.controls import Control
    from video.engines.canvas import Canvas
    from video.engines.loaded_own import LoadedOwn
    from video.engines.text import TextEncoder

# Measured with scenes-64 in float32 on one core of a server CPU, 16 to 128 frames and 64 to 128
# pixels a side, within a quarter: seconds = FIXED + steps * (LINEAR * n + SQUARE * n**2), n in
# millions of pixels (attention is square in it)
FIXED_S, LINEAR_S, SQUARE_S = 0.3, 0.3, 0.6  # with the layout
BASE_GB, GB_PER_MILLION = 0.62, 0.14
BYTES_ON_DISK = 16.0  # of a pixel's results and unfinished work
RESULT_BYTES = 2.0  # of a pixel, at most
SIDES = 16, 256
LONG_S = 20.0  # a clip of words alone that takes less is begun anew
FILES = ("lora", "boxes", "control", "control_clip", "reference")
MADE_OF = ("sha256", "lora", "control")  # in a model's record, told or not
LORAS = "loras"  # in that of one that was loaded with several


@dataclass(frozen=True)
class OwnEngine:
    """An installed model; see ``video.engines.engine.Engine``.

    Attributes:
        name: Of the model.
        lora: An adapter that is merged into it.
        control: A branch beside it that is shown a clip's edges or a picture.
        backend: Who computes it, as a request says.
    """

    name: str
    lora: Lora | None = None
    control: "Control | None" = None
    backend: str = USUAL
    kind = "own"
    delivered = True
    slow = False
    rules = Rules(side=1)
    abilities: Abilities = frozenset(
        {
            "text",
            "image",
            "last",
            "key",
            "clip",
            "mask",
            "strength",
            "guidance",
            "negative",
            "decode_apart",
        }
    )

    def settled(self, request: VideoRequest) -> VideoRequest:
        """The request itself: its form knows the usual values."""
        return request

    def check(self, request: VideoRequest) -> None:
        """Refuse a model that is not installed, boxes and pictures; all else the form refused."""
        record = self.record()
        if record.get("space") == "latents":
            from video.engines.own import refuse_in_latents

            refuse_in_latents(request)
        if request.first or request.last or request.key:
            from video.engines.pictures import check_pictures

            check_pictures(request)
        if request.control or request.control_clip or request.reference:
            from video.engines.controlled import check_control

            shown, part = (self.control.shows, self.control.part) if self.control else ("", "")
            check_control(request, shown, of_layouts=bool(part))
        if request.negative:
            self._check_negative(request)
        if request.boxes:
            from core.models.checkpoints import find_model
            from video.engines.laid_boxes import check_boxes

            check_boxes(request, record, find_model(self.name, "video"))

    def _check_negative(self, request: VideoRequest) -> None:
        import json

        from core.models.checkpoints import find_model
        from video.engines.own import refuse_negative
        from video.engines.text import check_length

        told = json.loads((find_model(self.name, "video") / "config.json").read_text())
        refuse_negative(request, draws_layouts=bool(told.get("layout_network")))
        check_length(request.negative)

    def check_change(self, request: VideoRequest) -> None:
        """Refuse clips that are too small or too large for it."""
        least, most = SIDES
        shorter, longer = sorted((request.height, request.width))
        if not least <= shorter <= longer <= most:
            raise Refusal(
                f"a clip of {request.width} x {request.height}: our own model paints {least} to "
                f"{most} pixels a side, and knows 64 x 64 best; make the clip of that size, or "
                "name an engine."
            )
        if self.record().get("space") == "latents":
            raise Refusal(
                f"model={self.name}: works on latents, can hold no pixel; name one of pixels."
            )

    def needs(self, request: VideoRequest) -> Cost:
        """By frames, pixels and steps."""
        n = request.num_frames * request.height * request.width / 1e6
        seconds = request.steps * (LINEAR_S * n + SQUARE_S * n * n) + FIXED_S
        memory_gb, per_million = BASE_GB + GB_PER_MILLION * n, n / 1e3
        disk_gb, results_gb = BYTES_ON_DISK * per_million, RESULT_BYTES * per_million
        kept_gb = self._kept_bytes(request, seconds) / 1e9
        stays_gb = kept_gb if request.draft_after else 0.0
        return Cost(seconds, memory_gb + kept_gb, disk_gb + kept_gb, results_gb + stays_gb)

    def _kept_bytes(self, request: VideoRequest, seconds: float) -> int:
        """What of a clip of its own is kept to go on from, in memory and on disk alike."""
        from video.world.scenes import NUM_FRAMES

        # around pictures no fewer frames are painted than a layout has
        frames = max(request.num_frames, NUM_FRAMES if _pictured(request) else 0)
        values = 3 * frames * request.height * request.width
        steps = request.draft_after or request.steps
        kept = walk_bytes(values, steps, request.sampler) if _keeps(request, seconds) else 0
        return kept if kept <= MOST_STATE_BYTES else 0

    def record(self) -> dict[str, Any]:
        """What its ``model.json`` says."""
        from core.models.installed import Installed

        told = Installed(self.name, "video", self.lora, self.control, self.backend).record()
        return told | {"walk": WALK}

    def forget(self, request: VideoRequest, canvas: "Canvas | None" = None) -> None:
        """Remove the state of a clip that stands."""
        if states_kept():
            from video.engines.states import forget_clip

            forget_clip(self, request, canvas)

    def keeps(self, request: VideoRequest) -> bool:
        """Whether a state is kept of a clip of its own."""
        return _keeps(request, self.needs(request).seconds)

    def goes_on(self, request: VideoRequest) -> bool:
        """Any clip's whose answers, as far as a draft is drawn, are few enough to be kept."""
        values = 3 * request.num_frames * request.height * request.width
        return walk_bytes(values, request.draft_after, request.sampler) <= MOST_STATE_BYTES

    def key(
        self,
        request: VideoRequest,
        canvas: "Canvas | None" = None,
        record: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """What makes a clip.

        Args:
            request: Settled.
            canvas: That it is drawn on; None for a clip of its own.
            record: Of the loaded model, which may have been given more than the request names.
        """
        from video.engines.adapter_files import digest_of_input
        from video.engines.pictures import named

        told = request.model_dump(mode="json", exclude={"draft_after", "key", "picture"})
        files = named(request) | {
            field: Path(path) for field in FILES if (path := getattr(request, field))
        }
        told |= {field: digest_of_input(field, path.expanduser()) for field, path in files.items()}
        told |= {"canvas": canvas.digest} if canvas else {}
        record = self.record() if record is None else record
        made_of = {name: record.get(name) for name in MADE_OF}
        made_of |= {LORAS: record[LORAS]} if LORAS in record else {}
        return {"asked": told, "model": made_of}

    def encode(self, request: VideoRequest) -> "Conditioning":
        """The prompt's text states, and what says more: boxes, a clip's edges, or a picture."""
        from video.engines.own import embed

        cond = embed(request, encoder())
        if request.control_clip or request.reference:
            from video.engines.controlled import led

            return led(cond, request)
        if not request.boxes:
            return cond
        from video.engines.laid_boxes import boxed_layout
        from video.engines.layouts import sketch

        return replace(cond, sketch=sketch(boxed_layout(request)))

    def load(self, device: Any) -> Model:
        """The network, and what is known of it."""
        from core.models.installed import Installed

        model = Installed(self.name, "video", self.lora, self.control, self.backend).load(device)
        return replace(model, record=dict(model.record) | {"walk": WALK})

    def ready(self, model: Model) -> "LoadedOwn":
        """The network with what is done around it."""
        from video.engines.loaded_own import LoadedOwn

        return LoadedOwn(model, self, encoder)


def _keeps(request: VideoRequest, seconds: float) -> bool:
    """Whether a state is kept of a clip that takes so long."""
    return bool(_pictured(request) or request.draft_after or seconds > LONG_S)


def _pictured(request: VideoRequest) -> bool:
    from video.engines.pictures import named

    return bool(named(request))


@cache
def encoder() -> "TextEncoder":
    """The reader of prompts, read once."""
    from video.engines.text import TextEncoder

    return TextEncoder()
