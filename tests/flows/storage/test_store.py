"""Results in a store: folders, memory, and a real S3 server in a process of its own."""

import json
import os
import subprocess
import sys
import threading
import time
from datetime import timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest
from stores import Elsewhere, ask, asking, make, open_s3, planned
from waiting import PATIENCE_S, until

from core.storage import faults as store_faults_module
from core.storage import leases as store_leases_module
from core.storage.faults import StoreAwayError, StoreRefusedError
from core.storage.journal import read_lines
from core.storage.store import Store, open_store
from flows.batches import makers
from flows.batches.coordinator import coordinate
from flows.batches.ledger import Batch, intact
from flows.batches.locks import alone, being_made, coordinated, planning
from flows.batches.upload import Courier
from flows.machines.hosts import beat, beats
from flows.machines.hosts_elsewhere import all_beats, forget, tell_once
from flows.settings.settings import read_settings
from flows.storage.delivery import deliver, obtain


@pytest.fixture
def impatient(monkeypatch):
    """A store that is away is given up soon, and asked again soon."""
    soon = partial(open_store, patience_s=0.2)
    monkeypatch.setattr("flows.batches.mirror.open_store", soon)
    monkeypatch.setattr(store_faults_module, "DELAY_S", 0.05)
    monkeypatch.setattr("flows.batches.upload.AGAIN_S", 0.1)


def filled(outputs, **files):
    for name, content in files.items():
        path = outputs / "default" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return [outputs / "default" / name for name in files]


def test_what_one_host_puts_another_fetches(host):
    settings = host("one")
    store = open_store(settings)
    paths = filled(settings.outputs, a="apple", b="banana")
    assert store.put(paths) == 2
    held = store.names("default")
    assert {name: facts.size for name, facts in held.items()} == {"a": 5, "b": 6}
    assert store.put(paths, held) == (0 if held["a"].md5 else 2)  # not twice, where it can tell
    assert set(store.walk()) == {"default/a", "default/b"}
    assert store.folders("") == ["default"]

    settings = host("two")
    store = open_store(settings)
    digests = {"default/a": sha256(b"apple").hexdigest()}
    found = store.fetch(["default/a", "default/none"], digests)
    assert found == [settings.outputs / "default" / "a"]
    assert found[0].read_text() == "apple"
    assert store.read("default/b") == b"banana"
    assert (store.read("default/none"), store.names("none"), store.walk("none")) == (None, {}, {})
    with pytest.raises(StoreRefusedError, match=r"default/b holds sha256 .* remove it, and it is"):
        store.fetch(["default/b"], {"default/b": "0" * 64})
    assert not (settings.outputs / "default" / "b").exists()
    store.write("default/b", b"cherry")
    store.remove("default/a")
    store.remove("default/a")
    assert store.walk().keys() == {"default/b"}
    assert not list(settings.outputs.rglob(".part-*"))


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/x", "a/./x", "a\\x", ""])
def test_an_object_never_leads_out_of_the_outputs(host, key):
    with pytest.raises(ValueError, match="is a path below"):
        open_store(host("one")).path(key)


def test_a_link_in_the_outputs_is_not_followed(host, tmp_path):
    settings = host("one")
    settings.outputs.mkdir()
    (settings.outputs / "out").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="is a path below"):
        open_store(settings).path("out/x")


@pytest.mark.parametrize("url", ["bucket", "s3://", "s3:///", "/srv/store", "s 3://x"])
def test_a_store_is_a_url(url):
    with pytest.raises(ValueError, match=r"LAMINA_STORE=.*write such as s3://bucket/prefix"):
        read_settings({"LAMINA_STORE": url})


def test_a_url_with_a_password_is_refused_without_repeating_it():
    with pytest.raises(ValueError, match="put them into the environment") as refused:
        read_settings({"LAMINA_STORE": "s3://key:secret@bucket/x"})
    assert "secret" not in str(refused.value)


def test_without_a_store_nothing_of_it_is_read(places):
    assert open_store(read_settings()) is None
    code = (
        "import sys, flows.batches.locks, flows.batches.coordinator;"
        "from flows.batches.ledger import Batch; from flows.settings.settings import "
        "read_settings;"
        "Batch.named(read_settings(), 'default', 'x').exists();"
        "print([n for n in ('fsspec', 's3fs', 'aiobotocore') if n in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_what_is_wrong_with_a_store_is_said_in_three_parts(places, cable, monkeypatch):
    open_s3(monkeypatch, cable.port)
    monkeypatch.setenv("LAMINA_STORE", "s3://no-such-bucket/x")
    for ask_store in (lambda s: s.names("a"), lambda s: s.write("a", b""), lambda s: s.read("a")):
        with pytest.raises(StoreRefusedError, match=r"must exist before it is .*; make it or"):
            ask_store(open_store(read_settings()))
    monkeypatch.setenv("LAMINA_STORE", f"file://{places}/none")
    with pytest.raises(StoreRefusedError, match=r"must exist before it is .*; make it or"):
        open_store(read_settings()).names("a")
    monkeypatch.setenv("LAMINA_STORE", "gs://bucket/x")
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(StoreRefusedError, match=r"needs its fsspec package .* install gcsfs"):
        open_store(read_settings())
    monkeypatch.setenv("LAMINA_STORE", "nonsense://bucket/x")
    with pytest.raises(StoreRefusedError, match="needs its fsspec package"):
        open_store(read_settings())


def test_a_host_without_rights_learns_what_it_lacks(places, cable, monkeypatch):
    open_s3(monkeypatch, cable.port)
    ask(cable.far, "/moto-api/reset-auth", body=b"0")
    try:
        with pytest.raises(
            StoreRefusedError, match=r"may not list there; give it .*AWS_ACC"
        ) as no:
            open_store(read_settings()).names("a")
        assert "never-in-a-record" not in str(no.value)
    finally:
        ask(cable.far, "/moto-api/reset-auth", body=b"1000000000")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(places / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(places / "none"))
    __import__("s3fs").S3FileSystem.clear_instance_cache()
    with pytest.raises(StoreRefusedError, match=r"may not write there; give it .*AWS_ACCESS"):
        open_store(read_settings()).write("a", b"")


def test_a_store_that_is_away_is_asked_again(places, cable, monkeypatch, caplog):
    open_s3(monkeypatch, cable.port)
    monkeypatch.setattr(store_faults_module, "DELAY_S", 0.05)
    store = open_store(read_settings(), patience_s=0.2)
    store.write("a", b"apple")
    cable.cut()
    with pytest.raises(StoreAwayError, match=r"does not answer .*bring the store back"):
        store.read("a")
    store.patience_s = PATIENCE_S
    mend = threading.Timer(0.3, cable.mend)
    mend.start()
    assert store.read("a") == b"apple"
    mend.join()
    assert [line.message.split(" (")[0] for line in caplog.records if "s3://" in line.message] == [
        "s3://lamina/results does not answer",
        "s3://lamina/results does not answer",
        "s3://lamina/results answers again",
    ]


def held_once_and_whole(settings, count):
    """Check every object of the batch by its bytes: one outcome, one set of files an item."""
    store = open_store(settings)
    folder = "default/batches/night"
    made = {}
    for key in (key for key in store.walk(f"{folder}/shards") if key.endswith(".jsonl")):
        lines = store.read(key).decode().splitlines()
        for line in map(json.loads, lines):
            if line["state"] == "made":
                assert line["item"] not in made
                made[line["item"]] = line["files"]
    items = [json.loads(x) for x in store.read(f"{folder}/items.jsonl").splitlines()]
    assert made.keys() == {item["item"] for item in items}
    assert len(items) == count
    named = {said["path"]: said["sha256"] for files in made.values() for said in files.values()}
    there = {key.removeprefix(f"{folder}/") for key in store.walk(f"{folder}/results")}
    assert there >= named.keys()
    kinds = {item: sorted(Path(x).suffix for x in there if item in x) for item in made}
    assert all(each == [".json", ".mp4", ".png", ".webp"] for each in kinds.values())
    assert len(there) == 4 * count
    for path, digest in named.items():
        assert sha256(store.read(f"{folder}/{path}")).hexdigest() == digest
    leases = [k for k, facts in store.walk(folder).items() if k.endswith(".lease") and facts.size]
    assert not leases
    return made


def no_sampling(monkeypatch):
    def refuse(self, job):
        raise AssertionError(f"{job.item.row} is made again")

    monkeypatch.setattr("flows.batches.makers.Maker.sample", refuse)


@pytest.mark.usefixtures("encoder_read_once")
def test_hosts_without_a_shared_disk_make_a_batch_together(team, places, monkeypatch):
    settings = team("chief")
    hands = Elsewhere(team, "one", "two")
    asked = asking(4, shard_minutes=0.001)
    ended = coordinate(settings, "default", asked, hands, lambda *news: None)
    assert (ended["state"], ended["made"], ended["missing"]) == ("finished", 4, 0)
    assert {name for name, _ in hands.started} == {"one", "two"}
    made = held_once_and_whole(settings, 4)
    clips = [len(list((places / name).rglob("*.mp4"))) for name in ("chief", "one", "two")]
    assert (clips[0], sum(clips)) == (0, 4)

    no_sampling(monkeypatch)
    again = coordinate(team("third"), "default", asked, Elsewhere(team), lambda *news: None)
    assert (again["state"], again["made"]) == ("finished", 4)
    batch = Batch.named(team("third"), "default", "night")
    assert batch.outcomes().keys() == made.keys()
    stranger = batch.root.with_name("Not a batch") / "batch.json"
    stranger.parent.mkdir(parents=True)
    stranger.write_text("{}")
    for name in ("third", "fourth"):
        assert [x.root.name for x in Batch.all(team(name), "default")] == ["night"]
    files = next(iter(made.values()))
    batch.fetch({said["path"]: said["sha256"] for said in files.values()})
    assert (
        sha256((batch.root / files["video"]["path"]).read_bytes()).hexdigest()
        == (files["video"]["sha256"])
    )
    assert held_once_and_whole(settings, 4) == made


@pytest.mark.usefixtures("encoder_read_once")
def test_what_one_host_delivered_another_does_not_make_again(team, places, monkeypatch):
    """The first host dies after an item: its files are there, its journal says nothing of it."""
    planned(team("one"), 3)
    sample, sampled = makers.Maker.sample, []

    def two_and_die(self, job):
        if len(sampled) == 2:
            raise RuntimeError("CUDA error: unspecified launch failure")
        sampled.append(job.item.address)
        return sample(self, job)

    monkeypatch.setattr("flows.batches.makers.Maker.sample", two_and_die)
    with pytest.raises(RuntimeError, match="without disk or device"):
        make(team("one"))
    first = Batch.named(team("one"), "default", "night")
    store = open_store(team("one"))
    store.remove(store.key(first.shard_file(0)))
    monkeypatch.setattr("flows.batches.makers.Maker.sample", sample)
    settings = team("two")
    assert make(settings).plain() == {"made": 3, "stood": 2, "left": 0, "ended": ""}
    assert len(held_once_and_whole(settings, 3)) == 3
    assert len(list((places / "two").rglob("*.mp4"))) == 1


@pytest.mark.usefixtures("encoder_read_once")
def test_what_is_missing_or_broken_in_the_store_is_made_again(team):
    settings = team("one")
    batch = planned(settings, 3)
    make(settings)
    store, (gone, cut, _) = open_store(settings), [item for item, _ in batch.items()]
    store.remove(store.key(batch.results / f"{gone.stem}.mp4"))
    store.write(store.key(batch.results / f"{cut.stem}.json"), b'{"half a rec')
    store.remove(store.key(batch.results / f"{cut.stem}.png"))
    fresh = Batch.named(team("two"), "default", "night")
    known = fresh.outcomes()
    standing = [intact(fresh, item, known[item.address]) for item, _ in fresh.items()]
    assert [bool(files) for files in standing] == [False, False, True]


def test_a_lease_keeps_other_hosts_away_until_it_is_old(team, monkeypatch):
    one = planned(team("one"), 1)
    two = Batch.named(team("two"), "default", "night")
    two.read()
    with coordinated(one) as ours, alone(one, 0) as only_one:
        assert (ours, only_one) == (True, True)
        with coordinated(two) as second, alone(two, 0) as another, planning(two) as free:
            assert (second, another, free) == (False, False, False)
        assert being_made(two, 0)
        assert not being_made(two, 1)
        assert not two.mirror.leased_elsewhere("shards/0001.")
        monkeypatch.setattr(store_leases_module, "LEASE_S", -1.0)
        with coordinated(two) as second, alone(two, 0) as another:
            assert (second, another) == (True, True)
        assert not being_made(two, 0)  # judged without a lease of one's own


def test_a_change_of_the_plan_reaches_other_hosts_and_keeps_theirs(team):
    one = planned(team("one"), 1)
    two = Batch.named(team("two"), "default", "night")
    assert two.change(only_from=("running",), state="paused")
    assert not one.change(only_from=("running",), state="finished")
    assert one.state() == "paused"
    assert one.change(seconds_per_item=3.0)
    two.mirror.refresh(now=True)
    assert two.read()["seconds_per_item"] == 3.0
    two.note_submission({"shard": 0, "try": 1, "run": "a", "ended": False})
    one.note_submission({"shard": 0, "try": 1, "run": "a", "ended": True})
    two.mirror.refresh(now=True)
    assert [line["ended"] for line in two.submissions()] == [False, True]
    assert [path.name.startswith("submissions-") for path in two.root.glob("sub*")] == [True] * 2


@pytest.mark.usefixtures("encoder_read_once")
def test_a_store_that_comes_late_gets_what_was_made_before_it(team, monkeypatch):
    url = os.environ["LAMINA_STORE"]
    monkeypatch.setenv("LAMINA_STORE", "")
    planned(team("one"), 2)
    make(team("one"))
    monkeypatch.setenv("LAMINA_STORE", url)
    no_sampling(monkeypatch)
    ended = coordinate(team("one"), "default", asking(2), Elsewhere(team), lambda *news: None)
    assert (ended["state"], ended["made"]) == ("finished", 2)
    two = Batch.named(team("two"), "default", "night")
    assert all(intact(two, item) for item, _ in two.items())


@pytest.mark.usefixtures("encoder_read_once")
def test_a_host_that_lost_its_shard_while_the_store_was_away_overwrites_nothing(team, monkeypatch):
    settings = team("one")
    batch = planned(settings, 2)
    monkeypatch.setattr(
        store_leases_module, "LEASE_S", -1.0
    )  # every lease is old, every silence long
    monkeypatch.setattr("flows.batches.upload.AGAIN_S", 0.01)
    sample, sampled = makers.Maker.sample, []
    away = threading.Event()

    def unless_away(act):
        def acting(self, *rest):
            if away.is_set() and self.outputs == settings.outputs:
                raise StoreAwayError("away")
            return act(self, *rest)

        return acting

    def taken_over_at_second(self, job):
        away.set()
        sampled.append(job.item.address)
        if len(sampled) == 2:
            until(lambda: len(list(read_lines(batch.shard_file(0)))) == 1, "the first line")
            make(team("two"))
            away.clear()
        return sample(self, job)

    for name in ("put", "swap"):
        monkeypatch.setattr(Store, name, unless_away(getattr(Store, name)))
    monkeypatch.setattr("flows.batches.makers.Maker.sample", taken_over_at_second)
    with pytest.raises(RuntimeError, match=r"another host took over .*shards/0000"):
        make(settings)
    no_sampling(monkeypatch)
    assert make(team("one")).plain() == {"stood": 2, "left": 0, "ended": ""}
    store = open_store(settings)
    for outcome in Batch.named(team("three"), "default", "night").outcomes().values():
        for said in outcome["files"].values():
            content = store.read(f"default/batches/night/{said['path']}")
            assert sha256(content).hexdigest() == said["sha256"]


@pytest.mark.slow
@pytest.mark.usefixtures("encoder_read_once", "impatient")
def test_a_shard_goes_on_while_the_store_is_away_and_delivers_at_its_end(
    places, cable, monkeypatch, caplog
):
    open_s3(monkeypatch, cable.port)
    settings = read_settings()
    batch = planned(settings, 4)
    sample, sampled = makers.Maker.sample, []

    def said():
        return any("waiting on this disk" in line.message for line in caplog.records)

    def mend_when_missed():
        until(said, "nobody misses the store")
        cable.mend()

    def cut_at_second(self, job):
        sampled.append(job.item.address)
        if len(sampled) == 2:
            cable.cut()
        if len(sampled) == 4:
            threading.Thread(target=mend_when_missed).start()
        return sample(self, job)

    monkeypatch.setattr("flows.batches.makers.Maker.sample", cut_at_second)
    assert make(settings).plain() == {"made": 4, "left": 0, "ended": ""}
    assert len(sampled) == 4
    held_once_and_whole(settings, 4)
    assert said()
    assert len(list(read_lines(batch.shard_file(0)))) == 4


@pytest.mark.slow
@pytest.mark.usefixtures("encoder_read_once", "impatient")
def test_a_shard_whose_store_stays_away_says_so_and_is_delivered_later(places, cable, monkeypatch):
    open_s3(monkeypatch, cable.port)
    monkeypatch.setattr("flows.batches.upload.LONG_S", 0.5)
    settings = read_settings()
    planned(settings, 2)
    with monkeypatch.context() as patch:
        sample = makers.Maker.sample

        def cut(self, job):
            if cable.ends:
                cable.cut()
            return sample(self, job)

        patch.setattr("flows.batches.makers.Maker.sample", cut)
        with pytest.raises(RuntimeError, match=r"not be brought to s3.* delivers it without"):
            make(settings)
    cable.mend()
    no_sampling(monkeypatch)
    assert make(settings).plain() == {"stood": 2, "left": 0, "ended": ""}
    held_once_and_whole(settings, 2)


def test_a_shard_does_not_end_well_when_its_courier_stopped(host, monkeypatch):
    batch = planned(host("one"), 1)
    monkeypatch.setattr("flows.batches.upload.LOOK_EVERY_S", 0.01)
    clip = batch.results / "a.mp4"
    clip.write_bytes(b"a clip")
    courier = Courier(batch.mirror, batch.shard_file(0))
    courier.start()
    batch.mirror.store.write("default/batches/night/shards/a\\b.jsonl", b"{}")
    until(lambda: "courier" not in [each.name for each in threading.enumerate()], "its end")
    courier.take({"video": {"path": "results/a.mp4"}}, noted=False)
    with pytest.raises(ValueError, match="is a path below"):
        courier.finish(PATIENCE_S)


def result_of(settings, name="clip"):
    """A single run's folder with a clip, its pictures and its record."""
    folder = settings.outputs / "studio" / "text_to_video" / f"{name}-1a2b3c4d"
    folder.mkdir(parents=True)
    contents = {f"{name}{ending}": ending.encode() * 100 for ending in (".mp4", ".webp", ".png")}
    for file, content in contents.items():
        (folder / file).write_bytes(content)
    clip = contents[f"{name}.mp4"]
    facts = {"file": f"{name}.mp4", "bytes": len(clip), "sha256": sha256(clip).hexdigest()}
    record = {"task": "text_to_video", "created": "2026-11-20T10:00:00+00:00", "methods": "Made."}
    record |= {"request": {"prompt": "a red ring"}, "outputs": {"video": facts}}
    (folder / f"{name}.json").write_text(json.dumps(record))
    return folder


def test_a_run_is_delivered_and_made_available_elsewhere(host):
    folder = result_of(host("one"))
    (folder / ".part-12.mp4").write_bytes(b"half")
    deliver(folder)
    settings = host("two")
    again = settings.outputs / folder.relative_to(folder.parents[2])
    assert open_store(settings).names("studio/text_to_video/clip-1a2b3c4d").keys() == {
        f"clip{ending}" for ending in (".json", ".mp4", ".png", ".webp")
    }
    obtain(again / "clip.mp4")
    for name in ("clip.mp4", "clip.json", "clip.webp"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()
    obtain(again / "none.mp4")
    obtain(folder / "elsewhere.mp4")
    assert sorted(path.name for path in again.iterdir()) == [
        "clip.json", "clip.mp4", "clip.png", "clip.webp"
    ]  # fmt: skip


def test_the_gallery_shows_what_other_hosts_made(host, monkeypatch):
    from starlette.testclient import TestClient

    from flows.gallery import elsewhere
    from flows.gallery.application import PREFIX, alone

    monkeypatch.setattr(elsewhere, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(elsewhere, "REST", 0.0)
    deliver(result_of(host("one")))
    settings = host("two")
    client = TestClient(alone(settings), base_url="http://127.0.0.1")
    assert "a red ring" in client.get(f"{PREFIX}/").text
    folder = settings.outputs / "studio/text_to_video/clip-1a2b3c4d"
    assert sorted(path.name for path in folder.iterdir()) == [
        "clip.json", "clip.png", "clip.webp"
    ]  # fmt: skip
    page = client.get(f"{PREFIX}/p/studio/r/text_to_video/clip-1a2b3c4d/clip")
    assert "clip.mp4" in page.text
    clip = client.get(f"{PREFIX}/p/studio/f/text_to_video/clip-1a2b3c4d/clip/clip.mp4")
    assert clip.content == b".mp4" * 100

    deliver(result_of(host("one"), "later"))
    batch = planned(host("one"), 2)
    assert "later-1a2b3c4d" in client.get(f"{PREFIX}/p/studio/").text
    assert "very slowly" in client.get(f"{PREFIX}/p/default/batches/night/").text
    assert batch.change(only_from=("running",), state="paused")
    assert "paused" in client.get(f"{PREFIX}/p/default/batches/night/").text
    store = open_store(settings)
    store.write("studio/text_to_video/x-1/..\\x.json", b"{}")
    assert client.get(f"{PREFIX}/p/studio/").status_code == 200
    (settings.outputs / "linked").symlink_to(settings.outputs.parent)
    store.write("linked/text_to_video/x-1/x.json", b"{}")
    deliver(result_of(host("one"), "last"))
    assert "last-1a2b3c4d" in client.get(f"{PREFIX}/p/studio/").text
    assert not list(settings.outputs.parent.glob("text_to_video"))


@pytest.mark.slow
@pytest.mark.usefixtures("encoder_read_once")
def test_a_person_may_reject_what_another_host_made(team, monkeypatch):
    from flows.batches.approval import Answer, ask, decide

    asked = asking(2)
    hands = Elsewhere(team, "one")
    coordinate(team("chief"), "default", asked, hands, lambda *news: None)
    batch = Batch.named(team("office"), "default", "night")
    question = ask(batch, "run")
    assert question == ask(Batch.named(team("other"), "default", "night"), "run")
    answer = Answer("accept", "ann", "", [question.items[0]], again=True)
    said = decide(batch, "run", question, answer)
    assert (len(said["accepted"]), len(said["rejected"])) == (1, 1)
    results = open_store(team("chief")).names("default/batches/night/results")
    assert sorted({name[:16] for name in results}) == list(said["accepted"])
    sample, sampled = makers.Maker.sample, []

    def count(self, job):
        sampled.append((job.item.address, job.draw))
        return sample(self, job)

    monkeypatch.setattr("flows.batches.makers.Maker.sample", count)
    again = coordinate(team("chief"), "default", asked, hands, lambda *news: None)
    assert (again["state"], again["made"]) == ("finished", 2)
    assert sampled == [(question.items[0], 2)]  # though the first draw stood on its host's disk

    batch = Batch.named(team("other"), "default", "night")
    decide(batch, "later", ask(batch, "later"), Answer("accept", "bob", "", [], again=False))
    store, folder = open_store(team("chief")), "default/batches/night/approvals"
    journals = [name for name in store.names(folder) if name.startswith("decisions")]
    told = [json.loads(store.read(f"{folder}/{name}"))["by"] for name in journals]
    assert sorted(told) == ["ann", "bob"]


@pytest.mark.usefixtures("encoder_read_once")
def test_nothing_of_what_a_person_rejected_elsewhere_comes_back(team):
    from flows.batches.approval import Answer, ask, decide

    asked, settings = asking(2), team("one")
    coordinate(settings, "default", asked, Elsewhere(team, "one"), lambda *news: None)
    batch = Batch.named(team("office"), "default", "night")
    question = ask(batch, "run")
    rejected, accepted = question.items
    decide(batch, "run", question, Answer("accept", "ann", "", [rejected], again=False))
    ended = coordinate(team("one"), "default", asked, Elsewhere(team), lambda *news: None)
    assert (ended["state"], ended["made"], ended["rejected"]) == ("finished", 1, 1)
    results = open_store(settings).names("default/batches/night/results")
    assert {name[:16] for name in results} == {accepted}


SLOWLY = """
import sys, time
from flows.batches import shard as shard_module
from core.storage import leases as store_leases_module
from flows.batches.makers import Maker
store_leases_module.LEASE_S, store_leases_module.RENEW_S = 4.0, 1.0
sample = Maker.sample
Maker.sample = lambda self, job: time.sleep(0.3) or sample(self, job)
sys.exit(shard_module.main(["default", "night", "0", sys.argv[1]]))
"""


@pytest.mark.slow
@pytest.mark.integration
def test_a_killed_host_is_replaced_by_one_with_an_empty_disk(places, cable, monkeypatch, request):
    """Two hosts as processes with nothing in common but the store; it goes away, too."""
    open_s3(monkeypatch, cable.port)
    monkeypatch.setattr(store_leases_module, "LEASE_S", 4.0)
    settings = read_settings()
    batch = planned(settings, 16)

    def begin(name, attempt):
        environment = {**os.environ, "LAMINA_OUTPUTS": str(places / name), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", SLOWLY, str(attempt)]
        with (places / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        request.addfinalizer(process.wait)
        request.addfinalizer(process.kill)
        return process

    def made():
        batch.mirror.refresh(now=True)
        return {key for key, said in batch.outcomes().items() if said["state"] == "made"}

    first = begin("one", 1)
    until(lambda: len(made()) >= 3 or first.poll() is not None, "the first items", 0.5)
    first.kill()
    first.wait()
    before = made()
    assert 3 <= len(before) < 16, (places / "one.log").read_text()
    until(lambda: not being_made(batch, 0), "the end of the lease", 0.5)

    second = begin("two", 2)
    until(lambda: len(made()) > len(before) or second.poll() is not None, "more items", 0.5)
    cable.cut()
    time.sleep(3.0)
    cable.mend()
    assert second.wait(PATIENCE_S) == 0, (places / "two.log").read_text()
    assert made() == {item.address for item, _ in batch.items()}
    held_once_and_whole(settings, 16)
    again = {path.name[:16] for path in (places / "two").rglob("*.mp4")}
    assert not again & before
    text = (places / "two.log").read_text()
    assert "does not answer" in text
    assert "never-in-a-record" not in text
    everything = b"".join(
        open_store(settings).read(key) for key in open_store(settings).walk() if ".mp4" not in key
    )
    assert b"never-in-a-record" not in everything


def test_what_is_alive_on_a_host_is_heard_on_another(host):
    one = host("one")
    beat(one.hosts, "gpu-far-0", {"a-run"}, {"batch": 2}, {"gpus": 1})
    tell_once(open_store(one), one.hosts / "gpu-far-0.json")
    two = host("two")
    beat(two.hosts, "cpu-near-0", set(), {"batch": 6})
    said = all_beats(two.hosts)
    assert said.keys() == {"gpu-far-0", "cpu-near-0"}
    open_store(one).write(".hosts/torn.json", b"{")
    assert all_beats(two.hosts).keys() == said.keys()
    far = said["gpu-far-0"]
    assert (far.fresh, far.runs, far.lanes) == (True, {"a-run"}, {"batch": 2})
    assert beats(two.hosts).keys() == {"cpu-near-0"}
    left = {"now-killed", "turns-killed"}
    for name in left:
        open_store(two).write(f".hosts/{name}", b"")
    (two.hosts / ".now-killed-1").touch()
    forget(two.hosts, timedelta(days=1))
    assert all_beats(two.hosts).keys() == said.keys()
    assert left <= open_store(two).names(".hosts").keys()
    assert (two.hosts / ".now-killed-1").exists()
    forget(two.hosts, timedelta(days=-1))
    assert all_beats(two.hosts) == {}
    assert not left & open_store(two).names(".hosts").keys()
    assert not list(two.hosts.glob(".now-*"))
    os.utime(one.hosts / "gpu-far-0.json", (0, 0))  # its worker hangs
    tell_once(open_store(host("one")), one.hosts / "gpu-far-0.json")
    assert all_beats(two.hosts) == {}


def test_hosts_that_cannot_be_heard_are_not_taken_for_silent(places, monkeypatch):
    settings = read_settings()
    beat(settings.hosts, "gpu-near-0", set(), {})
    monkeypatch.setenv("LAMINA_STORE", f"file://{places}/none")
    assert all_beats(settings.hosts).keys() == {"gpu-near-0"}
    with pytest.raises(StoreRefusedError, match="must exist"):
        all_beats(settings.hosts, whole=True)


def test_a_worker_says_at_once_that_its_store_is_not_usable(places, monkeypatch, capsys):
    from flows.commands.command_line import main

    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    monkeypatch.setenv("LAMINA_STORE", f"file://{places}/none")
    assert main(["worker"]) == 1
    assert "must exist before it is used; make it" in capsys.readouterr().err
