"""A clip whose command is killed outright at any step is gone on from to the same bytes."""

import json
import multiprocessing
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_engines import save_engine, save_picture

STEPS = 6
STEP = re.compile(r"step (\d+) of 6\b")
PATIENCE_S = 900.0  # a busy machine's
CONTEXT = multiprocessing.get_context("forkserver")
LIBRARIES = ["flows.commands.command_line", "flows.commands.video", "diffusers", "transformers"]
# steps longer than the twentieth of a second between two lines
ASKED = {
    "wan": "a cat --engine wan --num-frames 33 --height 64 --width 64",
    "hunyuan_video": "a cat --engine hunyuan_video --num-frames 33 --height 96 --width 96",
    "own": "a small red circle moves left --first {picture} --height 128 --width 128",
}


def command(words: list[str], errors: Path, variables: dict[str, str]) -> None:
    """Be ``lamina WORDS``, in a process of its own whose libraries stood already."""
    os.environ.clear()
    os.environ.update(variables)
    torch.set_num_threads(1)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND), sys.stderr.fileno())
    from flows.commands.command_line import main

    sys.exit(main(words))


class Runs:
    """Runs the same command again and again, and kills it where it is told."""

    def __init__(self, home: Path, words: str) -> None:
        self.tells = "--engine" in words
        self.home, self.clip = home, home / "cat.mp4"
        prompt, *options = re.split(r" (?=--)", words)
        options = [word for option in options for word in option.split(" ", 1)]
        asked = ["video", "generate", prompt, str(self.clip), "--steps", str(STEPS)]
        self.words = [*asked, *options]
        self.count = 0

    def run(self, kill_at: int = 0) -> tuple[int, list[str]]:
        """The exit code and the lines of stderr; killed as soon as a step is done."""
        self.count += 1
        errors = self.home / f"errors-{self.count}"
        errors.touch()
        process: Any = CONTEXT.Process(target=command, args=(self.words, errors, dict(os.environ)))
        process.start()
        begun = time.monotonic()
        while process.is_alive() and time.monotonic() - begun < PATIENCE_S:
            if kill_at and self.done(errors) >= kill_at:
                os.kill(process.pid, signal.SIGKILL)
                break
            time.sleep(0.002)
        process.join(PATIENCE_S)
        return process.exitcode, errors.read_text().splitlines()

    def done(self, errors: Path) -> int:
        """The step that was told last, or of our own model, which tells seldom, kept last."""
        if self.tells:
            return max(steps_told(errors.read_text().splitlines()), default=0)
        return len(list((self.home / "state" / "states").glob("[0-9a-f]*.safetensors")))

    def media(self) -> tuple[str, int]:
        """The clip's digest before signing and the denoiser's calls; both files are removed."""
        record = json.loads(self.clip.with_suffix(".json").read_text())
        self.clip.unlink()
        self.clip.with_suffix(".json").unlink()
        calls = record["extra"].get("engine", {}).get("network_calls", 0)
        return record["outputs"]["video"]["media_sha256"], calls


@pytest.fixture
def runs_of(tmp_path, monkeypatch):
    """Runs of an engine's clip, by its name."""
    CONTEXT.set_forkserver_preload(LIBRARIES)
    for name, value in {
        "LAMINA_HOME": str(tmp_path / "state"), "LAMINA_ENGINES": str(tmp_path / "shelf"),
        "LAMINA_DEVICE": "cpu", "LAMINA_C2PA": "on", "OMP_NUM_THREADS": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)

    def made(name):
        if name != "own":
            save_engine(name, tmp_path / "shelf")
        picture = save_picture(tmp_path / "first.png", 128, 128)
        return Runs(tmp_path, ASKED[name].format(picture=picture))

    return made


def steps_told(lines: list[str]) -> list[int]:
    return [int(found[1]) for line in lines if (found := STEP.match(line))]


def resumed_at(lines: list[str]) -> int:
    found = re.search(rf"^resumed at step (\d+) of {STEPS}$", "\n".join(lines), re.MULTILINE)
    return int(found[1]) if found else 0


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", list(ASKED))
def test_a_command_killed_at_any_step_is_gone_on_from_to_the_same_bytes(name, runs_of):
    runs = runs_of(name)
    ended, told = runs.run()
    assert ended == 0, told
    assert not runs.tells or steps_told(told) == list(range(1, STEPS + 1))
    unbroken, calls = runs.media()
    for killed_at in range(1, STEPS + 1):
        ended, told = runs.run(kill_at=killed_at)
        assert ended == -signal.SIGKILL, told
        assert not runs.clip.exists()
        done = max(steps_told(told), default=0) if runs.tells else runs.done(runs.home)
        assert done >= killed_at
        ended, told = runs.run()
        assert ended == 0, told
        resumed = resumed_at(told)
        again = STEPS - resumed
        # step 1 may be lost with the process; from then on a state stands
        assert resumed or done == 1, told
        assert again <= STEPS - done + 1
        assert len(steps_told(told)) <= again
        digest, called = runs.media()
        assert digest == unbroken
        if runs.tells:  # of diffusers, as many calls for each step
            assert called == calls // STEPS * again
        print(f"{name}: killed at {done}, went on from {resumed}, drew {again} steps")  # noqa: T201  shown by pytest -s
