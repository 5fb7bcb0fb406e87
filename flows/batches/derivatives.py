"""What a batch restored of a BIDS dataset, as a BIDS derivative dataset in the batch's folder."""

import json
from pathlib import Path

from flows.batches.item import Item
from flows.batches.ledger import Batch
from flows.storage.files import DERIVATIVES
from flows.storage.inputs import told_of
from medical.files.bids_derivatives import Restored, derived_path, write_derivatives

ROLES = ("result", "std")


def renew_derivatives(batch: Batch) -> Path | None:
    """Write the dataset, or bring it up to date; its folder, None where scans are of none."""
    source, root = batch.request().dataset, batch.root / DERIVATIVES
    if source is None:
        return None
    dataset = source.resolve()
    scans = _restored(batch, dataset)
    if not scans and not root.exists():
        return None
    write_derivatives(root, dataset, scans, batch.read().get("dataset"))
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
            files = {role: paths[role] for role in ROLES}
            found.append(Restored(inside, files, record, _stripped(batch, item)))
    return found


def _stripped(batch: Batch, item: Item) -> bool | None:
    """What the store tells of a scan that is not here; None where its own files tell."""
    if batch.mirror is None or item.scan is None or Path(item.row).exists():
        return None
    told = told_of(batch.mirror.store, batch.root.parent.parent, item.scan.sha256)
    return told.get("SkullStripped") is True
