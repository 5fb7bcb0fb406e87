"""The row that holds estimates against measurements judges as its protocol says."""

import pytest

from core.operations.operation import Operation
from flows.jobs.operations import OPERATIONS
from tests.benchmarks import estimates

FAIR = {"said_seconds": 1.2, "seconds": 1.0, "said_memory_gb": 0.9, "memory_gb": 1.0}


def judged(monkeypatch, odd):
    def answer(title, folder, turns):
        return FAIR | (odd if "128 x 128" in title else {})

    monkeypatch.setattr(estimates, "_compared", answer)
    return {figure.name.split(",")[0]: figure for figure in estimates.run().figures}


def test_fair_estimates_meet_their_targets(monkeypatch):
    found = judged(monkeypatch, {})
    assert [figure.verdict for figure in found.values()] == ["met", "met"]
    assert found["seconds"].value == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("odd", "missed"),
    [
        ({"said_seconds": 1.31}, "seconds"),
        ({"said_seconds": 0.69}, "seconds"),
        ({"said_memory_gb": 1.16}, "memory"),
        ({"said_memory_gb": 0.84}, "memory"),
    ],
)
def test_one_estimate_too_far_off_is_named(monkeypatch, odd, missed):
    found = judged(monkeypatch, odd)
    assert "missed" in found[missed].verdict
    assert "128 x 128" in found[missed].note
    assert [name for name, figure in found.items() if "missed" in figure.verdict] == [missed]


@pytest.mark.parametrize("title", [*estimates.CLIPS, *estimates.HEADS])
def test_every_request_can_be_asked(title, tmp_path, monkeypatch):
    head = estimates.HEADS.get(title, {})
    (tmp_path / f"scan-{head.get('shrunk', 1)}.nii.gz").touch()
    name, fields = estimates._request(title, tmp_path)
    operation: Operation = OPERATIONS[name]
    assert operation.request(**fields).seed == 7
