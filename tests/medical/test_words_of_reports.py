"""What reports of datasets and audits say: only what holds, and names as they are."""

import pytest

from medical.audit.page import audit_page, summary
from medical.datasets.request import LesionsAsked, MRIDatasetRequest
from medical.datasets.scorecard import scores
from medical.datasets.words import datasheet, two_numbers

LESIONS = {"load_ml": (5, 15)}


def facts(**changes):
    """An audit that found nobody."""
    return {
        "heads": 2, "people": 45, "evidence": "maps", "found": [], "nearest": [], "attacks": {},
        "controls": {"maps": {"made": 4, "found": 4}}, "reasons": [], "passed": True,
        "false_alarms": {"people": 45, "taken_for_others": 0},
        "contributors": None, "membership": None, "cannot_say": [], "protocol": "By hand.",
    } | changes  # fmt: skip


def test_a_name_of_a_folder_is_no_markup():
    page = audit_page("<script>alert(1)</script>", facts())
    assert "<script>alert" not in page
    assert "<h1>Audit of &lt;script&gt;alert(1)&lt;/script&gt;</h1>" in page


def test_an_audit_by_maps_alone_finds_nobody_and_does_not_pass():
    missed = "real scans of only 27 of the 45 people were recognized"
    page = audit_page("made", facts(misses=missed))
    assert '<span class="chip warn">nobody found</span>' in page
    assert ">passed<" not in page
    assert missed in page
    assert '<span class="chip good">passed</span>' in audit_page("made", facts())


def test_the_outcome_tells_of_membership():
    told = {"auc": 0.81, "low": 0.7, "high": 0.9, "members": 34, "others": 11, "heads": 2}
    assert "area under the curve of 0.81" in summary(facts(membership=told))


def told(people, mean=0, sources="", licensed="", **lesions):
    """All that datasheet and scorecard say of a dataset without heads."""
    request = MRIDatasetRequest(
        name="pilot", count=3, lesions=LesionsAsked(**lesions), sources=sources
    )
    summary = {
        "plan": {"people": people} | ({"people_of_the_mean": mean} if mean else {}),
        "approval": "unapproved", "strata": [], "quarantined": [], "missing": [], "made": 0,
        "license_of_people": licensed,
    }  # fmt: skip
    rows = [words for _, words in datasheet(request, summary)]
    return " ".join(rows + [row.words for row in scores(request, summary, [])])


@pytest.mark.parametrize("people", [0, 34])
def test_lesions_are_told_of_only_where_there_are_some(people):
    for words in ("outlines", "29", "CC BY", "Lesjak"):
        assert words in told(people, **LESIONS), words
        assert words not in told(people), words


def test_a_mean_of_more_people_than_contribute_is_told_and_explained():
    both = ": all of them are in the mean that every head is drawn around, and what makes"
    assert told(34, 45).count(both) == 2
    assert f"45 people{both}" in told(34, 45)  # in the datasheet
    assert f"45 people (CC0){both}" in told(34, 45)  # in the scorecard
    assert "34 people." in told(34)  # records of earlier versions
    plan = {"people": 34, "people_of_the_mean": 45}
    assert "45 make the mean that every head is drawn around; what" in two_numbers(plan)
    assert "The other 11 are in no pool" in two_numbers(plan)
    assert two_numbers({"people": 34}) == two_numbers({"people": 0, "people_of_the_mean": 0}) == ""


def test_people_of_your_own_are_given_no_licence():
    words = told(12, sources="mine", **LESIONS)
    assert "Derived from 12 people. They are your own: their consent is yours to know" in words
    assert "CC0" not in words
    assert words.count("license of their data: not stated by the source") == 1
    assert "License of their data: not stated by the source. Lesion outlines follow" in words
    stated = told(12, sources="mine", licensed="CC BY-NC 4.0", **LESIONS)
    assert stated.count("icense of their data: CC BY-NC 4.0") == 2
    assert "was not measured" in words
    assert "shipped model before painting" not in words
    assert "Lesion outlines come from 29 people (CC BY). Pseudonymous" in words
    assert "Derived from 34 people (CC0). Pseudonymous" in told(34)


def test_who_is_shown_is_not_denied_beyond_what_was_measured():
    words = told(34)
    assert "No. Anatomies" not in words
    assert "360 anatomies of the shipped model before painting" in words
    assert "17 people, none showed a person by the bar of the audit" in words
    assert "named the largest contributor of 3 % (interval 2 to 6 %" in words
    assert "could be linked" not in words
    assert ".77 and .81" in words
    assert "linked" not in told(0)
    assert "19 showed a person by the bar of the audit" in told(7)
    assert "named the largest contributor of 43 % (interval 32 to 55 %" in told(7)
