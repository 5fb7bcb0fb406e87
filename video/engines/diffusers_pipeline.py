"""A pipeline of diffusers with its weights: drawn step by step, decoded apart."""

import gc
import inspect
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from core.operations.operation import OnStep
from core.progress import RESUMED
from core.refusal import Refusal
from video.engines.adapters import Adapted
from video.engines.canvas import Canvas
from video.engines.chained import chained
from video.engines.conditions import shown_canvas, shown_pictures, takes_whole
from video.engines.counted import measure_speed
from video.engines.engine import Latents, Stop, never
from video.engines.handed_over import handed_over
from video.engines.pictures import Given, given, paste
from video.engines.placed import check_adapter_fits, kept_small, placed_here, put, set_up
from video.engines.places import states_folder
from video.engines.predicted import Predicted
from video.engines.skeleton import pipeline_class, quiet
from video.engines.states import StateFile, drawn_on, here
from video.engines.steps import Decoding, Drafted, Walk
from video.engines.words import count_tokens, longest_text
from video.files.clip import Clip
from video.files.filters import told_lifeless
from video.request import VideoRequest

if TYPE_CHECKING:
    from video.engines.diffusers_folder import DiffusersFolder

logger = logging.getLogger(__name__)

REWRITING = {"complex_human_instruction": [], "use_resolution_binning": False}
"""What pipelines would make of a request by themselves, turned off."""
SAME_WORDS = 2  # a vocabulary counts a template otherwise than the library by more
OTHER_PROMPTS = "a red circle", "two dogs on a beach at night"
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


class LoadedFolder:
    """See ``video.engines.engine.Loaded``."""

    def __init__(self, engine: "DiffusersFolder", device: Any) -> None:
        """Read the weights, from safetensors of the folder alone.

        Raises:
            Refusal: They are not whole, or the tokenizer reads nothing.
        """
        self.engine, self.device = engine, torch.device(device)
        self.how = placed_here(engine, self.device)
        dtype = getattr(torch, self.how.dtype)
        made = pipeline_class(engine.folder)
        with quiet():
            try:
                pipe = made.from_pretrained(
                    str(engine.folder.path),
                    local_files_only=True,
                    use_safetensors=True,
                    trust_remote_code=False,
                    torch_dtype=dtype,
                    **kept_small(engine.folder, self.how),
                )
            except (OSError, ValueError, KeyError, AttributeError) as error:
                raise Refusal(
                    f"{engine.path}: {engine.folder.pipeline} cannot be loaded from it ({error}): "
                    "all its parts must be whole; copy the whole folder again."
                ) from error
        pipe.set_progress_bar_config(disable=True)
        self.pipe = put(pipe, self.how, self.device)
        self.adapted = Adapted(self.pipe)
        self.call = inspect.signature(made.__call__).parameters
        self.facts: dict[str, Any] = {"device": self.device.type, **self.how.plain()}
        check_words(self.pipe, engine.name)
        self.facts |= set_up(self, self.how)
        measure_speed(self.device)

    def denoise(
        self, request: VideoRequest, prepared: None, on_step: OnStep, stop: Stop
    ) -> Latents:
        """Walk the noise down, from the kept state where there is one."""
        kept = self._state_of(request) if "resume" in self.engine.abilities else None
        pictures = given(request)
        shown = shown_pictures(request, pictures, self.call)
        return self._walked(request, shown, kept, pictures, on_step=on_step, stop=stop)

    def _walked(
        self,
        request: VideoRequest,
        shown: dict[str, Any],
        kept: StateFile | None,
        pictures: Mapping[str, Given],
        *,
        on_step: OnStep,
        stop: Stop,
    ) -> Latents:
        """Latents of the pipeline, that was shown what is given by these arguments."""
        generator = torch.Generator("cpu").manual_seed(request.seed)

        def tell(done: int, total: int, resumed: bool) -> None:
            steps = request.draft_after or total
            on_step(done, steps, RESUMED if resumed else ahead(walk, request))

        adapter = Path(request.lora).expanduser() if request.lora else None
        check_adapter_fits(self.how, adapter)
        facts = self.facts | self._cut(request) | self.adapted.take(adapter, request.lora_scale)
        walk = Walk(self.pipe, generator, kept, told=tell, stop=stop, until=request.draft_after)
        arguments = self.arguments(request) | {"generator": generator} | shown
        with quiet(), torch.inference_mode(), prompts_as_typed(type(self.pipe)):
            told = self._reached(walk, arguments, request)
            self.pipe.maybe_free_model_hooks()
        if walk.kept:
            walk.kept.settle()
        facts |= {"network_calls": walk.calls}
        facts |= {"resumed_at_step": walk.resumed} if walk.resumed else {}
        return Latents(told, facts, pictures)

    def _reached(self, walk: Walk, arguments: Mapping[str, Any], request: VideoRequest) -> Any:
        """What the decoder is to be told, at the end of a walk or of a draft."""
        try:
            with walk.taken():
                self.pipe(**arguments)
        except Decoding as reached:
            return reached.told
        except Drafted:
            assert walk.last is not None
            return Predicted(walk.pipe, walk.decode, request, walk.last).whole()
        raise AssertionError(f"{self.engine.name} came to no decoder")

    def decode(self, request: VideoRequest, latents: Latents) -> Clip:
        """The frames; once more in tiles where memory ran short."""
        tiled = self.engine.in_tiles(request, self.how)
        with quiet(), torch.inference_mode():
            try:
                found = self._decoded(latents, tiled)
            except (MemoryError, RuntimeError) as error:
                if tiled or not _out_of_memory(error):
                    raise
                logger.warning("memory ran short while decoding: decoded again in tiles")
                gc.collect()
                found = self._decoded(latents, tiled=True)
            pixels = found[0] if isinstance(found, tuple) else found.sample
            frames = self.pipe.video_processor.postprocess_video(pixels, output_type="np")[0]
        if not np.isfinite(frames).all():
            raise RuntimeError(
                f"{self.engine.name} gave values that are no numbers; draw with another seed or "
                "more exact arithmetic."
            )
        levels = np.rint(np.clip(frames, 0, 1) * 255).astype(np.uint8)
        latents.facts.update(paste(levels, latents.pictures))
        latents.facts.update(told_lifeless(levels, request.fps, self.engine.name))
        return Clip(levels, request.fps, latents.facts)

    def _decoded(self, latents: Latents, tiled: bool) -> Any:
        """What the decoder gives, in tiles if it has them and is asked to."""
        (args, kwargs), vae = latents.values, self.pipe.vae
        if not (tiled and hasattr(vae, "enable_tiling")):
            return vae.decode(*args, **kwargs)
        vae.enable_tiling()
        try:
            found = vae.decode(*args, **kwargs)
        finally:
            vae.disable_tiling()
        latents.facts["decoded_in_tiles"] = True
        return found

    def complete(self, request: VideoRequest, canvas: Canvas, on_step: OnStep) -> Clip:
        """All frames of a canvas: at once where the pipeline can, else window after window."""
        if not takes_whole(canvas, request.num_frames, self.call):
            masks = "mask" in self.engine.abilities
            goes_on = handed_over if masks else chained
            return goes_on(self, self.engine, request, canvas, on_step)
        steps = max(1, int(request.steps * (canvas.strength or 1.0)))

        def told(done: int, total: int, estimate: Any) -> None:
            on_step(done, min(total, steps), estimate)

        shown = shown_canvas(canvas, self.pipe, self.call)
        kept = self._state_of(request, canvas) if "resume" in self.engine.abilities else None
        latents = self._walked(request, shown, kept, {}, on_step=told, stop=never)
        return self.decode(request, latents)

    def close(self) -> None:
        """Free the memory."""
        del self.pipe, self.adapted
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _state_of(self, request: VideoRequest, canvas: Canvas | None = None) -> StateFile:
        how = {**self.facts, **here(), **drawn_on("diffusers", "transformers")}
        return StateFile(states_folder(), self.engine.key(request, canvas), how)

    def arguments(self, request: VideoRequest) -> dict[str, Any]:
        """What the pipeline is asked for a settled request, by its own words."""
        words = self.engine.survey.words
        told: dict[str, Any] = {
            words["steps"]: request.steps,
            "prompt": request.prompt,
            "output_type": "np",
        }
        asked = request.model_dump() | {"frames": request.num_frames}
        for name in ("frames", "height", "width", "guidance", "fps"):
            if name in words:
                told[words[name]] = asked[name]
        if "tokens" in words:
            told[words["tokens"]] = self.engine.rules.tokens
        told |= {"negative_prompt": request.negative} if request.negative else {}
        told |= {name: value for name, value in REWRITING.items() if name in self.call}
        return told | self._template()

    def _cut(self, request: VideoRequest) -> dict[str, Any]:
        """For the record: a further tokenizer that reads the beginning of the prompt alone."""
        found: dict[str, Any] = {}
        for part in ("tokenizer_2", "tokenizer_3"):
            folder = self.engine.folder.path / part
            most = longest_text(folder) if getattr(self.pipe, part, None) is not None else 0
            count = count_tokens(folder, request.prompt) if most else 0
            if count > most:
                found[f"{part}_reads"] = f"the first {most} of {count} tokens"
                logger.warning("%s reads %s of the prompt", part, found[f"{part}_reads"])
        return found

    def _template(self) -> dict[str, Any]:
        """The template around a prompt with the number of words that are cut off before it.

        The library has that number fixed for one vocabulary.
        """
        said = self.call.get("prompt_template")
        if said is None or not isinstance(said.default, dict):
            return {}
        before = said.default["template"].partition("{}")[0]
        crop = len(self.pipe.tokenizer(before)["input_ids"])
        if abs(crop - said.default["crop_start"]) <= SAME_WORDS:
            return {}
        return {"prompt_template": said.default | {"crop_start": crop}}


def ahead(walk: Walk, request: VideoRequest) -> Predicted | None:
    """What a walk will come to, to be looked at by who wants to."""
    return Predicted(walk.pipe, walk.decode, request, walk.last) if walk.last else None


@contextmanager
def prompts_as_typed(pipeline: type) -> Iterator[None]:
    """Let pipelines go without ftfy, which mends broken text, where it is not installed.

    Some call it all the same, and would end with a NameError.
    """
    module = sys.modules[pipeline.__module__]
    if hasattr(module, "ftfy") or not hasattr(module, "basic_clean"):
        yield
        return
    vars(module)["ftfy"] = SimpleNamespace(fix_text=lambda text: text)
    try:
        yield
    finally:
        vars(module).pop("ftfy", None)


def check_words(pipe: Any, name: str) -> None:
    """Refuse a tokenizer that reads nothing, which the libraries make of an empty folder.

    Raises:
        Refusal: Two prompts read the same, or it knows other words than the text encoder.
    """
    for part in ("tokenizer", "tokenizer_2"):
        if (tokenizer := getattr(pipe, part, None)) is None:
            continue
        first, second = (tokenizer(prompt)["input_ids"] for prompt in OTHER_PROMPTS)
        unknown = getattr(tokenizer, "unk_token_id", None)
        if first == second or first.count(unknown) > len(first) / 2:
            raise Refusal(
                f"{name}: its {part} reads two different prompts alike, so clips would ignore "
                "what is asked: a tokenizer knows its words; copy the whole folder again."
            )
        encoder = getattr(pipe, part.replace("tokenizer", "text_encoder"), None)
        rows = encoder.get_input_embeddings().weight.shape[0] if encoder is not None else 0
        if rows and max(first + second) >= rows:
            raise Refusal(
                f"{name}: its {part} knows more words than its text encoder, which has {rows}: "
                "the two belong together; copy the whole folder again."
            )


def _out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in OUT_OF_MEMORY)
