"""Batches as the gallery knows them: their manifests, folded into counts and items."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from flows.gallery.places import BATCHES, KINDS, folders, inside, number, read_lines, read_table
from flows.gallery.results import Result, read_result, title_of
from flows.requests.batch_requests import BATCHES as BATCHES_OF
from flows.storage.files import DERIVATIVES

STATES = ("made", "failed", "rejected", "waiting")
UNDER_WAY = {"planned", "running"}


@dataclass(frozen=True)
class Item:
    """One thing to make.

    Attributes:
        key: Its content address.
        row: Where it was asked for.
        request: What was asked for.
        state: One of ``STATES``.
        outcome: The last line about it; empty while it waits.
    """

    key: str
    row: str
    request: Mapping[str, Any]
    state: str
    outcome: Mapping[str, Any]

    @property
    def title(self) -> str:
        """The prompt, or the name of the scan."""
        return title_of(self.request) or self.key

    @property
    def time(self) -> str:
        """When it was made or failed, as ISO time; empty while it waits."""
        return str(self.outcome.get("time", ""))

    @property
    def error(self) -> str:
        """Why it failed or was rejected."""
        return str(self.outcome.get("error") or "")


@dataclass(frozen=True)
class Batch:
    """A batch in a project's folder; everything is read from its manifests when asked for."""

    folder: Path
    facts: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its name, which is its folder's."""
        return self.folder.name

    @property
    def created(self) -> str:
        """When it was planned, as ISO time."""
        return str(self.facts.get("created", ""))

    @property
    def state(self) -> str:
        """``planned``, ``running``, ``paused``, ``finished``, ``cancelled`` or ``stopped``."""
        return str(self.facts.get("state", "planned"))

    @property
    def under_way(self) -> bool:
        """Whether more is to be expected."""
        return self.state in UNDER_WAY

    @property
    def medical(self) -> bool:
        """Whether its results show people's bodies."""
        return self.facts.get("kind") == "mri"

    @property
    def flow(self) -> str:
        """The flow that coordinates it; empty where its kind is not known."""
        request = BATCHES_OF.get(str(self.facts.get("kind")))
        return request.flow if request else ""

    @cached_property
    def items(self) -> tuple[Item, ...]:
        """Every item with what became of it, in the order asked for."""
        outcomes = self._outcomes()
        listed = {str(line.get("item")): line for line in self._lines("items.jsonl")}
        return tuple(
            _item(key, line, outcomes.get(key, {})) for key, line in listed.items() if key
        )

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many items are in each of ``STATES``."""
        found = Counter(item.state for item in self.items)
        return {state: found[state] for state in STATES}

    @property
    def total(self) -> int:
        """How many items there are."""
        return len(self.items) or max(0, int(number(self.facts.get("items"))))

    @property
    def seconds_left(self) -> float:
        """How long what waits would take one machine; 0 where it cannot be said."""
        return number(self.counts["waiting"] * number(self.facts.get("seconds_per_item")))

    @property
    def derivatives(self) -> Path | None:
        """Where the results stand as a BIDS derivative dataset; None where there is none."""
        return inside(self.folder, DERIVATIVES)

    def result(self, item: Item) -> Result | None:
        """What was made for an item, read from its record."""
        if item.state not in {"made", "rejected"}:
            return None
        project = self.folder.parent.parent
        files = item.outcome.get("files")
        for facts in files.values() if isinstance(files, dict) else ():
            name = str(facts.get("path", "")) if isinstance(facts, dict) else ""
            path = f"{BATCHES}/{self.name}/{_stem(name)}"
            if name and (found := read_result(project, path)):
                return found
        return None

    def _lines(self, *parts: str) -> tuple[dict[str, Any], ...]:
        path = inside(self.folder, *parts)
        return read_lines(path) if path else ()

    def _outcomes(self) -> dict[str, Mapping[str, Any]]:
        shards = inside(self.folder, "shards")
        found: dict[str, Mapping[str, Any]] = {}
        for path in sorted(shards.glob("*.jsonl")) if shards else ():
            for line in self._lines("shards", path.name):
                key = str(line.get("item"))
                if key not in found or str(line.get("time")) >= str(found[key].get("time")):
                    found[key] = line
        return found


def read_batch(folder: Path, name: str) -> Batch | None:
    """The batch of that name in a project's folder; None if there is none."""
    found = inside(folder, BATCHES, name)
    facts = read_table(found / "batch.json") if found and inside(found, "batch.json") else {}
    return Batch(found, facts) if found and facts else None


def batches(folder: Path) -> Iterator[Batch]:
    """Every batch in a project's folder, by name."""
    for path in folders(folder / BATCHES) if inside(folder, BATCHES) else ():
        if batch := read_batch(folder, path.name):
            yield batch


def _item(key: str, line: Mapping[str, Any], outcome: Mapping[str, Any]) -> Item:
    state = str(outcome.get("state"))
    request = line.get("request")
    return Item(
        key=key,
        row=str(line.get("row", "")),
        request=request if isinstance(request, dict) else {},
        state=state if state in STATES else "waiting",
        outcome=outcome,
    )


def _stem(name: str) -> str:
    for ending in KINDS:
        if name.endswith(ending):
            return name.removesuffix(ending)
    return name
