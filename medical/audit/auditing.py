"""An audit from its request: who is found in a dataset, what the controls say, and the verdict."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.models.checkpoints import find_model
from core.progress import counted
from medical.anatomy.head_model import KIND, SHIPPED, load_pool
from medical.anatomy.pool import person_hash
from medical.audit.behind import largest_named, members_told
from medical.audit.controls import CONTROLS, FOUND, MAY_BE_MISSED
from medical.audit.evidence import Finding
from medical.audit.keys import read_key
from medical.audit.places import (
    HeadFile,
    contributors,
    digest_of,
    evenly,
    heads_of,
    people_of,
    root_of_records,
)
from medical.audit.request import AuditRequest
from medical.audit.seen import Seen, seen_in
from medical.audit.sources import LEAST_PEOPLE, MISSED, MappedPeople, RealPeople, Source
from medical.files.naming import naming_nobody
from medical.files.nifti import read_volume

LONGEST_LICENSE = 200
WRONG = 0.05
"""Most of the people who may be taken for others."""
OnHead = Callable[[int, int], None]
Facts = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Audit:
    """What was found.

    Attributes:
        facts: All of it, for a record.
        findings: For each head, whom it is nearest to.
    """

    facts: Facts
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether nobody was found, by an audit that finds what it must."""
        return not self.facts["reasons"]


@dataclass(frozen=True)
class _Work:
    """What is to be read, and whom to tell how far it is."""

    request: AuditRequest
    heads: Sequence[HeadFile]
    people: Sequence[HeadFile]
    on_head: OnHead

    @property
    def total(self) -> int:
        controls = self.request.controls * (len(CONTROLS) if self.people else 1)
        return len(self.heads) + len(self.people) + controls


@naming_nobody("lamina mri audit, where the people stand, says who it is.")
def audit(request: AuditRequest, on_head: OnHead = lambda done, total: None) -> Audit:
    """Hold the heads of a dataset against people.

    Args:
        request: Which heads and people.
        on_head: Told after each head that was read how many of how many are done.

    Raises:
        Refusal: There are no heads, too few people, or a head is none.
    """
    dataset = Path(request.dataset)
    heads = evenly(every := heads_of(dataset), request.most)
    people = people_of(Path(request.against), LEAST_PEOPLE) if request.against else []
    work = _Work(request, heads, evenly(people, request.most) if people else [], on_head)
    seen = [_see(head, work, place) for place, head in enumerate(heads)]
    source = _source(work)
    controls = dict(_controls(source, work))
    strangers = source.strangers
    findings = strangers.findings([head.name for head in heads], source.scores(seen))
    tested = {name: _tested(source, made, len(heads)) for name, made in controls.items()}
    wrong, of = strangers.false_alarms()
    given, called = contributors(dataset), _hashes(source, request)
    shown = [head.name for head in seen], np.stack([source.pattern(head) for head in seen])
    held = [called[name] for name in source.names], source.patterns()
    facts: Facts = {
        "heads": len(heads),
        "heads_in_dataset": len(every),
        "people": len(source.names),
        "evidence": source.words,
        "sha256": {
            "heads": digest_of(heads),
            "people": digest_of(work.people),
            "maps": source.pool.digest if isinstance(source, MappedPeople) else "",
        },
        "misses": MISSED if isinstance(source, MappedPeople) else "",
        "attacks": {
            name: {"what": words, "bar": round(float(strangers.bar(name, len(heads))), 3)}
            for name, words in source.attacks.items()
        },
        "found": [_plain(each) for each in findings if each.linked],
        "nearest": [_plain(each) for each in findings],
        "controls": tested,
        "false_alarms": {"people": of, "taken_for_others": wrong},
        "contributors": largest_named(given, findings, called),
        "membership": members_told(given, shown, held, request.seed),
        "cannot_say": _cannot_say(source, every, heads),
        "protocol": PROTOCOL,
    }
    facts["reasons"] = _reasons(facts)
    facts["passed"] = not facts["reasons"]
    return Audit(facts, tuple(findings))


PROTOCOL = (
    "Each head is read at 2 mm, its tissues found and aligned by an affine. A head is linked "
    "where its nearest person stands out from the others farther than real people do among each "
    "other, at a level that a whole dataset of strangers would cross once in a hundred audits. "
    "Controls: heads made from these people, which must be found and named. False alarms: each "
    "person held against the others by a bar learned without them."
)


def _see(head: HeadFile, work: _Work, place: int) -> Seen:
    seen = head.see()
    work.on_head(place + 1, work.total)
    return seen


def _source(work: _Work) -> Source:
    if not work.people:
        return MappedPeople(load_pool(find_model(SHIPPED, KIND)))
    begun = len(work.heads)
    return RealPeople([_see(one, work, begun + k) for k, one in enumerate(work.people)])


def _controls(source: Source, work: _Work) -> list[tuple[str, list[Seen]]]:
    """The controls by name, each head named after the person it is of."""
    request, done = work.request, len(work.heads) + len(work.people)
    if isinstance(source, MappedPeople):
        count = min(request.controls, len(source.names))
        order = [k * len(source.names) // count for k in range(count)]
        made = []
        for place, person in enumerate(order):
            made.append(source.own_map(person, request.seed + place))
            work.on_head(done + place + 1, work.total)
        return [("maps with folds drawn anew", made)]
    chosen = evenly(work.people, request.controls)
    found = []
    for name, make in CONTROLS.items():
        made = []
        for place, person in enumerate(chosen):
            volume = make(read_volume(person.path), request.seed + place)
            made.append(seen_in(volume, person.name))
            done += 1
            work.on_head(done, work.total)
        found.append((name, made))
    return found


def _tested(source: Source, made: Sequence[Seen], heads: int) -> Facts:
    """How many of a control are found, at the bar of the dataset, and named rightly."""
    scores = source.scores(made)
    each = source.strangers.findings([one.name for one in made], scores, bar_for=heads)
    right = sum(found.linked and found.person == found.head for found in each)
    return {"made": len(made), "found": right}


def _hashes(source: Source, request: AuditRequest) -> dict[str, str]:
    """What records call each person: by data set and participant, or as the weights do."""
    if isinstance(source, MappedPeople):
        return {name: name for name in source.names}
    key = read_key(root_of_records(Path(request.dataset)))
    if key is not None:
        return {name: key.hash_of(name) for name in source.names}
    return {name: person_hash(study_of(Path(request.against)), name) for name in source.names}


def study_of(folder: Path) -> str:
    """The data set a folder holds: by its description's OpenNeuro address, else by its name."""
    said = described(folder)
    words = f"{said.get('DatasetDOI', '')} {said.get('Name', '')} {folder.resolve().name}"
    found = [w for w in words.replace("/", " ").replace(".", " ").split() if w.startswith("ds0")]
    return found[0] if found else folder.resolve().name


def license_of(folder: Path) -> str:
    """The license of a data set as its description states it; empty where it states none."""
    return " ".join(str(described(folder).get("License") or "").split())[:LONGEST_LICENSE]


def described(folder: Path) -> dict[str, Any]:
    """What ``dataset_description.json`` says; nothing where there is none that can be read."""
    try:
        said = json.loads((folder / "dataset_description.json").read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _cannot_say(source: Source, every: Sequence[HeadFile], heads: Sequence[HeadFile]) -> list[str]:
    said = ["Whether a person who is not among these people is shown."]
    if isinstance(source, MappedPeople):
        said.append(
            "Whether folds or texture of a scan were copied: the weights hold blurred maps alone. "
            "Name the real heads with --against."
        )
        said.append(f"That a person who is shown would be found: {MISSED}.")
    if len(heads) < len(every):
        said.append(
            f"Anything of {counted(len(every) - len(heads), 'head')} that were not looked at."
        )
    if any(head.labels for head in heads):
        said.append("Anything of intensities: the dataset has no T1-weighted images, only labels.")
    said.append("Whether an attack that is not listed, a learned one above all, finds more.")
    return said


def _reasons(facts: Mapping[str, Any]) -> list[str]:
    reasons = []
    if facts["found"]:
        names = ", ".join(f"{each['head']} ({each['person']})" for each in facts["found"][:5])
        reasons.append(
            f"{len(facts['found'])} of {counted(facts['heads'], 'head')} show a person: {names}"
        )
    for name, each in facts["controls"].items():
        if name not in MAY_BE_MISSED and each["found"] < FOUND * each["made"]:
            reasons.append(
                f"of {each['made']} {name} that show a person {each['found']} were found: an "
                "audit that misses these clears nothing"
            )
    wrong, of = facts["false_alarms"]["taken_for_others"], facts["false_alarms"]["people"]
    if wrong > max(1, WRONG * of):
        reasons.append(
            f"{wrong} of {counted(of, 'person', 'people')} were taken for others: the attacks do "
            "not hold"
        )
    return reasons


def _plain(found: Finding) -> Facts:
    return {
        "head": found.head,
        "person": found.person,
        "attack": found.attack,
        "out": round(found.out, 3),
        "bar": round(found.bar, 3),
    }
