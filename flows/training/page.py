"""The page of a training run: how the loss falls, and how the network does so far."""

import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.pages.artifacts import LARGEST_PICTURE, LivingPage, webp_uri

if TYPE_CHECKING:
    from core.training.validation import Validation

logger = logging.getLogger(__name__)

LARGEST_CURVE = 40_000
NUMBERS = ("learning_rate", "gradient_norm", "steps_per_second", "computing_share", "peak_share")


class TrainingPage:
    """Told of each validation, shows it in the run's page beside the curves of the log."""

    def __init__(self, run: Path, *, pictures: bool = True) -> None:
        """Take the folder of the training run, and whether what the network makes is shown."""
        self._run, self._page = run, LivingPage("How training goes")
        self._pictures = pictures
        self._shown = False

    def __call__(self, stage: str, step: int, found: "Validation | None") -> None:
        """Show what was found at a step, or the curves alone."""
        from core.training.log import LOG, read_log

        records = read_log(self._run)
        pictures = {"loss and validation by step": webp_uri(curves(records), LARGEST_CURVE)}
        if self._pictures and found is not None and found.picture is not None:
            room = LARGEST_PICTURE - LARGEST_CURVE
            pictures["what the averaged weights make"] = webp_uri(_png(found.picture), room)
        facts: dict[str, Any] = {"stage": stage, "step": step}
        facts |= {name: f"{value:.4g}" for name, value in (found.numbers if found else {}).items()}
        told = [record for record in records if "loss" in record]
        facts |= {name: told[-1][name] for name in NUMBERS if told and name in told[-1]}
        self._page(pictures, {**facts, "log": self._run / LOG})
        self._shown = True

    def end(self) -> None:
        """Show the curves of a run in which nothing was validated."""
        from core.training.log import read_log

        records = read_log(self._run)
        if self._shown or not records:
            return
        try:
            self(records[-1]["stage"], records[-1]["step"], None)
        except Exception as error:  # the model stands; a page must not make a failure of it
            logger.warning("the page of the training could not be shown: %s", error)


def curves(records: Sequence[Mapping[str, Any]]) -> bytes:
    """Loss by step of every stage, and what was found by validation, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    names = list(dict.fromkeys(name for record in records for name in record))
    for stage in dict.fromkeys(record["stage"] for record in records):
        _line(left, records, stage, "loss", stage)
        for name in (name for name in names if name.startswith("validation/")):
            _line(right, records, stage, name, f"{stage}: {name.partition('/')[2]}", "o-")
    for axes, title in ((left, "loss"), (right, "validation")):
        axes.set(title=title, xlabel="step of the stage")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize=7)
    if left.lines:
        left.set_yscale("log")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _line(
    axes: Any,
    records: Sequence[Mapping[str, Any]],
    stage: str,
    name: str,
    label: str,
    style: str = "-",
) -> None:
    points = [
        (record["step"], record[name])
        for record in records
        if record["stage"] == stage and record.get(name) is not None
    ]
    if points:
        axes.plot(*zip(*points, strict=True), style, markersize=3, linewidth=1, label=label)


def _png(picture: Any) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()
