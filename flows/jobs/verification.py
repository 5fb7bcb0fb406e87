"""Where a clip comes from: its manifest, its watermark and the record beside it, held together."""

import json
import logging
import re
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.refusal import Refusal
from flows.jobs.signing import check_library, keys_folder
from flows.settings.provenance import read_provenance
from flows.settings.settings import read_settings
from flows.storage.delivery import bare
from video.provenance.unsigned import SIGNED, media_sha256

if TYPE_CHECKING:
    from video.provenance.watermark import Mark

logger = logging.getLogger(__name__)

LINES_KEPT, LOOKED_AT, MOST_PIXELS = 1000, 32, 70_000_000
DECODED = (
    ".mp4", ".webm", ".gif", ".webp", ".mov", ".mkv", ".avi", ".png", ".jpg", ".jpeg",
)  # fmt: skip
NUMBER = re.compile(r"[0-9a-f]{8}\b")  # as a record tells a watermark
FINE, WRONG, UNKNOWN = 0, 1, 3
WORTH = {
    "Trusted": "signed by {signer}, whose root is trusted here, and whole",
    "Valid": "signed by {signer}, whose root is not trusted here, and whole",
    "Invalid": "signed, and changed after that or damaged",
    "none": "no manifest",
}


@dataclass(frozen=True)
class Origin:
    """What a file says of where it comes from.

    Attributes:
        file: Its name.
        state: ``Trusted``, ``Valid``, ``Invalid`` or ``none``, of its manifest.
        signer: Whom the certificate names.
        generator: The software that the manifest names.
        source: How the pictures came about, by IPTC's word.
        faults: What is wrong with the manifest, by C2PA's codes.
        record: ``same``, ``other bytes``, ``none``: what the record beside it says.
        made: Of the record: task, when, model and seed.
        media_sha256: Of the file before it was signed.
        watermark: The number in its pixels; empty where none is found.
        watermark_chance: At most how likely a clip without one looks so; 1 where none is found.
        recorded_watermark: What the record says of it.
    """

    file: str
    state: str
    signer: str = ""
    generator: str = ""
    source: str = ""
    faults: tuple[str, ...] = ()
    record: str = "none"
    made: dict[str, Any] = field(default_factory=dict)
    media_sha256: str = ""
    watermark: str = ""
    watermark_chance: float = 1.0
    recorded_watermark: str = ""

    @property
    def code(self) -> int:
        """0 where it is signed and whole, 1 where something contradicts, 3 where nothing signs."""
        if self.state == "Invalid" or self.record == "other bytes":
            return WRONG
        return UNKNOWN if self.state == "none" else FINE

    def plain(self) -> dict[str, Any]:
        """All of it as JSON holds it."""
        return {**asdict(self), "faults": list(self.faults)}

    def words(self) -> str:
        """The manifest in a line."""
        return f"{self.state}: {WORTH[self.state].format(signer=self.signer or 'somebody')}"


def origin_of(path: Path, *, pixels: bool = False) -> Origin:
    """What a file says of where it comes from; nothing is asked of a network.

    Args:
        path: A clip of any kind; mp4, PNG and JPEG are signed here, others may be by others.
        pixels: Whether to decode some frames and look for a watermark.

    Raises:
        Refusal: There is no such file, or a root that is named cannot be read.
    """
    if not path.is_file():
        raise Refusal(f"{path}: there is no such file; check the name.")
    check_library()
    from video.provenance.manifests import read_manifest

    found, digest = read_manifest(path, trusted_roots()), media_sha256(path)
    said, made, mark = _recorded(path, digest)
    seen = _watermark(path, mark) if pixels else None
    return Origin(
        path.name, found.state, found.signer, found.generator, found.source, found.faults,
        said, made, digest, seen.hex if seen else "", seen.chance if seen else 1.0, mark,
    )  # fmt: skip


def _watermark(path: Path, recorded: str) -> "Mark | None":
    from video.files.formats import look_at
    from video.provenance.watermark import read_mark

    if not any(path.name.lower().endswith(ending) for ending in DECODED):
        return None
    footage = look_at(path, stills=True)
    high, wide = footage.stored
    pixels = int(high * wide * max(footage.pixel, 1 / footage.pixel))
    if pixels > MOST_PIXELS:
        logger.warning("%s: frames of %s pixels are not looked into", path.name, f"{pixels:,}")
        return None
    frames = list(islice(footage.frames(), min(LOOKED_AT, MOST_PIXELS // pixels)))
    known = NUMBER.match(recorded)
    return read_mark(np.stack(frames), int(known[0], 16) if known else None)


def trusted_roots() -> str:
    """This machine's own root and those that the operator names, in PEM."""
    from video.provenance.certificates import ROOT, read_anchors

    own = keys_folder(read_settings()) / ROOT
    files = [*([own] if own.is_file() else []), *read_provenance().trust]
    return "".join(map(read_anchors, files))


def line_of(path: Path) -> str:
    """The manifest in a line, for a page; empty where it cannot be read here."""
    try:
        facts = path.stat()
        return _line(path, facts.st_mtime_ns, facts.st_size)
    except (OSError, ValueError) as error:
        logger.warning("%s: %s", path.name, error)
        return ""


@lru_cache(LINES_KEPT)
def _line(path: Path, _mtime_ns: int, _size: int) -> str:
    return origin_of(path).words()


def lines(origin: Origin) -> list[str]:
    """The same for a person."""
    said = [f"{origin.file}: {origin.words()}"]
    if origin.faults:
        said.append(f"  because: {', '.join(origin.faults)}")
    if origin.state not in ("none", "Invalid"):
        told = origin.generator or "software that it does not name", origin.source or "untold"
        said.append(f"  says: made by {told[0]}, source {told[1]}")
    if origin.state == "none" and Path(origin.file).suffix.lower() not in SIGNED:
        said.append(f"  {Path(origin.file).suffix} files are not signed by Lamina")
    about = ", ".join(f"{name} {value}" for name, value in origin.made.items())
    beside = {
        "same": f"tells this file, bit for bit before signing ({about})",
        "other bytes": f"tells another file than this ({about})",
        "none": "none beside it",
    }
    said.append(f"  watermark: {_said_of_mark(origin)}")
    said.append(f"  record: {beside[origin.record]}")
    return said


def _said_of_mark(origin: Origin) -> str:
    if not origin.watermark:
        return "none found"
    odds = f"by chance in at most {origin.watermark_chance:.0e} of clips without one"
    told = origin.recorded_watermark.partition(",")[0]
    whose = {"": "no record to compare with", origin.watermark: "that of the record"}
    return f"{origin.watermark}, {whose.get(told, 'the record has another')}; {odds}"


def _recorded(path: Path, digest: str) -> tuple[str, dict[str, Any], str]:
    try:
        record = json.loads(path.with_name(f"{bare(path)}.json").read_text(encoding="utf-8"))
        outputs = record["outputs"].values()
        known = [one for one in outputs if str(one["file"]).endswith(path.suffix)]
        digests = {str(one.get("media_sha256") or one["sha256"]) for one in known}
        model = record.get("model", {}).get("name", "unnamed")
        made = {"task": record["task"], "created": record["created"], "model": model}
        made |= {} if record.get("seeds") is None else {"seed": record["seeds"]}
        mark = str((record.get("extra") or {}).get("watermark", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "none", {}, ""
    if not digests:
        return "none", {}, mark
    return ("same" if digest in digests else "other bytes"), made, mark
