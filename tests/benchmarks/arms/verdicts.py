"""What follows from the experiments, in sentences that the numbers choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.benchmarks.arms.measures import (
    SAME,
    Difference,
    Noise,
    Result,
    Results,
    Values,
    difference,
    gains,
    levels,
    runs,
)

Spread = Mapping[str, Noise | None]
HEADS = (1, 5, 20, 48)
CLIPS, PATCHES = levels("video"), levels("mri")
TOP = levels("mri", ["1.0"])
AVERAGED: Mapping[str, tuple[str, str, Values]] = {
    "clips": ("video-averages", "video", CLIPS),
    "patches": ("mri-48-averages", "mri", PATCHES),
    "heads": ("mri-48-averages", "mri", gains()),
}
"""Arm, domain, and what its averages are judged by."""
WORTH_DB = 0.1  # what another average must be better by to be worth its trouble


@dataclass(frozen=True)
class Rivals:
    """Two arms side by side.

    Attributes:
        what: In words, what is compared.
        ours: Arm whose trunk knows both domains.
        theirs: Arm that knows one.
        fair: Whether both had the same time in all.
    """

    what: str
    ours: str
    theirs: str
    fair: bool

    def judge(self, results: Results, spread: Spread) -> list[Difference]:
        """How much better the first is: on clips, or on patches and on heads restored."""
        ours, theirs = runs(results, self.ours), runs(results, self.theirs)
        if not ours or not theirs:
            return []
        if "video" in theirs[0]:
            return [difference(ours, theirs, CLIPS, spread["video"])]
        return [
            difference(ours, theirs, PATCHES, spread["mri"]),
            difference(ours, theirs, gains(), spread["gain"]),
        ]


def _rivals() -> list[Rivals]:
    found = []
    for n in HEADS:
        alone, after = f"mri-{n}", f"video-then-mri-{n}"
        heads = f"{n} head{'s' if n > 1 else ''}"
        found += [
            Rivals(f"{heads} after clips, beside {heads} alone", after, alone, fair=False),
            Rivals(
                f"{heads} after clips, beside {heads} alone for twice the time",
                after,
                f"{alone}-twice",
                fair=True,
            ),
            Rivals(
                f"{heads} in turn with clips, beside {heads} alone", f"joint-{n}", alone, fair=True
            ),
            Rivals(
                f"clips in turn with {heads}, beside clips alone", f"joint-{n}", "video", fair=True
            ),
            Rivals(
                f"{heads} in turn with clips, beside {heads} alone, all for twice the time",
                f"joint-{n}-twice",
                f"{alone}-twice",
                fair=True,
            ),
            Rivals(
                f"clips in turn with {heads}, beside clips alone, all for twice the time",
                f"joint-{n}-twice",
                "video-twice",
                fair=True,
            ),
        ]
    after = "mri-48-then-video"
    return [
        *found,
        Rivals("clips after 48 heads, beside clips alone", after, "video", fair=False),
        Rivals(
            "clips after 48 heads, beside clips alone for twice the time",
            after,
            "video-twice",
            fair=True,
        ),
    ]


def shared(results: Results, spread: Spread) -> str:
    """Whether one trunk for both domains pays."""
    judged = [(r, told) for r in _rivals() if (told := r.judge(results, spread))]
    # what loses although it had more time would lose at equal time, too
    once = {
        (r.ours, r.theirs.removesuffix("-twice")): told[0]
        for r, told in sorted(judged, key=lambda one: one[0].fair)  # the fair ones count
        if r.fair or told[0].verdict.startswith("worse")
    }
    counted = list(once.values())
    lines = [
        f"- {r.what}{'' if r.fair else ' (what came first cost as much time again)'}: "
        f"{_told(told)}"
        for r, told in judged
    ]
    return f"**{_pays(counted)}**\n\n" + "\n".join(lines) + "\n"


def _told(found: Sequence[Difference]) -> str:
    text = f"{found[0]} dB, **{found[0].verdict}**"
    if len(found) > 1:
        text += f"; restored in one step {found[1]} dB, {found[1].verdict}"
    return text


def _pays(counted: Sequence[Difference]) -> str:
    words = [told.verdict.partition(",")[0] for told in counted]
    if not words:
        return "No comparison at equal time is measured yet, so there is no verdict."
    count = f"Of {len(words)} comparison{'s' if len(words) > 1 else ''}, at equal time or lost"
    count += " with more,"
    told = ", ".join(f"{words.count(w)} {w}" for w in ("better", SAME, "worse") if w in words)
    if "better" in words and "worse" not in words:
        end = "sharing the trunk's weights pays at these budgets."
    elif "worse" in words and "better" not in words:
        end = "separate models are the better arrangement, and it is the one that is shipped."
    elif "better" in words:
        end = "sharing the trunk's weights helps in places and harms in others; separate models, "
        end += "which need no balance between domains, are shipped."
    else:
        end = "sharing the trunk's weights neither helps nor harms as far as these runs can tell; "
        end += "separate models, which are simpler to train and to renew, are shipped."
    single = any("one seed" in told.verdict for told in counted)
    doubt = " These are single runs: what chance makes of them is not known." if single else ""
    return f"{count} the trunk that knows both domains is: {told}. So {end}{doubt}"


def regression(results: Results, spread: Spread) -> str:
    """What plain regression reaches beside the flow network's one step."""
    plain, flow = runs(results, "regression-48"), runs(results, "mri-48")
    heads = difference(plain, flow, gains(), spread["gain"])
    patches = difference(plain, flow, TOP, spread["top"])
    words = [told.verdict.partition(",")[0] for told in (heads, patches)]
    end = "."
    if "better" in words and "worse" not in words:
        end = ": learning to draw samples costs time that regression spends on the mean alone."
    return (
        "**At equal time plain regression, beside one step of the flow network, is "
        f"{words[0]} on heads ({heads} dB) and {words[1]} on patches at t = 1 ({patches} dB)"
        f"{end}** What sampling buys on the shipped weights stands in [results](results.md)."
    )


def ablations(judged: Mapping[str, Difference]) -> str:
    """Which settings are better, worse or no different than the reference, by name."""
    if not judged:
        return "none is measured yet."
    groups: dict[str, list[str]] = {"better": [], "worse": [], SAME: []}
    for name, told in judged.items():
        groups[told.verdict.partition(",")[0]].append(f"`{name}` ({told.mean:+.2f} dB)")
    found = [f"{word}: {', '.join(arms)}" for word, arms in groups.items() if arms]
    return "; ".join(found) + "."


def averaged(result: Result, domain: str, name: str) -> Result:
    """The arm's result as if that average of its weights had been judged."""
    told = result[domain]
    return {**result, domain: {**told, **told["averages"][name]}}


def averages(results: Results) -> dict[str, dict[str, Difference]]:
    """How much better each average is than the running one, by what is judged."""
    return {
        what: {
            name: difference([averaged(result, domain, name)], [result], values, None)
            for name in result[domain]["averages"]
        }
        for what, (arm, domain, values) in AVERAGED.items()
        if (result := results.get(arm))
    }


def averages_pay(judged: Mapping[str, Mapping[str, Difference]]) -> str:
    """Whether another average is worth choosing it after training."""
    told, pays = [], []
    for what, differences in judged.items():
        name = max(differences, key=lambda name: differences[name].mean)
        best = differences[name]
        told.append(f"on {what} at best {best} dB ({name})")
        if best.mean >= WORTH_DB and best.low > 0:
            pays.append(what)
    end = f"it pays on {' and '.join(pays)}" if pays else "it does not pay"
    rule = f"it pays from {WORTH_DB:g} dB on, if the interval leaves out 0"
    chosen = "the best was chosen on what it is judged on, which flatters it"
    return f"Beside the running average {'; '.join(told)}. So {end} ({rule}; {chosen})."
