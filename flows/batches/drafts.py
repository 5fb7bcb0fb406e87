"""Drafts: each prompt drawn several times in few steps; a person picks, the chosen are finished.

A draft is what the first steps of a clip lead to, whose state is kept, or a clip in fewer steps
where nothing can be kept; its item says of how many it is a draft. What is finished is a batch of
its own, of the very same requests with all their steps and the seed of the draft that was seen, so
that its items are those that the batch would have had without drafts, and go on from what is kept.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from core.refusal import Refusal
from flows.batches.approval import Question
from flows.batches.drafting import OF_STEPS
from flows.batches.item import Item, drawn_again
from flows.batches.ledger import Batch
from flows.requests.batch_requests import ClipBatchRequest
from video.request import VideoRequest

COLUMNS = ("number", "pick", "item", "seed", "prompt", "file")
FINALS, SUFFIX = "finals.jsonl", "-final"
OF_ROWS = {
    "name", "prompts", "prompt_file", "seed", "count", "drafts", "draft_steps",
    *(VideoRequest.model_fields.keys() & ClipBatchRequest.model_fields),
}  # fmt: skip
"""Fields of a batch of drafts that are not those of what is finished, or stand in its rows."""


def drafts_in(batch: Batch) -> dict[int, Item]:
    """The drafts that are made, by their place among all that are planned, from 1.

    Raises:
        Refusal: The batch has none.
    """
    known, planned = batch.outcomes(), enumerate(_planned(batch), 1)
    found = {n: item for n, item in planned if _state(known, item) in ("made", "rejected")}
    if not found:
        raise Refusal(
            f"{batch.root.name} holds no drafts: what is finished was drafted first; run a batch "
            "with --drafts 4, or wait until some are made."
        )
    return found


def write_picks(batch: Batch, path: Path) -> int:
    """Write a table of the drafts for a person to mark; how many there are."""
    from core.records import atomic_path

    drafts, known = drafts_in(batch), batch.outcomes()
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for number, item in drafts.items():
            files = known[item.address]["files"]
            place = batch.root / files["video"]["path"] if "video" in files else ""
            asked = seen(item, known[item.address])
            table.writerow([number, "", item.address, asked.seed, asked.prompt, place])
    return len(drafts)


def picked(batch: Batch, said: str = "", table: Path | None = None) -> list[Item]:
    """The drafts that a person chose: by numbers, in a table, or by approving the batch.

    Args:
        batch: Of drafts.
        said: Numbers and addresses, such as ``3, 5-7``.
        table: One that ``write_picks`` wrote, with something in the column ``pick``.

    Raises:
        Refusal: Nothing is chosen, or something that there is not.
    """
    drafts = drafts_in(batch)
    question = Question("", [item.address for item in _planned(batch)], [])
    approval = batch.root / "approval.json"
    batch.fetch({approval.name: ""})
    if said:
        chosen = set(question.named(said, "pick"))
    elif table is not None:
        chosen = set(_marked(table, question))
    elif approval.exists():
        chosen = set(json.loads(approval.read_text(encoding="utf-8"))["accepted"])
    else:
        chosen = set()
    made = {item.address for item in drafts.values()}
    if missing := [address for address in question.items if address in chosen - made]:
        raise Refusal(
            f"pick={question.items.index(missing[0]) + 1}: this draft ({missing[0]}) is not made: "
            "what is finished was looked at first; wait until it is, or leave it out."
        )
    if not (found := [item for item in drafts.values() if item.address in chosen]):
        name = batch.root.name
        raise Refusal(
            f"{name}: no draft is picked: a person chooses by --pick 3,5-7, by a table "
            f"(--picks FILE, which is written where there is none), or by approving {name}; "
            "choose some."
        )
    return found


def finishing(batch: Batch, chosen: Iterable[Item]) -> ClipBatchRequest:
    """The batch that draws the chosen with all their steps; its prompt file is written.

    Each is drawn once: another draw would be another clip than the person saw.

    Args:
        batch: Of drafts.
        chosen: Of its items.
    """
    from core.records import atomic_path

    asked, known = batch.request(), batch.outcomes()
    path = batch.root / FINALS
    rows = [
        json.dumps(_whole(item, known.get(item.address, {})), ensure_ascii=False)
        for item in chosen
    ]
    with atomic_path(path, overwrite=True) as temporary:
        temporary.write_text("\n".join(rows) + "\n", encoding="utf-8")
    told = {"name": f"{batch.root.name}{SUFFIX}", "prompt_file": str(path)}
    told |= {"draws": 1, "plateau_draws": 0} if asked.judged else {}
    return ClipBatchRequest.model_validate(asked.model_dump(exclude=OF_ROWS) | told)


def seen(item: Item, outcome: dict[str, Any]) -> VideoRequest:
    """What the draft of an item was asked that was kept: of several draws, the last.

    Args:
        item: A draft.
        outcome: What became of it.
    """
    return drawn_again(item.request, int(outcome.get("attempt", 1)))


def said_of_states(batch: Batch, chosen: Iterable[Item]) -> list[str]:
    """From where each of the chosen goes on, a line each with how many do."""
    from video.engines.shelf import engine_of
    from video.engines.states import kept_step

    known, found = batch.outcomes(), Counter[str]()
    for item in chosen:
        if not item.request.draft_after:
            found["drawn from the start: nothing of such a clip can be kept"] += 1
            continue
        whole = seen(item, known.get(item.address, {})).model_copy(update={"draft_after": 0})
        if step := kept_step(engine_of(whole), whole):
            found[f"going on from step {step} of {item.facts[OF_STEPS]}, by as many threads"] += 1
        else:
            found["drawn from the start: no state of it is kept on this machine"] += 1
    return [f"{number} {words}" for words, number in found.items()]


def _whole(item: Item, outcome: dict[str, Any]) -> dict[str, Any]:
    told = item.request.model_dump(mode="json", exclude_defaults=True)
    told["prompt"] = item.facts.get("prompt_as_typed", item.request.prompt)  # read likewise again
    told["seed"] = seen(item, outcome).seed
    if told.pop("draft_after", 0):
        return told
    return told | {"steps": item.facts[OF_STEPS]}


def _planned(batch: Batch) -> list[Item]:
    return [item for item, _ in batch.items() if OF_STEPS in item.facts]


def _marked(path: Path, question: Question) -> list[str]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        marked = [row["item"] for row in rows if (row["pick"] or "").strip()]
    except (OSError, UnicodeError, csv.Error, KeyError) as error:
        raise Refusal(
            f"picks={path} cannot be read ({type(error).__name__}: {error}): it is a table with "
            f"the columns {', '.join(COLUMNS)}; name a new file to have it written again."
        ) from error
    return question.named(" ".join(marked), "pick")


def _state(known: dict[str, Any], item: Item) -> str:
    return str(known.get(item.address, {}).get("state", ""))
