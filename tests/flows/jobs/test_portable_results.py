"""A clip, a restored scan and a drawn head hold the committed bits on every x86-64 server."""

import pytest

from tests.core.processors import processors, run

# Of tests/flows/portable_results.py, with the shipped weights and the versions of constraints.txt
DIGESTS = {
    "clip": "4e2a98d2db7e97784218f00a7dc9cbb26631f814717eb20ca81998da05cf8fe6",
    "scan": "7970625fd4233d802f72ce702be654892aa516f5922a3c542035da7423b75d8c",
    "head": "1984ebbe0aaf285578847ebd78361e4e3fa434020993e23dacdf91bcec66c835",
}
PROCESSORS = processors()
NARROWEST = tuple(PROCESSORS)[-1]


QUICK = [("clip", NARROWEST), ("scan", NARROWEST)]  # the farthest from what is here
EACH = [
    pytest.param(made, processor, marks=[] if (made, processor) in QUICK else pytest.mark.slow)
    for made in DIGESTS
    for processor in PROCESSORS
]


@pytest.mark.parametrize(("made", "processor"), EACH)
def test_what_is_made_portably_holds_the_committed_bits_under_all_instructions(made, processor):
    told = {"LAMINA_NUMERICS": "portable", **PROCESSORS[processor]}
    assert run("tests.flows.portable_results", made, **told)[-1] == DIGESTS[made]


@pytest.mark.slow
def test_a_clip_made_natively_holds_others():
    told = {"LAMINA_NUMERICS": "native", **PROCESSORS[NARROWEST]}
    assert run("tests.flows.portable_results", "clip", **told)[-1] != DIGESTS["clip"]
