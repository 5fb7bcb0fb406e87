"""What the pages show of results and items, small: cards, and what a search goes through."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from core.wording import inside, label, value
from flows.gallery.manifests import Batch, Item, batches
from flows.gallery.results import FILMS, Result, single_results

SHOWN_ANYHOW = {"prompt", "scan"}
MOST_SAID = 3  # differences that a card has room for


@dataclass(frozen=True)
class Card:
    """A picture with a title that leads to a page.

    Attributes:
        title: The prompt or the scan's name.
        page: Address of the result's page under the gallery; empty if there is none.
        picture: Address of a picture; empty if there is none.
        clip: Address of a clip to play where there is no picture.
        created: ISO time; empty while it waits.
        medical: Whether it shows a person's body.
        state: One of ``manifests.STATES``.
        note: Why it failed, or where it was asked for.
        asked: What was asked for.
        run: Which of several of one name it is: the end of its folder's name.
        apart: What tells it from others of its title that are shown beside it.
    """

    title: str
    page: str = ""
    picture: str = ""
    clip: str = ""
    created: str = ""
    medical: bool = False
    state: str = "made"
    note: str = ""
    asked: Mapping[str, Any] = field(default_factory=dict)
    run: str = ""
    apart: str = ""


@dataclass(frozen=True)
class Entry:
    """Something a search may find, with its card made only when it is shown."""

    text: str
    created: str
    medical: bool
    made: bool
    card: Callable[[], Card]


def result_card(result: Result, note: str = "") -> Card:
    """The card of a result."""
    base = f"/p/{quote(result.project)}/"
    main, picture = result.main, result.picture
    plays = main is not None and main.suffix.lower() in FILMS
    return Card(
        title=result.title,
        page=base + result.page,
        picture=base + result.address(picture) if picture else "",
        clip=base + result.address(main) if main and plays and not picture else "",
        created=result.created,
        medical=result.medical,
        note=note,
        asked=result.request,
        run=result.run,
    )


def item_card(batch: Batch, item: Item) -> Card:
    """The card of a batch's item: its result, or why there is none."""
    if result := batch.result(item):
        made = result_card(result, note=item.error)
        return Card(**{**vars(made), "state": item.state})
    return Card(
        title=item.title,
        created=item.time,
        medical=batch.medical,
        state=item.state,
        note=item.error or item.row,
        asked=item.request,
    )


def entries(folder: Path) -> Iterator[Entry]:
    """Everything in a project's folder that a search may find."""
    for result in single_results(folder):
        yield Entry(
            text=f"{result.title} {result.path}".lower(),
            created=result.created,
            medical=result.medical,
            made=True,
            card=lambda result=result: result_card(result),
        )
    for batch in batches(folder):
        for item in batch.items:
            yield Entry(
                text=f"{item.title} {item.key} {batch.name}".lower(),
                created=item.time or batch.created,
                medical=batch.medical,
                made=item.state == "made",
                card=lambda batch=batch, item=item: item_card(batch, item),
            )


def told_apart(cards: Sequence[Card]) -> list[Card]:
    """The same cards; those of one title say what of their requests differs, or else which run."""
    same: dict[str, list[Card]] = {}
    for card in cards:
        same.setdefault(card.title, []).append(card)
    return [
        replace(card, apart=_apart(card, same[card.title])) if len(same[card.title]) > 1 else card
        for card in cards
    ]


def _apart(card: Card, others: Sequence[Card]) -> str:
    differing = [
        name
        for name, given in card.asked.items()
        if name not in SHOWN_ANYHOW and any(x.asked.get(name, given) != given for x in others)
    ]
    said = [f"{inside(label(name))} {value(card.asked[name])}" for name in differing[:MOST_SAID]]
    places = {str(x.asked.get("scan", "")) for x in others}
    if len(places) > 1:
        said.insert(0, f"from {Path(str(card.asked.get('scan', ''))).parent.name}")
        others = [x for x in others if x.asked.get("scan") == card.asked.get("scan")]
    alike = [x for x in others if all(x.asked.get(n) == card.asked[n] for n in differing)]
    if len(alike) > 1 and card.run:
        said.append(f"run {card.run}")
    return " · ".join(said)


def newest(found: list[Entry]) -> list[Entry]:
    """The same, newest first; those of one second by their text."""
    return sorted(sorted(found, key=lambda e: e.text), key=lambda e: e.created, reverse=True)
