"""What ``lamina demo`` asks for: a sentence, and a head as a scanner in a hurry would see it."""

from pathlib import Path
from typing import Any

PROMPT = "a white star moves down"
SEED = 7


def video_parameters() -> dict[str, Any]:
    """Parameters of the flow ``text_to_video``."""
    return {"request": {"prompt": PROMPT, "seed": SEED}, "output_name": "demo"}


def scan_parameters(folder: Path) -> dict[str, Any]:
    """Parameters of the flow ``super_resolve_mri``; the scan is made if it is not there yet."""
    scan = folder / "head-4mm.nii.gz"
    if not scan.exists():
        from medical.anatomy.phantom import thick_slice_scan
        from medical.files.nifti import write_volume

        folder.mkdir(parents=True, exist_ok=True)
        write_volume(thick_slice_scan(), scan)
    return {"request": {"scan": str(scan), "seed": SEED}, "output_name": "demo"}
