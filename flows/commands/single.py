"""One job in this process, for a person at a terminal; every command that makes a result."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from core.progress import steps_of, terminal_meter, timed
from core.refusal import Refusal
from core.request import Request
from flows.settings.settings import read_settings

if TYPE_CHECKING:
    import torch

    from core.operations.operation import AnyOperation, Paths, Reading
    from flows.machines.resources import Resources
    from video.engines.previews import Shown


def run_here(
    request: Request,
    output: Path,
    *,
    overwrite: bool,
    strict: bool = False,
    dry_run: bool = False,
    preview: Path | None = None,
) -> None:
    """Take a request to verified files and print their names.

    Args:
        request: What is asked of an operation.
        output: The main output; the others and the record go beside it. Of what is done to a scan
            a name without ending is a folder for DICOM, beside the files ``OUTPUT.nii.gz``.
        overwrite: Replace files that already stand there.
        strict: Refuse a request that is understood in part alone.
        dry_run: Only say what it would take, or refuse it.
        preview: A file for what is predicted while it works; None for none.
    """
    from flows.jobs.operations import operation_of
    from flows.jobs.pipeline import check_targets
    from flows.machines.devices import choose_device
    from flows.machines.resources import check_room, check_whole
    from flows.requests.policy import check_policy, read_lawful

    operation = operation_of(request)
    check_policy(request, "command")
    output, folder = _files_and_dicom(operation, request, output)
    check_targets(operation, request, output, overwrite=overwrite)
    shown = None if preview is None else _previews(preview, output, overwrite=overwrite)
    device, place = choose_device(read_settings().device), output.absolute().parent
    if operation.inputs(request):  # files may ask for more than there is, which takes long to find
        check_room(operation, request, device, place)
    reading = read_lawful(operation, request, "command", strict=strict)
    request = reading.request

    from flows.jobs.signing import check_signing

    wanted = check_whole(operation, request, device, place)
    check_signing(operation, output.suffix)
    for line in reading.remarks:
        sys.stderr.write(f"{line}\n")
    if dry_run:
        print(f"{output.name} would need {wanted}")
        return
    with _gone_if_refused(preview):
        paths = _make(operation, reading, output, device, wanted, shown=shown, overwrite=overwrite)
    written = [] if folder is None else _write_dicom(operation, request, paths, folder)
    for path in (*paths.values(), *written):
        print(path)


def _make(
    operation: "AnyOperation",
    reading: "Reading",
    output: Path,
    device: "torch.device",
    wanted: "Resources",
    *,
    shown: "Shown | None",
    overwrite: bool,
) -> "Paths":
    """Load the model and take the request to its files, with a bar."""
    from flows.jobs.pipeline import Begun, make
    from flows.machines.watchdog import Patience, holding
    from video.engines.previews import with_previews

    request, timings = reading.request, dict[str, float]()
    with timed(timings, "prepare"):
        source = operation.source(request)
        model, prepared = source.load(device), operation.prepare(request)
    patience = Patience.with_job(wanted.minutes)
    with (
        terminal_meter("sampling", each_step=source.slow) as bar,
        holding(device, bar, patience) as meter,
    ):
        return make(
            operation, request, output, model, on_step=with_previews(steps_of(meter), shown),
            overwrite=overwrite,
            begun=Begun(prepared, timings, reading.facts),
        )  # fmt: skip


def _previews(preview: Path, output: Path, *, overwrite: bool) -> "Shown":
    """What writes the newest preview into a file.

    Raises:
        Refusal: It is no WebP, or another file stands there.
    """
    from core.records import atomic_path
    from flows.jobs.pipeline import record_path
    from flows.storage.files import check_target

    own = (output, record_path(output))
    if preview.suffix.lower() != ".webp" or preview.absolute() in [x.absolute() for x in own]:
        raise Refusal(
            f"preview={preview}: a preview is a moving WebP beside the clip; name a file that "
            "ends with .webp and is not the clip."
        )
    check_target(preview, overwrite=overwrite)

    def shown(picture: bytes, done: int, total: int) -> None:
        with atomic_path(preview, overwrite=True) as temporary:
            temporary.write_bytes(picture)

    return shown


@contextmanager
def _gone_if_refused(preview: Path | None) -> Iterator[None]:
    """Remove what was shown of a clip that a rule refuses; a file that stood before stays."""
    from video.policy.prompts import PolicyRefusal

    stood = _stamp(preview)
    try:
        yield
    except PolicyRefusal:
        if preview is not None and _stamp(preview) != stood:
            preview.unlink(missing_ok=True)
        raise


def _stamp(path: Path | None) -> tuple[int, int]:
    if path is None or not path.exists():
        return 0, 0
    return path.stat().st_ino, path.stat().st_mtime_ns


def _files_and_dicom(
    operation: "AnyOperation", request: Request, output: Path
) -> tuple[Path, Path | None]:
    """The main output, and the folder for DICOM where the name asks for one."""
    if output.suffix or ".nii.gz" not in operation.endings:
        return output, None
    from flows.jobs.dicom_copies import check_dicom_of
    from flows.storage.files import check_apart

    for scan in map(str, operation.inputs(request).values()):
        check_apart(output / "result", scan)
    check_dicom_of(operation, request, output)
    return output.with_name(f"{output.name}.nii.gz"), output


def _write_dicom(
    operation: "AnyOperation", request: Request, paths: "Paths", folder: Path
) -> list[Path]:
    import json

    from flows.jobs.dicom_copies import write_dicom
    from flows.jobs.pipeline import main_output, record_path
    from medical.operations.dicom_results import note_results

    record = record_path(main_output(paths))
    told = json.loads(record.read_text(encoding="utf-8"))["extra"]
    written = write_dicom(operation, request, paths, told, folder)
    note_results(record, folder)
    return written
