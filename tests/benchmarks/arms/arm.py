"""One arm of the experiments: a network, its data, what is minimized, and for how long."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

Domain = Literal["video", "mri"]
Triple = tuple[int, int, int]

PATCHES: dict[Domain, Triple] = {"video": (4, 8, 8), "mri": (2, 2, 2)}
BATCHES: dict[Domain, int] = {"video": 16, "mri": 8}
WIDTHS = (48, 96)
LEVELS: dict[Domain, dict[str, float]] = {
    "video": {"power": 0.0, "level_mean": 2.0, "level_std": 1.2, "pure_noise_share": 0.1},
    "mri": {"power": 0.25, "level_mean": 2.0, "level_std": 1.2, "pure_noise_share": 0.5},
}
"""Objectives of the first stages of ``video.training.training`` and ``medical.training.training``,
but that MRI sees more noise (there the mean is 0.5): else little noise, where errors weigh most,
fills the time."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """What a step costs, and nothing else: arms of one form take equal numbers of steps.

    Attributes:
        domain: Whose data it sees.
        patch: Cell of D, H, W voxels that the stem turns into one; empty for the usual.
        widths: Of the two levels of the trunk.
        batch: Samples per step; 0 for the usual.
        prediction: What the last layer answers with.
        whole: Whether the noisy sample enters as it is, and not only what of it is signal.
    """

    domain: Domain
    patch: Triple = (0, 0, 0)
    widths: tuple[int, int] = WIDTHS
    batch: int = 0
    prediction: str = "sample"
    whole: bool = False

    def __post_init__(self) -> None:
        if not any(self.patch):
            object.__setattr__(self, "patch", PATCHES[self.domain])
        if not self.batch:
            object.__setattr__(self, "batch", BATCHES[self.domain])

    @property
    def key(self) -> str:
        """For the table of costs."""
        d, h, w = self.patch
        return f"{self.domain} {d}x{h}x{w} {self.widths[0]}-{self.widths[1]} batch {self.batch}"


@dataclass(frozen=True, kw_only=True)
class Arm:
    """What is trained, and for how long.

    Attributes:
        name: Of its folder, and for the page.
        forms: One, or two whose networks share a trunk.
        objective: What differs from the usual objective of the domain.
        regression: Whether the truth is predicted from the back-projection alone.
        heads: How many heads are trained on; 0 without MRI.
        begins_with: Arm whose trunk this one begins with.
        units: Budget of each form, in units of the budget of all.
        seed: Of first weights and of everything drawn.
        full: Whether MRI is also sampled, not only restored in one step.
        averages: Whether other averages of its weights are judged, too.
    """

    name: str
    forms: tuple[Form, ...]
    objective: Mapping[str, float] = field(default_factory=dict)
    regression: bool = False
    heads: int = 0
    begins_with: str = ""
    units: float = 1.0
    seed: int = 0
    full: bool = False
    averages: bool = False

    @property
    def domains(self) -> tuple[Domain, ...]:
        """What it learns."""
        return tuple(form.domain for form in self.forms)

    def levels(self, domain: Domain) -> dict[str, float]:
        """How noise is drawn and errors are weighed."""
        return {**LEVELS[domain], **self.objective}

    def told(self, budget_s: float) -> dict[str, Any]:
        """Everything that decides the outcome, but for the code and the data."""
        told = json.loads(json.dumps(asdict(self))) | {"budget_s": budget_s}
        if not self.averages:
            del told["averages"]  # arms of before there were any keep their folders
        return told

    def folder(self, budget_s: float) -> str:
        """Name of its folder: another budget or setting is another folder."""
        text = json.dumps(self.told(budget_s), sort_keys=True)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


VIDEO, MRI = Form(domain="video"), Form(domain="mri")
ALL_HEADS = 48


def video(name: str = "video", **changed: Any) -> Arm:
    """An arm on clips; what is no part of the form belongs to the arm."""
    return _arm(name, VIDEO, changed)


def mri(name: str, heads: int = ALL_HEADS, **changed: Any) -> Arm:
    """An arm on heads."""
    return _arm(name, MRI, {"heads": heads, **changed})


def both(name: str, heads: int, **changed: Any) -> Arm:
    """An arm on clips and heads, in turn, each for as long as an arm of its own."""
    return Arm(name=name, forms=(VIDEO, MRI), heads=heads, **changed)


def _arm(name: str, form: Form, changed: dict[str, Any]) -> Arm:
    of_form = {k: changed.pop(k) for k in list(changed) if k in Form.__dataclass_fields__}
    return Arm(name=name, forms=(replace(form, **of_form),), **changed)


ARMS: tuple[Arm, ...] = (
    video(),
    mri("mri-48", full=True),
    mri("regression-48", regression=True, full=True),
    mri("video-then-mri-48", begins_with="video"),
    mri("mri-5", 5),
    mri("video-then-mri-5", 5, begins_with="video"),
    mri("mri-48-seed-1", seed=1),
    video("mri-48-then-video", begins_with="mri-48"),
    video("video-seed-1", seed=1),
    both("joint-48", ALL_HEADS),
    mri("mri-48-twice", units=2.0),
    mri("mri-whole", whole=True),
    mri("video-then-mri-48-seed-1", begins_with="video-seed-1", seed=1),
    mri("mri-level-mean-0.5", objective={"level_mean": 0.5}),
    mri("mri-5-seed-1", 5, seed=1),
    mri("mri-1", 1),
    mri("video-then-mri-1", 1, begins_with="video"),
    video("video-level-mean-0", objective={"level_mean": 0.0}),
    mri("mri-no-pure-noise", objective={"pure_noise_share": 0.0}),
    video("video-twice", units=2.0),
    mri("mri-5-twice", 5, units=2.0),
    video("video-power-0.5", objective={"power": 0.5}),
    mri("mri-power-0", objective={"power": 0.0}),
    mri("mri-patch-2x4x4", patch=(2, 4, 4)),
    video("video-patch-2x8x8", patch=(2, 8, 8)),
    video("video-whole", whole=True),
    both("joint-5", 5),
    mri("mri-20", 20),
    mri("video-then-mri-20", 20, begins_with="video"),
    mri("mri-48-seed-2", seed=2),
    video("video-seed-2", seed=2),
    mri("mri-width-96", widths=(96, 192)),
    video("video-width-96", widths=(96, 192)),
    video("video-no-dropout", objective={"dropout": 0.0}),
    video("video-velocity", prediction="velocity", whole=True),
    video("video-batch-32", batch=32),
    mri("mri-power-0.5", objective={"power": 0.5}),
    video("video-level-mean-1", objective={"level_mean": 1.0}),
    video("video-dropout-0.2", objective={"dropout": 0.2}),
    video("video-patch-4x4x4", patch=(4, 4, 4)),
    mri("mri-48-averages", averages=True),
    video("video-averages", averages=True),
    both("joint-48-twice", ALL_HEADS, units=2.0),
)
"""The most telling first: a plan that is cut has those."""
