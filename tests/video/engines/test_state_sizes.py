"""What the state of a clip of real size takes: 129 frames of 720p, by the configs of real engines.

Networks and decoders are those of the library's defaults, which are the published sizes, on the
meta device; schedulers step over latents of the real shape and the state is written as in a walk.
"""

import time
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch

from video.engines.arithmetic import speed_of
from video.engines.counted import arithmetic_of, measure_speed
from video.engines.folder_files import EngineFolder
from video.engines.folder_needs import STATE_BYTES_OF_PIXEL
from video.engines.states import StateFile
from video.engines.steps import Walk

FRAMES, HEIGHT, WIDTH = 129, 720, 1280
STEPS = 4
SMALL = 40_000  # a state beside its latents
UNIPC = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
EULER = diffusers.FlowMatchEulerDiscreteScheduler
# transformer, decoder, scheduler, latent channels, pixels to a latent, frames to one, height,
# latents that a state holds: UniPC keeps two predictions and the clip of the step before
ENGINES: dict[str, tuple[Any, ...]] = {
    "hunyuan": (
        diffusers.HunyuanVideoTransformer3DModel, diffusers.AutoencoderKLHunyuanVideo,
        lambda: EULER(shift=7.0), 16, 8, 4, HEIGHT, 1,
    ),
    "ltx": (
        diffusers.LTXVideoTransformer3DModel, diffusers.AutoencoderKLLTXVideo,
        EULER, 128, 32, 8, 704, 1,
    ),
    "wan": (
        diffusers.WanTransformer3DModel, diffusers.AutoencoderKLWan,
        lambda: diffusers.UniPCMultistepScheduler(**UNIPC), 16, 8, 4, HEIGHT, 4,
    ),
}  # fmt: skip


def undecoded(*_: Any, **__: Any) -> Any:
    raise RuntimeError("no decoder here")


def written(name: str, dtype: torch.dtype, folder) -> tuple[int, float]:
    """Bytes of a walk's last state, and most seconds that one took to be handed over and written.

    Args:
        name: Of the engine.
        dtype: Of what its network answers.
        folder: Where states go.
    """
    _, _, scheduler, channels, side, packed, height, _ = ENGINES[name]
    shape = 1, channels, (FRAMES - 1) // packed + 1, height // side, WIDTH // side
    pipe = SimpleNamespace(scheduler=scheduler(), vae=SimpleNamespace(decode=undecoded))
    pipe.scheduler.set_timesteps(STEPS)
    z, generator = torch.randn(shape), torch.Generator()
    kept = StateFile(folder, {"engine": name, "dtype": str(dtype)})
    walk = Walk(pipe, generator, kept, told=lambda *_: None, stop=lambda: False)
    seconds, keep = [0.0], walk._keep

    def timed(found: Any) -> None:
        kept.settle()
        start = time.thread_time()
        keep(found)
        handed = time.thread_time() - start
        begun = time.perf_counter()
        kept.settle()
        seconds.append(handed + time.perf_counter() - begun)

    walk._keep = timed
    with walk.taken():
        for t in pipe.scheduler.timesteps:
            answer = torch.randn(shape).to(dtype)
            z = pipe.scheduler.step(answer, t, z, return_dict=False)[0]
    assert walk.kept is kept
    return kept.path.stat().st_size, max(seconds)


def latents_bytes(name: str, width: int) -> int:
    _, _, _, channels, side, packed, height, _ = ENGINES[name]
    return width * channels * ((FRAMES - 1) // packed + 1) * (height // side) * (WIDTH // side)


@pytest.mark.parametrize("name", list(ENGINES))
def test_latents_are_those_of_the_published_decoders(name):
    _, decoder, _, channels, side, packed, *_ = ENGINES[name]
    with torch.device("meta"):
        vae = decoder()
    assert (vae.config.get("z_dim") or vae.config.get("latent_channels")) == channels
    said = (
        getattr(vae, "spatial_compression_ratio", 8),
        getattr(vae, "temporal_compression_ratio", 4),
    )
    assert said == (side, packed)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(ENGINES))
def test_a_state_is_its_latents_and_takes_less_than_a_hundredth_of_a_step(name, tmp_path):
    network, _, _, channels, side, packed, height, times = ENGINES[name]
    with torch.device("meta"):
        pipe = SimpleNamespace(transformer=network())
    pipe.vae = SimpleNamespace(config={"z_dim": channels}, decode=undecoded)
    (tmp_path / "model_index.json").write_text("{}")
    work = arithmetic_of(pipe, EngineFolder(tmp_path), side)
    step = work.of_step(work.tokens((FRAMES - 1) // packed + 1, height, WIDTH))
    measure_speed(torch.device("cpu"))
    step_s = step / speed_of("cpu") / torch.get_num_threads()
    for dtype in (torch.float32, torch.bfloat16):
        size, seconds = written(name, dtype, tmp_path)
        width = 4 if times > 1 else dtype.itemsize  # what UniPC keeps is in the clip's float32
        assert 0 < size - times * latents_bytes(name, width) < SMALL
        assert size < STATE_BYTES_OF_PIXEL * FRAMES * height * WIDTH
        if times == 1:
            assert size < 30 * 2**20
        assert seconds < step_s / 100
        print(  # noqa: T201  shown by pytest -s
            f"{name} {dtype}: {size / 1e6:.1f} MB, {seconds * 1000:.0f} ms of a step of "
            f"{step / 1e12:.0f} Tflop, {step_s:.0f} s"
        )
