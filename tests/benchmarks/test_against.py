"""Two commits side by side, and what work costs as it is counted."""

import json
import subprocess
import sys
from itertools import count

import pytest

from tests.benchmarks import against, counts
from tests.benchmarks.against import HERE, Found, checked_out, paired


def seconds(values):
    turns = iter(values)
    return lambda: next(turns)


def test_turns_change_who_is_first_and_the_first_is_not_counted():
    order = count()
    then, now = (lambda: next(order) + 1.0), (lambda: next(order) + 1.0)
    found = paired("counting", then, now, pairs=3)
    assert found.then == [3.0, 6.0, 7.0]
    assert found.now == [4.0, 5.0, 8.0]


@pytest.mark.parametrize(
    ("times", "slower"),
    [
        ([1.10, 1.11, 1.09, 1.10], True),
        ([1.04, 1.05, 1.03, 1.04], False),  # slower, by less than is told
        ([1.50, 0.90, 1.40, 0.80], False),  # wherever, as far as these pairs tell
        ([0.50, 0.51, 0.49, 0.50], False),
    ],
)
def test_only_what_lies_wholly_beyond_five_percent_counts_as_slower(times, slower):
    found = paired("task", seconds([1.0] * 5), seconds([1.0, *times]), pairs=4)
    assert found.slower is slower
    assert ("SLOWER" in str(found)) is slower


def test_the_ratio_is_of_pairs():
    mean, low, high = Found("task", then=[1.0, 10.0], now=[2.0, 20.0]).ratio
    assert mean == pytest.approx(2.0)
    assert low == pytest.approx(2.0)
    assert high == pytest.approx(2.0)
    assert Found("task", then=[1.0], now=[9.0]).slower is False  # one pair has no interval


def test_a_commit_that_is_not_there_is_said(tmp_path):
    with pytest.raises(SystemExit, match=r"no-such: there is no such commit here; name one"):
        checked_out("no-such", tmp_path)


@pytest.mark.slow
def test_the_working_tree_is_timed_beside_a_commit(tmp_path):
    git = ["git", "-C", str(HERE), "rev-parse", "HEAD"]
    if subprocess.run(git, capture_output=True, check=False).returncode:
        pytest.skip("this is no clone")
    kept = tmp_path / "kept.json"
    words = [
        "--against",
        "HEAD",
        "--pairs",
        "2",
        "--only",
        "lamina --help",
        "--only",
        "forward, float32",
    ]
    command = [sys.executable, "-m", "tests.benchmarks", *words, "--json", str(kept)]
    told = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    assert told.returncode in (0, 1), told.stderr
    found = {each["task"]: each for each in json.loads(kept.read_text())["tasks"]}
    assert set(found) == {"lamina --help", "forward, float32"}
    assert all(len(each["then"]) == len(each["now"]) == 2 for each in found.values())


def test_what_costs_more_than_was_kept_is_named():
    kept = {"pass": {"flop": 100, "packages": "torch"}}
    assert counts.dearer({"pass": {"flop": 100, "packages": "torch"}}, kept) == []
    assert counts.dearer({"pass": {"flop": 99, "packages": "torch"}}, kept) == []
    assert counts.dearer({"pass": {"flop": 101, "packages": "torch"}}, kept) == [
        "pass, flop: 101, kept 100"
    ]
    assert counts.dearer({"pass": {"flop": 1, "packages": "torch scipy"}}, kept) == [
        "pass, packages: torch scipy, kept torch"
    ]
    assert counts.dearer({"other": {"flop": 1}}, kept) == ["other, flop: 1, kept None"]


@pytest.mark.timeout(300)
def test_work_costs_no_more_than_was_kept():
    kept = json.loads(counts.KEPT.read_text(encoding="utf-8"))
    found = counts.dearer(counts.counted(), kept)
    assert not found, "; ".join(found) + "; meant? python -m tests.benchmarks.counts --save"


def test_all_that_is_counted_is_timed_too():
    assert set(counts.COUNTED) < set(against.TASKS)
