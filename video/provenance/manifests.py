"""Signed manifests in clips and pictures (C2PA): written and read. The only door to c2pa.

Nothing is asked of a network: there is no time-stamping authority, and manifests and revocations
that stand elsewhere are not fetched.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import c2pa
from c2pa import (
    Builder,
    C2paError,
    C2paSignerInfo,
    C2paSigningAlg,
    Context,
    Reader,
    Settings,
    Signer,
)

from core.refusal import Refusal
from video.provenance.certificates import Identity
from video.provenance.unsigned import SIGNED, is_signed, media_sha256

TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
DRAWN, FILTERED = "trainedAlgorithmicMedia", "algorithmicallyEnhanced"
PARTLY_DRAWN = "compositeWithTrainedAlgorithmicMedia"
ASSERTION = "org.lamina.record"
UNTRUSTED = "signingCredential.untrusted"
CHANGED = "media_sha256.mismatch"
KINDS = {".mp4": "video/mp4", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}
UNDRAWN = {"builder": {"thumbnail": {"enabled": False}}}
"""A manifest of 3 kB without a second picture in it."""
OFFLINE = {"remote_manifest_fetch": False, "ocsp_fetch": False}


@dataclass(frozen=True)
class Claim:
    """What a manifest says of a clip.

    >>> Claim("clip.mp4", "text_to_video").source
    'trainedAlgorithmicMedia'

    Attributes:
        title: The file's name.
        task: The job's name.
        facts: Plain values more: seed, model, ...
        source: How the pictures came about, by IPTC's word.
        version: Of Lamina.
    """

    title: str
    task: str
    facts: dict[str, Any] = field(default_factory=dict)
    source: str = DRAWN
    version: str = ""


@dataclass(frozen=True)
class Finding:
    """What a file's manifest is worth.

    >>> Finding("none").signer
    ''

    Attributes:
        state: ``Trusted``: whole, and its chain ends in a root that is trusted; ``Valid``: whole,
            by whom nobody here knows; ``Invalid``: changed after it was signed; or ``none``.
        signer: Whom the certificate names.
        generator: The software that it names.
        source: How the pictures came about, by IPTC's word.
        facts: What Lamina said of the job.
        faults: What is wrong with it, by C2PA's codes.
    """

    state: str
    signer: str = ""
    generator: str = ""
    source: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


def sign(source: Path, target: Path, identity: Identity, claim: Claim) -> None:
    """Write a signed copy of an mp4 or of a picture, and read it back.

    Args:
        source: The file as it is.
        target: Where the copy goes.
        identity: Who signs.
        claim: What is said of it.

    Raises:
        RuntimeError: What was written is not whole, or not the same clip.
    """
    before = media_sha256(source)
    manifest = json.dumps(_manifest(claim, before) | {"format": KINDS[source.suffix.lower()]})
    try:
        with (
            Context(_settings("", **UNDRAWN)) as context,
            _signer(identity) as signer,
            Builder.from_json(manifest, context=context) as builder,
        ):
            builder.sign_file(str(source), str(target), signer)
    except C2paError as error:
        raise RuntimeError(
            f"{source.name} could not be signed ({error}): a clip is signed before it is a "
            "result; look after the certificate, or set LAMINA_C2PA=off."
        ) from error
    found, after = read_manifest(target), media_sha256(target)
    if found.state not in ("Valid", "Trusted") or after != before:
        raise RuntimeError(
            f"{source.name} was signed, and reads back as {found.state} "
            f"{' '.join(found.faults)}: no such file is left; make it again."
        )


def _signer(identity: Identity) -> Signer:
    """By the key, or by a program that signs with one elsewhere."""
    if identity.program is not None:
        algorithm = C2paSigningAlg[identity.algorithm.upper()]
        return Signer.from_callback(identity.sign, algorithm, identity.chain)
    info = C2paSignerInfo(
        alg=identity.algorithm.encode(), sign_cert=identity.chain.encode(),
        private_key=identity.key, ta_url=None,
    )  # fmt: skip
    return Signer.from_info(info)


def read_manifest(path: Path, anchors: str = "") -> Finding:
    """What the manifest in a file says, held against the file.

    Args:
        path: A clip.
        anchors: Roots that are trusted, in PEM.

    Raises:
        Refusal: The file cannot be opened.
    """
    ours = path.suffix.lower() in SIGNED
    try:
        if ours and not is_signed(path):
            return Finding("none")
        kind = path.suffix.lower().removeprefix(".")
        with (
            path.open("rb") as file,
            Context(_settings(anchors)) as context,
            Reader(kind, file, context=context) as reader,
        ):
            told, state = json.loads(reader.json()), str(reader.get_validation_state())
        return _held_against_its_bytes(path, _finding(told, state))
    except C2paError as error:
        fault = str(error).partition(":")[0]
        return Finding("Invalid", faults=(fault,)) if ours else Finding("none")
    except OSError as error:
        raise Refusal(
            f"{path}: {error.strerror}: a file that can be read is looked at; check the name."
        ) from error


def library() -> str:
    """Which library signs and reads."""
    return f"c2pa-rs {c2pa.sdk_version()}"


def _held_against_its_bytes(path: Path, found: Finding) -> Finding:
    """What C2PA leaves out of its digest, such as the first box, is in that of Lamina."""
    said = found.facts.get("media_sha256", "")
    if not said or found.state == "Invalid" or said == media_sha256(path):
        return found
    return replace(found, state="Invalid", faults=(*found.faults, CHANGED))


def _finding(told: dict[str, Any], state: str) -> Finding:
    manifest = told.get("manifests", {}).get(told.get("active_manifest"), {})
    said = {each["label"]: each.get("data") or {} for each in manifest.get("assertions", [])}
    actions = next((data for label, data in said.items() if label.startswith("c2pa.actions")), {})
    kinds = [str(each.get("digitalSourceType", "")) for each in actions.get("actions", [])]
    makers = manifest.get("claim_generator_info") or [{}]
    faults = (str(each.get("code")) for each in told.get("validation_status", []))
    facts = said.get(ASSERTION)
    return Finding(
        state,
        str(manifest.get("signature_info", {}).get("common_name", "")),
        " ".join(str(makers[0].get(name, "")) for name in ("name", "version")).strip(),
        next((kind.rpartition("/")[2] for kind in kinds if kind), ""),
        facts if isinstance(facts, dict) else {},
        tuple(code for code in faults if code != UNTRUSTED),
    )


def _manifest(claim: Claim, digest: str) -> dict[str, Any]:
    maker = {"name": "Lamina", "version": claim.version or "unknown"}
    source = TYPES + claim.source
    action = {"action": "c2pa.created", "digitalSourceType": source, "softwareAgent": maker}
    facts = {"task": claim.task, "media_sha256": digest, **claim.facts}
    return {
        "claim_generator_info": [maker],
        "title": claim.title,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [action]}},
            {"label": ASSERTION, "data": facts},
        ],
    }


def _settings(anchors: str, **more: Any) -> Settings:
    trust = {"trust": {"trust_anchors": anchors}} if anchors else {}
    return Settings.from_dict({"verify": {"verify_trust": True, **OFFLINE}, **trust, **more})
