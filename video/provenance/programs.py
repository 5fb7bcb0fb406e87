"""Programs that sign in place of a key that stands here."""

import os
import subprocess
from pathlib import Path

from core.refusal import Refusal

PATIENCE_S = 30.0


def is_program(key: Path) -> bool:
    """Whether a file is no key but a program that signs."""
    try:
        with key.open("rb") as file:
            return os.access(key, os.X_OK) and not file.read(64).lstrip().startswith(b"-----BEGIN")
    except OSError:
        return False


def answer_of(program: Path, algorithm: str, data: bytes) -> bytes:
    """What a program writes that is to sign.

    Raises:
        Refusal: It ended otherwise than with 0, or did not in time.
    """
    try:
        asked = subprocess.run(
            [program, algorithm], input=data, capture_output=True, timeout=PATIENCE_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", b"") or b"")[-200:].decode(errors="replace")
        raise Refusal(
            f"{program}: it signed nothing ({type(error).__name__} {said}): called "
            f"with {algorithm} it reads what to sign, writes the signature and ends with 0 within "
            f"{PATIENCE_S:g} s; look after it."
        ) from error
    return asked.stdout
