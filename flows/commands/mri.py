"""``lamina mri``: fine volumes from thick slices, in this process."""

from pathlib import Path

from flows.commands.options import options_of
from flows.commands.single import run_here
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
    run_here(request, output, overwrite=overwrite)
