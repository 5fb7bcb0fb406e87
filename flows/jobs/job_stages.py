"""One job as stages of a flow run: check, draw, publish, verify, report.

Stages exchange references to files. Everything heavy is imported by the stage that needs it, so
that forms can be made, and deployments registered, without loading torch.
"""

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.operations.operation import AnyOperation
from core.progress import steps_of, timed
from core.request import Request
from flows.jobs.dicom_copies import ResultFormat, check_dicom_of, dicom_folder, write_dicom
from flows.jobs.pipeline import (
    for_file,
    main_output,
    name_and_ending,
    picture_path,
    record,
    save_pictures,
)
from flows.jobs.signing import check_signing, sign_outputs
from flows.jobs.stages import (
    clear_work,
    patient_stage,
    publishing,
    refuse_another_result,
    run_id,
    stage,
    work_folder,
)
from flows.jobs.under_way import run_previews
from flows.pages.artifacts import progress_bar
from flows.pages.private_pages import show_outputs
from flows.pages.run_log import join_run_log
from flows.requests.policy import read_lawful, write_lawful
from flows.settings.settings import read_settings
from flows.storage.delivery import deliver
from flows.storage.files import (
    DEFAULT_PROJECT,
    FileRef,
    checked_project,
    numbered_name,
    result_folder,
)
from flows.storage.quota import Quota

logger = logging.getLogger(__name__)

Refs = dict[str, FileRef]


@patient_stage
def check(operation: AnyOperation, request: Request) -> Refs:
    """Refuse, on the CPU, what cannot be done at all or not on this host; the inputs by role."""
    from flows.machines.devices import choose_device
    from flows.machines.resources import check_whole

    settings = read_settings()
    check_whole(operation, request, choose_device(settings.device), settings.outputs)
    inputs = operation.inputs(request)
    return {role: FileRef.of(path) for role, path in inputs.items()}


@stage
def draw(
    operation: AnyOperation,
    request: Request,
    inputs: Refs,
    ending: str,
    place: str = "",
    project: str = DEFAULT_PROJECT,
) -> Refs:
    """Draw the result, holding the GPU if there is one, and write it into the work folder.

    Its files are what a run that is tried again after a crash goes on from. ``ending`` is that of
    the main output, ``place`` the work folder's part that this one of several results has;
    ``project`` is where it is shown on its way.
    """
    from core.records import atomic_path
    from flows.machines.devices import choose_device
    from flows.machines.resources import needed
    from flows.machines.watchdog import Patience, holding
    from video.engines.previews import with_previews

    folder = work_folder() / place
    folder.mkdir(exist_ok=True)
    target, done = folder / f"result{ending}", folder / "files.json"
    if not done.exists():
        for ref in inputs.values():
            ref.open()
        device = choose_device(read_settings().device)
        bar = progress_bar(f"{operation.name.replace('_', '-')}-sampling")
        patience = Patience.with_job(needed(operation, request).minutes)
        prepared = operation.prepare(request)
        home, name = read_settings().outputs / project, f"{run_id()}{place}"
        looks = run_previews(operation, request, home, name)
        with bar as shown, looks as ahead, holding(device, shown, patience) as meter:
            model = operation.source(request).load(device)
            step = with_previews(steps_of(meter), ahead)
            drawn = operation.draw(request, prepared, model, step)
        paths, looked_into = write_lawful(operation, request, drawn, target, overwrite=True)
        paths |= save_pictures(operation, prepared, drawn, target)
        said = {
            "files": {role: str(path) for role, path in paths.items()},
            "numbers": operation.numbers(drawn) | looked_into,
        }
        with atomic_path(done) as temporary:
            temporary.write_text(json.dumps(said))
    files = json.loads(done.read_text())["files"]
    return {role: FileRef.of(path) for role, path in files.items()} | {"numbers": FileRef.of(done)}


@patient_stage
def publish(operation: AnyOperation, request: Request, drawn: Refs, target: Path) -> Refs:
    """Copy the files to their final place, each whole or not at all, and sign clips there.

    Each is known by the digest of what was written: a copy with other bytes is no result.
    """
    from core.records import atomic_path

    published = operation.outputs(target)
    for role in drawn.keys() - published.keys() - {"numbers"}:
        published[role] = picture_path(target, role)
    for role, path in published.items():
        with atomic_path(path, overwrite=True) as temporary:
            shutil.copyfile(drawn[role].open(), temporary)
    copies = {
        role: FileRef(path=str(path.resolve()), sha256=drawn[role].sha256)
        for role, path in published.items()
    }
    for role in sign_outputs(operation, request, {r: ref.open() for r, ref in copies.items()}):
        copies[role] = FileRef.of(copies[role].path)
    return copies


@patient_stage
def verify(operation: AnyOperation, request: Request, results: Refs) -> dict[str, Any]:
    """Read the files back and hold them against the request; what was found."""
    paths = {role: ref.open() for role, ref in results.items()}
    return operation.verify(request, paths)


@patient_stage
def check_dicom(operation: AnyOperation, request: Request) -> None:
    """Refuse DICOM that could not be written, before anything is drawn."""
    check_dicom_of(operation, request, work_folder() / "dicom")


@patient_stage
def convert(
    operation: AnyOperation, request: Request, results: Refs, facts: dict[str, Any], target: Path
) -> dict[str, str]:
    """Write the verified files as DICOM beside the main output; digests by place."""
    from medical.operations.dicom_results import digests_of

    paths = {role: ref.open() for role, ref in results.items()}
    folder = dicom_folder(target)
    shutil.rmtree(folder, ignore_errors=True)  # the run's own; a killed run may have left it
    write_dicom(operation, request, paths, facts, folder)
    return digests_of(folder)


@patient_stage
def report(
    operation: AnyOperation,
    request: Request,
    results: Refs,
    facts: dict[str, Any],
    timings: dict[str, float],
) -> FileRef:
    """Write the record, and show the result in the page of the run."""
    paths = {role: ref.open() for role, ref in results.items()}
    model = operation.source(request).record()
    written = record(
        operation, request, paths, model, facts=facts, timings=timings, overwrite=True
    )
    shown = operation.shown(request, facts) | {"file": main_output(paths)}
    show_outputs(operation, operation.title(request), shown, written, results)
    return FileRef.of(written)


def run_stages(
    work: AnyOperation,
    request: Request,
    output_name: str,
    project: str,
    result_format: ResultFormat = "nifti",
) -> Refs:
    """Take a request through all stages, within a flow run; the published files by role.

    Args:
        work: What to do.
        request: What was asked.
        output_name: Name of the result and of its folder, its ending the kind of file; empty to
            name it after the request.
        project: Project to file the result under.
        result_format: Of what is done to a scan, ``dicom`` writes DICOM beside the files.
    """
    join_run_log()
    published = _staged(work, request, output_name, project, result_format=result_format)
    clear_work()
    return published


def run_several(
    work: AnyOperation, requests: Sequence[Request], output_name: str, project: str
) -> Refs:
    """The same for several requests, one after the other, as NAME-1, NAME-2 ...

    Args:
        work: What to do.
        requests: What was asked, one or more.
        output_name: Of the result, were it one.
        project: Project to file the results under.

    Returns:
        The published files by role, those of the second and on as ``role_2``.
    """
    if len(requests) == 1:
        return run_stages(work, requests[0], output_name, project)
    join_run_log()
    first, found = for_file(work, requests[0], output_name), Refs()
    name, ending = name_and_ending(work, first, output_name)
    for number, request in enumerate(requests, 1):
        named = f"{numbered_name(name, number, len(requests))}{ending}"
        made = _staged(work, request, named, project, place=str(number))
        found |= {f"{role}_{number}" if number > 1 else role: ref for role, ref in made.items()}
    clear_work()
    return found


def _staged(
    work: AnyOperation,
    request: Request,
    output_name: str,
    project: str,
    place: str = "",
    result_format: ResultFormat = "nifti",
) -> Refs:
    timings: dict[str, float] = {}
    request = for_file(work, request, output_name)
    with timed(timings, "prepare"):
        reading = read_lawful(work, request, "run")
    request = reading.request
    for line in reading.remarks:
        logger.info("%s", line)
    name, ending = name_and_ending(work, request, output_name)
    settings = read_settings()
    Quota(settings, checked_project(project)).check()
    check_signing(work, ending)
    folder = result_folder(settings.outputs, project, work.name, name, run_id())
    refuse_another_result(work, request, folder)
    with timed(timings, "prepare"):
        inputs = check(work, request)
        if result_format == "dicom":
            check_dicom(work, request)
    with timed(timings, "sample"):
        drawn = draw(work, request, inputs, ending, place, project)
    target = folder / f"{name}{ending}"
    with publishing(folder):
        with timed(timings, "encode"):
            results = publish(work, request, drawn, target)
        with timed(timings, "verify"):
            facts = verify(work, request, results)
        facts = json.loads(drawn["numbers"].open().read_text())["numbers"] | facts | reading.facts
        if result_format == "dicom":
            with timed(timings, "convert"):
                facts |= {"dicom": convert(work, request, results, facts, target)}
        written = report(work, request, results, facts, timings)
    deliver(folder)
    return {**results, "record": written}
