"""Drawn heads that know nothing of the person who is tested, and results that may be gone on from.

``python -m medical.evaluation.leave_out REAL MASKS DRAWN --request FILE`` draws a dataset for each
person of ``REAL``, of whom there may be several sessions, from a lesion atlas of all ``MASKS`` but
that person's: ``DRAWN/NAME``, its atlas in ``DRAWN/atlas-NAME``. A mask is a person's where its
file is called like the person, whatever follows after ``_``, or its voxels are the same; of whom
there is none is said by ``--no-mask NAME``. A drawing that was stopped goes on when the same is
asked again.
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
from medical.evaluation.cases import Case, people_of, read_cases
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
        real: Each person is left out once, with all sessions.
        drawn: A dataset, or a folder with one for each, and the atlas it was drawn from.

    Raises:
        Refusal: There are none, lesions of who is tested are in them, or whose are is not known.
    """
    people = people_of(real)
    own = all(atlas_folder(drawn, person).is_dir() for person in people)
    found: dict[str, Sequence[Case]] = {}
    for person, tests in people.items():
        atlas = lesion_atlas(atlas_folder(drawn, person)) if own else lesion_atlas()
        if seen := atlas.among({case.name: case.mask.numpy() > 0 for case in tests}):
            raise Refusal(
                f"{', '.join(seen)}: drawn heads hold lesions made from these masks, too: who is "
                "tested may have no part in what trains; draw heads without them by python -m "
                "medical.evaluation.leave_out, or give people who are in no atlas."
            )
        if own:
            found[person] = _heads_of(drawn / person, atlas)
    whole = [] if own else _heads_of(drawn, lesion_atlas())
    return found if own else dict.fromkeys(people, whole)


def _heads_of(dataset: Path, atlas: LesionAtlas) -> list[Case]:
    """The heads of a dataset, refused where a record does not say that they are of an atlas."""
    cases = read_cases(dataset)
    for case in cases:
        path = dataset / "volumes" / f"{case.name.partition('_')[0]}.json"
        record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        told = record.get("drawn_from", {}).get("lesion_atlas")
        if told != atlas.digest:
            says = f"names the lesion atlas {str(told)[:12]}" if told else "names no lesion atlas"
            raise Refusal(
                f"{path} {says if record else 'is not there'}, and {dataset.name} is held to that "
                f"of {atlas.digest[:12]}: whose lesions are in the heads must be known; draw "
                "them anew by python -m medical.evaluation.leave_out."
            )
    return cases


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
    real: Sequence[Case],
    masks: Path,
    drawn: Path,
    request: MRIDatasetRequest,
    *,
    no_mask: Sequence[str] = (),
) -> None:
    """Draw a dataset for each person, from an atlas that does not know them.

    Args:
        real: Who will be tested.
        masks: Folder of masks in MNI space, theirs among them or not.
        drawn: Where the datasets go.
        request: Of each dataset.
        no_mask: Names of those of ``real`` who have no mask there.

    Raises:
        Refusal: A person stays in the atlas or may, an atlas there is of other masks, or nobody's
            data can serve the request.
    """
    if request.sources:
        raise Refusal(
            f"sources={request.sources} names people of your own, and a left-out person may be "
            "among them: heads are drawn from the shipped model here; leave sources empty."
        )
    files = {path.name.split(".")[0]: path for path in sorted(masks.glob("*.nii*"))}
    digests = {name: digest_of_mask(read_volume(p).data.numpy() > 0) for name, p in files.items()}
    heads = shipped_heads()
    for person, cases in people_of(real).items():
        without = _masks_of(cases, digests, masks, no_mask)
        folder = atlas_folder(drawn, person)
        known = (folder / FACTS).is_file()
        atlas = lesion_atlas(folder) if known else atlas_of(masks, without, folder)
        _check_people(atlas, [one for name, one in digests.items() if name not in without], masks)
        words = ", ".join(without) or "nobody"
        people = counted(len(atlas.people), "person", "people")
        logger.info("%s: lesions of %s, without %s", person, people, words)
        plan = make_plan(request, heads, atlas)
        made = make_dataset(Maker(request, plan, heads, atlas), drawn / person)
        if made.missing:
            raise RuntimeError(f"no head passed for {', '.join(made.missing)}.")


def _masks_of(
    cases: Sequence[Case], digests: Mapping[str, str], masks: Path, no_mask: Sequence[str]
) -> list[str]:
    """Which masks are those of a person with these sessions, by name or by voxels."""
    own, person = {digest_of_mask(case.mask.numpy() > 0) for case in cases}, cases[0].person
    found = [
        name
        for name, digest in digests.items()
        if digest in own or name == person or name.startswith(f"{person}_")
    ]
    if not found and not {person, *(case.name for case in cases)} & set(no_mask):
        raise Refusal(
            f"{person}: no mask in {masks} is called like this person or has the same voxels: "
            "whose lesions are left out must be known, and a mask on another grid is known by its "
            f"name alone; call it {person}.nii.gz, or say --no-mask {person} where none of the "
            "masks is of this person."
        )
    return found


def _check_people(atlas: LesionAtlas, wanted: Sequence[str], masks: Path) -> None:
    """Refuse an atlas that is there and was measured from other masks."""
    if sorted(atlas.people) != sorted(wanted):
        raise Refusal(
            f"{atlas.folder} was measured from {counted(len(atlas.people), 'mask')} that are not "
            f"the {len(wanted)} of {masks} to be taken now: heads know nothing of who is left out "
            "where their atlas is of these; remove the folder, or give another name for DRAWN."
        )


def main() -> None:
    """Draw from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("real", "masks", "drawn"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--request", type=Path, required=True)
    parser.add_argument("--no-mask", nargs="*", default=[])
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    request = MRIDatasetRequest.model_validate_json(asked.request.read_text(encoding="utf-8"))
    real = read_cases(asked.real)
    draw_without(real, asked.masks, asked.drawn, request, no_mask=asked.no_mask)


if __name__ == "__main__":
    main()
