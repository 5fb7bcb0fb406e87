"""What the environment says of the signatures in clips: whether, by whom, and whom to trust."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.refusal import Refusal


@dataclass(frozen=True)
class Provenance:
    """How clips are signed.

    Attributes:
        signs: Whether they are.
        certificate: The operator's chain in PEM; None for that of the state folder.
        key: Its private key in PEM, or a program that signs.
        trust: Files of roots that are trusted, beside that of the state folder.
    """

    signs: bool = True
    certificate: Path | None = None
    key: Path | None = None
    trust: tuple[Path, ...] = ()


def read_provenance(environment: Mapping[str, str] | None = None) -> Provenance:
    """What the variables ``LAMINA_C2PA...`` say.

    Args:
        environment: Variables to read; by default those of this process.

    Raises:
        Refusal: One holds something that cannot be what it names.
    """
    variables = os.environ if environment is None else environment
    word = variables.get("LAMINA_C2PA") or "on"
    if word not in ("on", "off"):
        raise Refusal(
            f"LAMINA_C2PA={word}: clips are signed, on, or not, off; set one, or leave it empty "
            "for on."
        )
    chain, key = (
        _file(name, variables.get(name, ""))
        for name in ("LAMINA_C2PA_CERTIFICATE", "LAMINA_C2PA_KEY")
    )
    if (chain is None) != (key is None):
        named, other = "LAMINA_C2PA_CERTIFICATE", "LAMINA_C2PA_KEY"
        named, other = (named, other) if chain else (other, named)
        raise Refusal(
            f"{named}={chain or key} without {other}: who signs is a certificate and its key; set "
            "both, or neither for those of the state folder."
        )
    told = variables.get("LAMINA_C2PA_TRUST", "")
    trust = [_file("LAMINA_C2PA_TRUST", part) for part in told.split(os.pathsep)]
    return Provenance(word == "on", chain, key, tuple(path for path in trust if path))


def _file(variable: str, text: str) -> Path | None:
    """A file that stands, by its whole path: runs begin in folders of their own."""
    if not text:
        return None
    path = Path(text).expanduser()
    if not path.is_absolute() or not path.is_file():
        state = "there is no such file" if path.is_absolute() else "it begins with no slash"
        raise Refusal(
            f"{variable}={text}: {state}: it names a file in PEM by its whole path; correct it, "
            "or leave it empty."
        )
    return path
