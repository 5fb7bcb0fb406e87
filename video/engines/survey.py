"""What is known of an engine's folder without its weights, as it is kept on disk."""

from dataclasses import asdict, dataclass
from typing import Any

from video.engines.arithmetic import Arithmetic
from video.engines.engine import Ability
from video.engines.rules import Rules


@dataclass(frozen=True)
class Survey:
    """What is known of a folder without its weights.

    Attributes:
        rules: What it takes.
        abilities: What it can.
        words: How it spells what engines are asked for.
        usual: What it takes for fields that are left at 0.
        smaller: Pixels on a side of a latent.
        work: What a clip's arithmetic follows from.
    """

    rules: Rules
    abilities: tuple[Ability, ...]
    words: dict[str, str]
    usual: dict[str, float]
    smaller: int
    work: Arithmetic

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def of_plain(cls, said: dict[str, Any]) -> "Survey":
        """What ``plain`` gave."""
        rules, abilities = Rules.of_plain(said["rules"]), tuple(said["abilities"])
        work = Arithmetic(**said["work"])
        return cls(**(said | {"rules": rules, "abilities": abilities, "work": work}))
