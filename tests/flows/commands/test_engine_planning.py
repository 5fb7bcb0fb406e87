"""A prompt file of ten thousand rows for an engine is planned in ten seconds, without weights."""

import json
import resource
import subprocess
import sys

import pytest
from tiny_engines import save_engine

ROWS, MOST_S, MOST_MB = 10_000, 10.0, 500.0
PLAN = """
import resource, sys
from flows.commands.command_line import main
main(["batch", "plan", sys.argv[1], "--set", "engine=ltx"])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def planned(path):
    """What planning says, in processor time and memory of a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", PLAN, str(path)], capture_output=True, text=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout, done.stderr, spent


@pytest.mark.slow
def test_ten_thousand_rows_are_planned_in_time(places, tmp_path, monkeypatch):
    save_engine("ltx", tmp_path)
    monkeypatch.setenv("LAMINA_ENGINES", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    long = "a dog that runs over a wide beach at night, seen from far above"
    rows = ({"prompt": f"{number} {long}", "negative": "blurred"} for number in range(ROWS))
    path = places / "prompts.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    planned(path)  # rules are found the first time
    said, complaints, spent = planned(path)
    assert f"{ROWS} items (video), 0 made already, {ROWS} to make" in said, complaints
    sys.stdout.write(f"{ROWS} rows: {spent:.1f} s of processor time, {said.split()[-1]} MB\n")
    assert spent < MOST_S
    assert int(said.split()[-1]) < MOST_MB
