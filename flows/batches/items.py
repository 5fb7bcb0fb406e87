"""The items of a batch: what each shall be, and an address that follows from that alone.

An address is the SHA-256 of the request, of the model's weights and of the scan's bytes: what
was made is found again by what it is, wherever it stood in a file and however often the batch
was started. Seeds follow from the same content, never from a position.
"""

import hashlib
import unicodedata
from collections.abc import Callable, Collection, Iterable
from functools import cache
from typing import Any

from core.operations.operation import ModelSource
from core.refusal import Refusal
from flows.batches.drafting import drafted
from flows.batches.item import Item, Scan, canonical, derived_seed, digests_of
from flows.jobs.operations import operation_of
from flows.requests.batch_requests import (
    OWN_SEED,
    BatchRequest,
    ClipBatchRequest,
    ScanBatchRequest,
)
from flows.requests.policy import check_policy
from flows.requests.prompt_tables import NUMBER, each_of, requests_of, rows_of
from medical.request import SuperResolutionRequest
from video.fields import OWN_ONLY, USUAL
from video.request import VideoRequest
from video.several import checked_count, seed_of

ADDRESS_DIGITS = 16
SURELY_READ = 62  # characters of a prompt that the encoder takes whatever they are


def items_of(request: BatchRequest) -> tuple[list[Item], list[str]]:
    """Every item once, in the order asked for, and the rows that repeat an earlier one.

    Raises:
        Refusal: Something was asked that cannot be made; each complaint says where.
    """
    return _distinct(ITEMS[request.operation](request))


def address_of(content: dict[str, Any], weights: str) -> str:
    """Sixteen digits for a request without its places, its inputs' digests, and the weights."""
    digest = hashlib.sha256(canonical([content, weights]))
    return digest.hexdigest()[:ADDRESS_DIGITS]


def _clips(batch: ClipBatchRequest) -> list[Item]:
    from video.engines.served_prompts import serve

    if batch.plateau_draws and not batch.accept_only:
        raise Refusal(
            f"plateau_draws={batch.plateau_draws}: quality is known only where clips are judged; "
            "turn accept_only on, or leave plateau_draws at 0."
        )
    rows = rows_of(batch.prompts, batch.prompt_file)
    shared = batch.shared(VideoRequest)
    others = shared if batch.engine else _of_other_engines(shared)
    record_of = cache(lambda source: source.record())
    facts: dict[str, dict[str, Any]] = {}  # by prompt as drawn

    def make(said: dict[str, Any]) -> VideoRequest:
        fields = dict(said)
        number = fields.pop(NUMBER, 0)
        checked_count(fields.pop("count", 1))
        asked = {**(others if fields.get("engine") else shared), **fields}
        if "seed" not in fields and batch.seed != OWN_SEED:
            asked["seed"] = batch.seed
        made = VideoRequest.model_validate(asked)
        check_policy(made, "batch row")
        reading = serve(made, record_of(_source(made)), strict=batch.strict)
        made = reading.request
        check_policy(made, "batch row")
        facts.setdefault(made.prompt, reading.facts)
        if "seed" not in asked:
            seed = derived_seed(_content(made, without=("seed", "backend", "placement")))
            made = made.model_copy(update={"seed": seed})
        made = made.model_copy(update={"seed": seed_of(made.seed, number)})
        operation = operation_of(made)
        if made.engine or made.negative or operation.inputs(made):
            operation.check(made)
        if not made.engine:
            _check_length(made.prompt)
        if batch.accept_only:
            _check_readable(made)
        drafted(made, batch)  # refused here, with its row
        return made

    extra = {"accept_only": True} if batch.accept_only else {}
    items = []
    every = each_of(rows, batch.drafts or batch.count)
    for row, whole in requests_of(every, make, {*VideoRequest.model_fields, "count"}):
        made, few = drafted(whole, batch)
        address = address_of(_content(made) | extra, _weights(record_of(_source(made))))
        said, inputs = facts[made.prompt] | few, digests_of(made)
        items.append(Item(address, row, made, facts=said, inputs=inputs))
    return items


def _scans(batch: ScanBatchRequest) -> list[Item]:
    from core.records import sha256_file

    shared = batch.shared(SuperResolutionRequest)
    weights = ""
    items = []
    for path in batch.survey().taken:
        try:
            digest, size = sha256_file(path), path.stat().st_size
        except OSError as error:
            raise Refusal(
                f"{path} cannot be read to its end ({error.strerror}): a scan stands still while "
                "its batch is planned; look after the file and plan again."
            ) from error
        made = SuperResolutionRequest.model_validate({**shared, "scan": str(path)})
        content = made.model_dump(mode="json", exclude={"scan", "seed"}) | {"scan": digest}
        plain = {name: value for name, value in content.items() if name != "backend"}
        seed = derived_seed(plain) if batch.seed == OWN_SEED else batch.seed
        made = made.model_copy(update={"seed": seed})
        weights = weights or _weights(_source(made).record())
        address, scan = address_of({**content, "seed": seed}, weights), Scan(digest, size)
        items.append(Item(address, str(path), made, scan))
    return items


def _distinct(items: Iterable[Item]) -> tuple[list[Item], list[str]]:
    first: dict[str, Item] = {}
    repeated = []
    for item in items:
        if (known := first.setdefault(item.address, item)) is not item:
            repeated.append(f"{item.row} repeats {known.row}")
    return list(first.values()), repeated


def _of_other_engines(shared: dict[str, Any]) -> dict[str, Any]:
    """What a batch of our own model says to rows that name an engine: not what is its own."""
    usual = {name: value for name, (value, _, _) in USUAL.items()}
    kept = {name: value for name, value in shared.items() if name not in OWN_ONLY}
    return {name: value for name, value in kept.items() if value != usual.get(name)}


def _content(made: VideoRequest, without: Collection[str] = ()) -> dict[str, Any]:
    """What a clip shall be; an engine and a picture count by their digests, wherever they are."""
    return made.model_dump(mode="json", exclude={"engine", "key", *without}) | digests_of(made)


def _source(request: Any) -> ModelSource:
    return operation_of(request).source(request)


def _weights(record: dict[str, Any]) -> str:
    """The digest of a model's weights."""
    from core.models.files import WEIGHTS

    return str(record["sha256"].get(WEIGHTS))


def _check_length(prompt: str) -> None:
    """Raise a ``Refusal`` unless the text encoder takes a prompt, however long it is."""
    # No token holds less than a character of the text as the tokenizer decomposes it.
    if len(unicodedata.normalize("NFD", prompt)) > SURELY_READ:
        from video.engines.text import check_length

        check_length(prompt)


def _check_readable(request: VideoRequest) -> None:
    """Raise a ``Refusal`` unless a clip of this request could be judged."""
    from video.world.prompts import parse_caption
    from video.world.understanding import understand

    if not understand(request.prompt).whole:
        parse_caption(request.prompt)  # says why, and what to write
    if request.picture:
        raise Refusal(
            "picture=true with accept_only: clips alone are judged, by how things move; leave one "
            "of the two out."
        )
    if request.num_frames < 2:
        raise Refusal(
            f"num_frames={request.num_frames}: a clip is judged by two frames or more; ask for "
            "more frames or leave accept_only off."
        )


ITEMS: dict[str, Callable[[Any], list[Item]]] = {
    "text_to_video": _clips,
    "super_resolve_mri": _scans,
}
"""How a batch request of each operation becomes items."""
