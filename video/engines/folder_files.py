"""The files of a diffusers folder, read as a stranger's: no code, no pickles, no way out of it.

Everything is refused here that can be told from names, configs and the headers of the weights, so
before a library opens the folder, and in a second however large the weights are.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

from core.refusal import Refusal
from video.engines.places import INDEX

LARGEST_JSON, LARGEST_HEADER, MOST_FILES = 16_000_000, 100_000_000, 2000
LIBRARIES = ("diffusers", "transformers")
PICKLES = (
    ".bin",
    ".pt",
    ".pth",
    ".ckpt",
    ".pkl",
    ".pickle",
    ".npy",
    ".npz",
    ".joblib",
    ".msgpack",
)
CODE = (".py", ".pyc", ".so", ".dll", ".dylib", ".sh")
VOCABULARIES = (
    "tokenizer.json", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model", "vocab.json",
    "vocab.txt",
)  # fmt: skip
LISTS = (
    "Tokenizer",
    "Scheduler",
    "Processor",
    "Extractor",
    "Guidance",
)  # in names of parts without weights
COPY_AGAIN = "copy the whole folder again, such as with `hf download --local-dir`"


@dataclass(frozen=True)
class Part:
    """A part of the pipeline.

    Attributes:
        name: Such as ``transformer``, which is its folder's name, too.
        library: ``diffusers`` or ``transformers``.
        kind: Its class.
    """

    name: str
    library: str
    kind: str

    @property
    def weighs(self) -> bool:
        """Whether it has weights."""
        return not any(word in self.kind for word in LISTS)


class EngineFolder:
    """A folder that holds a pipeline of diffusers.

    Attributes:
        path: Where it stands, without links.
    """

    def __init__(self, path: Path) -> None:
        """Take the folder; nothing is read yet."""
        self.path = path.resolve()

    @cached_property
    def index(self) -> dict[str, Any]:
        """What ``model_index.json`` says."""
        if not (self.path / INDEX).is_file():
            raise Refusal(
                f"{self.path}: there is no {INDEX}: an engine is a folder that diffusers' "
                f"save_pretrained wrote; name that folder, or {COPY_AGAIN}."
            )
        return read_json(self.path / INDEX)

    @property
    def pipeline(self) -> str:
        """Name of the pipeline's class."""
        name = self.index.get("_class_name")
        if not isinstance(name, str) or not name.isidentifier():
            raise Refusal(
                f"{self.path / INDEX}: _class_name={name!r}: a pipeline is a class of diffusers "
                "itself, as no code is taken from a folder; name an engine that diffusers knows."
            )
        return name

    @cached_property
    def parts(self) -> list[Part]:
        """The parts that the index names, without those that it leaves out on purpose."""
        found = []
        for name, said in self.index.items():
            if not isinstance(said, list) or name.startswith("_") or said == [None, None]:
                continue
            words = said if len(said) == 2 and all(isinstance(w, str) for w in said) else ["", ""]
            library, kind = words
            if library not in LIBRARIES or not (name.isidentifier() and kind.isidentifier()):
                raise Refusal(
                    f"{self.path / INDEX}: {name}={said}: parts are classes of "
                    f"{' or '.join(LIBRARIES)}, as no code is taken from a folder; name an engine "
                    "that these know."
                )
            found.append(Part(name, library, kind))
        return found

    def settings(self) -> dict[str, Any]:
        """What the index says beside its parts."""
        plain = {k: v for k, v in self.index.items() if not isinstance(v, list)}
        return {name: value for name, value in plain.items() if not name.startswith("_")}

    def config(self, name: str) -> dict[str, Any]:
        """The config of a part."""
        for file in ("config.json", f"{name}_config.json", "scheduler_config.json"):
            if (path := self.path / name / file).is_file():
                return read_json(path)
        return {}

    @cached_property
    def tensors(self) -> dict[str, dict[str, tuple[str, tuple[int, ...]]]]:
        """Type and shape of each weight, by part and name, from the files' headers alone."""
        return {part.name: self._tensors_of(part) for part in self.parts if part.weighs}

    def values_of(self, name: str) -> int:
        """How many numbers the weights of a part hold."""
        return sum(prod(shape) for _, shape in self.tensors[name].values())

    def check(self) -> None:
        """Refuse a folder that lacks something, or holds what could run or lead out of it."""
        assert self.pipeline
        for number, path in enumerate(self._files()):
            self._check_file(path)
            if number > MOST_FILES:
                raise Refusal(
                    f"{self.path}: it holds more than {MOST_FILES} files: a pipeline has a few "
                    "dozen; name the pipeline's own folder."
                )
        for part in self.parts:
            self._check_part(part)
        assert self.tensors is not None

    @cached_property
    def config_digest(self) -> str:
        """SHA-256 over everything but the weights."""
        digest = hashlib.sha256()
        for path in sorted(self._files()):
            if path.suffix != ".safetensors":
                text = path.read_bytes()
                name = path.relative_to(self.path).as_posix()
                digest.update(f"{name}\0{len(text)}\0".encode() + text)
        return digest.hexdigest()

    def weights(self) -> list[Path]:
        """The files of weights, in order."""
        return sorted(path for path in self._files() if path.suffix == ".safetensors")

    def _files(self) -> Iterator[Path]:
        """What lies in the folder itself and in its parts', hidden files left out."""
        yield self.path / INDEX
        for part in self.parts:
            for folder, folders, files in os.walk(self.path / part.name):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                for name in (*files, *folders):
                    if not name.startswith(".") and ((at := Path(folder, name)).is_symlink() or (
                        name in files
                    )):  # fmt: skip
                        yield at

    def _check_file(self, path: Path) -> None:
        if not path.resolve().is_relative_to(self.path):
            raise Refusal(
                f"{path} is a link that leads out of the folder: an engine holds all that it is "
                "made of; copy it with its links followed, such as with cp -rL."
            )
        suffix = path.suffix.lower()
        if suffix in PICKLES or suffix in CODE:
            raise Refusal(
                f"{path} could run code when it is opened: weights are safetensors, and an engine "
                "brings no code; remove the file, or convert it to safetensors."
            )
        if path.suffix == ".json" and path.name.endswith(("config.json", "index.json")):
            said = read_json(path)
            if "auto_map" in said:
                raise Refusal(
                    f"{path}: auto_map names code of the folder, and none is taken from there; "
                    "name an engine whose parts the libraries know."
                )

    def _check_part(self, part: Part) -> None:
        folder = self.path / part.name
        if not folder.is_dir():
            raise Refusal(
                f"{self.path}: {INDEX} names the part {part.name} ({part.kind}), and there is no "
                f"folder of it: a pipeline needs all its parts; {COPY_AGAIN}."
            )
        if part.weighs and not self.config(part.name):
            raise Refusal(
                f"{folder}: there is no config.json: it says what the weights belong to; "
                f"{COPY_AGAIN}."
            )
        spells = "Tokenizer" in part.kind and part.kind != "ByT5Tokenizer"
        full = any((folder / n).is_file() and (folder / n).stat().st_size for n in VOCABULARIES)
        if spells and not full:
            raise Refusal(
                f"{folder}: it holds no vocabulary, and the libraries would make an empty one, so "
                f"that clips ignore their prompts: a tokenizer has {VOCABULARIES[0]} or another "
                f"vocabulary; {COPY_AGAIN}."
            )

    def _tensors_of(self, part: Part) -> dict[str, tuple[str, tuple[int, ...]]]:
        folder = self.path / part.name
        for path in folder.glob("*.index.json"):
            names = set(read_json(path).get("weight_map", {}).values())
            lost = [str(n) for n in names if "/" in str(n) or not (folder / str(n)).is_file()]
            if lost:
                raise Refusal(
                    f"{path} names {lost[0]}, which is no file beside it: weights lie in the "
                    f"folder of their part; {COPY_AGAIN}."
                )
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise Refusal(
                f"{folder}: there are no weights in safetensors: those of {part.kind} are needed, "
                f"and no other format is read; {COPY_AGAIN}."
            )
        return {name: said for file in files for name, said in header(file).items()}


def header(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of each tensor in a safetensors file, which must be as long as it says."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= LARGEST_HEADER:
                raise ValueError(f"a header of {length} bytes")
            said = json.loads(file.read(length))
        said.pop("__metadata__", None)
        end = max((entry["data_offsets"][1] for entry in said.values()), default=0)
        if path.stat().st_size != 8 + length + end:
            raise ValueError(f"{path.stat().st_size} bytes instead of {8 + length + end}")
        return {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in said.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refusal(
            f"{path} is not a whole safetensors file ({error}): its header tells names, shapes "
            f"and length of the weights; {COPY_AGAIN}."
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """The table in a file of JSON.

    Raises:
        Refusal: It is none, or too large for one.
    """
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ValueError(f"{path.stat().st_size} bytes, {LARGEST_JSON} at most")
        said = json.loads(path.read_bytes())
        if not isinstance(said, dict):
            raise ValueError("no table")
    except (OSError, ValueError, RecursionError) as error:
        raise Refusal(
            f"{path} is not JSON as it should be ({error}): configs are tables; {COPY_AGAIN}."
        ) from error
    return said
