import io

import pytest

from core import progress as progress_module
from core.progress import Clock, Throttle, duration, steps_of, terminal_meter, timed


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def time(monkeypatch):
    class Time:
        now = 100.0

        def monotonic(self):
            return self.now

    fake = Time()
    monkeypatch.setattr(progress_module, "time", fake)
    return fake


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59, "59 s"), (125, "2 min"), (7500, "2 h 5 min")]
)
def test_durations(seconds, words):
    assert duration(seconds) == words


def test_the_time_left_follows_the_pace(time):
    clock = Clock()
    time.now += 30
    assert clock.says(3, 9) == "step 3 of 9, 1 min left"
    assert clock.says(9, 9) == "step 9 of 9"


def test_a_throttle_says_yes_once_in_its_time(time):
    throttle = Throttle(2.0)
    answers = []
    for _ in range(5):
        answers.append(throttle.ready())
        time.now += 1.0
    assert answers == [True, False, True, False, True]


def test_seconds_add_up(time):
    timings = {}
    for seconds in (2.0, 3.0):
        with timed(timings, "sample"):
            time.now += seconds
    assert timings == {"sample": 5.0}


def test_a_log_gets_plain_lines_and_the_last_one_always():
    log = io.StringIO()
    with terminal_meter("sampling", log) as meter:
        on_step = steps_of(meter)
        for done in range(1, 5):
            on_step(done, 4, None)
    lines = log.getvalue().splitlines()
    assert lines[0].startswith("sampling: step 1 of 4")
    assert lines[-1] == "sampling: step 4 of 4, 100 %"
    assert len(lines) == 2
    assert "\x1b" not in log.getvalue()


def test_a_terminal_gets_a_bar():
    terminal = Terminal()
    with terminal_meter("sampling", terminal) as meter:
        meter(2, 4, "half way")
    assert "half way" in terminal.getvalue()
    assert "━" in terminal.getvalue()
