"""Clips and volumes as files beside the bare libraries, and resampling that learned nothing."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import decord
import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom

from core.seeds import generator
from medical.files.nifti import read_volume, write_volume
from tests.benchmarks.network import ratio
from tests.benchmarks.processes import turns
from tests.benchmarks.results import Figure, Row
from tests.benchmarks.whole_head import THICKNESS_MM, thick_head
from video.files.clip import Clip, read_mp4, write_mp4
from video.world.world import draw_batch

FRAMES, SIDE, FPS = 64, 256, 16
PROTOCOL = (
    "Processor time with one thread, turn by turn in one process after one warm-up; a ratio is "
    f"the median of those within each round. Clip: {FRAMES} frames of {SIDE} x {SIDE}, four clips "
    "of the drawn world enlarged and one after the other. Ours reads it with its rate, turn and "
    "edits and looks whether it is whole; PyAV and decord decode all frames to RGB. Ours writes "
    "it by libx264 at crf 12, decodes it back, compares and renames it; PyAV encodes by the same "
    "settings alone. Volume: the scan of the row of whole heads, 180 x 220 x 45 int16 in .nii.gz. "
    "Ours reads it with its unit and forms and looks for what is not finite; nibabel reads "
    "float32. Ours writes it, reads it back and compares; nibabel writes. SciPy: `zoom(order=3)` "
    "of that scan to 180 slices, which learned nothing, beside the CPU time of that row."
)
Work = Callable[[], object]


def run(*, quick: bool = False, full: bool = False) -> Row:
    """Read and write, each in turn."""
    rounds = 2 if quick else 15 if full else 7
    with TemporaryDirectory() as name:
        clips, volumes = _clips(Path(name)), _volumes(Path(name))
        took = [turns(each, rounds) for each in (*clips.values(), *volumes.values())]
    figures = []
    for what, times in zip((*clips, *volumes), took, strict=True):
        ours = times.pop("ours")
        figures += [ratio(f"ours over {who}, {what}", ours, other) for who, other in times.items()]
    return Row(
        title="Files beside bare libraries",
        protocol=PROTOCOL,
        figures=[*figures, _resampling(2 if quick else 3)],
    )


def _clips(folder: Path) -> dict[str, dict[str, Work]]:
    drawn = draw_batch(4, generator(0))[0]  # (4, 3, 16, 64, 64)
    frames = ((drawn.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 4, 1)
    film = frames.flatten(0, 1).numpy().repeat(SIDE // 64, 1).repeat(SIDE // 64, 2)
    path = write_mp4(Clip(film, float(FPS)), folder / "clip.mp4")
    again = folder / "again.mp4"
    return {
        "reading a clip": {
            "ours": lambda: read_mp4(path),
            "PyAV": lambda: _by_av(path),
            "decord": lambda: _by_decord(path),
        },
        "writing a clip": {
            "ours": lambda: write_mp4(Clip(film, float(FPS)), again, overwrite=True),
            "PyAV": lambda: _encoded(film, folder / "bare.mp4"),
        },
    }


def _by_av(path: Path) -> NDArray[np.uint8]:
    with av.open(str(path)) as file:
        file.streams.video[0].codec_context.thread_count = 1
        return np.stack([each.to_ndarray(format="rgb24") for each in file.decode(video=0)])


def _by_decord(path: Path) -> NDArray[np.uint8]:
    reader = decord.VideoReader(str(path), num_threads=1)
    return reader.get_batch(range(len(reader))).asnumpy()


def _encoded(film: NDArray[np.uint8], path: Path) -> None:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=Fraction(FPS))
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        stream.options = {"crf": "12", "preset": "medium"}
        stream.codec_context.thread_count = 1
        for frame in film:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())


def _volumes(folder: Path) -> dict[str, dict[str, Work]]:
    scan = thick_head()
    path, again = write_volume(scan, folder / "scan.nii.gz"), folder / "again.nii.gz"
    image = nib.load(path)
    stored = np.asarray(image.dataobj)
    return {
        "reading a volume": {
            "ours": lambda: read_volume(path),
            "nibabel": lambda: nib.load(path).get_fdata(dtype=np.float32, caching="unchanged"),
        },
        "writing a volume": {
            "ours": lambda: write_volume(scan, again, overwrite=True),
            "nibabel": lambda: nib.save(
                nib.Nifti1Image(stored, image.affine, image.header), folder / "bare.nii.gz"
            ),
        },
    }


def _resampling(rounds: int) -> Figure:
    """Seconds of processor time of cubic splines on the whole head."""
    scan = thick_head().data.numpy()
    work = {"SciPy": lambda: zoom(scan, (1, 1, THICKNESS_MM), order=3)}
    seconds = sorted(turns(work, rounds)["SciPy"])
    note = f"{seconds[0]:.2f} to {seconds[-1]:.2f} s"
    middle = seconds[len(seconds) // 2]
    return Figure(name="SciPy's cubic splines, a whole head", value=middle, unit="s", note=note)
