"""One arm of the families' page: a domain, how its network is taught, and by how much work."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from core.families.distillation import Distillation
from core.families.family import Family, OneLevel
from core.families.flow import FlowMatching
from core.families.table import FAMILIES
from core.training.plan import Plan
from core.training.stages import HALVINGS, Stage, taught
from tests.benchmarks.arms.arm import Domain

LEARNING_RATE, WARMUP, COOLDOWN = 3e-3, 40, 0.6
BATCHES: dict[Domain, int] = {"video": 16, "mri": 8}
SHIFTS: dict[Domain, float] = {"video": 8.0, "mri": 1.0}
"""Of the levels that are walked down, those of the product: clips are settled near noise."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """What is trained.

    Attributes:
        name: For the page.
        domain: Whose data it sees.
        family: Name in ``core.families.table``, or ``distillation`` of a flow.
        settings: Of the family.
        network: ``unet`` or ``dit``.
        own_answer: Whether the network's answer is what the family asks for, instead of that
            being computed from the sample which the last layer predicts, as the trainer has it.
        seed: Of first weights and of everything drawn.
    """

    name: str
    domain: Domain
    family: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    network: Literal["unet", "dit"] = "unet"
    own_answer: bool = False
    seed: int = 0

    def told(self, work: int) -> dict[str, Any]:
        """Everything that decides the outcome, but for the code and the data."""
        return json.loads(json.dumps(asdict(self))) | {"work": work}

    def folder(self, work: int) -> str:
        """Name of its folder: another budget or setting is another folder."""
        text = json.dumps(self.told(work), sort_keys=True)
        return f"{self.domain}-{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    @property
    def first_family(self) -> str:
        """The family that the network is read as before its first stage is over."""
        return "flow_matching" if self.family == "distillation" else self.family

    @property
    def is_one_level(self) -> bool:
        """Whether the family may be taught through the sample."""
        return self.family != "distillation" and isinstance(self.lesson(), OneLevel)

    def lesson(self) -> Family:
        """What is minimized, of a family that is taught in one stage."""
        return FAMILIES[self.family].teach(**self.settings)

    def stages(self, work: int) -> list[Stage]:
        """Its stages, whose arithmetic adds up to ``work`` steps of flow matching."""
        if self.family == "distillation":
            return self._distilled(work)
        if self.family == "consistency":
            usual = taught("consistency", list, steps=HALVINGS)
            mean = sum(stage.objective.cost for stage in usual) / len(usual)
            return taught("consistency", list, **self._plan(round(work / mean), HALVINGS))
        lesson = self.lesson()
        plan = Plan(**self._plan(round(work / lesson.cost)))
        return [Stage(self.family, lesson, plan)]

    def _distilled(self, work: int) -> list[Stage]:
        """Half of the work for a flow, half for what its steps lead to."""
        jumps = Distillation(shift=SHIFTS[self.domain], **self.settings)
        first: dict[str, Any] = {**self._plan(work // 2), "cooldown": 0.0}
        second = self._plan(round((work - work // 2) / jumps.cost))
        second["learning_rate"] *= jumps.rate
        return [
            Stage("flow", FlowMatching(), Plan(**first)),
            Stage("jumps", jumps, Plan(**second, cooldown=COOLDOWN)),
        ]

    def _plan(self, steps: int, parts: int = 1) -> dict[str, Any]:
        return {
            "steps": max(parts, steps),
            "batch_size": BATCHES[self.domain],
            "learning_rate": LEARNING_RATE,
            "warmup": min(WARMUP, steps // parts // 4),
            "seed": self.seed,
            "checkpoint_minutes": 1.0,
        }


REFERENCE = "flow_matching"
KINDS: tuple[dict[str, Any], ...] = (
    {"name": REFERENCE, "family": "flow_matching"},
    {"name": "ddpm", "family": "ddpm"},
    {"name": "edm", "family": "edm"},
    {"name": "average_velocity", "family": "average_velocity"},
    {"name": "dit", "family": "flow_matching", "network": "dit"},
    {"name": "consistency", "family": "consistency"},
    {"name": "distillation", "family": "distillation"},
    {"name": "ddpm_v", "family": "ddpm_v"},
    {"name": "score_sde_vp", "family": "score_sde"},
    {"name": "score_sde_ve", "family": "score_sde", "settings": {"sde": "ve"}},
    {"name": "ddpm_own_answer", "family": "ddpm", "own_answer": True},
    {"name": "flow_matching_again", "family": "flow_matching", "seed": 1},
)
ARMS: tuple[Arm, ...] = tuple(
    Arm(domain=domain, **kind) for kind in KINDS for domain in ("video", "mri")
)
"""The most telling first, each on both domains: a plan that is cut has those."""
