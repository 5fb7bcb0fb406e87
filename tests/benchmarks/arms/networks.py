"""Networks of the arms: one trunk, with a stem, a head and a learned task of each domain's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.conditioning import Conditioning
from core.families.family import Draw, Predict
from core.families.flow import FlowMatching
from core.networks.conditioned import LEAST_LEVEL
from core.networks.text_memory import TextMemory
from core.networks.unet import SpatioTemporalUNet
from core.seeds import initialized
from core.tensors import Volumes, align
from tests.benchmarks.arms.arm import Arm, Form

OWN = ("stem", "norm_out", "head", "null_token")
"""Parts a domain keeps to itself. The null prompt, read where nothing is said, tells the task."""
TEXT = 384
CHANNELS = {"video": (3, 0), "mri": (1, 2)}
PERIODS = {"video": (0.25, 8.0), "mri": (2.0, 64.0)}


class Gated(SpatioTemporalUNet):
    """The same network, which a noisy sample enters as the best guess that knows its level alone.

    That is (1 - t) z / ((1 - t)^2 + t^2) for data of unit variance. At t = 1, where z tells
    nothing of the data, it is 0, and the network need not learn to overlook it.
    """

    def forward(
        self,
        z: Volumes,
        t: Tensor,
        r: Tensor | None = None,
        cond: Conditioning | None = None,
        memory: TextMemory | None = None,
    ) -> Volumes:
        """The velocity towards the predicted sample; shapes as there."""
        level = align(t, z)
        seen = (1 - level) * z / ((1 - level).square() + level.square())
        least = level.clamp_min(LEAST_LEVEL)
        answer = seen - least * super().forward(seen, t, r, cond, memory)
        return (z - answer) / least


class Regressor(SpatioTemporalUNet):
    """The same network, which never sees the noise: it answers from the conditioning alone."""

    def forward(
        self,
        z: Volumes,
        t: Tensor,
        r: Tensor | None = None,
        cond: Conditioning | None = None,
        memory: TextMemory | None = None,
    ) -> Volumes:
        """The velocity from z to that answer; one step along it, from t = 1, arrives there."""
        top = torch.ones_like(t)
        answer = -super().forward(torch.zeros_like(z), top, top, cond, memory)
        return (z - answer) / align(t.clamp_min(LEAST_LEVEL), z)


def network(form: Form, seed: int = 0, *, regression: bool = False) -> SpatioTemporalUNet:
    """The network of a form: two levels, of which the coarse one attends."""
    gated = form.prediction == "sample" and not form.whole
    kind = Regressor if regression else Gated if gated else SpatioTemporalUNet
    channels, beside = CHANNELS[form.domain]
    return initialized(
        lambda: kind(
            in_channels=channels,
            concat_channels=beside,
            block_out_channels=form.widths,
            layers_per_block=1,
            patch_size=form.patch,
            down_strides=((1, 2, 2),),
            attention_levels=(False, True),
            spatial_attention_levels=(False, True),
            joint_attention=True,
            text_channels=TEXT,
            head_dim=32,
            rope_periods=PERIODS[form.domain],
            prediction=form.prediction,
        ),
        seed,
    )


def take_trunk(into: SpatioTemporalUNet, weights: dict[str, Tensor]) -> None:
    """Begin with the trunk of another network, of whichever domain."""
    trunk = {k: v for k, v in weights.items() if k.split(".")[0] not in OWN}
    left = into.load_state_dict(trunk, strict=False)
    strange = [k for k in left.missing_keys if k.split(".")[0] not in OWN]
    assert not strange, strange
    assert not left.unexpected_keys, left.unexpected_keys


class TwoDomains(SpatioTemporalUNet):
    """Two networks that are one but for what ``OWN`` names; rows go where their channels fit.

    To the training loop it is one network; it has no parts but those of the two.

    Args:
        networks: The first one's trunk is kept, and becomes the second one's too.
    """

    def __init__(self, networks: Sequence[SpatioTemporalUNet]) -> None:
        nn.Module.__init__(self)
        first, second = networks
        for name, part in first.named_children():
            if name not in OWN:
                setattr(second, name, part)
                setattr(self, name, part)
        second.readers = first.readers
        # Kept by name of the part, so that the optimizer knows first and last layers.
        for name in ("stem", "norm_out", "head"):
            parts = [getattr(n, name) for n in networks]
            setattr(self, name, nn.ModuleList(parts))
        assert first.null_token is not None
        assert second.null_token is not None
        self.null_tokens = nn.ParameterList([first.null_token, second.null_token])
        self._by_channels = {int(n.config["in_channels"]): n for n in networks}

    def forward(
        self,
        z: Volumes,
        t: Tensor,
        r: Tensor | None = None,
        cond: Conditioning | None = None,
        memory: TextMemory | None = None,
    ) -> Volumes:
        """Average velocity, by the network of the domain; shapes as there."""
        return self._by_channels[z.shape[1]](z, t, r, cond, memory)


@dataclass(frozen=True, kw_only=True)
class Regression(FlowMatching):
    """What a ``Regressor`` is trained for: no noise, always at t = 1."""

    def draw(self, x: Volumes, generator: torch.Generator) -> Draw:
        """No noise at all."""
        drawn = super().draw(x, generator)
        top = torch.ones_like(drawn.t)
        return Draw(noise=torch.zeros_like(x), t=top, r=top, keep=drawn.keep)


@dataclass(frozen=True, kw_only=True)
class Both(FlowMatching):
    """Each batch by the objective of its domain.

    Attributes:
        by_channels: FlowMatching by the channels of the domain's samples.
    """

    by_channels: Mapping[int, FlowMatching]

    def draw(self, x: Volumes, generator: torch.Generator) -> Draw:
        """As the objective of the domain draws."""
        return self.by_channels[x.shape[1]].draw(x, generator)

    def loss(
        self, predict: Predict, x: Volumes, cond: Conditioning, drawn: Draw
    ) -> tuple[Tensor, Tensor]:
        """As the objective of the domain weighs."""
        return self.by_channels[x.shape[1]].loss(predict, x, cond, drawn)


def objective(arm: Arm) -> FlowMatching:
    """What the arm minimizes."""
    kind = Regression if arm.regression else FlowMatching
    found = {CHANNELS[d][0]: kind(**arm.levels(d)) for d in arm.domains}
    return Both(by_channels=found) if len(found) > 1 else next(iter(found.values()))
