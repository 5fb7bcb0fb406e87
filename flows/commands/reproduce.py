"""``lamina reproduce``: an output made again from its record, in this process."""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from core.numerics import remembered
from core.progress import terminal_meter
from core.refusal import Refusal
from flows.storage.delivery import bare, obtain, stem_of
from flows.storage.files import check_apart
from medical.datasets.standing import StandingHead, standing_head

if TYPE_CHECKING:
    from flows.jobs.origins import Origin

DIFFERENT = 1
AGAIN = "LAMINA_COMPUTES_AS_THEN"


def reproduce(
    file: Path, output: Path | None = None, /, *, inputs: Path | None = None,
    overwrite: bool = False,
) -> int:  # fmt: skip
    """Make an output again from its record and say whether it is bit-identical.

    The exit code is 0 if every pixel or voxel is the same, 1 if one differs, 2 if the file, its
    record, its model or its inputs are not what is needed.

    Args:
        file: A clip or a NIfTI volume that Lamina made, or its record; of a dataset of heads a
            head's record or any of its files, and all files of that head are made again. One
            that another host made is fetched from LAMINA_STORE to where it belongs under
            LAMINA_OUTPUTS, and so is the scan that it was made from.
        output: Where to keep what is made again; by default it is only compared. A new folder
            for a head of a dataset.
        inputs: Folder to look for inputs in that are no longer where they were.
        overwrite: Replace files that already stand at the output.
    """
    fetched = obtain(file)
    head = standing_head(file)
    _compute_as_then(file, head)
    if head is not None:
        return _draw_again(head, output, inputs)
    from flows.jobs.origins import find_origin
    from flows.jobs.reproduce import compare, remake

    origin = find_origin(file, inputs or fetched)
    print(f"{origin.file.name}: {origin.task}, model {origin.model.name}")
    for note in origin.notes:
        print(f"  note: {note}")
    with tempfile.TemporaryDirectory(prefix="lamina-") as folder:
        target = output or Path(folder) / f"again{_ending(origin)}"
        _check(target, origin, overwrite=overwrite)
        with terminal_meter("sampling") as meter:
            made = remake(origin, target, meter, sign=output is not None)
        noise = origin.model.record().get("numeric_noise_db")
        verdict = compare(origin.file, made, origin.operation, noise_db=noise)
    print(verdict.words)
    if output:
        print(output)
    return 0 if verdict.same else DIFFERENT


def _draw_again(head: StandingHead, output: Path | None, inputs: Path | None) -> int:
    """Draw a head of a dataset again and say whether its files are bit-identical."""
    from medical.datasets.again import draw_again, ground_of

    if output is not None and output.exists():
        raise Refusal(
            f"{output} stands already: a head that is drawn again gets a folder of its own; name "
            "a new one."
        )
    ground = ground_of(head, inputs)
    print(f"{head.subject} of {head.dataset.name}: augment_mri_dataset")
    with tempfile.TemporaryDirectory(prefix="lamina-") as folder:
        found = draw_again(head, ground, output or Path(folder))
    for note in found.notes:
        print(f"  note: {note}")
    print(found.words)
    if output:
        print(output)
    return 0 if found.same else DIFFERENT


def _compute_as_then(file: Path, head: StandingHead | None = None) -> None:
    """Begin this process anew where the record names other arithmetic than this machine's.

    Only before torch is loaded, which reads its arithmetic once.
    """
    own, shared = (file.with_name(f"{stem}.json") for stem in (bare(file), stem_of(file)))
    try:
        record = own if own.is_file() else shared  # a map's is that of its result
        then = json.loads(record.read_text("utf-8")) if head is None else head.record
        wanted = remembered(then["compute"], then.get("model"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return
    other = {name: value for name, value in wanted.items() if os.environ.get(name) != value}
    if other and "torch" not in sys.modules and AGAIN not in os.environ:
        sys.stdout.flush()
        again = {**os.environ, **other, AGAIN: "1"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], again)


def _ending(origin: "Origin") -> str:
    """Of what is made again: that of the file, so that like is compared with like."""
    from flows.jobs.pipeline import ending_of

    return ending_of(origin.operation, origin.file.name) or origin.operation.endings[0]


def _check(target: Path, origin: "Origin", *, overwrite: bool) -> None:
    """Refuse a target that cannot be written, before anything is made."""
    from flows.jobs.origins import record_beside
    from flows.jobs.pipeline import check_targets

    check_targets(origin.operation, origin.request, target, overwrite=overwrite)
    if origin.operation.kind == "video" and target.suffix.lower() != _ending(origin):
        raise Refusal(
            f"{target.name}: {origin.file.name} is compared with what is made again, so both are "
            f"files of one kind; give a name ending in {_ending(origin)}."
        )
    for path in (*origin.operation.outputs(target).values(), record_beside(target)):
        check_apart(path, str(origin.file), str(record_beside(origin.file)))
