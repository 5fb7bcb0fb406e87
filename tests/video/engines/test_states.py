"""A kept state is read back as it was, or not at all."""

import itertools
import json
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from video.engines.kept_walk import KeptWalk
from video.engines.shelf import engine_of
from video.engines.states import LONGEST_KEPT_S, StateFile, flat, full
from video.engines.steps import Walk
from video.request import VideoRequest

KEY, HOW = {"prompt": "a cat"}, {"threads": 1}


@pytest.fixture
def kept(tmp_path):
    """A state of numbers in two precisions that stands."""
    state = StateFile(tmp_path, KEY, HOW)
    state.keep({"step": 3, "latents": torch.arange(999.0), "half": torch.ones(5).bfloat16()})
    state.settle()
    return state


def test_what_was_kept_is_read(kept):
    tree, tensors = kept.read()
    found = full(tree, tensors, "cpu")
    assert found["step"] == 3
    assert torch.equal(found["latents"], torch.arange(999.0))
    assert torch.equal(found["half"], torch.ones(5).bfloat16())


def test_what_is_kept_anew_meanwhile_is_read_whole(kept):
    """Of a killed walk the writer may still be at work when the next one begins."""
    first = kept.path.read_bytes()
    kept.keep({"step": 4, "latents": torch.arange(999.0) + 1, "half": torch.zeros(5).bfloat16()})
    kept.settle()
    both, ended = (first, kept.path.read_bytes()), threading.Event()

    def replaces():
        for number in itertools.count():
            other = kept.path.with_name("other")
            other.write_bytes(both[number % 2])
            other.replace(kept.path)
            if ended.is_set():
                return

    writer = threading.Thread(target=replaces)
    writer.start()
    found = [kept.read() for _ in range(300)]
    ended.set()
    writer.join()
    assert {tree["table"]["step"]["plain"] for tree, _ in found} <= {3, 4}


def test_what_was_kept_of_another_device_goes_back_to_it(kept, monkeypatch):
    """Noise is drawn on the CPU; `meta` stands for the GPU that computes."""
    x, tensors, generator = torch.ones(3), dict[str, torch.Tensor](), torch.Generator("cpu")
    here = {"step": 1, "generator": generator.get_state(), "answers": {}}
    there = {"latents": x, "scheduler": {"before": [x]}, "beside": [x]}
    said = flat(here, tensors)
    away = {name: flat(one, tensors) for name, one in there.items()}
    said["table"] |= json.loads(json.dumps(away).replace('"cpu"', '"cuda"'))
    scheduler = SimpleNamespace(step=lambda sample, old_pred_original_sample: None)
    pipe = SimpleNamespace(scheduler=scheduler, vae=SimpleNamespace(decode=None))
    monkeypatch.setattr(kept, "read", lambda: (said, tensors))
    walk = Walk(pipe, generator, kept, told=lambda *_: None, stop=lambda: False)
    latents, beside = walk._put_back((torch.empty(3, device="meta"), None))
    found = [latents, beside, *scheduler.before]
    assert [one.device.type for one in found] == ["meta"] * 3


def test_numbers_that_a_power_cut_tore_are_not_gone_on_from(kept, caplog):
    """A state of short steps is not flushed, so that its blocks may be missing or empty."""
    whole = kept.path.read_bytes()
    kept.path.write_bytes(whole[:-2048] + bytes(2048))
    assert kept.read() is None
    assert "drawn anew" in caplog.text
    kept.path.write_bytes(whole[:-9])
    assert kept.read() is None
    kept.path.write_bytes(whole)
    assert kept.read() is not None


def test_short_steps_do_not_wait_for_the_disk_and_long_ones_reach_it(kept, monkeypatch):
    flushed = []
    monkeypatch.setattr("core.records.os.fsync", flushed.append)
    kept.keep({"step": 4})
    kept.settle()
    assert flushed == []
    monkeypatch.setattr("video.engines.states.FLUSH_EVERY_S", 0.0)
    kept.keep({"step": 5})
    kept.settle()
    assert len(flushed) == 1
    assert kept.read()[0]["table"]["step"] == {"plain": 5}


def test_a_clip_whose_picture_is_gone_stands_all_the_same(kept, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr("video.engines.states.states_folder", lambda: kept.path.parent)
    monkeypatch.setattr("video.engines.own_engine.states_kept", lambda: True)
    request = VideoRequest(prompt="a cat", first=str(tmp_path / "gone.png"))
    engine_of(request).forget(request)
    assert "stays for a month" in caplog.text


def test_tidying_never_fails_whatever_others_do_in_the_folder(kept, monkeypatch, caplog):
    old, young = kept.path.with_name("old.safetensors"), kept.path.with_name("y.safetensors")
    being_written = kept.path.with_name(".part-0123456789ab.safetensors")
    gone = kept.path.with_name(".part-ba9876543210.safetensors")
    for path in (old, young, being_written):
        path.write_bytes(b"x")
    long_ago = old.stat().st_mtime - LONGEST_KEPT_S - 60
    os.utime(old, (long_ago, long_ago))
    there = list(kept.path.parent.iterdir())
    monkeypatch.setattr(Path, "glob", lambda *_: iter([gone, *there]))  # renamed since
    kept.forget()
    assert sorted(path.name for path in kept.path.parent.iterdir()) == [
        being_written.name,
        young.name,
    ]
    kept.path.mkdir()
    kept.forget()
    assert "cannot be removed" in caplog.text


def test_parts_are_read_as_far_as_they_stand_whole_and_go_together(tmp_path):
    state = StateFile(tmp_path, KEY, HOW)
    for step in (1, 2, 3, 4):
        state.keep({"answers": [torch.full((5,), float(step))]}, part=step)
        state.settle()
    assert state.step() == 4
    found = [full(*part, "cpu")["answers"][0][0].item() for part in state.parts()]
    assert found == [1.0, 2.0, 3.0, 4.0]
    third = sorted(tmp_path.iterdir())[2]
    third.write_bytes(third.read_bytes()[:-9])
    assert StateFile(tmp_path, KEY, HOW).step() == 2
    state.forget()
    assert list(tmp_path.iterdir()) == []


def test_a_step_is_told_of_what_would_be_gone_on_from_alone(kept):
    assert StateFile(kept.path.parent, KEY, HOW).step() == 3
    assert StateFile(kept.path.parent, KEY, {"threads": 2}).step() == 0
    whole = kept.path.read_bytes()
    kept.path.write_bytes(whole[:-8] + bytes(8))  # whole by its length, other numbers
    assert kept.step() == 0


def test_no_step_of_a_walk_writes_again_what_stands(tmp_path):
    written = []

    class Counting(StateFile):
        def keep(self, tree, part=0):
            written.append(sum(answer.numel() for answer in tree["answers"]))
            super().keep(tree, part)

    def walk(denoise, z, levels, *, on_step):
        for step in range(1, len(levels)):
            z = denoise(z, levels[step], levels[step])
            on_step(step, len(levels) - 1, z)
        return z

    def drawn():
        return KeptWalk(Counting(tmp_path, KEY, HOW)).around(walk)(
            lambda z, t, r: z + 1,
            torch.zeros(1, 3, 4, 4, 4),
            torch.linspace(1, 0, 9),
            on_step=lambda *_: None,
        )

    whole = drawn()
    assert written == [192] * 8
    assert torch.equal(drawn(), whole)
    assert written == [192] * 8  # all was there
