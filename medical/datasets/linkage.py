"""What must be said of who may be recognized, and accepted, before a dataset is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.progress import counted
from core.refusal import Refusal
from medical.audit.sources import LEAST_PEOPLE
from medical.audit.tracing import beyond, seconds, told_of, worst
from medical.datasets.request import MRIDatasetRequest

FEWEST_IN_POOL = 13
"""People behind the heads of one fold: what pools of fewer show was measured to be much more, and
not since weights are even (docs/heads.md). Fewer must be accepted."""
EVIDENCE, EVIDENCE_PEOPLE = 40, 34
"""The most heads whose membership was measured with an area under the curve of at most .70 in all
runs: .69 with 40 heads from 34 people against 15 others (interval .51 to .85); with 60 it was .70
in six sets and .72 in two. From fewer people so many fewer, which was not measured."""
LINKAGE = (
    "in 360 anatomies of the shipped model at 2 mm, before they were painted, drawn from pools of "
    "17 people, the best of five attacks named the largest contributor in 3 % (interval 2 to "
    "6 %; guessing 1.7 % of 60 people); finished images and pools of other sizes were not "
    "measured: pseudonymous, not anonymous"
)
LINKAGE_OF_FEW = (
    "in 67 anatomies of the shipped model at 2 mm, before they were painted, drawn from pools of "
    "7 people before weights were even, the best of four attacks named the largest "
    "contributor in 43 % (interval 32 to 55 %; guessing 1.7 % of 60 people), and 19 of the 67 "
    "showed a person by the bar of the audit: pseudonymous, not anonymous"
)
ACCEPTED = "; this was accepted. Whoever holds a scan may recognize its person."
Facts = Mapping[str, Any]


def unmeasured(request: MRIDatasetRequest, people: int) -> str:
    """Why linkage of so many people of the user's own is not measured; empty where it is."""
    if people < LEAST_PEOPLE:
        return f"what strangers look like is learned from {LEAST_PEOPLE} people or more"
    return "" if request.linkage_drawings else "linkage_drawings=0"


def said_of_linkage(
    request: MRIDatasetRequest, people: int, eligible: int, traced: Facts | None
) -> list[str]:
    """What must be said of who may be recognized.

    Args:
        request: What was asked.
        people: Who there is in all.
        eligible: Who of them may contribute.
        traced: What was measured of people of the user's own; None where nothing was yet.

    Raises:
        Refusal: It must be accepted and was not.
    """
    if not eligible:
        return []
    if request.sources and not unmeasured(request, people):
        if traced is None:
            return [_pending(request, people)]
        return _measured(request, traced)
    return _by_evidence(request, people, eligible)


def _pending(request: MRIDatasetRequest, people: int) -> str:
    count = request.linkage_drawings
    minutes = max(1, round(seconds(people, count) / 60))
    return (
        f"{counted(people, 'person', 'people')} of your own: how far heads can be traced to them "
        f"is measured before any image is drawn, with {counted(count, 'anatomy', 'anatomies')} "
        f"from their pools, in about {counted(minutes, 'minute')} of one core, once for the same "
        "people and pools"
    )


def _measured(request: MRIDatasetRequest, traced: Facts) -> list[str]:
    """The figures of people of the user's own, refused where they are too high."""
    words = traced_words(traced, request.count)
    reasons = beyond(traced, request.count)
    if not reasons:
        return [f"{words}; pseudonymous, not anonymous"]
    helps = "bring more people" if beyond(traced, 1) else "ask for fewer heads, bring more people"
    if not request.accept_linkage:
        raise Refusal(
            f"{words}: a dataset needs no word where attacks stay within 5 points of guessing and "
            f"that area within 0.70, but {'; '.join(reasons)}; {helps}, or write "
            "accept_linkage=true and the dataset will say so."
        )
    return [f"{words}; {'; '.join(reasons)}{ACCEPTED} Pseudonymous, not anonymous."]


def traced_words(traced: Facts, heads: int) -> str:
    """What was measured of people of the user's own, in a sentence without its end."""
    way, named = worst(traced)
    low, high = (100 * each for each in named["interval"])
    pools, told = traced["pools"], told_of(traced, heads)
    sizes = f"{counted(len(pools), 'pool')} of {_sizes(pools)}"
    words = (
        f"derived from {counted(traced['members'], 'person', 'people')} of your own: in "
        f"{counted(traced['heads'], 'anatomy', 'anatomies')} at 2 mm, before they were painted, "
        f"drawn from {sizes}, the best of five attacks ({way}) named the largest contributor in "
        f"{100 * named['share']:.0f} % (95 % interval {low:.0f} to {high:.0f} %; guessing "
        f"{100 * traced['guessing']:.1f} % of {traced['people']})"
    )
    if told is None:
        return words
    ends = " to ".join(f"{each:.2f}" for each in told["interval"])
    return (
        f"{words}, and who was behind {counted(told['heads'], 'head')} was told with an area "
        f"under the curve of {told['auc']:.2f} (interval {ends}; {traced['members']} contributors "
        f"against {counted(traced['others'], 'other')})"
    )


def _sizes(pools: Sequence[int]) -> str:
    low, high = min(pools), max(pools)
    return f"{low} people" if low == high else f"{low} to {high} people"


def _by_evidence(request: MRIDatasetRequest, people: int, eligible: int) -> list[str]:
    """By what was measured of the shipped model's people."""
    allowed = EVIDENCE * eligible // EVIDENCE_PEOPLE
    few = eligible < FEWEST_IN_POOL
    words, out = [], []
    if request.sources:
        words.append(
            f"{counted(eligible, 'person', 'people')} of your own: how far heads can be traced to "
            f"them is not measured ({unmeasured(request, people)}), so they count as recognizable"
        )
        out.append("leave sources empty")
    if few:
        words.append(
            f"a pool of {counted(eligible, 'person', 'people')}, fewer than {FEWEST_IN_POOL}: "
            f"{LINKAGE_OF_FEW}"
        )
        out.append("widen age or sex")
    if request.count > allowed:
        words.append(
            f"{counted(request.count, 'head')} from {counted(eligible, 'person', 'people')}: up "
            f"to {allowed} need no word, as whether a person was behind {EVIDENCE} heads from "
            f"{EVIDENCE_PEOPLE} people was guessed with an area under the curve of 0.69 "
            "(interval 0.51 to 0.85), behind 60 with up to 0.72"
        )
        out.append("ask for fewer heads")
    told = [] if few or request.sources else [LINKAGE]
    if not words:
        return told
    if not request.accept_linkage:
        raise Refusal(
            f"{'; '.join(words)}; {', '.join(out)}, bring more people, or write "
            "accept_linkage=true and the dataset will say so."
        )
    words[-1] += ACCEPTED
    return words + told
