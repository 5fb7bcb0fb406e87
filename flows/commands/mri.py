"""``lamina mri``: fine volumes from thick slices, in this process."""

from pathlib import Path

from core.progress import steps_of, terminal_meter, timed
from flows.commands.options import options_of
from flows.settings.settings import read_settings
from flows.storage.files import check_apart, check_target
from medical.request import SuperResolutionRequest


@options_of(SuperResolutionRequest, given=("scan",))
def super_resolve(
    scan: str, output: Path, /, *, request: SuperResolutionRequest, overwrite: bool = False
) -> None:
    """Turn a thick-slice scan into a finer volume.

    The output is the mean of all samples. Beside it stand the uncertainty (_std), the part of
    the scan it does not explain (_consistency), and the record (.json).

    Args:
        scan: NIfTI file (.nii or .nii.gz) with one 3-D image.
        output: The NIfTI file to write.
        overwrite: Replace files that already stand there.
    """
    from core.models.checkpoints import find_model, load_model
    from flows.jobs.mri import check_request, check_result, record_path, record_result
    from flows.machines.devices import choose_device
    from flows.machines.resources import needed
    from flows.machines.watchdog import Patience, holding
    from medical.files.nifti import read_volume
    from medical.operations.restoration import output_paths
    from medical.operations.super_resolve import super_resolve as restore

    for path in (*output_paths(output).values(), record_path(output)):
        check_target(path, overwrite=overwrite)
        check_apart(path, scan, request.protect)
    folder = find_model(request.model, "mri")
    device = choose_device(read_settings().device)
    timings: dict[str, float] = {}
    with timed(timings, "prepare"):
        check_request(request)
        network, model = load_model(folder, device=device)
        volume = read_volume(request.scan)
    patience = Patience.with_job(needed(request, scan=(volume.shape, volume.spacing_mm)).minutes)
    bar = terminal_meter("sampling")
    with timed(timings, "sample"), bar as shown, holding(device, shown, patience) as meter:
        restored = restore(volume, request, network, on_step=steps_of(meter))
    with timed(timings, "encode"):
        paths = restored.write(output, overwrite=overwrite)
    with timed(timings, "verify"):
        facts = restored.record() | check_result(paths, request)
    record_result(paths, request, model, facts, timings, overwrite=overwrite)
    for path in paths.values():
        print(path)
