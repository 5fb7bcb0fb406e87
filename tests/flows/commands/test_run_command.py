"""``lamina run``: what is said of a stack that lives as long as one run."""

from contextlib import contextmanager

import pytest

from flows.commands import stack
from flows.commands.command_line import main
from flows.stack.api import Run


class Stub:
    """Stands for a server that answers at once."""

    address = "http://127.0.0.1:4200"

    def start(self, flow, parameters, name):
        return Run("0" * 8, flow, "", "")

    def page(self, run):
        return f"{self.address}/v2/runs/flow-run/{run.id}"


@pytest.mark.parametrize(("own", "words"), [(True, 1), (False, 0)])
def test_a_stack_that_ends_with_the_run_says_when_the_address_answers(
    places, monkeypatch, capfd, own, words
):
    @contextmanager
    def borrowed(settings, say):
        yield Stub(), (lambda: None) if own else None

    monkeypatch.setattr(stack, "borrowed", borrowed)
    monkeypatch.setattr(stack, "_check_offers", lambda *_: None)
    monkeypatch.setattr(stack, "watch", lambda server, runs, check: runs)
    (places / "r.json").write_text('{"prompt": "a red circle"}')
    main(["run", "text_to_video", "--request", str(places / "r.json")])
    assert capfd.readouterr().err.count("answers again while `lamina up` runs") == words
