"""Clips are signed on every way to a result, and stay the same clips by their bytes before."""

import builtins
import json
import shutil

import pytest
from clips import SMALL
from PIL import Image

from core.refusal import Refusal
from core.storage.faults import StoreAwayError
from core.storage.store import Store
from flows.batches.items import items_of
from flows.batches.ledger import Batch, intact
from flows.batches.shard import run_shard
from flows.batches.start import plan_batch, start_batch
from flows.commands.command_line import main
from flows.jobs.job_stages import publish
from flows.jobs.operations import OPERATIONS
from flows.jobs.signing import keys_folder
from flows.requests.batch_requests import ClipBatchRequest, ShardRequest
from flows.settings.provenance import read_provenance
from flows.settings.settings import read_settings
from flows.storage.files import FileRef
from video.files.clip import read_mp4, write_mp4
from video.provenance.certificates import CHAIN, KEY, ROOT, make_identity, read_anchors
from video.provenance.manifests import DRAWN, PARTLY_DRAWN, read_manifest
from video.provenance.unsigned import is_signed, media_sha256
from video.request import VideoRequest

pytestmark = pytest.mark.usefixtures("encoder_read_once")
WORDS = ["--num-frames", "4", "--height", "32", "--width", "32", "--steps", "1",
         "--model", "tiny-video", "--seed", "7"]  # fmt: skip


@pytest.fixture
def signing(places, monkeypatch):
    monkeypatch.setenv("LAMINA_C2PA", "on")
    return places


def drawn(path, *words):
    assert main(["video", "generate", "a red circle", str(path), *WORDS, *words]) == 0
    return json.loads(path.with_suffix(".json").read_text())


def test_the_first_clip_makes_keys_and_says_so(signing, caplog, monkeypatch):
    record = drawn(signing / "one.mp4")
    assert "a root and a certificate were made in" in caplog.text
    caplog.clear()
    again = drawn(signing / "two.mp4")
    assert not caplog.text
    folder = keys_folder(read_settings())
    assert (folder / KEY).stat().st_mode & 0o777 == 0o600
    anchors = read_anchors(folder / ROOT)
    found = read_manifest(signing / "one.mp4", anchors)
    assert (found.state, found.signer) == ("Trusted", "Lamina")
    assert found.facts["seed"] == "7"
    assert record["extra"]["c2pa"] == "signed"
    one, two = record["outputs"]["video"], again["outputs"]["video"]
    assert one["sha256"] != two["sha256"]
    assert one["media_sha256"] == two["media_sha256"] == media_sha256(signing / "one.mp4")
    monkeypatch.setenv("LAMINA_C2PA", "off")
    plain = drawn(signing / "three.mp4")
    assert plain["extra"]["c2pa"] == "not signed: LAMINA_C2PA=off"
    assert plain["outputs"]["video"]["sha256"] == one["media_sha256"]


def test_a_clip_is_made_again_whether_or_not_either_was_signed(signing, monkeypatch, capsys):
    drawn(signing / "clip.mp4")
    again = signing / "again.mp4"
    assert main(["reproduce", str(signing / "clip.mp4"), str(again)]) == 0
    assert "every bit of the file before it was signed" in capsys.readouterr().out
    assert is_signed(again)
    monkeypatch.setenv("LAMINA_C2PA", "off")
    assert main(["reproduce", str(signing / "clip.mp4")]) == 0
    plain = signing / "plain.mp4"
    drawn(plain)
    monkeypatch.setenv("LAMINA_C2PA", "on")
    capsys.readouterr()
    assert main(["reproduce", str(plain)]) == 0
    said = capsys.readouterr().out
    assert "identical: every bit of the file (sha256" in said
    assert "was changed after it was recorded" not in said


def test_a_clip_of_a_signed_clip_is_made_again_after_that_was_signed_anew(signing, capsys):
    drawn(signing / "small.mp4")
    assert main(["video", "upscale", "small.mp4", "large.mp4"]) == 0
    record = json.loads((signing / "large.json").read_text())
    small = json.loads((signing / "small.json").read_text())
    assert record["inputs"]["clip"]["media_sha256"] == small["outputs"]["video"]["media_sha256"]
    assert read_manifest(signing / "large.mp4").source == "algorithmicallyEnhanced"
    drawn(signing / "small.mp4", "--overwrite")
    assert main(["reproduce", "large.mp4"]) == 0
    assert "every bit of the file before it was signed" in capsys.readouterr().out


def test_other_kinds_of_files_say_that_they_are_not_signed(signing, caplog):
    assert main(["video", "generate", "a red circle", "clip.gif", *WORDS]) == 0
    record = json.loads((signing / "clip.json").read_text())
    assert record["extra"]["c2pa"] == "not signed: .gif is not, .mp4, .png, .jpg, .jpeg are"
    assert not keys_folder(read_settings()).exists()


def test_a_picture_is_signed_and_what_only_shows_it_is_not(signing, capsys):
    for name in ("a.png", "b.jpg"):
        record = drawn(signing / name)
        said = record["outputs"]["video"]
        assert (record["extra"]["c2pa"], record["extra"]["frames"]) == ("signed", 1)
        assert record["extra"]["picture"] == "frame 2 of 0 to 3 drawn"
        assert said["media_sha256"] == media_sha256(signing / name) != said["sha256"]
        found = read_manifest(signing / name, read_anchors(keys_folder(read_settings()) / ROOT))
        assert (found.state, found.source, found.facts["seed"]) == ("Trusted", DRAWN, "7")
        capsys.readouterr()
        assert main(["reproduce", str(signing / name)]) == 0
        assert "every bit of the file before it was signed" in capsys.readouterr().out
        assert main(["video", "verify", str(signing / name)]) == 0
        assert "record: tells this file, bit for bit" in capsys.readouterr().out


def test_a_batch_writes_pictures_signed_and_their_previews_as_they_were(signing):
    rows = signing / "rows.csv"
    rows.write_text("prompt,picture\na red circle,true\na blue square,\n")
    request = ClipBatchRequest(name="mixed", prompt_file=str(rows), **SMALL)
    batch = started("mixed", request)
    assert run(batch)["made"] == 2
    still, clip = (item for item, _ in batch.items())
    assert (still.request.picture, clip.request.picture) == (True, False)
    assert is_signed(batch.results / f"{still.stem}.png")
    assert is_signed(batch.results / f"{clip.stem}.mp4")
    assert not is_signed(batch.results / f"{clip.stem}.png")  # its sheet
    assert run(batch) == {"stood": 2, "left": 0, "ended": ""}
    plain = items_of(ClipBatchRequest(name="mixed", prompts="a blue square", **SMALL))[0]
    assert plain[0].address == clip.address
    with pytest.raises(ValueError, match="picture=true with accept_only: clips alone are judged"):
        items_of(request.model_copy(update={"accept_only": True}))


def started(name, request=None):
    request = request or ClipBatchRequest(
        name=name, prompts="a red circle\na blue square", **SMALL
    )
    batch = Batch.named(read_settings(), "default", name)
    batch.root.mkdir(parents=True, exist_ok=True)
    start_batch(batch, request, plan_batch(batch, request, items_of(request)))
    return batch


def run(batch):
    asked = ShardRequest(batch=batch.root.name, shard=0)
    return run_shard(read_settings(), asked, lambda done, total, note="": None).plain()


def test_a_batch_keeps_what_was_signed_anew_and_makes_what_was_changed(signing):
    batch = started("night")
    assert run(batch)["made"] == 2
    clips = [batch.results / f"{item.stem}.mp4" for item, _ in batch.items()]
    digests = [media_sha256(clip) for clip in clips]
    assert all(is_signed(clip) for clip in clips)
    other = started("other")
    run(other)
    copies = [other.results / f"{item.stem}.mp4" for item, _ in other.items()]
    assert [media_sha256(copy) for copy in copies] == digests
    assert clips[0].read_bytes() != copies[0].read_bytes()
    shutil.copy(copies[0], clips[0])  # the same clip, another signature
    assert run(batch) == {"stood": 2, "left": 0, "ended": ""}
    write_mp4(read_mp4(clips[1]), clips[1], overwrite=True)  # another file
    item = batch.items()[1][0]
    assert intact(batch, item) is None
    assert run(batch)["made"] == 1


def test_a_batch_makes_anew_a_clip_whose_signature_was_damaged_or_taken_out(signing, monkeypatch):
    batch = started("night")
    run(batch)
    first, second = (batch.results / f"{item.stem}.mp4" for item, _ in batch.items())
    before, whole = media_sha256(first), bytearray(second.read_bytes())
    whole[whole.index(b"c2pa.signature") + 40] ^= 1  # in the manifest's own box
    (flipped := second.with_name("flipped.mp4")).write_bytes(whole)
    assert media_sha256(flipped) == media_sha256(second)
    flipped.replace(second)
    monkeypatch.setenv("LAMINA_C2PA", "off")
    shutil.copy(drawn_like(batch, first), first)
    assert media_sha256(first) == before
    assert not is_signed(first)
    assert [intact(batch, item) for item, _ in batch.items()] == [None, None]
    monkeypatch.setenv("LAMINA_C2PA", "on")
    assert run(batch)["made"] == 2
    assert all(read_manifest(clip).state == "Valid" for clip in (first, second))


def test_a_clip_with_pictures_of_a_person_is_drawn_in_part(signing):
    picture = signing / "a.png"
    Image.new("RGB", (32, 32), (200, 20, 20)).save(picture)
    drawn(signing / "plain.mp4")
    drawn(signing / "shown.mp4", "--key", f"2={picture}")
    assert read_manifest(signing / "plain.mp4").source == DRAWN
    assert read_manifest(signing / "shown.mp4").source == PARTLY_DRAWN


def drawn_like(batch, clip):
    """The clip of an item without its signature."""
    other = started("unsigned")
    run(other)
    return other.results / clip.name


def test_a_store_that_holds_another_hosts_signature_is_not_taken_at_its_record(
    signing, monkeypatch
):
    (signing / "store").mkdir()
    monkeypatch.setenv("LAMINA_STORE", f"file://{signing / 'store'}")
    held = {}
    for host in ("a", "b"):
        monkeypatch.setenv("LAMINA_OUTPUTS", str(signing / host))
        monkeypatch.setenv("LAMINA_STORE", f"file://{signing / 'store' / host}")
        (signing / "store" / host).mkdir()
        held[host] = started("night")
        run(held[host])
    results = signing / "store" / "a" / "default" / "batches" / "night" / "results"
    (item, _), (untouched, _) = held["a"].items()
    clip = results / f"{item.stem}.mp4"
    other = results.parents[4] / "b" / clip.relative_to(signing / "store" / "a")
    assert other.stat().st_size == clip.stat().st_size
    shutil.copy(other, clip)
    monkeypatch.setenv("LAMINA_OUTPUTS", str(signing / "c"))
    monkeypatch.setenv("LAMINA_STORE", f"file://{signing / 'store' / 'a'}")
    fresh = Batch.named(read_settings(), "default", "night")
    fresh.root.mkdir(parents=True)
    assert fresh.mirror is not None
    assert fresh.mirror.standing(item.stem, None) is None
    assert fresh.mirror.standing(untouched.stem, None)
    away, fetch = StoreAwayError(5, "it does not answer"), Store.fetch

    def without_clips(store, keys, digests=None):
        if any(key.endswith(".mp4") for key in keys):
            raise away
        return fetch(store, keys, digests)

    monkeypatch.setattr(Store, "fetch", without_clips)
    with pytest.raises(StoreAwayError):  # and not taken for one that is to be drawn again
        fresh.mirror.standing(untouched.stem, None)


def test_a_run_signs_what_it_publishes(signing):
    operation, request = OPERATIONS["text_to_video"], VideoRequest(prompt="a circle", **SMALL)
    work, folder = signing / "work", signing / "results"
    work.mkdir()
    folder.mkdir()
    drawn(work / "result.mp4")
    refs = {"video": FileRef.of(work / "result.mp4")}
    results = publish.fn(operation, request, refs, folder / "name.mp4")
    path = results["video"].open()
    assert is_signed(path)
    assert media_sha256(path) == media_sha256(work / "result.mp4")
    again = publish.fn(operation, request, refs, folder / "name.mp4")  # a stage tried again
    assert again["video"].open() == path


def test_an_operators_key_signs_and_a_wrong_one_is_refused_before_work(
    signing, monkeypatch, capsys, caplog
):
    make_identity(signing / "ours", "The lab")
    make_identity(signing / "others", "Others")
    monkeypatch.setenv("LAMINA_C2PA_CERTIFICATE", str(signing / "ours" / CHAIN))
    monkeypatch.setenv("LAMINA_C2PA_KEY", str(signing / "ours" / KEY))
    drawn(signing / "clip.mp4")
    assert read_manifest(signing / "clip.mp4").signer == "The lab"
    assert not keys_folder(read_settings()).exists()
    assert "by others than its owner" not in caplog.text
    (signing / "ours" / KEY).chmod(0o644)
    drawn(signing / "two.mp4")
    assert caplog.text.count("may be read by others than its owner (644)") == 1
    monkeypatch.setenv("LAMINA_C2PA_KEY", str(signing / "others" / KEY))
    assert main(["video", "generate", "a red circle", "no.mp4", *WORDS]) == 2
    assert "not the key of the first certificate" in capsys.readouterr().err
    assert not (signing / "no.mp4").exists()


def test_a_process_without_the_library_is_told(signing, monkeypatch, capsys):
    import sys

    for name in [name for name in sys.modules if name.startswith("video.provenance.manif")]:
        monkeypatch.delitem(sys.modules, name)
    usual = builtins.__import__

    def lacking(name, *arguments, **options):
        if name == "c2pa":
            raise ModuleNotFoundError("No module named 'c2pa'")
        return usual(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", lacking)
    assert main(["video", "generate", "a red circle", "no.mp4", *WORDS]) == 2
    assert "No module named 'c2pa'" in capsys.readouterr().err
    monkeypatch.setenv("LAMINA_C2PA", "off")
    drawn(signing / "clip.mp4")


def test_init_makes_keys_once(signing, capsys):
    assert main(["provenance", "init", "--name", "The lab"]) == 0
    said = capsys.readouterr().out
    assert "root.pem" in said
    assert main(["provenance", "init"]) == 2
    assert "stands already" in capsys.readouterr().err
    drawn(signing / "clip.mp4")
    assert read_manifest(signing / "clip.mp4").signer == "The lab"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"LAMINA_C2PA": "maybe"}, "LAMINA_C2PA=maybe: .*; set one"),
        ({"LAMINA_C2PA_KEY": "/etc/hostname"}, "without LAMINA_C2PA_CERTIFICATE"),
        ({"LAMINA_C2PA_TRUST": "root.pem"}, "begins with no slash"),
        ({"LAMINA_C2PA_TRUST": "/none/root.pem"}, "there is no such file"),
    ],
)
def test_settings_that_mean_nothing_are_refused(variables, words):
    with pytest.raises(Refusal, match=words):
        read_provenance(variables)
