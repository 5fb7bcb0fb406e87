"""The families' names, apart from the families: forms and commands show them without torch."""

from typing import Literal

FamilyName = Literal[
    "usual",
    "ddpm",
    "ddpm_v",
    "score_sde",
    "edm",
    "flow_matching",
    "consistency",
    "average_velocity",
]
"""What a training run may ask for; ``usual`` is the domain's own order of stages."""
