"""``lamina reproduce``: an output made again from its record, in this process."""

import tempfile
from pathlib import Path

from core.progress import terminal_meter
from core.refusal import Refusal
from flows.storage.delivery import obtain
from flows.storage.files import check_apart, check_target

DIFFERENT = 1


def reproduce(
    file: Path, output: Path | None = None, /, *, inputs: Path | None = None,
    overwrite: bool = False,
) -> int:  # fmt: skip
    """Make an output again from its record and say whether it is bit-identical.

    The exit code is 0 if every pixel or voxel is the same, 1 if one differs, 2 if the file, its
    record, its model or its inputs are not what is needed.

    Args:
        file: An mp4 or a NIfTI volume that Lamina made, or its record. One that another host
            made is fetched from LAMINA_STORE to where it belongs under LAMINA_OUTPUTS, and so is
            the scan that it was made from.
        output: Where to keep what is made again; by default it is only compared.
        inputs: Folder to look for inputs in that are no longer where they were.
        overwrite: Replace files that already stand at the output.
    """
    from flows.jobs.origins import find_origin
    from flows.jobs.reproduce import compare, remake

    fetched = obtain(file)
    origin = find_origin(file, inputs or fetched)
    print(f"{origin.file.name}: {origin.task}, model {origin.model.name}")
    for note in origin.notes:
        print(f"  note: {note}")
    with tempfile.TemporaryDirectory(prefix="lamina-") as folder:
        ending = ".mp4" if origin.role == "video" else ".nii.gz"
        target = output or Path(folder) / f"again{ending}"
        _check(target, ending, origin.file, overwrite=overwrite)
        with terminal_meter("sampling") as meter:
            made = remake(origin, target, meter)
        verdict = compare(origin.file, made)
    print(verdict.words)
    if output:
        print(output)
    return 0 if verdict.same else DIFFERENT


def _check(target: Path, ending: str, file: Path, *, overwrite: bool) -> None:
    """Refuse a target that cannot be written, before anything is made."""
    from flows.jobs.origins import record_beside
    from medical.operations.restoration import output_paths

    clip = ending == ".mp4"
    if not target.name.endswith((".mp4",) if clip else (".nii.gz", ".nii")):
        raise Refusal(f"{target.name}: {file.name} is made again as {ending}; name it so.")
    paths = [target] if clip else list(output_paths(target).values())
    for path in (*paths, record_beside(target)):
        check_target(path, overwrite=overwrite)
        check_apart(path, str(file), str(record_beside(file)))
