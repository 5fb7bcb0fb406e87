"""What stages hand to each other: references to files, never tensors.

A reference carries the digest of the bytes it means, so a stage that opens it knows that it
reads what the stage before wrote. Results go into one folder per run under the outputs root;
the run's identity is part of the folder's name, so no run can write over another.
"""

import os
import re
import tempfile
import unicodedata
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from core.refusal import Refusal
from core.storage.place import is_of_the_kernel

LONGEST_NAME = 60
DEFAULT_PROJECT = "default"
DERIVATIVES = "bids"  # in a batch's folder: the BIDS derivative dataset of its results


class FileRef(BaseModel):
    """A file or a folder of files, and the SHA-256 of the bytes it is meant to hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(description="Absolute path of the file.")
    sha256: str = Field(description="SHA-256 of its bytes, hexadecimal.")

    @classmethod
    def of(cls, path: Path | str) -> "FileRef":
        """The reference to a file as it stands now."""
        from core.records import sha256_path

        path = Path(path).resolve()
        return cls(path=str(path), sha256=sha256_path(path))

    def open(self) -> Path:
        """The path, after checking that its bytes are the ones that were meant.

        Raises:
            RuntimeError: The file has gone or its bytes are others.
        """
        from core.records import sha256_path

        path = Path(self.path)
        if not path.exists():
            raise RuntimeError(
                f"{path} has gone: a stage reads the file the stage before wrote; run the flow "
                "again from the start."
            )
        if (found := sha256_path(path)) != self.sha256:
            raise RuntimeError(
                f"{path} holds sha256 {found[:12]} instead of {self.sha256[:12]}: files between "
                "stages must not change; run the flow again from the start."
            )
        return path


def check_target(path: Path, *, overwrite: bool) -> None:
    """Raise a ``Refusal`` now if ``path`` cannot be written later, after long work.

    ``core.records.atomic_path`` holds the same rules when the file is written.
    """
    try:
        _check_place(path, overwrite=overwrite)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise Refusal(
            f"{path} cannot be written ({error.strerror}): a result's name fits its disk and its "
            "folder takes files; choose another name or folder."
        ) from error


def _check_place(path: Path, *, overwrite: bool) -> None:
    if is_of_the_kernel(path.parent):
        raise Refusal(
            f"{path} cannot be written (its folder shows the kernel): /proc and /sys keep no "
            "files; choose another name or folder."
        )
    if not path.parent.is_dir():
        raise Refusal(
            f"{path}: the folder {path.parent} does not exist: results are written into folders "
            "that stand; create it first."
        )
    length, most = len(os.fsencode(path.name)), os.pathconf(path.parent, "PC_NAME_MAX")
    if length > most:
        raise Refusal(
            f"{path.name}: this name has {length} bytes: a file's name has {most} at most there, "
            "those of maps and record beside the result included; choose a shorter one."
        )
    if path.is_dir():
        raise Refusal(f"{path} is a folder: the result is one file; add a file name.")
    if path.exists() and not overwrite:
        raise Refusal(
            f"{path} exists: nothing is overwritten unasked; choose another name or add "
            "--overwrite."
        )


def check_apart(path: Path, *inputs: str) -> None:
    """Raise a ``Refusal`` if writing ``path`` would change one of the inputs, named or not."""
    for name in filter(None, inputs):
        if Path(name).is_dir() and path.resolve().parent == Path(name).resolve():
            raise Refusal(
                f"{path} lies in {name}, which is an input of this job: a folder is read as one "
                "series and known by all its files, so nothing is added to it; choose another "
                "folder."
            )
        if path.exists() and Path(name).exists() and path.samefile(name):
            raise Refusal(
                f"{path} is an input of this job: a result never replaces what it was made from, "
                "not even with --overwrite; choose another name."
            )


def numbered_name(name: str, number: int, count: int) -> str:
    """A plain name with a number behind it, shortened so that it is still a plain name.

    Args:
        name: A plain name, see ``plain_name``.
        number: From 1.
        count: How many there are, which says how many digits each number has.
    """
    end = f"-{number:0{len(str(count))}}"
    return name[: LONGEST_NAME - len(end)].rstrip("-") + end


def plain_name(text: str, otherwise: str) -> str:
    """``text`` as a file name: lower case letters, digits and single dashes, at most 60.

    Args:
        text: Anything a person typed.
        otherwise: What to use if nothing of ``text`` is left.
    """
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9]+", "-", ascii_text.lower()).strip("-")
    return name[:LONGEST_NAME].rstrip("-") or otherwise


def checked_project(name: str) -> str:
    """The name of a project, which is also its folder's under the outputs root.

    Raises:
        Refusal: It is not a plain name.
    """
    if name != plain_name(name, ""):
        raise Refusal(
            f"project={name}: a project's name has lower case letters, digits and single dashes, "
            f"at most {LONGEST_NAME}; try {plain_name(name, DEFAULT_PROJECT)}."
        )
    return name


def result_folder(outputs: Path, project: str, flow: str, name: str, run: str) -> Path:
    """The folder of one run's results, ``outputs/project/flow/name-run``, created if need be.

    Args:
        outputs: Root of all outputs.
        project: The project's name.
        flow: The flow's name.
        name: A plain name, see ``plain_name``.
        run: The run's identity; its first eight signs end the folder's name.
    """
    folder = outputs / checked_project(project) / flow / f"{name}-{run[:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
