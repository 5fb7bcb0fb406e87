"""What the requests of all floors have in common: they are fixed, and their forms are plain."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from core.refusal import Refusal

Asked = TypeVar("Asked", bound="Request")
WORDS = {
    "bids": "BIDS",
    "c2pa": "C2PA",
    "cpu": "CPU",
    "dicom": "DICOM",
    "first": "first picture",
    "fps": "frames per second",
    "gpu": "GPU",
    "gpus": "GPUs",
    "id": "ID",
    "key": "key pictures",
    "last": "last picture",
    "lora": "LoRA",
    "mri": "MRI",
    "negative": "negative prompt",
    "num": "number of",
    "std": "standard deviation",
}
LONGEST_NAME, LONGEST_PATH = 255, 4000  # bytes
UNITS = {"gb": "GB", "hz": "Hz", "mib": "MiB", "ml": "ml", "mm": "mm", "ms": "ms", "s": "s"}


def title(name: str) -> str:
    """The words that a form shows for a field, in sentence case with its unit in brackets.

    >>> title("gpu_minutes"), title("slice_gap_mm"), title("num_frames")
    ('GPU minutes', 'Slice gap (mm)', 'Number of frames')
    """
    *words, last = name.split("_")
    unit = f" ({UNITS[last]})" if words and last in UNITS else ""
    shown = " ".join(WORDS.get(word, word) for word in (words if unit else [*words, last]))
    return shown[:1].upper() + shown[1:] + unit


@dataclass(frozen=True)
class OnDisk:
    """Marks a field that names a file or a folder of the machine that does the work.

    Attributes:
        names: Whether a text that begins with a letter or digit and has no slash is a name to
            look up, which opens no path.
        keyed: Whether each of several texts is KEY=PATH.

    >>> class Asked(Request):
    ...     scan: Annotated[str, OnDisk()]
    >>> Asked(scan="in.nii.gz").scan
    'in.nii.gz'
    """

    names: bool = False
    keyed: bool = False

    def paths_in(self, value: Any) -> list[str]:
        """The paths that a field's value names, as it was given: a text, or several.

        >>> OnDisk(keyed=True).paths_in("1=a.png; 8=b.png")
        ['a.png', 'b.png']
        """
        texts = [str(part or "") for part in value] if isinstance(value, list | tuple) else []
        if not isinstance(value, list | tuple):
            texts = str(value or "").split(";") if self.keyed else [str(value or "")]
        return [text.partition("=")[2] or text for text in texts] if self.keyed else texts


Backend = Annotated[
    Literal["usual", "torch", "openvino", "auto"],
    Field(
        description="Who computes networks on a CPU: usual for what LAMINA_BACKEND says, torch, "
        "openvino, or auto for the faster of the two; the record names it.",
    ),
]
"""Who computes: a field of requests that a model of our own serves."""

DiskPath = Annotated[str, OnDisk()]
"""Text of a request that is opened as a path. Where others may ask, it is held to the operator's
folders; so every field that is ever opened has this type."""


class Request(BaseModel):
    """What a person may ask for: fixed once made, and no field that is not known.

    >>> class Asked(Request):
    ...     steps: int = 4
    >>> Asked(steps=2).steps
    2
    """

    before: ClassVar[dict[str, Any]] = {}
    """What fields stood for before they existed; records of then lack them."""

    spoken: ClassVar[dict[str, dict[Any, str]]] = {}
    """Field to the values that stand for something else, and the words for it."""

    def named_file(self, role: str) -> str:
        """The path of an input, by its role: a field's name, or a keyed one's as ``field_key``."""
        if role in type(self).model_fields:
            return str(getattr(self, role))
        field, _, key = role.rpartition("_")
        return str(dict(text.split("=", 1) for text in getattr(self, field))[key])

    def with_files(self: Asked, places: Mapping[str, str]) -> Asked:
        """The request whose inputs, by their roles, stand elsewhere."""
        found: dict[str, Any] = {}
        for role, path in places.items():
            if role in type(self).model_fields:
                found[role] = path
                continue
            field, _, key = role.rpartition("_")
            texts = found.get(field, getattr(self, field))
            found[field] = tuple(
                f"{key}={path}" if text.startswith(f"{key}=") else text for text in texts
            )
        return self.model_copy(update=found)

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        field_title_generator=lambda name, _: title(name),
    )

    @classmethod
    def remembered(cls: type[Asked], recorded: dict[str, Any]) -> Asked:
        """The request that a record holds, whose fields may have been fewer."""
        return cls.model_validate({**cls.before, **recorded})

    @model_validator(mode="before")
    @classmethod
    def _names_fit_a_disk(cls, asked: Any) -> Any:
        """No disk holds longer names, and asking for one is an error of the system."""
        for name, field in cls.model_fields.items() if isinstance(asked, dict) else ():
            mark = next((mark for mark in field.metadata if isinstance(mark, OnDisk)), None)
            for path in mark.paths_in(asked.get(name)) if mark else ():
                text = path.encode(errors="replace")
                if max(map(len, text.split(b"/"))) > LONGEST_NAME or len(text) > LONGEST_PATH:
                    raise Refusal(
                        f"{name}={path[:60]}...: {name} is a path of at most {LONGEST_PATH} "
                        f"bytes, {LONGEST_NAME} from slash to slash; shorten it or check it."
                    )
        return asked

    @model_validator(mode="before")
    @classmethod
    def _truth_is_no_number(cls, asked: Any) -> Any:
        """Pydantic would take true for 1."""
        for name, field in cls.model_fields.items() if isinstance(asked, dict) else ():
            value = asked.get(name)
            inner = value if isinstance(value, list | tuple) else [value]
            if field.annotation is not bool and any(isinstance(part, bool) for part in inner):
                raise Refusal(
                    f"{name}={str(value).lower()}: {name} is not true or false; write its value."
                )
        return asked
