"""``audit_mri_dataset``: whether heads that are to show nobody show people."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.models.methods import Method
from core.operations.operation import Cost, Facts, Model, ModelSource, OnStep, Paths, Reading
from core.refusal import Refusal
from medical.audit.request import AuditRequest

if TYPE_CHECKING:
    from medical.audit.auditing import Audit

HEAD_S, CONTROL_S, MAP_S = 2.6, 2.6, 4.0  # on one core of a server CPU
BASE_GB, HEAD_GB = 1.0, 0.004
PAGE_GB = 0.001


class AuditMRIDataset:
    """An audit; see ``core.operations.operation.Operation``."""

    name = "audit_mri_dataset"
    kind = "mri"
    request = AuditRequest
    endings: tuple[str, ...] = (".html",)
    noun = "audit"
    private = True

    def title(self, request: AuditRequest) -> str:
        """The dataset's name."""
        return f"{Path(request.dataset).resolve().name}-audit"

    def inputs(self, request: AuditRequest) -> Paths:
        """None that is one file; the record tells one digest of the heads that were read."""
        return {}

    def outputs(self, target: Path, request: AuditRequest | None = None) -> Paths:
        """The page; its record holds all numbers."""
        if target.suffix != ".html":
            raise Refusal(f"{target}: an audit is a page; end its name with .html.")
        return {"page": target}

    def read(self, request: AuditRequest, *, strict: bool = False) -> Reading:
        """As it came, and what little an audit without real heads can say."""
        if request.against:
            from medical.audit.places import further_heads

            more = further_heads(Path(request.against))
            return Reading(request, {}, (more,) if more else ())
        said = (
            "without --against, heads are held against blurred maps alone: copies of folds or "
            "texture cannot be found"
        )
        return Reading(request, {}, (said,))

    def check(self, request: AuditRequest) -> None:
        """Refuse a dataset without heads, or too few people."""
        from medical.audit.places import heads_of, people_of
        from medical.audit.sources import LEAST_PEOPLE

        for name in filter(None, (request.dataset, request.against)):
            if not Path(name).is_dir():
                raise Refusal(f"{name} is no folder: a dataset is a BIDS folder; check its name.")
        heads_of(Path(request.dataset))
        if request.against:
            people_of(Path(request.against), LEAST_PEOPLE)

    def cost(self, request: AuditRequest) -> Cost:
        """By how many heads are read and made."""
        from medical.audit.places import heads_of, people_of

        heads = min(request.most, len(heads_of(Path(request.dataset))))
        seconds = HEAD_S * heads + MAP_S * request.controls
        if request.against:
            people = min(request.most, len(people_of(Path(request.against), 0)))
            seconds = HEAD_S * (heads + people) + 3 * CONTROL_S * request.controls
            heads += people
        return Cost(seconds, BASE_GB + HEAD_GB * heads, PAGE_GB, PAGE_GB)

    def settled(self, request: AuditRequest) -> AuditRequest:
        """The request itself."""
        return request

    def source(self, request: AuditRequest) -> ModelSource:
        """What is known of the method."""
        return Method("nearest person", self.kind)

    def prepare(self, request: AuditRequest) -> None:
        """Nothing: heads are read one after the other."""

    def draw(
        self, request: AuditRequest, prepared: None, model: Model, on_step: OnStep
    ) -> "Audit":
        """The audit."""
        from medical.audit.auditing import audit

        return audit(request, lambda done, total: on_step(done, total, None))

    def judge(self, request: AuditRequest, drawn: "Audit") -> Facts:
        """Nothing: a dataset that does not pass is a result."""
        return {}

    def write(
        self, request: AuditRequest, drawn: "Audit", target: Path, *, overwrite: bool
    ) -> Paths:
        """Write the page; the report of a drawn dataset tells the figures, too."""
        from core.records import atomic_path
        from medical.audit.page import audit_page
        from medical.datasets.decisions import say_audit

        paths = self.outputs(target)
        name = Path(request.dataset).resolve().name
        with atomic_path(target, overwrite=overwrite) as temporary:
            temporary.write_text(audit_page(name, drawn.facts), encoding="utf-8")
        folder = Path(request.dataset)
        if os.access(folder, os.W_OK):
            say_audit(folder, drawn.facts)
        return paths

    def numbers(self, drawn: "Audit") -> Facts:
        """All that was found."""
        return {"audit": drawn.facts}

    def verify(self, request: AuditRequest, paths: Mapping[str, Path]) -> Facts:
        """The page is whole."""
        if not paths["page"].read_text(encoding="utf-8").endswith("</html>\n"):
            raise RuntimeError(f"{paths['page']} is not whole: write it again.")
        return {}

    def decoded(self, path: Path) -> dict[str, NDArray[np.generic]]:
        """Its signs."""
        return {"sign": np.frombuffer(path.read_bytes(), np.uint8)}

    def recalled(self, file: Path) -> AuditRequest | None:
        """None: a page does not say what it was made from."""
        return None

    def pictures(self, prepared: None, drawn: "Audit") -> dict[str, bytes]:
        """None."""
        return {}

    def shown(self, request: AuditRequest, facts: Mapping[str, Any]) -> Facts:
        """The verdict."""
        from medical.audit.page import summary, verdict

        told = facts["audit"]
        return {
            "dataset": request.dataset,
            "verdict": verdict(told),
            "found": summary(told),
        }
