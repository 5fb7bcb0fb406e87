"""What a batch is made from, for hosts that share no disk: scans and models, by their digests.

Whoever has them puts them beside the plan's project in the store, into hidden folders that no
gallery opens: ``.inputs/SHA256.nii.gz`` and ``.models/DIGEST/NAME/``. A host that lacks one, or
has another under that name, fetches it and holds it against its digest. What is read beside a scan
goes with it: the marks of its sidecars and, in ``batch.json``, what its dataset is called. Nothing
of this happens where no store is named.
"""

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from core.refusal import Refusal
from core.storage.journal import held
from core.storage.store import Store
from flows.batches.item import Item
from flows.batches.ledger import Batch
from flows.settings.environment import adopt
from flows.settings.settings import Settings
from flows.storage.inputs import INPUTS, deliver_told, object_path, obtain_scan, told_of, told_path
from medical.files.bids_derivatives import described

MODELS = ".models"
COPIES_LOCK = ".inputs.lock"
Models = dict[str, dict[str, str]]  # name to kind and to the digest of each file


def deliver_inputs(batch: Batch, items: Iterable[Item]) -> None:
    """Have scans and models of these items in the store, as far as they are not there.

    The batch is planned, and says afterwards which models it is made with.

    Raises:
        Refusal: A scan or a model is neither here as planned nor in the store.
    """
    if batch.mirror is None:
        return
    store, wanted = batch.mirror.store, list(items)
    _deliver_scans(store, _project(batch) / INPUTS, wanted)
    dataset = batch.request().dataset
    if dataset and (said := described(dataset)):
        batch.change(dataset=said)
    known: Models = batch.read().get("models", {})
    found = dict[str, dict[str, str]]()
    for item in wanted:
        source = item.operation.source(item.request)
        if source.delivered and (name := source.name) not in known | found:
            found[name] = _deliver_model(batch, name, item.operation.kind)
    if found:
        batch.change(models={**known, **found})


def with_models(settings: Settings, batch: Batch) -> Settings:
    """Places with the very models that a batch is made with, fetched where they are not here.

    They become this process's own.
    """
    if batch.mirror is None:
        return settings
    shelves: list[Path] = []
    models: Models = batch.read().get("models", {})
    for name, said in models.items():
        if _digest_here(name, said["kind"]) != said["model.json"]:
            shelves.append(_fetch_model(batch, name, said))
    if shelves:
        settings = replace(settings, models=(*shelves, *settings.models))
        adopt(settings)
    return settings


def at_hand(batch: Batch, item: Item) -> Item:
    """The item with its scan on this disk, as it was planned.

    Raises:
        StoreRefusedError: The store holds another one under its digest.
    """
    from core.records import sha256_file
    from medical.files.synthetic import told_beside

    if batch.mirror is None or item.scan is None:
        return item
    path, store, digest = Path(item.request.scan), batch.mirror.store, item.scan.sha256
    same = path.is_file() and sha256_file(path) == digest
    if same and told_of(store, _project(batch), digest).items() <= told_beside(path).items():
        return item  # else a copy without the files that its original has beside it
    path = obtain_scan(store, _project(batch), digest, path.name)
    return replace(item, request=item.request.model_copy(update={"scan": str(path)}))


def _deliver_scans(store: Store, folder: Path, items: list[Item]) -> None:
    there = store.names(store.key(folder)) if any(item.scan for item in items) else {}
    for item in items:
        if item.scan is None:
            continue
        path = Path(item.request.scan)
        target = object_path(folder, item.scan.sha256, path.name)
        if target.name not in there:
            _put_copy(store, path, target, item.scan.sha256)
        if path.is_file():
            told = told_path(folder, item.scan.sha256)
            deliver_told(store, folder, item.scan.sha256, path, there.get(told.name))


def _put_copy(store: Store, path: Path, target: Path, digest: str) -> None:
    """Put a file into the store under another name, if it is still the one that was planned."""
    from core.records import atomic_path, sha256_file

    if not path.is_file():
        raise Refusal(
            f"{path} is neither here nor in {store.url}: a batch is started where its scans and "
            "models are, or where they were delivered before; start it there."
        )
    store.outputs.mkdir(parents=True, exist_ok=True)
    with held(store.outputs / COPIES_LOCK):  # another batch of this host may deliver the same
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(target, overwrite=True) as temporary:
                shutil.copyfile(path, temporary)
            if (found := sha256_file(target)) != digest:
                raise Refusal(
                    f"{path}: sha256 is {found[:12]} instead of {digest[:12]}: a scan must not "
                    "change while its batch is made; start the batch again where the scan is."
                )
            store.put([target])
        finally:
            target.unlink(missing_ok=True)


def _deliver_model(batch: Batch, name: str, kind: str) -> dict[str, str]:
    """Put a model into the store; its kind and the digests of its files."""
    from core.models.checkpoints import find_model
    from core.records import sha256_file

    assert batch.mirror
    folder, store = find_model(name, kind), batch.mirror.store
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    digests = {path.name: sha256_file(path) for path in paths}
    target = _shelf(batch, digests["model.json"]) / name
    there = store.names(store.key(target))
    for path in sorted(paths, key=lambda path: path.name == "model.json"):
        if path.name not in there:
            _put_copy(store, path, target / path.name, digests[path.name])
    return {"kind": kind, **digests}


def _fetch_model(batch: Batch, name: str, said: dict[str, str]) -> Path:
    """The shelf on which a model of the store stands now."""
    assert batch.mirror
    store, shelf = batch.mirror.store, _shelf(batch, said["model.json"])
    digests = {
        store.key(shelf / name / file): digest for file, digest in said.items() if file != "kind"
    }
    missing = [key for key in digests if not store.path(key).exists()]
    store.fetch(sorted(missing, key=lambda key: key.endswith("model.json")), digests)
    return shelf


def _digest_here(name: str, kind: str) -> str:
    """The digest of a model's record on this host, which holds those of its other files."""
    from core.models.checkpoints import RECORD, find_model
    from core.records import sha256_file

    try:
        return sha256_file(find_model(name, kind) / RECORD)
    except ValueError:
        return ""


def _shelf(batch: Batch, digest: str) -> Path:
    return _project(batch) / MODELS / digest[:16]


def _project(batch: Batch) -> Path:
    return batch.root.parent.parent
