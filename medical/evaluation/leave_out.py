"""Drawn heads that know nothing of the person who is tested, and results that may be gone on from.

``python -m medical.evaluation.leave_out REAL MASKS DRAWN --request FILE`` draws a dataset for each
person of ``REAL``, from a lesion atlas of all ``MASKS`` but that person's: ``DRAWN/NAME``, its
atlas in ``DRAWN/atlas-NAME``. A drawing that was stopped goes on when the same is asked again.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.progress import counted
from core.records import atomic_path
from core.refusal import Refusal
from medical.datasets.making import Maker, make_dataset
from medical.datasets.people import shipped_heads
from medical.datasets.plan import make_plan
from medical.datasets.request import MRIDatasetRequest
from medical.evaluation.cases import Case, read_cases
from medical.evaluation.downstream import DrawnFor, Row
from medical.files.nifti import read_volume
from medical.lesions.atlas import FACTS, LesionAtlas, digest_of_mask, lesion_atlas
from medical.lesions.measuring import atlas_of

logger = logging.getLogger(__name__)


def atlas_folder(drawn: Path, name: str) -> Path:
    """Where the lesion atlas without a person stands."""
    return drawn / f"atlas-{name}"


def drawn_for(real: Sequence[Case], drawn: Path) -> DrawnFor:
    """The drawn heads to train on, by the person who is left out.

    Args:
        real: Each is left out once.
        drawn: A dataset, or a folder with one for each, and the atlas it was drawn from.

    Raises:
        Refusal: There are none, or lesions of who is tested are in them.
    """
    own = all(atlas_folder(drawn, case.name).is_dir() for case in real)
    found: dict[str, Sequence[Case]] = {}
    for case in real:
        atlas = lesion_atlas(atlas_folder(drawn, case.name)) if own else lesion_atlas()
        if seen := atlas.among({case.name: case.mask.numpy() > 0}):
            raise Refusal(
                f"{', '.join(seen)}: drawn heads hold lesions made from these masks, too: who is "
                "tested may have no part in what trains; draw heads without them by python -m "
                "medical.evaluation.leave_out, or give people who are in no atlas."
            )
        if own:
            _check_atlas(drawn / case.name, atlas)
    whole = [] if own else read_cases(drawn)
    for case in real:
        found[case.name] = read_cases(drawn / case.name) if own else whole
    return found


def _check_atlas(dataset: Path, atlas: LesionAtlas) -> None:
    """Refuse heads that were drawn from another atlas than the one beside them."""
    for path in sorted((dataset / "volumes").glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        told = record.get("drawn_from", {}).get("lesion_atlas")
        if told != atlas.digest:
            raise Refusal(
                f"{path} names the lesion atlas {str(told)[:12]}, and beside {dataset.name} "
                f"stands {atlas.digest[:12]}: whose lesions are in the heads must be known; draw "
                "them anew by python -m medical.evaluation.leave_out."
            )


def read_rows(out: Path, wanted: Mapping[str, Row]) -> list[Row]:
    """Results that there are; a last line that was cut is taken away, to be done again.

    Args:
        out: Of one JSON object a line.
        wanted: The protocol that results must have, by the person left out.

    Raises:
        Refusal: A line is broken, or of another protocol or person.
    """
    if not out.is_file():
        return []
    lines = out.read_text(encoding="utf-8").split("\n")
    whole, cut = lines[:-1], lines[-1]
    rows: list[Row] = []
    for number, line in enumerate(whole, start=1):
        try:
            row = dict(json.loads(line))
        except (ValueError, TypeError) as error:
            raise Refusal(
                f"{out}:{number} is no result: each line is one as it was written; remove the "
                "line, and it is done again."
            ) from error
        _check_row(row, wanted, f"{out}:{number}")
        rows.append(row)
    if cut:
        logger.info("the last line of %s was cut and is done again", out)
        with atomic_path(out, overwrite=True) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in whole), encoding="utf-8")
    return rows


def _check_row(row: Row, wanted: Mapping[str, Row], place: str) -> None:
    person = str(row.get("left_out"))
    if person not in wanted:
        raise Refusal(
            f"{place} left out {person}, who is not among {', '.join(wanted)}: one table is of "
            "one protocol; give another name for these results."
        )
    names = {"steps": "steps", "real": "the digest of the people", "drawn": "that of drawn heads"}
    other = [
        f"{words} {row.get(name, 'untold')} there, {wanted[person][name]} now"
        for name, words in names.items()
        if row.get(name) != wanted[person][name]
    ]
    if other:
        raise Refusal(
            f"{place} is of another protocol ({'; '.join(other)}): one table is of one; give "
            "another name for these results, or ask as then."
        )


def draw_without(
    real: Sequence[Case], masks: Path, drawn: Path, request: MRIDatasetRequest
) -> None:
    """Draw a dataset for each person, from an atlas that does not know them.

    Args:
        real: Who will be tested.
        masks: Folder of masks in MNI space, theirs among them or not.
        drawn: Where the datasets go.
        request: Of each dataset.

    Raises:
        Refusal: A person stays in the atlas, or nobody's data can serve the request.
    """
    files = {path.name.split(".")[0]: path for path in sorted(masks.glob("*.nii*"))}
    digests = {name: digest_of_mask(read_volume(p).data.numpy() > 0) for name, p in files.items()}
    heads = shipped_heads()
    for case in real:
        one = digest_of_mask(case.mask.numpy() > 0)
        without = [name for name, digest in digests.items() if digest == one]
        folder = atlas_folder(drawn, case.name)
        known = (folder / FACTS).is_file()
        atlas = lesion_atlas(folder) if known else atlas_of(masks, without, folder)
        words = ", ".join(without) or "nobody"
        people = counted(len(atlas.people), "person", "people")
        logger.info("%s: lesions of %s, without %s", case.name, people, words)
        plan = make_plan(request, heads, atlas)
        made = make_dataset(Maker(request, plan, heads, atlas), drawn / case.name)
        if made.missing:
            raise RuntimeError(f"no head passed for {', '.join(made.missing)}.")


def main() -> None:
    """Draw from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("real", "masks", "drawn"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--request", type=Path, required=True)
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    request = MRIDatasetRequest.model_validate_json(asked.request.read_text(encoding="utf-8"))
    draw_without(read_cases(asked.real), asked.masks, asked.drawn, request)


if __name__ == "__main__":
    main()
