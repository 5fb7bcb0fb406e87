"""``lamina mri`` on datasets of drawn heads: made, held against people, decided on, withdrawn."""

import sys
from pathlib import Path
from typing import Literal

from core.numerics import prefer_portable
from core.progress import counted
from flows.commands.options import options_of
from flows.commands.single import run_here
from medical.audit.request import AuditRequest


@options_of(AuditRequest, given=("dataset",))
def audit(
    dataset: str,
    /,
    *,
    request: AuditRequest,
    output: Path | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
) -> int:
    """Hold the heads of a dataset against people, with controls that must be found.

    The exit code is 0 where nobody is found by an audit that finds its controls, and 1 else.

    Args:
        dataset: BIDS folder with skull-stripped T1-weighted heads, or a dataset drawn here.
        output: The page to write (.html), its numbers beside it (.json); by default
            NAME-audit.html in this folder.
        overwrite: Replace files that already stand there.
        dry_run: Only say what it would take, or refuse it.
    """
    import json

    from flows.jobs.pipeline import record_path
    from medical.audit.page import verdict

    page = output or Path(f"{Path(dataset).resolve().name}-audit.html")
    run_here(request, page, overwrite=overwrite, dry_run=dry_run)
    if dry_run:
        return 0
    told = json.loads(record_path(page).read_text(encoding="utf-8"))["extra"]["audit"]
    for reason in told["reasons"]:
        sys.stderr.write(f"not passed: {reason}\n")
    print(verdict(told))
    return 0 if told["passed"] else 1


def augment(request: Path, out: Path, /, *, dry_run: bool = False) -> int:
    """Draw a dataset of heads with images, masks, splits and a report.

    What stands already is not made again; the same request on the same folder changes nothing.
    Arithmetic is portable, so every x86-64 server with AVX2 and the same versions of the libraries
    makes the same bytes; LAMINA_NUMERICS=native is that of this machine.

    Args:
        request: JSON file that says what to draw; docs/examples/dataset.json is one, and
            docs/datasets.md describes the fields.
        out: Folder of the dataset; it is made where there is none.
        dry_run: Say what would be made, how long it takes and how much room, and make nothing.
    """
    prefer_portable()
    from core.progress import terminal_meter
    from flows.commands.stack import read_request
    from flows.jobs.dataset_plans import make, planned, settle
    from medical.datasets.making import claim, left_to_draw
    from medical.datasets.own_people import OwnHeads
    from medical.datasets.request import MRIDatasetRequest

    asked = read_request(MRIDatasetRequest, request)
    maker, wanted = planned(asked, out)
    left = left_to_draw(maker, out)
    needs = f"needs {wanted}" if left else "all stand"
    stand = f"{asked.count - left} stand, the rest " if 0 < left < asked.count else ""
    what = f"{', '.join(asked.contrasts)}{', two sessions' * asked.longitudinal.asked}"
    print(f"{counted(asked.count, 'head')}, {what}: {stand}{needs}")
    for words in maker.plan.said:
        print(f"note: {words}")
    claim(maker, out, write=not (dry_run or maker.plan.pending))
    if dry_run:
        if isinstance(maker.heads, OwnHeads) and maker.heads.left_out:
            print(f"left out of {asked.sources}: {maker.heads.left_out}")
        return 0
    if maker.plan.pending:
        with terminal_meter("measuring linkage") as meter:
            maker = settle(maker, out, meter)
        print(f"note: {maker.plan.said[0]}")
    with terminal_meter("drawing") as meter:
        made = make(maker, out, meter)
    if made.missing:
        sys.stderr.write(
            f"No head passed for {', '.join(made.missing)}; the reasons stand in "
            f"{out / 'quarantine'}.\n"
        )
        return 1
    print(out / "report.html")
    return 0


def approve(
    dataset: Path, /, *, by: str, decision: Literal["accept", "reject"] = "accept", note: str = ""
) -> None:
    """Accept or reject a dataset that was drawn; its report and tables then say so.

    Args:
        dataset: Folder that it was drawn into.
        by: Your name.
        decision: On the dataset as a whole.
        note: Why; it is kept.
    """
    from medical.datasets.approval import Answer
    from medical.datasets.decisions import approve as write

    said = write(dataset, Answer(decision, by, note))
    for one in said.get("earlier", ()):
        print(f"before: {one['decision']}ed by {one['by']} on {one['decided'][:16]} UTC")
    print(f"{decision}ed by {by}: {dataset / 'approval.json'}")


def withdraw(participant: str, /, *, datasets: tuple[Path, ...] = ()) -> int:
    """List the volumes and models to destroy when a person withdraws.

    A volume that the person contributed to is listed as volume, one that was drawn around the mean
    of a model made from this person and others as mean.

    Args:
        participant: Data set and participant, such as ds002748:sub-01; sub-01 alone for every
            data set that is known; or the hash in a record.
        datasets: Folders below which datasets are looked for; by default the outputs.
    """
    from flows.settings.settings import read_settings
    from medical.datasets.withdrawal import traces

    outputs = read_settings().outputs
    found = traces(participant, datasets or ((outputs,) if outputs.is_dir() else ()))
    for place in found.volumes:
        print(f"volume {place}")
    for place in found.around:
        print(f"mean {place}")
    for name in found.models:
        print(f"model {name}")
    for name in found.silent:
        sys.stderr.write(f"note: the record of {name} does not name the people it was made from\n")
    for place in found.keyless:
        sys.stderr.write(
            f"{place} was not searched: it is of people of your own, and the key of their hashes "
            "does not stand beside it; name the hash, or draw it again where it was drawn\n"
        )
    sys.stderr.write(
        f"This person is named by {counted(len(found.volumes), 'volume')} and "
        f"{counted(len(found.models), 'model')}, and part of the mean behind "
        f"{counted(len(found.around), 'more volume')}, in {counted(found.searched, 'dataset')}.\n"
    )
    return 1 if found.keyless else 0
