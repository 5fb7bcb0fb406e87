"""Where an output comes from: the record beside it or the tag inside it.

Also whether all that it was made from is still here, and what has changed since.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.models.checkpoints import WEIGHTS, list_models
from core.numerics import TORCH
from core.operations.operation import AnyOperation, ModelSource
from core.records import compute, sha256_path, versions
from core.refusal import Refusal
from core.request import Request
from flows.jobs.operations import OPERATIONS
from flows.machines.devices import choose_device
from flows.settings.settings import read_settings
from flows.storage.delivery import MAPS, bare
from video.engines.adapter_files import settings_beside
from video.provenance.unsigned import media_sha256

DECIDES = ("cpu", "instructions", "products", "arithmetic", "numerics")  # the last bits
RUNNER = "runner"  # who made what an exported model's record stands beside


@dataclass(frozen=True)
class Origin:
    """How a file came about.

    Attributes:
        file: The file.
        role: What it is among the outputs: ``video``, ``result``, ``std`` or ``consistency``.
        task: The job's name.
        request: What was asked for.
        recorded: SHA-256 that the record says the file had before it was signed; empty where only
            a tag is left.
        threads: How many threads computed it; 0 where that is not known.
        notes: What is not as it was when the file was made, in words.
    """

    file: Path
    role: str
    task: str
    request: Any
    recorded: str = ""
    threads: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def operation(self) -> AnyOperation:
        """What made it."""
        return OPERATIONS[self.task]

    @property
    def model(self) -> ModelSource:
        """The model that made it."""
        return self.operation.source(self.request)


def find_origin(file: Path, inputs: Path | None = None) -> Origin:
    """The origin of an output, with its inputs found and its model checked.

    Args:
        file: A clip or a NIfTI volume that a flow or a command wrote, or its record.
        inputs: Folder to look for inputs in that are no longer where they were.

    Raises:
        Refusal: The file is no output or that of an exported model, or the model or an input has
            gone or changed.
    """
    if not file.is_file():
        raise Refusal(f"{file}: there is no such file; check the name.")
    record = _record_of(file)
    if record is None:
        return _tagged(file)
    task = str(record.get("task"))
    if record.get("made_by") == RUNNER:
        raise Refusal(
            f"{file.name} was made by an exported model ({record['model'].get('name')}): the "
            "same words to its own run.py make it again, and nothing here does; run that."
        )
    if task not in OPERATIONS:
        raise Refusal(
            f"{file.name} was made by {task}: only the outputs of {' and '.join(OPERATIONS)} "
            "can be made again; name one of these."
        )
    role, name = _role(file, record)
    asked = OPERATIONS[task].request
    before = {} if "watermark" in record.get("extra", {}) else {"unmarked": True}
    known = {name: value for name, value in before.items() if name in asked.model_fields}
    request = asked.remembered({**known, **record["request"]} | _computed(record))
    weights = str(record.get("model", {}).get("sha256", "unknown"))
    request = _with_weights(request, weights)
    found = _with_inputs(request, record.get("inputs", {}), file.parent, inputs)
    origin = Origin(
        file.with_name(name) if file.suffix == ".json" else file,
        role,
        task,
        found,
        recorded=_digest_before_signing(record["outputs"][role]),
        threads=int(record.get("compute", {}).get("threads", 0)),
        notes=_changes(record),
    )
    if (then := record["request"].get("model")) and then != (now := getattr(found, "model", then)):
        origin.notes.append(f"the weights were called {then}, and are called {now} here")
    if not origin.file.is_file():
        raise Refusal(f"{origin.file} has gone: it is compared with; name a copy of it.")
    _check_model(origin, weights)
    _check_adapter(origin, record)
    _note_walk(origin, record)
    if media_sha256(origin.file) != origin.recorded:
        origin.notes.append(f"{origin.file.name} was changed after it was recorded")
    return origin


def _with_weights(request: Request, weights: str) -> Request:
    """The request by the model that holds these weights today, should it have another name."""
    if "model" not in type(request).model_fields:
        return request
    holders = [
        folder.name for folder, model in list_models() if model["sha256"].get(WEIGHTS) == weights
    ]
    if not holders or getattr(request, "model", "") in holders:
        return request
    return request.model_copy(update={"model": holders[0]})


def _computed(record: Mapping[str, Any]) -> dict[str, str]:
    """Who computed it, where the request says so: ``auto`` may find another here."""
    asked = "backend" in record["request"]
    return {"backend": record.get("model", {}).get("backend", TORCH)} if asked else {}


def record_beside(file: Path) -> Path:
    """Where the record of an output stands: ``OUT.json`` for ``OUT.mp4`` or ``OUT.nii.gz``."""
    return file.with_name(f"{bare(file)}.json")


def _record_of(file: Path) -> Mapping[str, Any] | None:
    """The record beside a file, or the file itself if it is one."""
    path = record_beside(file)
    maps = [path.stem.removesuffix(end) for end in MAPS if path.stem.endswith(end)]
    for place in (path, *(path.with_stem(stem) for stem in maps)):
        try:
            record = json.loads(place.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(record, dict) and {"task", "request", "outputs"} <= record.keys():
            return record
    return None


def _role(file: Path, record: Mapping[str, Any]) -> tuple[str, str]:
    """What the file is among the recorded outputs, by name or else by content; and its name."""
    made, outputs = _roles(record), record["outputs"]
    outputs = {role: outputs[role] for role in made if role in outputs}
    if file.suffix == ".json":
        return next((role, str(facts["file"])) for role, facts in outputs.items())
    for role, facts in outputs.items():
        if facts["file"] == file.name:
            return role, file.name
    digest = media_sha256(file)
    for role, facts in outputs.items():
        if _digest_before_signing(facts) == digest:
            return role, file.name
    names = ", ".join(str(facts["file"]) for facts in outputs.values())
    raise Refusal(f"{file.name} is not among what its record can make again; name one of {names}.")


def _digest_of(path: Path) -> str:
    return media_sha256(path) if path.is_file() else sha256_path(path)


def _digest_before_signing(facts: Mapping[str, Any]) -> str:
    return str(facts.get("media_sha256") or facts["sha256"])


def _roles(record: Mapping[str, Any]) -> list[str]:
    """What can be made again, the main output first."""
    operation = OPERATIONS[str(record["task"])]
    return list(operation.outputs(Path(f"result{operation.endings[0]}")))


def _tagged(file: Path) -> Origin:
    """The origin of a result that lost its record, from what the file itself says."""
    for operation in OPERATIONS.values():
        request = operation.recalled(file)
        if request is not None:
            operation.source(request).record()
            notes = ["there is no record beside it: weights, versions and threads are today's"]
            role = next(iter(operation.outputs(file)))
            return Origin(file, role, operation.name, request, notes=notes)
    raise Refusal(
        f"{file.name} has no record beside it and no tag of Lamina inside: one of them must "
        f"say how it was made; put {file.name.partition('.')[0]}.json beside it."
    )


def _with_inputs(
    request: Request, recorded: Mapping[str, Any], beside: Path, inputs: Path | None
) -> Request:
    """The request with each input where it stands today, after comparing digests."""
    places: dict[str, str] = {}
    for role, facts in recorded.items():
        asked = Path(request.named_file(role))
        folders = [asked.parent, *([inputs] if inputs else []), beside]
        there = [path for f in folders if (path := f / asked.name).exists()]
        same = [path for path in there if _digest_of(path) == _digest_before_signing(facts)]
        if not same:
            state = "holds other bytes than it did" if there else "is not where it was"
            raise Refusal(
                f"{role}={asked}: the file {state}: an output is made again from the same bytes; "
                "name the folder of the original file with --inputs."
            )
        places[role] = str(same[0])
    return request.with_files(places)


def _check_model(origin: Origin, recorded: str) -> None:
    found = origin.model.record().get("sha256", {}).get(WEIGHTS, "unknown")
    if found == recorded == "unknown" and not origin.model.delivered:
        return
    if "unknown" in (found, recorded):
        origin.notes.append("the record does not say which weights were used")
    elif found != recorded:
        raise Refusal(
            f"model={origin.model.name}: its weights are {found[:12]}, and {origin.file.name} "
            f"was made by {recorded[:12]}: only the same weights make the same output; install "
            "that release of the model."
        )


def _note_walk(origin: Origin, record: Mapping[str, Any]) -> None:
    """Say where what is done around the same weights has changed since, or may have."""
    then, now = record.get("model", {}).get("walk"), origin.model.record().get("walk")
    if now is not None and then is None:
        origin.notes.append("the record does not say how its weights were led (walk)")
    elif then != now:
        origin.notes.append(f"walk {then} then, {now} now: the same weights are led otherwise")


def _check_adapter(origin: Origin, record: Mapping[str, Any]) -> None:
    """Refuse an adapter whose file is the same and whose settings beside it are not."""
    if not getattr(origin.request, "lora", ""):
        return
    of_model = record.get("model", {}).get("lora")
    of_engine = (record.get("extra", {}).get("engine") or {}).get("lora") or {}
    if of_model is None and not of_engine:
        origin.notes.append("the record does not say which alpha the adapter counted with")
        return
    if of_model is not None:
        then, now = of_model.get("alpha"), origin.model.record()["lora"].get("alpha")
    else:
        beside = settings_beside(Path(origin.request.lora).expanduser())
        then, now = of_engine.get("settings_sha256"), beside and sha256_path(beside)
    if then != now:
        raise Refusal(
            f"lora={origin.request.lora}: its settings say {now or 'nothing'}, and "
            f"{origin.file.name} was made with {then or 'none'}: an adapter counts by its file "
            "and by the alpha in adapter_config.json beside it; put that file back as it was."
        )


def _changes(record: Mapping[str, Any]) -> list[str]:
    """Versions and processors that are others now, which may cost the last bits."""
    then = {**record.get("versions", {}), **record.get("compute", {})}
    today = compute()
    now = {**versions(), "gpu": _gpu()}
    now |= {name: today[name] for name in DECIDES}
    return [
        f"{name} {then.get(name, 'none')} then, {now[name]} now"
        for name in now
        if then.get(name, "none" if name == "gpu" else now[name]) != now[name]
    ]


def _gpu() -> str:
    """The GPU that will compute."""
    import torch

    device = choose_device(read_settings().device)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "none"
