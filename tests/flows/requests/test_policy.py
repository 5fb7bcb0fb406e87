"""An operator's rules at every door, before anything is drawn, and what is kept of a refusal."""

import hashlib
import json
import os

import pytest
from clips import SMALL

from core.refusal import Refusal
from flows.batches.items import items_of
from flows.batches.ledger import Batch, unfinished
from flows.batches.shard import run_shard
from flows.batches.start import plan_batch, start_batch
from flows.commands.command_line import main
from flows.jobs.operations import OPERATIONS
from flows.requests.batch_requests import ClipBatchRequest, ShardRequest
from flows.requests.policy import check_policy, log_path, read_lawful
from flows.settings.policy import prompt_policy
from flows.settings.settings import read_settings
from video.policy.prompts import PolicyRefusal
from video.request import VideoRequest

pytestmark = pytest.mark.usefixtures("encoder_read_once")
WORDS = ["--num-frames", "4", "--height", "32", "--width", "32", "--steps", "1",
         "--model", "tiny-video", "--seed", "7"]  # fmt: skip
WHY = r"prompt: rule 1 of this machine's operator refuses it \(no rings here\): what a rule"


def ruled(path, *words):
    path.write_text(json.dumps([{"words": list(words), "reason": "no rings here"}]))
    return path


@pytest.fixture
def rules(places, monkeypatch):
    path = ruled(places / "rules.yaml", "ring")
    monkeypatch.setenv("LAMINA_PROMPT_POLICY", str(path))
    return path


def told():
    return [json.loads(line) for line in log_path().read_text().splitlines()]


def test_a_command_is_refused_before_anything_is_made(rules, capsys):
    places = rules.parent
    assert main(["video", "generate", "a red ring", str(places / "a.mp4"), *WORDS]) == 2
    assert "rule 1 of this machine's operator refuses it" in capsys.readouterr().err
    assert not (places / "a.mp4").exists()
    assert [line["door"] for line in told()] == ["command"]
    text = log_path().read_text()
    assert "red" not in text
    assert log_path().stat().st_mode & 0o777 == 0o600
    assert main(["video", "generate", "a red circle", str(places / "b.mp4"), *WORDS]) == 0
    ruled(rules, "circle")  # read anew when it changes
    assert main(["reproduce", str(places / "b.mp4")]) == 2
    assert told()[-1]["door"] == "reproduce"
    rules.unlink()
    capsys.readouterr()
    assert main(["video", "generate", "a red circle", str(places / "c.mp4"), *WORDS]) == 2
    assert "nothing is drawn without the rules that an operator named" in capsys.readouterr().err


def test_a_run_is_refused_by_what_it_would_read(rules):
    operation = OPERATIONS["text_to_video"]
    corrected = "a blue cross and a red rinng"
    asked = VideoRequest(prompt=corrected, model="scenes-64")
    with pytest.raises(PolicyRefusal, match=WHY):
        read_lawful(operation, asked, "run")
    (line,) = told()
    assert line["sha256"] == hashlib.sha256(b"a blue cross and a red ring").hexdigest()[:16]
    assert read_lawful(operation, VideoRequest(prompt="a cross", **SMALL), "run").facts == {}


def test_a_negative_prompt_is_held_against_them_too(rules):
    asked = VideoRequest(prompt="a", negative="ring", engine="x/y")
    with pytest.raises(PolicyRefusal, match=r"^negative: rule 1"):
        check_policy(asked, "run")


def test_a_row_refuses_its_batch_and_a_shard_what_was_planned_before(rules):
    asked = ClipBatchRequest(name="night", prompts="a red circle\na red ring", **SMALL)
    with pytest.raises(Refusal, match=r":2: column prompt: prompt: rule 1"):
        items_of(asked)
    assert [line["door"] for line in told()] == ["batch row"]
    ruled(rules, "sphere")
    batch = Batch.named(read_settings(), "default", "night")
    batch.root.mkdir(parents=True)
    start_batch(batch, asked, plan_batch(batch, asked, items_of(asked)))
    ruled(rules, "ring")
    shard = ShardRequest(batch="night", shard=0)
    made = run_shard(read_settings(), shard, lambda *_: None).plain()
    assert (made["made"], made["failed"]) == (1, 1)
    (failed,) = (one for one in batch.outcomes().values() if one["state"] == "failed")
    assert failed["error"].startswith("PolicyRefusal: prompt: rule 1")
    assert not unfinished(failed)


def test_the_videos_interface_answers_400_and_begins_no_run(rules):
    from starlette.applications import Starlette
    from starlette.testclient import TestClient

    from flows.videos_api.application import create_videos

    client = TestClient(create_videos(Starlette(), read_settings()), base_url="http://127.0.0.1")
    clip = {"model": "tiny-video", "num_frames": 4}
    for path, asked in (
        ("/v1/videos", {"prompt": "a red ring"}),
        ("/v1/videos/batches", {"name": "night", "prompts": ["a circle", "a ring"]}),
    ):
        answer = client.post(path, json=clip | asked)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "content_policy_violation"
        assert told()[-1]["door"] == path


def test_nothing_is_asked_and_nothing_written_where_no_rules_are_named(places):
    check_policy(VideoRequest(prompt="a ring", **SMALL), "run")
    assert prompt_policy() is None
    assert not log_path().exists()
    with pytest.raises(Refusal, match="whole path"):
        prompt_policy({"LAMINA_PROMPT_POLICY": "rules.yaml"})


def test_what_cannot_be_written_down_is_refused_all_the_same(rules, monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(PolicyRefusal, match=WHY):
        check_policy(VideoRequest(prompt="a ring", **SMALL), "run")
    assert "cannot be written" in caplog.text
