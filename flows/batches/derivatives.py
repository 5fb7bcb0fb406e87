"""What a batch restored of a BIDS dataset, as a BIDS derivative dataset in the batch's folder."""

import json
from pathlib import Path

from flows.batches.ledger import Batch
from flows.requests.batch_requests import ScanBatchRequest
from medical.files.bids_derivatives import Restored, derived_path, write_derivatives

ROLES = ("result", "std")
FOLDER = "bids"


def renew_derivatives(batch: Batch) -> Path | None:
    """Write the dataset, or bring it up to date; its folder, None where scans are of none."""
    request = batch.request()
    if not isinstance(request, ScanBatchRequest):
        return None
    dataset, root = request.source.resolve(), batch.root / FOLDER
    scans = _restored(batch, dataset)
    if not scans and not root.exists():
        return None
    write_derivatives(root, dataset, scans)
    return root


def _restored(batch: Batch, dataset: Path) -> list[Restored]:
    outcomes, found = batch.outcomes(), list[Restored]()
    for item, _ in batch.items():
        source, outcome = Path(item.row), outcomes.get(item.address)
        if outcome is None or outcome["state"] != "made" or not source.is_relative_to(dataset):
            continue
        inside = source.relative_to(dataset)
        of_dataset = len(inside.parts) > 1 and inside.parts[0].startswith("sub-")
        if not of_dataset or derived_path(inside, "result") is None:
            continue
        said = {role: outcome["files"][role] for role in (*ROLES, "record")}
        batch.fetch({each["path"]: each["sha256"] for each in said.values()})
        paths = {role: batch.root / each["path"] for role, each in said.items()}
        if all(path.is_file() for path in paths.values()):
            record = json.loads(paths["record"].read_text(encoding="utf-8"))
            found.append(Restored(inside, {role: paths[role] for role in ROLES}, record))
    return found
