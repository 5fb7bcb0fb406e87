"""Who stops looking at runs is told whether they go on."""

import pytest

from flows.commands import command_line
from flows.commands.command_line import main
from flows.commands.watch import watch
from flows.stack.api import Run, Server

RUN = Run("r1", "make_batch", "RUNNING", "")


class Interrupted(Server):
    """A server at which nobody looks for long."""

    def read(self, run):
        raise KeyboardInterrupt


def looked_at(check, way_out=""):
    with pytest.raises(KeyboardInterrupt) as caught:
        watch(Interrupted("http://127.0.0.1:9"), [RUN], check, way_out)
    return str(caught.value)


def test_runs_of_a_borrowed_stack_go_on_and_it_is_said_how_to_end_them(places, monkeypatch, capfd):
    said = looked_at(None, "`lamina batch cancel night` ends it")
    assert "goes on without this command: http://127.0.0.1:9/v2/runs/flow-run/r1;" in said
    assert "`lamina batch cancel night` ends it" in said

    def stopped(_):
        raise KeyboardInterrupt(said)

    monkeypatch.setattr(command_line, "adopt", stopped)
    assert main(["models", "list"]) == 130
    assert capfd.readouterr().err == f"{said}\n"


def test_runs_of_our_own_stack_end_with_it(places, monkeypatch, capfd):
    assert looked_at(lambda: None) == ""

    def stopped(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "adopt", stopped)
    assert main(["models", "list"]) == 130
    assert "nothing unfinished was left behind" in capfd.readouterr().err
