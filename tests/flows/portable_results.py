"""Prints digests of what a clip, a restored scan or a drawn head holds, made portably."""

from core.numerics import settle

settle()

import hashlib  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from tempfile import TemporaryDirectory  # noqa: E402

from flows.commands.command_line import main as lamina  # noqa: E402

PROMPT = "a red circle moves left and a blue square moves up"
HEAD = {
    "name": "bits", "count": 1, "contrasts": ["FLAIR"], "spacing_mm": [4, 4, 4],
    "lesions": {"load_ml": [5, 6], "count": [3, 4]},
}  # fmt: skip


def clip(folder: Path) -> dict[str, bytes]:
    """The pixels of a written clip, decoded again."""
    from video.files.clip import read_mp4

    path = folder / "clip.mp4"
    _run("video", "generate", PROMPT, str(path), "--num-frames", "16", "--seed", "5")
    return {"pixels": read_mp4(path).frames.tobytes()}


def scan(folder: Path) -> dict[str, bytes]:
    """The voxels of a scan of 24 x 24 x 12 that was restored, and of its maps."""
    import numpy as np
    import torch

    from medical.files.nifti import read_volume, write_volume
    from medical.files.volume import Volume

    thick, fine = folder / "thick.nii.gz", folder / "fine.nii.gz"
    counts = np.random.default_rng(3).integers(0, 1000, (12, 12, 6)).repeat(2, 0).repeat(2, 1)
    data = torch.from_numpy(counts.repeat(2, 2).astype(np.float32))
    write_volume(Volume(data, np.diag([1.0, 1.0, 3.0, 1.0])), thick)
    _run("mri", "super-resolve", str(thick), str(fine), "--samples", "2")
    files = {"result": fine, "std": folder / "fine_std.nii.gz"}
    return {role: read_volume(path).data.numpy().tobytes() for role, path in files.items()}


def head(folder: Path) -> dict[str, bytes]:
    """The voxels of a drawn head of 4 mm with lesions, image and labels."""
    from medical.files.nifti import read_volume

    asked, out = folder / "asked.json", folder / "drawn"
    asked.write_text(json.dumps(HEAD), encoding="utf-8")
    _run("mri", "augment", str(asked), str(out))
    files = sorted(out.rglob("*.nii.gz"))
    return {path.name: read_volume(path).data.numpy().tobytes() for path in files}


def _run(*words: str) -> None:
    if lamina(list(words)):
        raise RuntimeError(f"{' '.join(words)} should have ended with 0")


def main() -> int:
    """Print the digest of each part of what is named, and of all parts together."""
    with TemporaryDirectory() as name:
        os.environ.update(LAMINA_HOME=f"{name}/state", LAMINA_C2PA="off")
        found = {"clip": clip, "scan": scan, "head": head}[sys.argv[1]](Path(name))
    for part, held in found.items():
        sys.stderr.write(f"{part} {hashlib.sha256(held).hexdigest()}\n")
    whole = hashlib.sha256(b"".join(found.values())).hexdigest()
    sys.stdout.write(f"\n{whole}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
