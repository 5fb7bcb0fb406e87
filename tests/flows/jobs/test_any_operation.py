"""An operation that nobody foresaw, in one class and one table line: everything runs it."""

import weakref
from collections import UserString
from dataclasses import dataclass

import numpy as np
import pytest
from prefect import flow
from prefect.testing.utilities import prefect_test_harness
from pydantic import Field
from starlette.testclient import TestClient

from core.operations.operation import Cost, Model, Reading
from core.records import atomic_path
from core.refusal import Refusal
from core.request import Request
from flows.batches.item import Item
from flows.batches.plan import make_plan
from flows.batches.shard import run_shard
from flows.batches.start import open_batch, start_batch
from flows.commands.command_line import main
from flows.commands.single import run_here
from flows.gallery.application import PREFIX, alone
from flows.jobs import job_stages, operations
from flows.jobs.pipeline import make
from flows.machines.resources import needed
from flows.requests.batch_requests import ClipBatchRequest, ShardRequest
from flows.settings.settings import read_settings


class EchoRequest(Request):
    """A word to be written down."""

    word: str = Field(min_length=1, description="The word.")
    times: int = Field(3, ge=1, description="How often.")
    seed: int = Field(0, ge=0, description="Not used.")
    model: str = Field("tiny-video", description="Whose name is recorded.")


@dataclass(frozen=True)
class Nobody:
    """A model that needs no weights."""

    name: str
    delivered, slow = False, False

    def record(self):
        return {"name": self.name, "kind": "video", "sha256": {}}

    def load(self, device):
        return Model(None, self.record())


class Echo:
    """Writes a word several times."""

    name, kind, request = "echo_word", "video", EchoRequest
    endings, noun, private = (".txt",), "word", False

    def title(self, request):
        return request.word

    def inputs(self, request):
        return {}

    def outputs(self, target, request=None):
        return {"text": target}

    def read(self, request, *, strict=False):
        return Reading(request)

    def check(self, request):
        if request.word == "no":
            raise Refusal("word=no: it is not written down; choose another.")

    def cost(self, request):
        return Cost(0.1 * request.times, 0.5, 1e-6, 1e-6)

    def settled(self, request):
        return request

    def source(self, request):
        return Nobody(request.model)

    def prepare(self, request):
        return request.word.upper()

    def draw(self, request, prepared, model, on_step):
        for i in range(request.times):
            on_step(i + 1, request.times, prepared)
        return " ".join([prepared] * request.times)

    def judge(self, request, drawn):
        return {}

    def write(self, request, drawn, target, *, overwrite):
        with atomic_path(target, overwrite=overwrite) as temporary:
            temporary.write_text(drawn)
        return {"text": target}

    def numbers(self, drawn):
        return {"letters": len(drawn)}

    def verify(self, request, paths):
        if paths["text"].read_text().count(request.word.upper()) != request.times:
            raise RuntimeError("the word is missing; write it again.")
        return {"words": request.times}

    def decoded(self, path):
        return {"letter": np.frombuffer(path.read_bytes(), np.uint8)}

    def recalled(self, file):
        return None

    def pictures(self, prepared, drawn):
        return {}

    def shown(self, request, facts):
        return {"word": request.word, **facts}


@pytest.fixture
def operation(places, monkeypatch):
    monkeypatch.setitem(operations.OPERATIONS, "echo_word", Echo())
    return operations.OPERATIONS["echo_word"]


def test_a_command_makes_it_and_reproduce_makes_it_again(operation, places, capsys):
    target = places / "out.txt"
    run_here(EchoRequest(word="ring"), target, overwrite=False)
    assert target.read_text() == "RING RING RING"
    assert capsys.readouterr().out.splitlines() == [str(target)]
    with pytest.raises(Refusal, match="nothing is overwritten unasked"):
        run_here(EchoRequest(word="ring"), target, overwrite=False)
    with pytest.raises(Refusal, match="word=no"):
        run_here(EchoRequest(word="no"), places / "no.txt", overwrite=False)
    assert main(["reproduce", str(target)]) == 0
    assert "identical: every bit of the file" in capsys.readouterr().out
    target.write_text("RING RING RINK")
    assert main(["reproduce", str(target)]) == 1
    assert "7.14 % of the letters, by up to 4" in capsys.readouterr().out


class Drawn(UserString):
    """A text that can be seen to go."""


class LargeEcho(Echo):
    """Holds that what was drawn no longer takes memory when its file is read back."""

    def draw(self, request, prepared, model, on_step):
        drawn = Drawn(super().draw(request, prepared, model, on_step))
        self.seen = weakref.ref(drawn)
        return drawn

    def write(self, request, drawn, target, *, overwrite):
        return super().write(request, str(drawn), target, overwrite=overwrite)

    def verify(self, request, paths):
        assert self.seen() is None
        return super().verify(request, paths)


def test_files_are_read_back_in_the_room_that_was_drawn_in(places):
    request = EchoRequest(word="ring")
    paths = make(LargeEcho(), request, places / "out.txt", Nobody("x").load("cpu"))
    assert paths["text"].read_text() == "RING RING RING"


@pytest.mark.parametrize("stood", [{}, {"out.txt": "of before", "out.json": "{}"}])
def test_what_fails_its_check_gets_no_name_and_replaces_nothing(places, monkeypatch, stood):
    for name, text in stood.items():
        (places / name).write_text(text)
    before = {path.name for path in places.iterdir()}
    monkeypatch.setattr(Echo, "verify", _not_whole)
    with pytest.raises(RuntimeError, match=r"out\.txt is not whole"):
        make(Echo(), EchoRequest(word="ring"), places / "out.txt", _model(), overwrite=True)
    assert {path.name for path in places.iterdir()} == before
    assert {name: (places / name).read_text() for name in stood} == stood


def test_what_came_to_stand_there_meanwhile_stays(places, monkeypatch):
    def late(operation, request, paths):
        (places / "out.txt").write_text("of another")
        return {}

    monkeypatch.setattr(Echo, "verify", late)
    with pytest.raises(Refusal, match="nothing is overwritten unasked"):
        make(Echo(), EchoRequest(word="ring"), places / "out.txt", _model())
    assert (places / "out.txt").read_text() == "of another"


def test_an_item_that_fails_its_check_gets_no_name(operation, monkeypatch):
    batch = _started([EchoRequest(word="red")])
    monkeypatch.setattr(Echo, "verify", _not_whole)
    asked = ShardRequest(batch="words", shard=0)
    assert "made" not in run_shard(read_settings(), asked, lambda *_, **__: None).plain()
    assert list(batch.results.iterdir()) == []


def _not_whole(operation, request, paths):
    raise RuntimeError(f"{paths['text'].name} is not whole: write it again.")


def _model():
    return Nobody("x").load("cpu")


def _started(words):
    items = [Item(f"{n:016x}", f"row {n}", word) for n, word in enumerate(words)]
    plan, request = make_plan(items, []), ClipBatchRequest(name="words", prompts="x")
    assert plan.seconds_per_item == pytest.approx(0.3)
    batch = open_batch(read_settings(), "default", request)
    start_batch(batch, request, plan)
    return batch


def test_a_batch_makes_its_items_beside_others_once(operation):
    settings = read_settings()
    words = [EchoRequest(word=word) for word in ("red", "blue")]
    batch = _started(words)
    assert [item.request for item, _ in batch.items()] == words
    asked = ShardRequest(batch="words", shard=0)
    report = run_shard(settings, asked, lambda *_, **__: None)
    assert report.plain() == {"made": 2, "left": 0, "ended": ""}
    made = sorted(path.name for path in batch.results.iterdir())
    assert made == [f"{n:016x}-{word.word}{end}" for n, word in enumerate(words)
                    for end in (".json", ".txt")]  # fmt: skip
    assert run_shard(settings, asked, lambda *_, **__: None).plain()["stood"] == 2


def test_the_gallery_shows_it(operation, places):
    folder = places / "outputs" / "default" / "echo_word" / "ring-1a2b3c4d"
    folder.mkdir(parents=True)
    run_here(EchoRequest(word="ring"), folder / "ring.txt", overwrite=False)
    client = TestClient(alone(read_settings()), base_url=f"http://127.0.0.1{PREFIX}")
    page = client.get("/p/default/r/echo_word/ring-1a2b3c4d/ring")
    assert page.status_code == 200
    assert "echo" in page.text
    assert "ring.txt" in page.text


def test_its_needs_are_known(operation):
    assert needed(operation, EchoRequest(word="x", times=100)).minutes == pytest.approx(
        1.25 * 30 / 60
    )


def test_its_stages_hand_files_to_each_other(operation, monkeypatch):
    monkeypatch.setattr(job_stages, "run_id", lambda: "1a2b3c4d")
    monkeypatch.setattr(job_stages, "progress_bar", lambda key: _quiet())
    request = EchoRequest(word="ring")
    inputs = job_stages.check.fn(operation, request)
    drawn = job_stages.draw.fn(operation, request, inputs, ".txt")
    assert drawn.keys() == {"text", "numbers"}
    assert (
        job_stages.draw.fn(operation, request, inputs, ".txt") == drawn
    )  # tried again: from its files


@pytest.mark.slow
@pytest.mark.integration
def test_it_runs_as_a_flow_that_tells_how_the_request_was_read(
    operation, places, monkeypatch, caplog
):
    reading = Reading(EchoRequest(word="ring"), remarks=("a bell, it seems",))
    monkeypatch.setattr(Echo, "read", lambda *_, **__: reading)

    @flow(name="echo_word")
    def echo_word(request: EchoRequest):
        return job_stages.run_stages(operation, request, "", "default")

    with prefect_test_harness(server_startup_timeout=300):
        made = echo_word(EchoRequest(word="ring"))
    assert made["text"].open().read_text() == "RING RING RING"
    assert made["record"].open().name == "ring.json"
    assert "a bell, it seems" in caplog.text


def _quiet():
    from contextlib import nullcontext

    return nullcontext(lambda *_, **__: None)
