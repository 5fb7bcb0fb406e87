"""``--engine`` and ``lamina engines``, with a tiny pipeline of diffusers."""

import json

import imageio.v3 as iio
import pytest
import torch
from tiny_engines import save_engine

from flows.batches.items import items_of
from flows.batches.plan import make_plan
from flows.batches.shard import run_shard
from flows.batches.start import open_batch, start_batch
from flows.commands.command_line import main
from flows.requests.batch_requests import ClipBatchRequest, ShardRequest
from flows.settings.environment import adopt
from flows.settings.settings import read_settings
from video.files.formats import read_clip

NAME = "cogvideox"
SIZE = ["--num-frames", "8", "--height", "16", "--width", "16"]


@pytest.fixture(scope="session")
def engine_shelf(tmp_path_factory):
    shelf = tmp_path_factory.mktemp("engines")
    state = torch.get_rng_state()
    save_engine(NAME, shelf)
    torch.set_rng_state(state)
    return shelf


@pytest.fixture
def engine(engine_shelf, places, monkeypatch):
    monkeypatch.setenv("LAMINA_ENGINES", str(engine_shelf))
    return NAME


def test_a_clip_of_an_engine_is_made_recorded_and_made_again(engine, places, capsys):
    target = places / "cat.mp4"
    command = ["video", "generate", "a cat", str(target), "--engine", engine, "--steps", "3"]
    assert main([*command, *SIZE]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == [str(target)]
    assert told.err.splitlines()[-1] == "step 3 of 3"
    record = json.loads((places / "cat.json").read_text())
    asked = record["request"]
    assert (asked["engine"], asked["num_frames"], asked["fps"], asked["guidance"]) == (
        engine, 8, 8.0, 6.0,
    )  # fmt: skip
    assert {"sampler", "model"} & asked.keys() == set()
    assert record["model"]["name"] == engine
    assert record["model"]["objective"] == "CogVideoXPipeline"
    assert record["extra"]["engine"]["dtype"] == "float32"
    assert main(["reproduce", str(target)]) == 0
    assert "identical: every bit of the file" in capsys.readouterr().out
    assert list((places / "state" / "states").iterdir()) == []


def test_a_preview_is_written_while_it_works_and_the_clip_is_the_same(
    engine, places, capsys, monkeypatch
):
    from video.engines import previews

    monkeypatch.setattr(previews, "EVERY_S", 0.0)
    monkeypatch.setattr(previews, "SHARE", 1e9)
    command = ["video", "generate", "a cat", "--engine", engine, "--steps", "3", *SIZE]
    assert main([*command, str(places / "plain.mp4")]) == 0
    looked = [*command, str(places / "cat.mp4"), "--preview"]
    for wrong in ("cat.mp4", "on.png"):
        assert main([*looked, str(places / wrong)]) == 2
        assert "a preview is a moving WebP beside the clip" in capsys.readouterr().err
    assert main([*looked, str(places / "on.webp")]) == 0
    assert iio.immeta(places / "on.webp", plugin="pillow")["mode"].startswith("RGB")
    frames = [read_clip(places / name).frames for name in ("plain.mp4", "cat.mp4")]
    assert (frames[0] == frames[1]).all()
    assert main([*command, str(places / "other.mp4"), "--preview", str(places / "on.webp")]) == 2


def test_a_request_off_the_rule_is_refused(engine, places, capsys):
    command = ["video", "generate", "a cat", str(places / "cat.mp4"), "--engine", engine]
    for wrong, words in (
        (["--num-frames", "10"], "num_frames=10: the engine cogvideox"),
        (["--width", "24"], "width=24: width must be a multiple of 16"),
        (["--sampler", "heun"], "sampler=heun with engine=cogvideox"),
    ):
        assert main([*command, *wrong]) == 2
        assert words in capsys.readouterr().err
    assert list(places.glob("cat*")) == []


def test_a_dry_run_says_what_it_takes_or_refuses(engine, places, capsys):
    command = ["video", "generate", "a cat", str(places / "cat.mp4"), "--engine", engine]
    assert main([*command, *SIZE, "--dry-run"]) == 0
    assert "cat.mp4 would need 1 CPU, " in capsys.readouterr().out
    assert main([*command, "--num-frames", "10", "--dry-run"]) == 2
    assert "num_frames=10: the engine cogvideox packs" in capsys.readouterr().err
    assert list(places.glob("cat*")) == []


def test_engines_are_listed_checked_and_shown(engine, places, capsys):
    assert main(["engines", "list"]) == 0
    assert f"{engine}  diffusers  CogVideoXPipeline" in capsys.readouterr().out
    assert main(["engines", "check", engine]) == 0
    assert main(["engines", "show", engine]) == 0
    told = capsys.readouterr().out
    assert "frames: 1, 8, 9, 16, 17, 24, ..." in told
    assert "width, height: multiples of 16" in told
    assert main(["engines", "check", "nobody"]) == 2


def test_a_batch_mixes_engines(engine, places):
    adopt(read_settings())
    (places / "prompts.jsonl").write_text(
        "\n".join(
            json.dumps(row)
            for row in (
                {"prompt": "a red circle", "num_frames": 4, "height": 32, "width": 32},
                {"prompt": "a cat", "engine": engine, "steps": 2},
                {"prompt": "a dog", "engine": engine, "steps": 2},
            )
        )
    )
    request = ClipBatchRequest(
        name="mixed", prompt_file=str(places / "prompts.jsonl"), model="tiny-video", steps=1
    )
    items, repeated = items_of(request)
    assert repeated == []
    assert [item.request.engine for item in items] == ["", engine, engine]
    assert [item.request.num_frames for item in items] == [4, 0, 0]
    settings = read_settings()
    batch = open_batch(settings, "default", request)
    start_batch(batch, request, make_plan(items, []))
    report = run_shard(settings, ShardRequest(batch="mixed", shard=0), lambda *_, **__: None)
    assert report.plain() == {"made": 3, "left": 0, "ended": ""}
    records = [json.loads(path.read_text()) for path in sorted(batch.results.glob("*.json"))]
    assert sorted(record["model"]["name"] for record in records) == [
        engine, engine, "tiny-video",
    ]  # fmt: skip


def test_an_item_of_an_engine_is_found_by_its_weights_not_its_place(engine, places, engine_shelf):
    adopt(read_settings())
    addresses = set()
    for name in (engine, str(engine_shelf / NAME)):
        items, _ = items_of(ClipBatchRequest(name="x", prompts="a cat", engine=name, steps=2))
        addresses.add(items[0].address)
    assert len(addresses) == 1
    with pytest.raises(ValueError, match=r"prompts:1: column num_frames: num_frames=10"):
        items_of(ClipBatchRequest(name="x", prompts="a cat", engine=engine, num_frames=10))
