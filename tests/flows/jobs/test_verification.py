"""Where a clip comes from, as the command and the gallery tell it."""

import json
import re
import shutil

import numpy as np
import pytest

from flows.commands.command_line import main
from flows.jobs.verification import line_of
from video.files.clip import Clip, read_metadata, read_mp4, write_mp4
from video.files.formats import write_clip
from video.provenance.certificates import CHAIN, KEY, ROOT, make_identity, read_identity
from video.provenance.manifests import Claim, sign
from video.provenance.unsigned import media_sha256


@pytest.fixture
def clip(places):
    """A signed clip with a record, by this machine's own root."""
    noise = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    plain = write_mp4(Clip(noise, 8.0), places / "plain.mp4")
    keys = places / "state" / "provenance"
    make_identity(keys, "The lab")
    path = places / "clip.mp4"
    sign(plain, path, read_identity(keys / CHAIN, keys / KEY), Claim(path.name, "text_to_video"))
    said = {"file": path.name, "sha256": "0" * 64, "media_sha256": media_sha256(plain)}
    record = {"task": "text_to_video", "created": "2026-01-01", "model": {"name": "tiny-video"}}
    record |= {"seeds": 7, "outputs": {"video": said}}
    path.with_suffix(".json").write_text(json.dumps(record))
    return path


def verified(path, *words):
    return main(["video", "verify", str(path), *words])


def test_a_clip_of_ones_own_is_trusted_and_its_record_is_its_own(clip, capsys):
    assert verified(clip) == 0
    said = capsys.readouterr().out
    assert "Trusted: signed by The lab, whose root is trusted here, and whole" in said
    assert "source trainedAlgorithmicMedia" in said
    assert "record: tells this file, bit for bit before signing" in said
    assert "seed 7" in said
    assert verified(clip, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["state"], told["record"], told["faults"]) == ("Trusted", "same", [])


def test_who_is_trusted_is_named_by_the_operator(clip, monkeypatch, capsys):
    root = clip.with_name("lab.pem")
    shutil.copy(clip.parent / "state/provenance" / ROOT, root)
    monkeypatch.setenv("LAMINA_HOME", str(clip.parent / "elsewhere"))
    assert verified(clip) == 0
    assert "Valid: signed by The lab, whose root is not trusted here" in capsys.readouterr().out
    monkeypatch.setenv("LAMINA_C2PA_TRUST", str(root))
    assert verified(clip) == 0
    assert "Trusted" in capsys.readouterr().out


def test_a_changed_clip_is_invalid(clip, capsys):
    content = bytearray(clip.read_bytes())
    content[content.find(b"mdat") + 100] ^= 1
    clip.write_bytes(content)
    assert verified(clip) == 1
    said = capsys.readouterr().out
    assert "Invalid: signed, and changed after that" in said
    assert "bmffHash.mismatch" in said
    assert "record: tells another file than this" in said
    assert line_of(clip).startswith("Invalid")


def test_a_file_without_a_manifest_says_so(clip, capsys):
    assert verified(clip.with_name("plain.mp4")) == 3
    said = capsys.readouterr().out
    assert "no manifest" in said
    assert "record: none beside it" in said
    assert "watermark: none found" in said
    other = clip.with_name("other.webm")
    write_clip(read_mp4(clip), other)
    assert verified(other) == 3
    assert ".webm files are not signed by Lamina" in capsys.readouterr().out
    clip.with_name("notes.mp4").write_bytes(b"no clip")
    assert verified(clip.with_name("notes.mp4")) == 2


LARGE = ["--num-frames", "4", "--height", "192", "--width", "192", "--steps", "1",
         "--model", "tiny-video", "--seed", "7"]  # fmt: skip


def test_a_large_clip_carries_a_number_that_its_record_tells(places, capsys):
    path = places / "large.mp4"
    assert main(["video", "generate", "a red circle", str(path), *LARGE]) == 0
    number = json.loads(path.with_suffix(".json").read_text())["extra"]["watermark"]
    assert re.fullmatch("[0-9a-f]{8}", number)
    assert read_metadata(path)["watermark"] == number
    verified(path)
    assert f"watermark: {number}, that of the record" in capsys.readouterr().out
    assert main(["reproduce", str(path)]) == 0
    assert "identical: every bit" in capsys.readouterr().out
    path.rename(places / "away.mp4")  # its tag is left
    assert main(["reproduce", str(places / "away.mp4")]) == 0
    assert "identical: every bit" in capsys.readouterr().out


def test_a_clip_from_before_there_were_numbers_is_made_again_without(places, capsys):
    path = places / "old.mp4"
    words = [*LARGE, "--unmarked"]
    assert main(["video", "generate", "a red circle", str(path), *words]) == 0
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["extra"].pop("watermark") == "none: left out as asked"
    assert record["request"].pop("unmarked")
    path.with_suffix(".json").write_text(json.dumps(record))
    assert main(["reproduce", str(path)]) == 0
    assert "identical: every bit" in capsys.readouterr().out
    assert "watermark" not in read_metadata(path)


def test_a_small_clip_is_told_to_be_too_small(places):
    path = places / "small.mp4"
    small = [word.replace("192", "64") for word in LARGE]
    assert main(["video", "generate", "a red circle", str(path), *small]) == 0
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["extra"]["watermark"].startswith("none: too small to carry one")
    assert "unmarked" not in record["request"]


def test_what_is_not_there_is_refused(clip, capsys):
    assert verified(clip.with_name("gone.mp4")) == 2
    assert "there is no such file" in capsys.readouterr().err
    assert not line_of(clip.with_name("gone.mp4"))


def test_a_record_that_says_nothing_more_is_read(clip, capsys):
    beside = clip.with_suffix(".json")
    beside.write_text(json.dumps(json.loads(beside.read_text()) | {"extra": None}))
    assert verified(clip) == 0
    assert "record: tells this file" in capsys.readouterr().out


def test_frames_are_looked_into_as_far_as_memory_should_hold(places, monkeypatch, caplog):
    from flows.jobs import verification

    seen = []
    monkeypatch.setattr("video.provenance.watermark.read_mark", lambda x, _: seen.append(x.shape))
    frames = np.zeros((20, 32, 32, 3), np.uint8)
    path = write_mp4(Clip(frames, 8.0), places / "large.mp4")
    for most, count in ((10**6, 20), (5 * 32 * 32, 5), (1000, 0)):
        monkeypatch.setattr(verification, "MOST_PIXELS", most)
        seen.clear()
        verification.origin_of(path, pixels=True)
        assert [shape[0] for shape in seen] == ([count] if count else [])
    assert "frames of 1,024 pixels are not looked into" in caplog.text
