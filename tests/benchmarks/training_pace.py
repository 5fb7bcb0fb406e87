"""What training does with the device: a short run of each kind by the real command."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from core.training.checkpoint import history
from tests.benchmarks.processes import lamina, surrounded
from tests.benchmarks.quality.heads import data_folder
from tests.benchmarks.results import Figure, Row

STEPS, QUICK_STEPS, MANY_STEPS = 60, 2, 200

PROTOCOL = (
    "`lamina train video` and `lamina train mri --heads` (the base presets, their usual batches, "
    "no jumps), a fresh run of 60 steps each by the command, one process a core; of video the "
    "painting network and the layout network apart. Computing: share "
    "of the whole time in which the first process computed the network, its gradient and the new "
    "weights; for batches: share in which it made its own part of the batches, scenes and "
    "captions included that were new. What is left: waiting for the other process and averaging "
    "gradients with it, checkpoints, validation. Seconds and arithmetic are over the whole time. "
    "Operations are counted once, of matrix products, convolutions and attention, forward and "
    "back; the peak is the best of five bfloat16 products of 1024 x 1024 matrices by the first "
    "process after its first step, times the processes."
)


def run(*, quick: bool = False, full: bool = False) -> Row:
    """Train both kinds for some steps; MRI only where heads are at hand."""
    steps = QUICK_STEPS if quick else MANY_STEPS if full else STEPS
    heads, notes = data_folder() / "t1-heads", []
    kinds = {
        "video": ["train", "video", "--layout-steps", "0", "--steps", f"{steps}"],
        "layouts": ["train", "video", "--layout-steps", f"{steps}", "--steps", "1"],
    }
    if heads.is_dir():
        kinds["mri"] = ["train", "mri", "--heads", str(heads), "--steps", f"{steps}"]
    else:
        notes.append("MRI was left out: no folder t1-heads in LAMINA_DATA.")
    found = {kind: _use(words) for kind, words in kinds.items()}
    figures = [
        figure for kind, rates in found.items() if rates for figure in _figures(kind, rates)
    ]
    return Row(title="Training", protocol=PROTOCOL, figures=figures, notes=notes, details=found)


def _use(words: list[str]) -> Mapping[str, float]:
    """How the first stage of a training used the device."""
    with TemporaryDirectory() as name, surrounded(Path(name), LAMINA_MODELS=f"{name}/models"):
        lamina([*words, "--name", "probe", "--jump-steps", "0"])
        facts = next(iter(history(Path(name) / "state" / "training" / "probe").values()))
    return facts["use_of_device"]


def _figures(kind: str, rates: Mapping[str, float]) -> list[Figure]:
    peak = f"{rates['peak_share']:.0%} of the peak" if "peak_share" in rates else ""
    return [
        Figure(name=f"{kind}: seconds a step", value=1 / rates["steps_per_second"], unit="s"),
        Figure(name=f"{kind}: computing", value=100 * rates["computing_share"], unit="%"),
        Figure(name=f"{kind}: for batches", value=100 * rates["data_share"], unit="%"),
        Figure(
            name=f"{kind}: arithmetic", value=1000 * rates["tflops"], unit="GFLOP/s", note=peak
        ),
    ]
