"""Raw BIDS datasets and their derivatives: names, tables and descriptions.

BIDS 1.10. A dataset of drawn heads says in every table that its people do not exist.
"""

from __future__ import annotations

import csv
import errno
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from core.records import atomic_path
from medical.files.container import scan_name

VERSION = "1.10.0"
LEVELS = 4  # of folders: of the image, session, subject, dataset
DERIVATIVE = "derivatives/lamina"
LICENSE = "CC0"


def entities_of(name: str) -> tuple[dict[str, str], str]:
    """The entities of a file's name in order, and its suffix; none where the name is no BIDS.

    >>> entities_of("sub-01_ses-2_T1w.nii.gz")
    ({'sub': '01', 'ses': '2'}, 'T1w')
    """
    *parts, suffix = name.partition(".")[0].split("_")
    pairs = [re.fullmatch(r"([a-zA-Z]+)-([a-zA-Z0-9+]+)", part) for part in parts]
    if not suffix.isalnum() or not all(pairs):
        return {}, ""
    return {pair[1]: pair[2] for pair in pairs if pair}, suffix


def read_text(path: Path) -> str:
    """A text file that other tools wrote, in UTF-8 or UTF-16, as far as it can be read.

    Raises:
        OSError: It is no file (a pipe would be waited for), or may not be read.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "no regular file", str(path))
    raw = path.read_bytes()
    wide = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
    return raw.decode("utf-16" if wide else "utf-8-sig", errors="replace")


def people_table(path: Path) -> tuple[list[str], list[list[str]]]:
    """Columns (in small letters) and rows of ``participants.tsv``, some of which are saved as CSV.

    Empty where no column is ``participant_id``; rows without a cell there are left out.
    """
    text = read_text(path)
    for between in "\t,;":
        columns, *rows = _cells(text, between) or [[]]
        columns = [name.lower() for name in columns]
        if "participant_id" in columns:
            who = columns.index("participant_id")
            return columns, [row for row in rows if len(row) > who]
    return [], []


def _cells(text: str, between: str) -> list[list[str]]:
    quoting = csv.QUOTE_NONE if between == "\t" else csv.QUOTE_MINIMAL  # BIDS quotes nothing
    lines = StringIO(text, newline="")
    try:
        rows = [*csv.reader(lines, delimiter=between, quoting=quoting, strict=True)]
    except csv.Error:  # a quote that is never closed
        rows = [line.split(between) for line in text.splitlines()]
    return [[cell.strip().strip('"') for cell in row] for row in rows]


def read_json(path: Path) -> dict[str, Any]:
    """What a JSON file says; nothing where it is none."""
    try:
        return json_of(read_text(path))
    except OSError:
        return {}


def json_of(text: str) -> dict[str, Any]:
    """What a JSON text says; nothing where it is none.

    >>> json_of('{"SkullStripped": true}'), json_of("[1]")
    ({'SkullStripped': True}, {})
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def sidecars(scan: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and contents of the JSON files that speak of a scan, the nearest first.

    Its own stands beside it; by BIDS' inheritance one higher up speaks of every scan whose name
    has all entities of its own, and its suffix.
    """
    own = f"{scan_name(scan.name)}.json"
    entities, suffix = entities_of(scan.name)
    yield own, read_json(scan.with_name(own))
    for folder in scan.absolute().parents[: LEVELS if "sub" in entities else 0]:
        for path in sorted(folder.glob(f"*{suffix}.json")):
            told, of = entities_of(path.name)
            if path.name != own and of == suffix and told.items() <= entities.items():
                yield path.name, read_json(path)


def is_stripped(scan: Path) -> bool:
    """Whether a scan's sidecars say that it shows no skull; where they say nothing it does."""
    said = (told["SkullStripped"] for _, told in sidecars(scan) if "SkullStripped" in told)
    return next(said, False) is True


def image_path(subject: str, contrast: str, session: str = "") -> str:
    """Where an image stands in the dataset.

    >>> image_path("sub-01", "FLAIR"), image_path("sub-01", "T1w", "ses-02")
    ('sub-01/anat/sub-01_FLAIR.nii.gz', 'sub-01/ses-02/anat/sub-01_ses-02_T1w.nii.gz')
    """
    return f"{_anat(subject, session)}_{contrast}.nii.gz"


def mask_path(subject: str, session: str = "") -> str:
    """Where a lesion mask stands in the dataset."""
    return f"{DERIVATIVE}/{_anat(subject, session)}_label-lesion_mask.nii.gz"


def change_path(subject: str, session: str) -> str:
    """Where the mask of what joined the lesions since the session before stands."""
    return f"{DERIVATIVE}/{_anat(subject, session)}_label-lesion_desc-change_mask.nii.gz"


def tissue_path(subject: str, session: str = "") -> str:
    """Where tissue labels stand in the dataset."""
    return f"{DERIVATIVE}/{_anat(subject, session)}_dseg.nii.gz"


def _anat(subject: str, session: str) -> str:
    folder, name = (f"{subject}/{session}", f"{subject}_{session}") if session else (subject,) * 2
    return f"{folder}/anat/{name}"


def write_json(path: Path, content: Mapping[str, Any]) -> Path:
    """Write a JSON file, keys as they come; its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    return write_text(path, text + "\n")


def write_text(path: Path, text: str) -> Path:
    """Write a text file whole, its folder made where it lacks; its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path, overwrite=True) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def write_descriptions(
    root: Path, *, name: str, readme: str, generated: Mapping[str, str], licensed: str = LICENSE
) -> None:
    """Write what describes the dataset and its derivatives as a whole.

    Args:
        root: Of the raw dataset.
        name: Of the dataset.
        readme: Text for people.
        generated: Name and version of the software.
        licensed: License of the dataset.
    """
    raw = {
        "Name": name,
        "BIDSVersion": VERSION,
        "DatasetType": "raw",
        "License": licensed,
        "Authors": ["Lamina (drawn by software)"],
        "GeneratedBy": [{"Name": generated["name"], "Version": generated["version"]}],
    }
    write_json(root / "dataset_description.json", raw)
    write_text(root / "README", readme)
    derived = {**raw, "Name": f"{name}: labels", "DatasetType": "derivative"}
    write_json(root / DERIVATIVE / "dataset_description.json", derived)
    write_text(root / DERIVATIVE / "dseg.tsv", TISSUES)


TISSUES = (
    "index\tname\tabbreviation\n"
    "1\tcerebrospinal fluid\tCSF\n"
    "2\tgray matter\tGM\n"
    "3\twhite matter\tWM\n"
)


def write_participants(
    root: Path, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Mapping[str, Any]]
) -> None:
    """Write ``participants.tsv`` and what its columns mean.

    Args:
        root: Of the dataset.
        rows: A table row for each participant, ``participant_id`` among them.
        columns: Name of each further column and its description in BIDS' words.
    """
    write_table(root / "participants.tsv", "participant_id", rows, columns)


def write_table(
    path: Path,
    first: str,
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, Mapping[str, Any]],
) -> list[Path]:
    """Write a table and, beside it, what its columns mean; the files.

    Args:
        path: Of the table, ``.tsv``.
        first: Name of the first column.
        rows: Of the table, by column.
        columns: Name of each further column and its description in BIDS' words.
    """
    names = [first, *columns]
    lines = ["\t".join(names)]
    lines += ["\t".join(_cell(row.get(name)) for name in names) for row in rows]
    table = write_text(path, "\n".join(lines) + "\n")
    return [table, write_json(path.with_suffix(".json"), dict(columns))]


def _cell(value: object) -> str:
    if value is None or value == "":
        return "n/a"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
