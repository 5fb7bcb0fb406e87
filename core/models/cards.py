"""Model cards: a model's record as a page for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from core.progress import counted

WORDS = {
    "video": "Text to video",
    "mri": "Super-resolution of brain MRI",
    "head": "Drawing of brain MRI heads that nobody has",
    "segmentation": "Labeling of structures in brain MRI",
    "whole-head": "Whole brain MRI heads at 2 mm, drawn in latents",
}


FEWEST_STEPS = 500  # of training, below which a network draws next to nothing
SMALL = {"an adapter": "lora", "a control": "control"}  # learned beside weights that are finished


def unfinished(record: Mapping[str, Any]) -> str:
    """Why a model is not one to use yet; empty where it is, or where nobody knows.

    Args:
        record: Of the model; its training says how many steps each stage took.
    """
    training = record.get("training")
    stages = training.get("stages") if isinstance(training, Mapping) else None
    asked = training.get("request") if isinstance(training, Mapping) else None
    if not isinstance(stages, Mapping):
        return ""
    taken = [stage.get("steps", 0) for stage in stages.values() if isinstance(stage, Mapping)]
    steps = sum(count for count in taken if isinstance(count, int))
    if steps >= FEWEST_STEPS:
        return ""
    told = asked if isinstance(asked, Mapping) else {}
    part = next((what for what, name in SMALL.items() if told.get(name)), "unfinished")
    return f"{part}: {counted(steps, 'step')} of training"


def card(record: Mapping[str, Any]) -> str:
    """The record of a model as Markdown: what it is, how it was trained, how it does, its limits.

    Args:
        record: As ``core.models.checkpoints.save_model`` takes it. ``results`` is a mapping from
            what was measured to its value; without it the card says that nothing was measured.
    """
    kind, objective = record["kind"], record["objective"]
    lines = [f"# {record['name']}", "", f"{WORDS[kind]}; trained by {objective}."]
    if "parameters" in record:
        lines[-1] += f" {record['parameters'] / 1e6:.1f} million weights, stored in bfloat16."
    if why := unfinished(record):
        lines[-1] += f" It is {why}."
    lines += ["", "## Training", "", *_table(record.get("training", {}))]
    if vocabulary := record.get("vocabulary"):
        said = {kind: ", ".join(words) for kind, words in vocabulary.items()}
        lines += ["", "## Vocabulary", "", *_table(said)]
    results = record.get("results") or {}
    lines += ["", "## Results", ""]
    lines += _table(results) if results else ["Nothing was measured on this model yet."]
    lines += ["", "## Limits", "", *(f"- {limit}." for limit in record.get("limits", ()))]
    lines.append("- Research use" + ("." if kind == "video" else "; not for diagnosis."))
    if "license" in record:
        lines += ["", "## License", "", f"{record['license']}."]
    return "\n".join(lines) + "\n"


def _table(facts: Mapping[str, Any]) -> list[str]:
    rows = [f"| {name.replace('_', ' ')} | {_cell(value)} |" for name, value in facts.items()]
    return ["| | |", "|---|---|", *rows]


def _cell(value: object) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{k.replace('_', ' ')}: {_cell(v)}" for k, v in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        plain = all(isinstance(v, int | float) for v in value)
        return (", " if plain else "<br>").join(_cell(v) for v in value)
    return str(value).replace("|", "\\|").replace("\n", " ")
