"""``lamina mri``: fine volumes from thick slices, in this process."""

from pathlib import Path

from flows._files import check_apart, check_target
from flows._options import options_of
from flows._progress import steps_of, terminal_meter, timed
from flows._settings import read_settings
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
    from core.checkpoints import find_model, load_model
    from flows._devices import choose_device
    from flows._mri import check_request, check_result, record_path, record_result
    from flows._resources import needed
    from flows._watchdog import Patience, holding
    from medical.nifti import read_volume
    from medical.restoration import output_paths
    from medical.super_resolve import super_resolve as restore

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
