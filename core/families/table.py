"""The families, by the name that a network keeps of how it was taught.

To add one, write a file with a class that teaches (``core.families.family.Family``) and a
function ``denoiser`` that reads what was taught, and add its line here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from core.conditioning import Conditioning
from core.families import average_velocity, consistency, ddpm, edm, flow, score_sde
from core.families.family import THROUGH_SAMPLE, Family, OneLevel, sample_denoiser
from core.refusal import Refusal
from core.sampling.path import Denoise

if TYPE_CHECKING:
    from core.networks.conditioned import ConditionedNetwork


class Entry(NamedTuple):
    """A family.

    Attributes:
        teach: Makes what the trainer minimizes.
        denoiser: Reads the answers of a network that was taught so.
        sampler: Usual one for few steps, of ``core.sampling.samplers`` or
            ``core.sampling.stochastic``.
        highest: Level from which it can be walked; below 1 where its answer says nothing there.
        answer: What the network answers with.
        source: Where it is from.
    """

    teach: Callable[..., Family]
    denoiser: Callable[[ConditionedNetwork, Conditioning], Denoise]
    sampler: str
    highest: float
    answer: str
    source: str


FAMILIES: dict[str, Entry] = {
    "ddpm": Entry(
        ddpm.DDPM,
        ddpm.denoiser,
        "dpmpp_2m",
        0.999,
        "the noise e",
        "Ho et al. 2020; Nichol & Dhariwal 2021 (cosine); Song et al. 2021b (DDIM)",
    ),
    "ddpm_v": Entry(
        ddpm.DDPMVelocity,
        ddpm.velocity_denoiser,
        "dpmpp_2m",
        1.0,
        "v = alpha e - sigma x",
        "Salimans & Ho 2022",
    ),
    "score_sde": Entry(
        score_sde.ScoreSDE,
        score_sde.denoiser,
        "dpmpp_2m",
        0.999,
        "the noise e = -sigma score",
        "Song et al. 2021 (Score SDE)",
    ),
    "edm": Entry(
        edm.EDM, edm.denoiser, "heun", 1.0, "F of D = c_skip x + c_out F", "Karras et al. 2022"
    ),
    "flow_matching": Entry(
        flow.FlowMatching,
        flow.denoiser,
        "flow_map",
        1.0,
        "the velocity e - x",
        "Lipman et al. 2023; Liu et al. 2023",
    ),
    "consistency": Entry(
        consistency.Consistency,
        consistency.denoiser,
        "multistep",
        1.0,
        "the average velocity to the path's end",
        "Song et al. 2023; Geng et al. 2024 (easy consistency)",
    ),
    "average_velocity": Entry(
        average_velocity.AverageVelocity,
        average_velocity.denoiser,
        "flow_map",
        1.0,
        "the average velocity from t to r",
        "Geng et al. 2025, 2025b (MeanFlow)",
    ),
}


def family_of(network: ConditionedNetwork) -> Entry:
    """The family a network was taught by.

    Raises:
        Refusal: It is none of ours.
    """
    name = network.config["trained_objective"]
    if name not in FAMILIES:
        raise Refusal(
            f"trained_objective={name!r}: this network was taught in a way that is not known "
            f"here; the families are {', '.join(FAMILIES)}: load one of these, or add its file."
        )
    return FAMILIES[name]


def denoiser(network: ConditionedNetwork, cond: Conditioning | None = None) -> Denoise:
    """The network as a ``Denoise``, read as its family does; the prompt is read once."""
    entry = family_of(network)
    if network.config.get(THROUGH_SAMPLE):
        lesson = entry.teach()
        if isinstance(lesson, OneLevel):
            return sample_denoiser(lesson, network, cond or Conditioning())
    return entry.denoiser(network, cond or Conditioning())
