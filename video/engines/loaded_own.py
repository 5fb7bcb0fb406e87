"""Our own model, loaded."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.operations.operation import Model, OnStep
from video.engines.engine import Latents, Stop, StoppedError
from video.engines.places import WALK, states_folder
from video.request import VideoRequest

if TYPE_CHECKING:
    from core.conditioning import Conditioning
    from video.engines.canvas import Canvas
    from video.engines.kept_walk import KeptWalk
    from video.engines.own_engine import OwnEngine
    from video.engines.text import TextEncoder
    from video.files.clip import Clip


class LoadedOwn:
    """See ``video.engines.engine.Loaded``."""

    def __init__(
        self, model: Model, engine: "OwnEngine", encoder: "Callable[[], TextEncoder]"
    ) -> None:
        """Take the loaded model, and what reads prompts."""
        self.model, self.engine, self.encoder = model, engine, encoder

    def denoise(
        self, request: VideoRequest, prepared: "Conditioning", on_step: OnStep, stop: Stop
    ) -> Latents:
        """Walk the noise down."""
        from video.engines.layouts import sketch
        from video.engines.own import led_away, sample, to_frames, walk_of
        from video.engines.pictures import given

        def step(done: int, total: int, estimate: Any) -> None:
            on_step(done, total, estimate)
            quiet()

        def quiet(*_: Any) -> None:
            if stop():
                raise StoppedError

        kept, model = self._kept(request), self.model
        if pictures := given(request):
            from video.engines.held_boxes import held_to_boxes
            from video.engines.own_pictures import begun_from

            def around(layout: Any) -> "Clip":
                return begun_from(request, pictures, model, self.encoder(), quiet, layout=layout)

            clip = begun_from(request, pictures, model, self.encoder(), step, kept)
            clip, facts = held_to_boxes(request, clip, around, lambda clip: clip.frames)
            return Latents(clip.frames, dict(clip.facts) | kept.facts | facts, pictures)

        def again(layout: Any) -> Any:
            told = replace(prepared, sketch=sketch(layout))
            return sample(request, told, model.network, model.record, on_step=quiet)

        prepared = led_away(request, prepared, model.network, self.encoder())
        walk = kept.around(walk_of(request, model.network))
        x = sample(request, prepared, model.network, model.record, on_step=step, walk=walk)
        facts = kept.facts
        if request.boxes:
            from video.engines.held_boxes import held_to_boxes

            x, held = held_to_boxes(request, x, again, lambda x: to_frames(x).numpy())
            facts = facts | held
        return Latents(x.cpu(), facts)

    def decode(self, request: VideoRequest, latents: Latents) -> "Clip":
        """The frames: of pixels, there is nothing to decode."""
        import numpy as np

        from video.engines.own import frame_rate, to_frames
        from video.engines.pictures import paste
        from video.files.clip import Clip

        if latents.pictures:
            frames = np.array(latents.values)
            return Clip(
                frames, frame_rate(request), latents.facts | paste(frames, latents.pictures)
            )
        return Clip(to_frames(latents.values).numpy(), frame_rate(request), latents.facts)

    def complete(self, request: VideoRequest, canvas: "Canvas", on_step: OnStep) -> "Clip":
        """The frames of a canvas, painted around what is given."""
        from video.engines.own_changes import change

        kept = self._kept(request, canvas)
        clip = change(request, canvas, self.model, self.encoder(), on_step, kept)
        return replace(clip, facts=dict(clip.facts) | kept.facts)

    def _kept(self, request: VideoRequest, canvas: "Canvas | None" = None) -> "KeptWalk":
        from video.engines.kept_walk import KeptWalk
        from video.engines.states import StateFile, here

        how = {
            "backend": self.model.record.get("backend"),
            "device": str(self.model.network.device),
            "walk": WALK,
            **here(),
        }
        file = StateFile(states_folder(), self.engine.key(request, canvas, self.model.record), how)
        keeps = canvas is not None or self.engine.keeps(request)
        return KeptWalk(file, until=request.draft_after, keeps=keeps)

    def close(self) -> None:
        """Nothing was set."""
