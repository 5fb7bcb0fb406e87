"""Waiting tells a busy machine and work that goes on from what stands still."""

from itertools import chain, repeat

import pytest
import waiting


@pytest.fixture
def clock(monkeypatch):
    """Seconds pass as they are slept."""
    now = [0.0]
    monkeypatch.setattr(waiting.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(waiting.time, "sleep", lambda seconds: now.append(now.pop() + seconds))
    return lambda: now[0]


@pytest.mark.parametrize("wanted", [1.0, 4.0])
def test_seconds_are_those_of_a_quiet_machine(clock, monkeypatch, wanted):
    monkeypatch.setattr(waiting, "slowness", lambda: wanted)
    with pytest.raises(AssertionError, match="the batch: not within 10 s"):
        waiting.until(lambda: False, "the batch", patience_s=10.0)
    assert clock() == pytest.approx(10.0 * wanted, abs=1.0)


def test_work_that_goes_on_is_waited_for(clock, monkeypatch):
    monkeypatch.setattr(waiting, "slowness", lambda: 1.0)
    made = chain(range(20), repeat(20))
    with pytest.raises(AssertionError):
        waiting.until(lambda: False, "it", 1.0, 5.0, lambda: next(made))
    assert clock() == pytest.approx(20 + 5, abs=2)
