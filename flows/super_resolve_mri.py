"""The flow ``super_resolve_mri``: thick slices become a fine volume with its uncertainty.

Stages exchange references to files. Everything heavy is imported by the stage that needs it, so
that the form can be made, and the deployment registered, without loading torch.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from prefect import flow

from core.progress import steps_of, timed
from flows.jobs.stages import clear_work, patient_stage, publishing, run_id, stage, work_folder
from flows.pages.artifacts import progress_bar
from flows.pages.failures import explained
from flows.pages.private_pages import show_scan
from flows.pages.run_log import join_run_log
from flows.requests.parameters import Asked, OutputName, Project
from flows.settings.settings import read_settings
from flows.storage.delivery import deliver
from flows.storage.files import (
    DEFAULT_PROJECT,
    FileRef,
    checked_project,
    plain_name,
    result_folder,
)
from flows.storage.quota import Quota
from medical.request import SuperResolutionRequest

Refs = dict[str, FileRef]
LARGEST_PICTURE_FILE = 2_000_000  # bytes


@patient_stage
def prepare(request: SuperResolutionRequest) -> FileRef:
    """Read and check the scan, on the CPU; the file it stays in."""
    from flows.jobs.mri import check_request
    from flows.machines.devices import choose_device, gpu_memory_gb
    from flows.machines.resources import check_here, needed
    from medical.files.nifti import read_volume

    path = check_request(request)
    volume = read_volume(path)
    settings = read_settings()
    gpus = gpu_memory_gb(choose_device(settings.device))
    size = (volume.shape, volume.spacing_mm)
    check_here(needed(request, scan=size, gpus=len(gpus)), settings.outputs, gpus=gpus)
    return FileRef.of(path)


@stage
def sample(request: SuperResolutionRequest, scan: FileRef) -> Refs:
    """Restore the scan, holding the GPU if there is one; product, maps, picture and numbers."""
    from core.models.checkpoints import find_model, load_model
    from core.records import atomic_path
    from flows.machines.devices import choose_device
    from flows.machines.resources import needed
    from flows.machines.watchdog import Patience, holding
    from medical.files.nifti import read_volume
    from medical.operations.report import picture
    from medical.operations.restoration import output_paths
    from medical.operations.super_resolve import super_resolve as restore

    paths = output_paths(work_folder() / "result.nii.gz")
    numbers, drawing = work_folder() / "numbers.json", work_folder() / "picture.png"
    if not numbers.exists():
        device = choose_device(read_settings().device)
        volume = read_volume(scan.open())
        minutes = needed(request, scan=(volume.shape, volume.spacing_mm)).minutes
        bar, patience = progress_bar("super-resolve-mri-sampling"), Patience.with_job(minutes)
        with bar as shown, holding(device, shown, patience) as meter:
            network, _ = load_model(find_model(request.model, "mri"), device=device)
            restored = restore(volume, request, network, on_step=steps_of(meter))
        restored.write(paths["result"], overwrite=True)
        drawing.write_bytes(picture(volume, restored, max_bytes=LARGEST_PICTURE_FILE))
        with atomic_path(numbers) as temporary:
            temporary.write_text(json.dumps(restored.record()))
    files = {**paths, "picture": drawing, "numbers": numbers}
    return {role: FileRef.of(path) for role, path in files.items()}


@patient_stage
def publish(sampled: Refs, folder: Path, name: str) -> Refs:
    """Copy product, maps and picture to their final place, each whole or not at all."""
    from core.records import atomic_path
    from medical.operations.restoration import output_paths

    published = output_paths(folder / f"{name}.nii.gz")
    published["picture"] = folder / f"{name}.png"
    for role, target in published.items():
        with atomic_path(target, overwrite=True) as temporary:
            shutil.copyfile(sampled[role].open(), temporary)
    return {role: FileRef.of(path) for role, path in published.items()}


@patient_stage
def verify(request: SuperResolutionRequest, results: Refs) -> dict[str, Any]:
    """Read the files back and hold them against scan and request; what was found."""
    from flows.jobs.mri import check_result

    return check_result({role: ref.open() for role, ref in results.items()}, request)


@patient_stage
def report(
    request: SuperResolutionRequest,
    results: Refs,
    facts: dict[str, Any],
    timings: dict[str, float],
) -> FileRef:
    """Write the record, and show scan, result and uncertainty in the page of the run."""
    from core.models.checkpoints import find_model, read_record
    from flows.jobs.mri import record_result

    paths = {role: ref.open() for role, ref in results.items()}
    model = read_record(find_model(request.model, "mri"))
    record = record_result(paths, request, model, facts, timings, overwrite=True)
    shown = {
        "scan": request.scan,
        "shape": facts["shape"],
        "spacing (mm)": facts["spacing_mm"],
        "consistency": f"{facts['consistency_mean_absolute']:.2g}",
        "samples": request.samples,
        "seed": request.seed,
        "file": paths["result"],
        "use": "research, not diagnosis",
    }
    show_scan("Super-resolved scan", paths["picture"], shown, record, results, read_settings())
    return FileRef.of(record)


@flow(name="super_resolve_mri", log_prints=True)
@explained
def super_resolve_mri(
    request: Asked[SuperResolutionRequest],
    output_name: OutputName = "",
    project: Project = DEFAULT_PROJECT,
) -> Refs:
    """Turn a thick-slice scan into a finer volume.

    The volume, its uncertainty and consistency maps, a picture and the record go into a new
    folder under the outputs root. For research, not for diagnosis.

    Args:
        request: What to restore, and how.
        output_name: Name of the result's folder; empty to name it after the scan.
        project: Project to file the result under: lower case letters, digits and dashes.
    """
    join_run_log()
    timings: dict[str, float] = {}
    name = plain_name(output_name or Path(request.scan).name.partition(".nii")[0], "scan")
    Quota(read_settings(), checked_project(project)).check()
    folder = result_folder(read_settings().outputs, project, "super_resolve_mri", name, run_id())
    with timed(timings, "prepare"):
        scan = prepare(request)
    with timed(timings, "sample"):
        sampled = sample(request, scan)
    with publishing(folder):
        with timed(timings, "encode"):
            results = publish(sampled, folder, name)
        with timed(timings, "verify"):
            facts = verify(request, results)
        facts = json.loads(sampled["numbers"].open().read_text()) | facts
        record = report(request, results, facts, timings)
    deliver(folder)
    clear_work()
    return {**results, "record": record}
