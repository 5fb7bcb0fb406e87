"""Clips signed as the last thing before their record: who drew them stands inside the file.

What is compared, by resuming, reproducing or in a batch, is the file before it was signed: two
signatures are never the same bytes. WebM, GIF and WebP are not signed, nor are pictures that only
show what a file holds.
"""

import logging
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.operations.operation import AnyOperation, Facts
from core.progress import timed
from core.records import atomic_path, sha256_file, versions
from core.refusal import Refusal
from core.request import Request
from flows.settings.provenance import read_provenance
from flows.settings.settings import Settings, read_settings
from video.provenance.unsigned import SIGNED, media_sha256

if TYPE_CHECKING:
    from video.provenance.certificates import Identity

logger = logging.getLogger(__name__)

FOLDER = "provenance"  # in the state folder
NAME = "Lamina"  # whom certificates name that were made unasked


def keys_folder(settings: Settings) -> Path:
    """Where this machine's own root and certificate stand."""
    return settings.home / FOLDER


def check_signing(operation: AnyOperation, ending: str) -> None:
    """Refuse a clip that could not be signed, before it is drawn; nothing is made.

    Args:
        operation: What will be done.
        ending: Of the file's name.

    Raises:
        Refusal: The library or the key is not there, or not in order.
    """
    asked = read_provenance()
    if not asked.signs or not _signable(operation, ending):
        return
    check_library()
    folder = keys_folder(read_settings())
    if asked.certificate or folder.exists():
        _standing(folder)
        return
    above = next(part for part in folder.parents if part.exists())
    if not os.access(above, os.W_OK):
        raise Refusal(
            f"{folder} cannot be made: clips are signed, and keys are kept there; let LAMINA_HOME "
            "name a folder that can be written, or set LAMINA_C2PA_CERTIFICATE and "
            "LAMINA_C2PA_KEY, or LAMINA_C2PA=off."
        )


def sign_outputs(
    operation: AnyOperation,
    request: Request,
    paths: Mapping[str, Path],
    timings: dict[str, float] | None = None,
) -> list[str]:
    """Sign what is a clip in a file that can be signed; the roles of what was.

    A root and a certificate are made, and that is said, where there are none.

    Args:
        operation: What was done.
        request: What was asked.
        paths: Files by role; those that are signed are replaced.
        timings: Step to seconds; that of signing is added where something is signed.

    Raises:
        Refusal: The library or the key is not there, or not in order.
        RuntimeError: What was written is not whole.
    """
    asked = operation.outputs(next(iter(paths.values())))
    roles = [role for role in paths if role in asked and _signable(operation, paths[role].suffix)]
    if not roles or not read_provenance().signs:
        return []
    check_library()
    from video.provenance.manifests import Claim, sign

    identity = _identity()
    facts, source = _facts(operation, request), _source(operation, request)
    with timed({} if timings is None else timings, "sign"):
        for role in roles:
            path = paths[role]
            claim = Claim(path.name, operation.name, facts, source, versions()["lamina"])
            with atomic_path(path, overwrite=True) as temporary:
                sign(path, temporary, identity, claim)
    return roles


def said_of_signature(operation: AnyOperation, path: Path) -> Facts:
    """What the record says of it; nothing where the result is no clip."""
    if operation.kind != "video":
        return {}
    from video.provenance.unsigned import is_signed

    if is_signed(path):
        return {"c2pa": "signed"}
    if path.suffix.lower() not in SIGNED:
        return {"c2pa": f"not signed: {path.suffix} is not, {', '.join(SIGNED)} are"}
    return {"c2pa": "not signed: LAMINA_C2PA=off" if not read_provenance().signs else "not signed"}


def is_as_recorded(path: Path, said: Mapping[str, Any]) -> bool:
    """Whether a file is the one that a record tells of.

    Another signature makes no other clip, as long as it reads as whole; one that was damaged or
    taken out does.
    """
    if sha256_file(path) == said["sha256"]:
        return True
    if "media_sha256" not in said or media_sha256(path) != said["media_sha256"]:
        return False
    try:
        from video.provenance.manifests import read_manifest
    except ImportError:  # nobody can tell here: it is made again
        return False
    return read_manifest(path).state in ("Valid", "Trusted")


def make_keys(settings: Settings, name: str) -> bool:
    """Make this machine's own root and certificate; whether they were made, not so if they stand.

    Args:
        settings: Places.
        name: Whom they name.
    """
    check_library()
    from video.provenance.certificates import make_identity

    return make_identity(keys_folder(settings), name)


def check_library() -> None:
    """Refuse to sign or to read signatures where the library for it is not there."""
    try:
        import video.provenance.manifests  # noqa: F401
    except ImportError as error:
        raise Refusal(
            f"LAMINA_C2PA=on: {error}: signatures in clips need c2pa-python and cryptography; "
            "install Lamina with all it needs, or set LAMINA_C2PA=off to make clips without."
        ) from error


def _signable(operation: AnyOperation, ending: str) -> bool:
    return operation.kind == "video" and ending.lower() in SIGNED


def _identity() -> "Identity":
    from video.provenance.certificates import ROOT

    settings = read_settings()
    folder = keys_folder(settings)
    if not read_provenance().certificate and make_keys(settings, NAME):
        logger.warning(
            "clips are signed from now on: a root and a certificate were made in %s; give %s to "
            "whoever shall trust your clips, and let nobody read the keys (LAMINA_C2PA=off signs "
            "nothing)", folder, ROOT,
        )  # fmt: skip
    return _standing(folder)


def _standing(folder: Path) -> "Identity":
    from video.provenance.certificates import CHAIN, KEY, read_identity

    asked = read_provenance()
    if asked.certificate and asked.key:
        identity = read_identity(asked.certificate, asked.key)
        if identity.program is None:
            _say_who_may_read(asked.key, asked.key.stat().st_mode & 0o777)
        return identity
    return read_identity(folder / CHAIN, folder / KEY)


@cache
def _say_who_may_read(key: Path, mode: int) -> None:
    """Once a process, that others than its owner may read a key."""
    if mode & 0o044:
        logger.warning(
            "LAMINA_C2PA_KEY=%s may be read by others than its owner (%03o): whoever reads it "
            "signs in your name; chmod 600 it", key, mode,
        )  # fmt: skip


def _facts(operation: AnyOperation, request: Request) -> dict[str, Any]:
    """What of the job stands in the manifest: no prompt, which is in the file's tag."""
    seed = getattr(request, "seed", None)
    named = {"model": Path(operation.source(request).name).name}
    return named if seed is None else {**named, "seed": str(seed)}


def _source(operation: AnyOperation, request: Request) -> str:
    from video.engines.pictures import is_frame
    from video.provenance.manifests import DRAWN, FILTERED, PARTLY_DRAWN

    if not getattr(operation.source(request), "drawn", True):
        return FILTERED
    shown = any(role == "clip" or is_frame(role) for role in operation.inputs(request))
    return PARTLY_DRAWN if shown else DRAWN
