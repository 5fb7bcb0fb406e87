"""Of which kind a batch of a folder is: clips that begin with pictures, or scans."""

from collections.abc import Iterator
from pathlib import Path

from core.refusal import Refusal
from medical.files.container import ARCHIVES, is_folder, looks_like_scan


def is_of_pictures(folder: Path) -> bool:
    """Whether a folder's batch is one of clips: it holds pictures, and no scans.

    Scans stand at its top or one folder deeper, or in folders ``sub-*``. A picture beside them is
    one that shows them, unless it has a caption.

    Raises:
        Refusal: It holds scans, and pictures with captions.
    """
    from video.engines.picture_folder import is_captioned, pictures_in

    pictures = pictures_in(folder)
    scan = next(_scans(folder), None) if pictures else None
    if scan is None:
        return bool(pictures)
    if captioned := next(filter(is_captioned, pictures), None):
        raise Refusal(
            f"{folder} holds scans and captioned pictures: {scan.relative_to(folder)} and "
            f"{captioned.name}, where a batch is of one kind; move the pictures with their "
            "captions into a folder of their own, and name one of the two."
        )
    return False


def _scans(folder: Path) -> Iterator[Path]:
    for path in _shown(folder):
        if not is_folder(path):
            if _is_scan(path):
                yield path
        elif path.name.startswith("sub-"):
            yield path
        else:
            yield from filter(_is_scan, _shown(path))


def _is_scan(path: Path) -> bool:
    return looks_like_scan(path) and not path.name.lower().endswith(ARCHIVES)


def _shown(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []
