"""The fixed words of a report: methods with their sources, datasheet, model card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.progress import counted
from medical.datasets.linkage import FEWEST_IN_POOL, traced_words
from medical.datasets.request import MRIDatasetRequest
from medical.files.bids import LICENSE

OWN_LICENSE = "license_of_people"
"""What a summary tells of people of the user's own."""
SOURCES = (
    "Zamzmi et al. 2025. Scorecard for synthetic medical data evaluation. Communications "
    "Engineering 4, doi 10.1038/s44172-025-00450-1.",
    "Lesjak et al. 2017. A novel public MR image dataset of multiple sclerosis patients with "
    "lesion segmentations. Neuroinformatics 16(1), 51-63.",
    "Houtekamer and Mitchell 2001. A sequential ensemble Kalman filter. Monthly Weather Review "
    "129(1), 123-137.",
    "Isensee et al. 2021. nnU-Net: a self-configuring method. Nature Methods 18(2), 203-211.",
)


def growth(request: MRIDatasetRequest) -> str:
    """What two sessions of a head are, in a sentence; nothing where there is one."""
    asked = request.longitudinal
    if not asked.asked:
        return ""
    low, high = asked.ml_a_year
    return (
        f"Each head has two sessions, {asked.years:g} years apart, of one anatomy: its lesions "
        f"grew by {low:g} to {high:g} ml a year outward from where they began, and a mask tells "
        "what joined them. Loads are those of the first session."
    )


def methods(request: MRIDatasetRequest, summary: Mapping[str, Any]) -> str:
    """A paragraph for the methods section of a paper."""
    lesions = (
        ""
        if request.lesions.healthy
        else f" Lesions of multiple sclerosis, {request.lesions.load_ml[0]:g} to "
        f"{request.lesions.load_ml[1]:g} ml a head, were put in from measurements of 29 people "
        "(Lesjak et al. 2017), their outlines warped, cut and recombined, with sign and size of "
        "the change as measured in each contrast."
    )
    grown = f" {growth(request)}" if request.longitudinal.asked else ""
    spacing = " x ".join(f"{s:g}" for s in request.spacing_mm)
    return (
        f"{summary['made']} synthetic heads ({', '.join(request.contrasts)}; {spacing} mm) were "
        f"drawn with Lamina {drawn_by(summary)} from {summary['drawn_from']}. Mixing follows "
        f"localized ensembles (Houtekamer and Mitchell 2001).{lesions}{grown} Contrasts of a head "
        f"come from one anatomy and are registered by construction; scanner: {request.site}. Seed "
        f"{request.seed}; plan {summary['plan']['key'][:12]}. Splits follow nnU-Net (Isensee et "
        "al. 2021). Intended for research, not for diagnosis."
    )


def datasheet(request: MRIDatasetRequest, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Questions that whoever is handed a dataset asks, and their answers."""
    people, healthy = summary["plan"]["people"], request.lesions.healthy
    outlines = "" if healthy else "; lesion outlines of 29 people"
    return [
        ("What is it for?", "Adding to real training data of segmenters; testing software."),
        ("What is it not for?", "Diagnosis, prevalence, norms of age or sex, sole training data."),
        ("Does an image show a person?", _shown(request, summary["plan"])),
        ("Who stands behind it?", f"{behind(summary['plan'])}{outlines}."
         if people else f"The mean of 152 adults{outlines}."),
        ("May people be recognized?", "Pseudonymous, not anonymous: see who may be recognized."
         if people else "No single person's anatomy is in it."),
        ("Can a person withdraw?", "Yes: lamina mri withdraw lists what to destroy."),
        ("Which labels are there?", f"CSF, gray and white matter{'' if healthy else '; lesions'}. "
         "Labels were found by rule or drawn, not by a radiologist."),
        ("Who approved it?", f"The dataset is {summary['approval']}."),
        ("License", license_words(request, summary)),
    ]  # fmt: skip


def license_words(request: MRIDatasetRequest, summary: Mapping[str, Any]) -> str:
    """Under which license a dataset stands, in sentences."""
    outlines = " Lesion outlines follow masks under CC BY (Lesjak et al. 2017)."
    also = "" if request.lesions.healthy else outlines
    if not request.sources:
        return f"The dataset: {LICENSE}.{also}"
    return (
        "The dataset is derived from people of your own: whether and how it may be passed on is "
        f"for their consent and license to say. License of their data: {own_license(summary)}."
        f"{also}"
    )


def short_license(request: MRIDatasetRequest, summary: Mapping[str, Any]) -> str:
    """The license of a dataset for its tables."""
    if not request.sources:
        return LICENSE
    return f"follows the data of the people behind it: {own_license(summary)}"


def own_license(summary: Mapping[str, Any]) -> str:
    """The license of the data that a user's own people are of, as their source states it."""
    return str(summary.get(OWN_LICENSE) or "not stated by the source")


def behind(plan: Mapping[str, Any], licence: str = "") -> str:
    """Who stands behind the anatomies; records of earlier versions tell of no mean.

    Args:
        plan: As the dataset's record tells of it.
        licence: What is said right after the people.
    """
    people, around = int(plan["people"]), int(plan.get("people_of_the_mean", 0))
    if around <= people:
        return f"{counted(people, 'person', 'people')}{licence}"
    return (
        f"{around} people{licence}: all of them are in the mean that every head is drawn around, "
        f"and what makes heads differ from it comes from {people} of them"
    )


def two_numbers(plan: Mapping[str, Any]) -> str:
    """Why a report tells two numbers of people; empty where it does not."""
    people, around = int(plan["people"]), int(plan.get("people_of_the_mean", 0))
    if around <= people:
        return ""
    return (
        f"Two numbers of people are told: {around} make the mean that every head is drawn around; "
        f"what makes a head differ from it comes from {people} of them, in pools that share "
        f"nobody. The other {around - people} are in no pool: they serve the audit, which holds "
        "heads against people who gave nothing but their part of the mean, or are not of the age "
        "or sex that was asked for."
    )


def _shown(request: MRIDatasetRequest, plan: Mapping[str, Any]) -> str:
    """Whether images show persons, by how many people stand behind the anatomies."""
    people = int(plan["people"])
    if not people:
        return "No image is a scan of one: the anatomy is a mean."
    if request.sources and not plan.get("linkage"):
        return (
            "No image is a scan of one: anatomies are mixtures. How far they can be traced to "
            "the people behind them was not measured."
        )
    if request.sources:
        words = traced_words(plan["linkage"], request.count)
        return f"No image is a scan of one: anatomies are mixtures, {words}."
    found = (
        "360 anatomies of the shipped model before painting, drawn from pools of 17 people, none "
        "showed a person by the bar of the audit, and the best of five attacks named the largest "
        "contributor of 3 % (interval 2 to 6 %; guessing 1.7 %)"
        if people >= FEWEST_IN_POOL
        else "67 anatomies of the shipped model before painting, drawn from pools of 7 people "
        "before weights were even, 19 showed a person by the bar of the audit, and the best "
        "of four attacks named the largest contributor of 43 % (interval 32 to 55 %; guessing "
        "1.7 %)"
    )
    return f"No image is a scan of one: anatomies are mixtures. Of {found}."


def drawn_by(summary: Mapping[str, Any]) -> str:
    """The version that a dataset was drawn with, whatever reads it now."""
    return str(summary.get("version", "(version not recorded)"))
