"""A dataset whose making is killed again and again holds the bytes of one made in one go."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

KILLS = 20
ASKED = {
    "name": "pilot",
    "count": 2,
    "contrasts": ["FLAIR"],
    "spacing_mm": [4, 4, 4],
    "formats": ["bids", "nnunet"],
    "lesions": {"load_ml": [5, 6], "count": [3, 4]},
}
COMMAND = [sys.executable, "-m", "flows.commands.command_line", "mri", "augment"]


@pytest.fixture
def making(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Starts the command on a folder, as a group of processes of its own."""
    monkeypatch.setenv("LAMINA_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("LAMINA_DEVICE", "cpu")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    request = tmp_path / "request.json"
    request.write_text(json.dumps(ASKED))

    def start(out: Path) -> "subprocess.Popen[bytes]":
        command = [*COMMAND, str(request), str(out)]
        with (tmp_path / "log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    return start


def held(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder by name, with the bytes of files."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def sights(folder: Path) -> Iterator[tuple[str, int]]:
    """Each file that is new or begun anew, unfinished ones too, as they are seen."""
    before: set[tuple[str, int]] = set()
    while True:
        now = set()
        for root, _, names in os.walk(folder):
            for name in names:
                try:
                    now.add((name, os.stat(os.path.join(root, name)).st_ino))
                except OSError:  # renamed meanwhile
                    continue
        yield from sorted(now - before)
        before = now
        yield ("", 0)  # looked through


def killed(process: "subprocess.Popen[bytes]", out: Path, dice: random.Random, took: float) -> str:
    """Kill after some seconds, or when some file appears; where, or nothing if it ended first."""
    by_file, patience = dice.random() < 0.7, dice.uniform(0.1, took)
    seen, wanted, last, begun = 0, dice.randint(1, 14), "", time.monotonic()
    standing = {name for root, _, names in os.walk(out) for name in names}
    for name, _ in sights(out):
        if process.poll() is not None:
            assert process.returncode == 0
            return ""
        if name and name not in standing:
            seen, last = seen + 1, name
        if (by_file and seen >= wanted) or (not by_file and time.monotonic() - begun > patience):
            break
        if not name:
            time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    return f"{time.monotonic() - begun:.1f} s, last seen {last or 'nothing'}" * (
        process.wait() < 0
    )


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_a_dataset_killed_at_any_moment_is_the_one_made_in_one_go(tmp_path, making):
    begun = time.monotonic()
    assert making(tmp_path / "whole").wait() == 0, (tmp_path / "log").read_text()
    took, whole = time.monotonic() - begun, held(tmp_path / "whole")
    assert len(whole) > 30
    dice, kills, rounds = random.Random(7), list[str](), 0
    most = int(os.environ.get("LAMINA_TEST_KILLS", KILLS))
    while len(kills) < most:
        out, rounds = tmp_path / f"round{rounds}", rounds + 1
        while where := killed(making(out), out, dice, took) if len(kills) < most else "":
            kills.append(where)
        assert making(out).wait() == 0, (tmp_path / "log").read_text()
        found = held(out)
        assert sorted(found) == sorted(whole), kills
        assert [name for name in whole if whole[name] != found[name]] == [], kills
    print(*kills, sep="\n")  # noqa: T201  shown by pytest -s
