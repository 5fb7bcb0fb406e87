import json
import os
import signal
import subprocess
import sys
import threading
import time
from random import Random

import pytest
from clips import SMALL
from waiting import until

from core.models import checkpoints
from core.models.checkpoints import find_model
from core.models.installed import load_folder
from core.operations.operation import NotAsAskedError
from core.refusal import Refusal
from core.storage.journal import append_line, held, now, read_lines
from flows.batches import shard as shard_module
from flows.batches.items import items_of
from flows.batches.ledger import Batch, intact, unfinished
from flows.batches.makers import Maker
from flows.batches.plan import make_plan
from flows.batches.start import plan_batch, start_batch
from flows.pages.failures import FULL, advice
from flows.requests.batch_requests import ClipBatchRequest, ScanBatchRequest, ShardRequest
from flows.settings.settings import read_settings
from video.files.clip import read_metadata

COLORS = ("red", "blue", "green", "yellow")
DEADLINE_S = 120.0


pytestmark = pytest.mark.usefixtures("encoder_read_once")


def started(prompts, name="night", **fields):
    """A batch that is planned and waits for its shards."""
    request = ClipBatchRequest(name=name, prompts="\n".join(prompts), **{**SMALL, **fields})
    return begun(request)


def begun(request):
    batch = Batch.named(read_settings(), "default", request.name)
    batch.root.mkdir(parents=True, exist_ok=True)
    start_batch(batch, request, plan_batch(batch, request, items_of(request)))
    return batch


def run(batch, shard=0):
    asked = ShardRequest(batch=batch.root.name, shard=shard)
    return shard_module.run_shard(read_settings(), asked, lambda done, total, note="": None)


def prompts(count):
    return [
        f"a {COLORS[n % 4]} circle moves left {'very ' * (n // 4)}slowly" for n in range(count)
    ]


def digests(batch):
    """Address to the digest of its clip, of all that is made and whole."""
    found = {item.address: intact(batch, item) for item, _ in batch.items()}
    return {address: files["video"]["sha256"] for address, files in found.items() if files}


def lines_of(batch):
    return [x for path in (batch.root / "shards").glob("*.jsonl") for x in read_lines(path)]


def test_a_shard_makes_its_items_once_and_each_as_a_single_run_would(places):
    from flows.jobs.pipeline import make

    batch = started(prompts(3))
    assert run(batch).plain() == {"made": 3, "left": 0, "ended": ""}
    assert run(batch).plain() == {"stood": 3, "left": 0, "ended": ""}
    item, _ = batch.items()[1]
    work = item.operation
    model = load_folder(find_model("tiny-video", work.kind), "cpu")
    alone = make(work, item.request, places / "alone.mp4", model)["video"]
    clip = batch.results / f"{item.stem}.mp4"
    assert clip.read_bytes() == alone.read_bytes()
    assert read_metadata(clip)["prompt"] == item.request.prompt
    record = json.loads(clip.with_suffix(".json").read_text())
    assert record["extra"]["item"] == item.address
    files = batch.outcomes()[item.address]["files"]
    assert {role: (batch.root / said["path"]).is_file() for role, said in files.items()} == (
        dict.fromkeys(("video", "preview", "sheet", "record"), True)
    )


def test_a_shard_loads_its_network_once_whatever_the_number_of_items(places, monkeypatch):
    loaded, load_model = [], checkpoints.load_model

    def counted(folder, **options):
        loaded.append(folder.name)
        return load_model(folder, **options)

    monkeypatch.setattr("core.models.installed.load_model", counted)
    assert run(started(prompts(5))).plain() == {"made": 5, "left": 0, "ended": ""}
    assert loaded == ["tiny-video"]


def test_what_is_broken_is_made_again_and_the_same(places):
    batch = started(prompts(4))
    run(batch)
    before = digests(batch)
    (cut, _), (gone, _), (unrecorded, _), _ = batch.items()
    clip = batch.results / f"{cut.stem}.mp4"
    clip.write_bytes(clip.read_bytes()[:100])
    (batch.results / f"{gone.stem}.mp4").unlink()
    (batch.results / f"{unrecorded.stem}.json").write_text('{"half a rec')
    (batch.results / ".part-0123.mp4").write_bytes(b"left by a crash")
    plan = plan_batch(batch, batch.request(), items_of(batch.request()))
    assert (plan.standing, plan.missing) == (1, 3)
    assert run(batch).plain() == {"stood": 1, "made": 3, "left": 0, "ended": ""}
    assert digests(batch) == before


def test_a_line_that_a_crash_cut_short_hides_no_other(tmp_path):
    path = tmp_path / "x.jsonl"
    append_line(path, {"item": 1})
    with path.open("a") as file:
        file.write('{"item": 2, "sta')
    append_line(path, {"item": 3})
    assert [line["item"] for line in read_lines(path)] == [1, 3]


def test_what_stands_without_an_outcome_gets_one(places):
    batch = started(prompts(2))
    run(batch)
    batch.shard_file(0).unlink()
    assert run(batch).plain() == {"stood": 2, "made": 2, "left": 0, "ended": ""}
    assert {x["state"] for x in batch.outcomes().values()} == {"made"}


class Troubled(Maker):
    """Fails one item in each of the steps."""

    def prepare(self, job):
        if "blue" in job.item.request.prompt:
            raise RuntimeError("the share is\ngone")
        return super().prepare(job)

    def finish(self, job, batch):
        if "green" in job.item.request.prompt:
            raise ValueError("cannot be shown")
        return super().finish(job, batch)


def test_a_failed_item_is_recorded_and_does_not_end_the_shard(places, monkeypatch):
    monkeypatch.setattr(shard_module, "Maker", Troubled)
    batch = started(prompts(4))
    assert run(batch).plain() == {"made": 2, "failed": 2, "left": 1, "ended": ""}
    failed = {x["error"]: unfinished(x) for x in batch.outcomes().values() if x["error"]}
    assert failed == {
        "RuntimeError: the share is gone": True,  # may pass by itself
        "ValueError: cannot be shown": False,
    }
    monkeypatch.undo()


class Overlapping(Maker):
    """Goes on only while the next item is being prepared and the last one finished."""

    seen, now, most = {}, [], []

    def reached(self, step, number):
        return self.seen.setdefault((step, number), threading.Event())

    def meets(self, step, number, count=5):
        if 0 <= number < count:
            assert self.reached(step, number).wait(DEADLINE_S), f"{step} of {number} waited"

    def prepare(self, job):
        self.reached("prepare", number_of(job)).set()
        return super().prepare(job)

    def sample(self, job):
        number = number_of(job)
        self.now.append(number)
        self.most.append(len(self.now))
        self.reached("sample", number).set()
        self.meets("prepare", number + 1)
        self.meets("finish", number - 1)
        drawn = super().sample(job)
        self.now.remove(number)
        return drawn

    def finish(self, job, batch):
        self.reached("finish", number_of(job)).set()
        self.meets("sample", number_of(job) + 1)
        return super().finish(job, batch)


def number_of(job):
    return int(job.item.row.rpartition(":")[2]) - 1


def test_while_one_item_is_sampled_the_next_is_prepared_and_the_last_is_finished(
    places, monkeypatch
):
    monkeypatch.setattr(shard_module, "Maker", Overlapping)
    assert run(started(prompts(5))).plain() == {"made": 5, "left": 0, "ended": ""}
    assert Overlapping.most == [1] * 5  # the device is never shared


class FullDisk(Maker):
    def finish(self, job, batch):
        if "green" in job.item.request.prompt:
            raise OSError(28, "No space left on device")
        return super().finish(job, batch)


def test_a_full_disk_ends_the_shard_and_blames_no_item(places, monkeypatch):
    monkeypatch.setattr(shard_module, "Maker", FullDisk)
    batch = started(prompts(8))
    with pytest.raises(OSError, match=r"No space left.*; the shard ends here") as caught:
        run(batch)
    assert advice(caught.value) == FULL
    assert {x["state"] for x in batch.outcomes().values()} == {"made"}
    monkeypatch.setattr(shard_module, "Maker", Maker)
    run(batch)
    assert len(digests(batch)) == 8


class BrokenDevice(Maker):
    def sample(self, job):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


def test_a_broken_device_ends_the_shard_and_is_no_full_disk(places, monkeypatch):
    monkeypatch.setattr(shard_module, "Maker", BrokenDevice)
    batch = started(prompts(2))
    with pytest.raises(RuntimeError, match=r"CUDA error.*; the shard ends here") as caught:
        run(batch)
    assert advice(caught.value) != FULL
    assert batch.outcomes() == {}


def test_no_room_is_seen_before_each_item(places):
    batch = started(prompts(2))
    request = batch.request()
    greedy = request.limits.model_copy(update={"reserve_gb": 1e9})
    batch.change(request=request.model_copy(update={"limits": greedy}).model_dump(mode="json"))
    with pytest.raises(OSError, match=r"GB are needed and 1e.09 GB kept in reserve") as caught:
        run(batch)
    assert advice(caught.value) == FULL
    assert batch.outcomes() == {}


class Judge(Maker):
    """Accepts red at once, blue at the third draw, and nothing else."""

    def finish(self, job, batch):
        prompt = job.item.request.prompt
        if "red" not in prompt and not ("blue" in prompt and job.draw == 3):
            raise NotAsAskedError("not as asked: motion")
        return super().finish(job, batch)


def test_rejected_clips_are_drawn_again_with_other_seeds(places, monkeypatch):
    monkeypatch.setattr(shard_module, "Maker", Judge)
    batch = started([f"a {color} circle moves left" for color in COLORS[:3]])
    request = batch.request().model_copy(update={"accept_only": True, "draws": 3})
    batch.change(request=request.model_dump(mode="json"))
    monkeypatch.setattr(
        "video.operations.text_to_video.TextToVideo.judge",
        lambda self, request, drawn: {"shows": {"motion": True}},
    )
    assert run(batch).plain() == {"made": 2, "rejected": 5, "left": 0, "ended": ""}
    last = {batch.outcomes()[item.address]["state"]: item for item, _ in batch.items()}
    tries = [x for x in lines_of(batch) if x["state"] == "rejected"]
    assert {x["error"].partition(": ")[2] for x in tries} == {"not as asked: motion"}
    assert [x["attempt"] for x in tries if x["item"] == last["rejected"].address] == [1, 2, 3]
    blue, _ = batch.items()[1]
    record = json.loads((batch.results / f"{blue.stem}.json").read_text())
    assert record["extra"]["draw"] == 3
    assert record["request"]["seed"] == record["seeds"] != blue.request.seed
    assert run(batch).plain() == {"stood": 3, "left": 0, "ended": ""}


def test_the_oracle_rejects_what_a_model_that_learned_nothing_draws(places):
    batch = started(["a red circle moves left"], accept_only=True, draws=2)
    assert run(batch).plain() == {"rejected": 2, "left": 0, "ended": ""}
    (outcome,) = batch.outcomes().values()
    assert outcome["error"].startswith("draw 2: not as asked: ")
    assert list(batch.results.iterdir()) == []


def test_a_shard_stops_between_items_when_its_batch_does(places, monkeypatch):
    class Canceller(Maker):
        def sample(self, job):
            batch.change(state="cancelled")
            time.sleep(shard_module.LOOK_EVERY_S)
            return super().sample(job)

    monkeypatch.setattr(shard_module, "Maker", Canceller)
    batch = started(prompts(6))
    report = run(batch)
    assert report.ended == "the batch is cancelled"
    assert report.counts["made"] + report.left == 6
    assert 1 <= report.counts["made"] <= 2


def test_a_shard_never_runs_twice_at_once(places):
    batch = started(prompts(2))
    with held(batch.shard_file(0).with_suffix(".lock")):
        assert run(batch).ended == "another process makes this shard"
    assert batch.outcomes() == {}


def test_scans_are_restored_with_maps_picture_and_record(places):
    import nibabel as nib
    import numpy as np

    folder = places / "scans"
    folder.mkdir()
    for n in range(2):
        data = np.random.default_rng(n).random((24, 24, 6), dtype=np.float32) * 100
        nib.save(nib.Nifti1Image(data, np.diag([1, 1, 4, 1])), folder / f"head-{n}.nii.gz")
    (folder / "broken.nii.gz").write_bytes(b"no volume")
    batch = begun(ScanBatchRequest(scans=str(folder), samples=2, steps=1, model="tiny-mri"))
    assert run(batch).plain() == {"made": 2, "failed": 1, "left": 0, "ended": ""}
    for item, _ in batch.items():
        files = batch.outcomes()[item.address]["files"]
        if "broken" in item.row:
            assert files == {}
        else:
            assert {"result", "std", "consistency", "picture", "record"} <= files.keys()
            assert intact(batch, item)
    assert run(batch).plain() == {"stood": 3, "left": 0, "ended": ""}


def process(batch, shard=0, program="from flows.batches.shard import main"):
    words = ["default", batch.root.name, str(shard), "1"]
    code = f"import sys\n{program}\nsys.exit(main(sys.argv[1:]))"
    return subprocess.Popen([sys.executable, "-c", code, *words])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_shard_killed_anywhere_goes_on_and_ends_as_if_nothing_had_been(places, seed):
    count, dice = 14, Random(seed)
    whole = started(prompts(count), name="whole")
    run(whole)
    batch = started(prompts(count), name="killed")
    for after in sorted(dice.sample(range(1, count - 1), 2)):
        child = process(batch)
        until(lambda: len(lines_of(batch)) >= after or child.poll() is not None, "items", 0.01)  # noqa: B023
        time.sleep(dice.random() * 0.05)
        child.send_signal(signal.SIGKILL)
        child.wait()
    run(batch)
    assert digests(batch) == digests(whole)
    assert len(digests(batch)) == count
    made = [x["item"] for x in lines_of(batch) if x["state"] == "made" and x["sample_s"]]
    assert len(made) == len(set(made))  # nothing that was written down was made again


HANGS = """
from flows.batches import shard as shard_module
class Hangs(shard_module.Maker):
    def sample(self, job):
        if "blue" in job.item.request.prompt:
            import time; time.sleep(600)
        return super().sample(job)
shard_module.Maker = Hangs
main = shard_module.main
"""


@pytest.mark.slow
def test_an_item_that_hangs_is_written_down_and_the_shard_ended(places):
    batch = started(prompts(3), limits={"item_minutes": 0.15})
    child = process(batch, program=HANGS)
    child.wait(DEADLINE_S)
    assert child.returncode == -signal.SIGKILL
    states = [batch.outcomes().get(item.address) for item, _ in batch.items()]
    assert states[0]["state"] == "made"
    assert states[1]["error"].startswith("TimeoutError: no sign of life for 9 s")
    assert unfinished(states[1])
    run(batch)
    assert len(digests(batch)) == 3


@pytest.mark.slow
def test_the_same_shard_started_four_times_at_once_makes_nothing_twice(places):
    batch = started(prompts(8))
    children = [process(batch) for _ in range(4)]
    assert [child.wait(DEADLINE_S) for child in children] == [0, 0, 0, 0]
    assert sorted(x["item"] for x in lines_of(batch)) == sorted(
        i.address for i, _ in batch.items()
    )
    assert len(digests(batch)) == 8


def test_a_plan_covers_what_a_manifest_leaves(places):
    batch = started(prompts(5))
    items = [item for item, _ in batch.items()]
    append_line(
        batch.shard_file(0),
        {"item": items[0].address, "state": "failed", "error": "ValueError: x", "time": now(),
         "attempt": 1, "seconds": 0.0, "files": {}},
    )  # fmt: skip
    plan = plan_batch(batch, batch.request(), items_of(batch.request()))
    assert (plan.settled, plan.missing) == (1, 4)
    assert make_plan(items, ()).missing == 5
    assert os.path.commonpath([batch.root, places]) == str(places)


def test_what_is_refused_is_a_sentence_of_the_shard_and_no_trace(places, monkeypatch, capfd):
    def refuse(*_):
        raise Refusal("keys cannot be made: they are kept there; name another folder.")

    monkeypatch.setattr(shard_module, "check_signing", refuse)
    batch = started(prompts(1))
    assert shard_module.main(["default", batch.root.name, "0", "1"]) == 2
    said = capfd.readouterr().err
    assert "shard 0: keys cannot be made: they are kept there; name another folder.\n" in said
    assert "Traceback" not in said
