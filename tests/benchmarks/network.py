"""The network's speed beside MONAI's and diffusers' of the same widths."""

import time
from collections.abc import Callable
from importlib.util import find_spec
from statistics import median
from typing import Any

import torch
from diffusers import UNet3DConditionModel
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from core.conditioning import Conditioning
from core.networks.unet import SpatioTemporalUNet
from tests.benchmarks.results import Figure, Row

WIDTHS = (64, 128, 256)
SHAPE = (1, 4, 16, 32, 32)
TOKENS = (1, 77, 384)
TARGETS = {"MONAI": 2.5, "diffusers": 8.0}
BEST = {"float32": {"MONAI": 3.3, "diffusers": 10.0}, "bfloat16": {"MONAI": 3.0, "diffusers": 9.0}}
OPENVINO = "ours, OpenVINO"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

PROTOCOL = (
    "One forward pass at 1 x 4 x 16 x 32 x 32 with 77 text tokens of width 384, no gradient, all "
    "networks in one process, same dtype, turn by turn after one warm-up; a time is the median "
    "over rounds, a ratio the median of those within each round. "
    "Widths (64, 128, 256), two residual blocks per level, attention (in each frame, over the "
    "text) at the two coarser levels, heads of 64 channels. Ours: `SpatioTemporalUNet` with its "
    "defaults, keys and values of the text computed anew in every pass; by OpenVINO, "
    "where it is installed, likewise, its blocks as one graph. MONAI: "
    "`DiffusionModelUNet(num_res_blocks=2, attention_levels=(False, True, True), "
    "num_head_channels=64, norm_num_groups=32)`; its attention runs over all voxels of a level, "
    "it halves D too, and its way up has one block more per level. diffusers: "
    "`UNet3DConditionModel(layers_per_block=2, attention_head_dim=64)` with `DownBlock3D`, "
    "`CrossAttnDownBlock3D`, `CrossAttnDownBlock3D` and the mirror; the temporal transformer at "
    "its entrance cannot be left out, and its way up has one block more per level too."
)


def run(*, quick: bool = False, full: bool = False) -> Row:
    """Time all three in both dtypes."""
    rounds = 2 if quick else 15 if full else 7
    figures, details = [], {}
    for name, dtype in DTYPES.items():
        times, facts = measured(dtype, rounds)
        details[name] = {who: facts[who] | {"seconds": times[who]} for who in times}
        figures += _figures(name, times)
    notes = [
        f"{who}: {fact['parameters'] / 1e6:.1f} million weights, {fact['flop'] / 1e9:.0f} GFLOP"
        + (f", {OPENVINO}: the same" if who == "ours" and OPENVINO in details["float32"] else "")
        for who, fact in details["float32"].items()
        if who != OPENVINO  # its graph's operations are not counted
    ]
    return Row(
        title="Network speed", protocol=PROTOCOL, figures=figures, notes=notes, details=details
    )


def _figures(name: str, times: dict[str, list[float]]) -> list[Figure]:
    """Our time, and how many times as long the others take as torch and as the best of ours."""
    ours = times["ours"]
    figures = [
        Figure(name=f"ours, {name}", value=1e3 * median(ours), unit="ms", note=_spread(ours))
    ]
    for rival, least in TARGETS.items():
        figures.append(ratio(f"{rival} over ours, {name}", times[rival], ours, least))
    if OPENVINO in times:
        fast = times[OPENVINO]
        figures.append(ratio(f"ours by torch over ours by OpenVINO, {name}", ours, fast))
        best = min(ours, fast, key=median)
        for rival, least in BEST[name].items():
            figures.append(
                ratio(f"{rival} over the best of ours, {name}", times[rival], best, least)
            )
    return figures


def ratio(
    name: str, longer: list[float], shorter: list[float], least: float | None = None
) -> Figure:
    """How many times as long one takes as the other, by rounds; held against the least."""
    ratios = [a / b for a, b in zip(longer, shorter, strict=True)]
    times = " over ".join(f"{1e3 * median(each):.0f}" for each in (longer, shorter))
    note = f"{min(ratios):.2f} to {max(ratios):.2f}; {times} ms"
    return Figure(name=name, value=median(ratios), unit="times", low=least, note=note)


def times(dtype: torch.dtype, rounds: int) -> dict[str, list[float]]:
    """Seconds of each round, by network, taken turn by turn; OpenVINO where it is installed."""
    return measured(dtype, rounds)[0]


def measured(dtype: torch.dtype, rounds: int) -> tuple[dict[str, list[float]], dict[str, dict]]:
    """Seconds by network, and what each network is."""
    torch.manual_seed(0)
    passes = {who: make() for who, make in networks(dtype).items()}
    times: dict[str, list[float]] = {who: [] for who in passes}
    facts = {}
    with torch.inference_mode():
        for who, (network, forward) in passes.items():
            with FlopCounterMode(display=False) as counter:
                forward()
            facts[who] = {
                "parameters": sum(p.numel() for p in network.parameters()),
                "flop": counter.get_total_flops(),
            }
        for _ in range(rounds):
            for who, (_, forward) in passes.items():
                start = time.perf_counter()
                forward()
                times[who].append(round(time.perf_counter() - start, 5))
    return times, facts


Pass = tuple[nn.Module, Callable[[], Any]]


def networks(dtype: torch.dtype) -> dict[str, Callable[[], Pass]]:
    """What makes each network, ready to answer, and one forward pass of it."""
    z, tokens = torch.randn(SHAPE).to(dtype), torch.randn(TOKENS).to(dtype)
    level, step = torch.tensor([0.5]), torch.tensor([500])
    cond = Conditioning(tokens=tokens)

    def ours() -> Pass:
        network = _ready(_ours(), dtype)
        return network, lambda: network(z, level, level, cond)

    def by_openvino() -> Pass:
        from core.backends.answers import accelerate

        network = _ours()
        accelerate(network, f"benchmark {torch.initial_seed()}")
        _ready(network, dtype)
        return network, lambda: network(z, level, level, cond)

    def monai() -> Pass:
        network = _ready(_monai(), dtype)
        return network, lambda: network(z, step, context=tokens)

    def diffusers() -> Pass:
        network = _ready(_diffusers(), dtype)
        return network, lambda: network(z, step, tokens, return_dict=False)

    fast = {OPENVINO: by_openvino} if find_spec("openvino") else {}
    return {"ours": ours, **fast, "MONAI": monai, "diffusers": diffusers}


def _ours() -> SpatioTemporalUNet:
    return SpatioTemporalUNet(in_channels=4, block_out_channels=WIDTHS, text_channels=384)


def _monai() -> nn.Module:
    return DiffusionModelUNet(
        spatial_dims=3,
        in_channels=4,
        out_channels=4,
        num_res_blocks=2,
        channels=WIDTHS,
        attention_levels=(False, True, True),
        norm_num_groups=32,
        num_head_channels=64,
        with_conditioning=True,
        cross_attention_dim=384,
    )


def _diffusers() -> nn.Module:
    attending = ("CrossAttnDownBlock3D", "CrossAttnUpBlock3D")
    return UNet3DConditionModel(
        in_channels=4,
        out_channels=4,
        block_out_channels=WIDTHS,
        layers_per_block=2,
        down_block_types=("DownBlock3D", attending[0], attending[0]),
        up_block_types=(attending[1], attending[1], "UpBlock3D"),
        cross_attention_dim=384,
        attention_head_dim=64,
    )


def _ready(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """In its dtype; not by ``.to``, about which diffusers' classes warn without a reason."""
    for module in network.modules():
        for parameter in module.parameters(recurse=False):
            parameter.data = parameter.data.to(dtype)
    return network.eval().requires_grad_(False)


def _spread(seconds: list[float]) -> str:
    return f"{1e3 * min(seconds):.0f} to {1e3 * max(seconds):.0f} ms"
