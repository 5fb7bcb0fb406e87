"""One item of a batch: a result to make, as its plan holds it.

Seeds follow from what an item is, never from a position.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from core.operations.operation import AnyOperation
from flows.jobs.operations import operation_named, operation_of
from flows.storage.files import plain_name
from video.request import VideoRequest

SEEDS = 2**31  # a seed that a person can copy and every form can hold


@dataclass(frozen=True)
class Scan:
    """The bytes of the scan that an item is made from, wherever they stand.

    Attributes:
        sha256: Their digest, hexadecimal.
        size: How many they are.
    """

    sha256: str
    size: int


@dataclass(frozen=True)
class Item:
    """One result to make.

    Attributes:
        address: Sixteen hexadecimal digits that stand for its content.
        row: Where it was asked for: a file's row, or a scan.
        request: What a single run would be asked.
        scan: What the scan holds that it names, if it names one.
        facts: For the record: how the request was read, where there is something to say.
        inputs: SHA-256 of pictures and adapters that a clip is made from, by field.
    """

    address: str
    row: str
    request: Any
    scan: Scan | None = None
    facts: dict[str, Any] = field(default_factory=dict, compare=False)
    inputs: dict[str, str] = field(default_factory=dict, compare=False)

    @property
    def operation(self) -> AnyOperation:
        """What makes it."""
        return operation_of(self.request)

    @property
    def stem(self) -> str:
        """Its files' name without an ending."""
        name = plain_name(self.operation.title(self.request), self.operation.noun)
        return f"{self.address}-{name}"

    def line(self) -> dict[str, Any]:
        """The item as ``items.jsonl`` holds it."""
        return {
            "item": self.address,
            "row": self.row,
            "operation": self.operation.name,
            "request": self.request.model_dump(mode="json"),
            **({"scan": asdict(self.scan)} if self.scan else {}),
            **({"facts": self.facts} if self.facts else {}),
            **({"inputs": self.inputs} if self.inputs else {}),
        }

    @classmethod
    def of_line(cls, line: dict[str, Any]) -> "Item":
        """The item that ``line`` gave."""
        before = "super_resolve_mri" if "scan" in line["request"] else "text_to_video"
        operation = operation_named(line.get("operation", before))  # old plans do not say it
        scan = Scan(**line["scan"]) if "scan" in line else None
        request = operation.request.remembered(line["request"])
        facts, inputs = line.get("facts", {}), line.get("inputs", {})
        return cls(line["item"], line["row"], request, scan, facts, inputs)


def canonical(value: object) -> bytes:
    """The one JSON text of plain values."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def derived_seed(*content: object) -> int:
    """A seed that follows from the content."""
    return int.from_bytes(hashlib.sha256(canonical(content)).digest()[:8]) % SEEDS


def drawn_again(request: Any, draw: int) -> Any:
    """The request of the ``draw``-th attempt, counted from 1; the first is the request itself."""
    if draw == 1:
        return request
    return request.model_copy(update={"seed": derived_seed("draw", request.seed, draw)})


def digests_of(made: VideoRequest) -> dict[str, str]:
    """SHA-256 of each file that a clip is made from, by field."""
    files = operation_of(made).inputs(made)
    if not files:
        return {}
    from video.engines.adapter_files import digest_of_input

    return {role: digest_of_input(role, p) for role, p in files.items() if p.is_file()}
