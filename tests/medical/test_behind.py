"""Who is behind heads: counted only where it can be known, and of the heads that were read."""

import json

import numpy as np

from medical.audit.behind import largest_named, members_told
from medical.audit.evidence import Finding
from medical.audit.places import contributors

CALLED = {"ann": "a", "bob": "b", "cid": "c"}


def near(head, person):
    return Finding(head, person, "box", 1.0, 2.0)


def test_a_head_whose_largest_contributor_is_not_held_is_not_counted():
    given = {"sub-1": {"a": 0.6, "b": 0.4}, "sub-2": {"x": 0.7, "a": 0.3}, "sub-3": {}}
    findings = [near("sub-1", "ann"), near("sub-2", "ann"), near("sub-3", "bob")]
    told = largest_named(given, findings, CALLED)
    assert told is not None
    assert (told["heads"], told["largest_named"]) == (1, 1)
    assert largest_named({"sub-2": given["sub-2"]}, findings, CALLED) is None


def test_members_are_those_of_the_heads_that_were_read():
    random = np.random.default_rng(3)
    people = random.normal(size=(3, 512)).astype(np.float32)
    given = {"sub-1": {"a": 1.0}, "sub-2": {"b": 1.0}}
    told = members_told(given, (["sub-1"], people[:1]), (["a", "b", "c"], people), 0)
    assert told is not None
    assert (told["members"], told["others"], told["heads"]) == (1, 2, 1)


def test_the_bids_folder_of_a_dataset_leads_to_its_records(tmp_path):
    for folder in ("bids", "volumes", "other"):
        (tmp_path / folder).mkdir()
    record = {"subject": "sub-1", "contributors": {"anatomy": {"a": 1.0}}}
    (tmp_path / "volumes" / "sub-1.json").write_text(json.dumps(record))
    for place in (tmp_path, tmp_path / "bids"):
        assert contributors(place) == {"sub-1": {"a": 1.0}}
    assert contributors(tmp_path / "other") == {}
