"""A way to make results that needs no network, in the place of a model."""

from dataclasses import dataclass
from typing import Any

from core.operations.operation import Model

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Method:
    """A named way; see ``core.operations.operation.ModelSource``.

    Attributes:
        name: By which records know it.
        kind: ``video`` or ``mri``.
        digest: SHA-256 of what it was measured from; empty where there is nothing.

    >>> Method("harmonic filling", "mri").record()
    {'name': 'harmonic filling', 'kind': 'mri'}
    """

    name: str
    kind: str
    digest: str = ""
    delivered = False
    slow = False

    def record(self) -> dict[str, Any]:
        """Name, kind, and the digest if there is one."""
        said = {"sha256": {WEIGHTS: self.digest}} if self.digest else {}
        return {"name": self.name, "kind": self.kind, **said}

    def load(self, device: Any) -> Model:
        """No network."""
        return Model(None, self.record())
