"""The tutorial that draws four heads: its very commands, and the same of one small head in CI."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ball_heads import Ball
from shown import ROOT, lines

from flows.commands.command_line import main
from medical.datasets import making
from medical.datasets.standing import standing_head

TUTORIAL = ROOT / "docs" / "tutorials" / "dataset-of-heads.md"
EXAMPLE = Path("docs") / "examples" / "dataset.json"
MINUTES, GIGABYTES = 10, 4
COMMANDS = [shlex.split(line, comments=True) for line in lines(TUTORIAL)]


def left_by(pilot, count):
    """What a reader of the tutorial has in the end."""
    summary = json.loads((pilot / "dataset.json").read_text(encoding="utf-8"))
    assert (summary["made"], summary["missing"]) == (count, [])
    assert summary["approval"] == "approved"
    assert "Ann" in (pilot / "approval.json").read_text(encoding="utf-8")
    assert (pilot / "report.html").is_file()
    for number in range(1, count + 1):
        head = standing_head(pilot / "volumes" / f"sub-{number:03d}.json")
        assert head is not None
        assert {name.partition("/")[0] for name in head.files} >= {"bids", "nnunet"}


def test_the_tutorials_commands_run_with_one_small_head(places, monkeypatch, capsys):
    assert all(words[0] == "lamina" for words in COMMANDS)
    assert len(COMMANDS) > 4
    monkeypatch.setattr(making, "shipped_heads", Ball)
    asked = json.loads((ROOT / EXAMPLE).read_text(encoding="utf-8"))
    asked |= {"count": 1, "spacing_mm": [4, 4, 4], "lesions": {"load_ml": [5, 6], "count": [3, 4]}}
    (places / EXAMPLE).parent.mkdir(parents=True)
    (places / EXAMPLE).write_text(json.dumps(asked), encoding="utf-8")
    for words in COMMANDS:
        assert main(words[1:]) == 0, words
    assert "identical: every bit of" in capsys.readouterr().out
    left_by(places / "pilot", 1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_tutorials_commands_draw_four_heads_in_ten_minutes_of_a_processor(places):
    """Minutes of a processor, not of the clock, as other work may run beside."""
    (places / EXAMPLE).parent.mkdir(parents=True)
    shutil.copy(ROOT / EXAMPLE, places / EXAMPLE)
    told, took = {**os.environ, "PYTHONPATH": str(ROOT)}, dict[str, tuple[float, float, float]]()
    told.pop("OMP_NUM_THREADS", None)
    for words in COMMANDS:
        command, begun = [sys.executable, "-m", "flows.commands.command_line"], time.monotonic()
        ended = subprocess.Popen([*command, *words[1:]], cwd=places, env=told)
        _, status, used = os.wait4(ended.pid, 0)
        ended.returncode = os.waitstatus_to_exitcode(status)
        assert ended.returncode == 0, words
        seconds = used.ru_utime + used.ru_stime
        took[" ".join(words)] = (time.monotonic() - begun, seconds, used.ru_maxrss / 2**20)
    left_by(places / "pilot", 4)
    for name, (wall, seconds, gigabytes) in took.items():
        print(f"{name}: {wall:.0f} s, {seconds:.0f} s of a processor, {gigabytes:.2f} GB")  # noqa: T201
    drawn = took[f"lamina mri augment {EXAMPLE} pilot"]
    assert drawn[1] < 60 * MINUTES
    assert max(gigabytes for _, _, gigabytes in took.values()) < GIGABYTES
