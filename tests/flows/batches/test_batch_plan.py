from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.batches.item import Item, derived_seed, drawn_again
from flows.batches.items import items_of
from flows.batches.plan import check_room, expected_seconds, make_plan
from flows.requests.batch_requests import ClipBatchRequest, ScanBatchRequest
from medical.files.survey import Wanted, survey
from video.request import VideoRequest

COSTS = st.lists(st.tuples(st.integers(1, 128), st.integers(16, 128)), min_size=1, max_size=60)


def item(number, frames=16, steps=4):
    request = VideoRequest(prompt=f"clip {number}", num_frames=frames, steps=steps)
    return Item(f"{number:016x}", f"p.txt:{number}", request)


@given(COSTS, st.floats(0.05, 20), st.data())
def test_every_missing_item_has_one_shard_and_no_other_has(costs, minutes, data):
    items = [item(n, frames, steps) for n, (frames, steps) in enumerate(costs)]
    standing = data.draw(st.sets(st.sampled_from([i.address for i in items])))
    plan = make_plan(items, standing, shard_minutes=minutes)
    assert [i for i, _ in plan.items] == items
    assert {i.address for i, shard in plan.items if shard < 0} == standing
    used = [shard for _, shard in plan.items if shard >= 0]
    assert used == sorted(used)
    assert sorted(set(used)) == list(range(plan.shards))
    assert plan.missing == len(used)


@given(st.integers(1, 300), st.floats(0.1, 300), st.floats(5, 20))
def test_shards_last_about_as_long_as_asked(count, seconds, minutes):
    items = [item(n) for n in range(count)]
    plan = make_plan(items, (), shard_minutes=minutes, measured_s=seconds)
    longest = max(seconds, 1.5 * 60 * minutes + seconds)
    assert seconds * count / plan.shards <= longest
    assert plan.measured


def test_refused_items_are_not_planned_again():
    plan = make_plan([item(0), item(1)], [item(0).address], settled=[item(1).address])
    assert (plan.standing, plan.settled, plan.missing, plan.shards) == (1, 1, 0, 0)
    assert "failed or were rejected" in "\n".join(plan.says(10**9))


def test_a_plan_of_one_counts_in_the_singular():
    first, second, *_ = make_plan([item(0)], ()).says(10**9)
    assert first.startswith("1 item (video), 0 made")
    assert second.startswith("1 shard, ")
    assert second.endswith(" on 1 device")


def test_a_plan_says_what_it_costs_on_how_many_devices():
    plan = make_plan([item(n) for n in range(60)], (), measured_s=30.0, shard_minutes=5.0)
    lines = plan.says(10**9, 3)
    assert lines[1] == "6 shards, 30 s an item (measured here), about 10 min on 3 devices"
    assert lines[2] == "cost: 30.0 device minutes"
    assert plan.says(10**9, 3, price=2.5)[2] == "cost: 30.0 device minutes, 1.25 at 2.5 an hour"
    assert plan.says(10**9, draws=4, price=2.5)[2] == (
        "cost: 30.0 to 120.0 device minutes, 1.25 to 5.00 at 2.5 an hour (1 to 4 draws of each)"
    )
    tiny = make_plan([item(0)], (), measured_s=0.2)
    assert tiny.says(10**9)[2] == "cost: 0.0033 device minutes"
    nothing = make_plan([item(0)], [item(0).address])
    assert not [line for line in nothing.says(10**9, price=2.5) if "cost" in line]


def test_longer_clips_are_expected_to_take_longer():
    assert expected_seconds(item(0, 32)) > expected_seconds(item(0, 16))


def test_a_disk_that_is_too_small_is_refused_with_the_numbers():
    check_room(10**9, 3 * 10**9, 1.0)
    with pytest.raises(ValueError, match=r"1\.00 GB are needed and 3 GB .* 3\.00 GB are free.*;"):
        check_room(10**9, 3 * 10**9, 3.0)


def batch(prompts, **fields):
    return ClipBatchRequest(prompts=prompts, model="tiny-video", **fields)


def test_an_address_and_a_seed_follow_from_content_and_from_nothing_else(places):
    one, _ = items_of(batch("a red circle\na blue square"))
    other, _ = items_of(batch("a blue square\na green one\na red circle", name="other"))
    assert {i.address for i in one} < {i.address for i in other}
    assert one[0] == Item(other[2].address, "prompts:1", other[2].request)
    assert one[0].request.seed != one[1].request.seed
    changed, _ = items_of(batch("a red circle", steps=5))
    assert changed[0].address not in {i.address for i in one}


def test_a_given_seed_is_kept(places):
    (only,), _ = items_of(batch("a red circle", seed=7))
    assert only.request.seed == 7


def test_a_model_of_other_weights_makes_other_items(places, tiny_models, monkeypatch, tmp_path):
    (before,), _ = items_of(batch("a red circle"))
    import shutil

    shelf = tmp_path / "other"
    shutil.copytree(tiny_models, shelf)
    record = shelf / "tiny-video" / "model.json"
    digest = '"weights.safetensors": "'
    text = record.read_text()
    record.write_text(text.replace(digest, digest + "0", 1))
    monkeypatch.setenv("LAMINA_MODELS", str(shelf))
    (after,), _ = items_of(batch("a red circle"))
    assert before.address != after.address


def test_a_row_said_twice_is_one_item_and_that_is_said(places):
    items, repeated = items_of(batch("a red circle\na blue square\na red circle"))
    assert len(items) == 2
    assert repeated == ["prompts:3 repeats prompts:1"]


@given(st.integers(0, 2**63 - 1))
def test_draws_differ_and_the_first_is_the_request(seed):
    request = VideoRequest(prompt="a", seed=seed)
    draws = [drawn_again(request, n) for n in (1, 2, 3)]
    assert draws[0] == request
    assert len({draw.seed for draw in draws}) == 3
    assert draws == [drawn_again(request, n) for n in (1, 2, 3)]


def test_seeds_do_not_change_between_releases():
    assert derived_seed("draw", 7, 2) == 1586701105


def scan(path: Path, value: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.full((8, 8, 4), value, dtype=np.float32)
    nib.save(nib.Nifti1Image(data, np.diag([1, 1, 4, 1])), path)
    return path


@pytest.fixture
def dataset(tmp_path):
    for n, label in enumerate(("01", "02", "03")):
        scan(tmp_path / f"bids/sub-{label}/anat/sub-{label}_T1w.nii.gz", n)
        scan(tmp_path / f"bids/sub-{label}/anat/sub-{label}_T2w.nii.gz", n + 10)
    return tmp_path / "bids"


def test_scans_of_a_dataset_or_of_a_folder(dataset, tmp_path):
    assert [p.name for p in survey(dataset).taken] == [f"sub-0{n}_T1w.nii.gz" for n in (1, 2, 3)]
    assert [p.name[:6] for p in survey(dataset, Wanted(["02", "sub-03"])).taken] == [
        "sub-02",
        "sub-03",
    ]
    plain = scan(tmp_path / "plain" / "head.nii.gz", 1)
    assert survey(plain.parent).taken == [plain]


def test_a_scan_is_addressed_by_its_bytes(places, dataset, tmp_path):
    asked = {"model": "tiny-mri", "samples": 1}
    before, _ = items_of(ScanBatchRequest(scans=str(dataset), **asked))
    moved = dataset.rename(tmp_path / "elsewhere")
    after, _ = items_of(ScanBatchRequest(scans=str(moved), **asked))
    assert [i.address for i in before] == [i.address for i in after]
    assert [i.request.seed for i in before] == [i.request.seed for i in after]
    scan(moved / "sub-02/anat/sub-02_T1w.nii.gz", 99)
    changed, _ = items_of(ScanBatchRequest(scans=str(moved), **asked))
    assert [a.address == b.address for a, b in zip(after, changed, strict=True)] == [1, 0, 1]


@pytest.mark.parametrize(
    ("subjects", "words"), [("04", "subjects: sub-04 not found in .*; correct")]
)
def test_a_subject_that_is_not_there_is_refused(dataset, subjects, words):
    with pytest.raises(ValueError, match=words):
        survey(dataset, Wanted(subjects.split()))


def test_a_folder_without_scans_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"it holds neither .*; point"):
        survey(tmp_path)
    with pytest.raises(ValueError, match="there is no such folder; name"):
        survey(tmp_path / "none")


def test_a_plain_request_is_told_as_it_was_before_there_were_drafts():
    told = ClipBatchRequest(name="n", prompts="a red circle").model_dump(mode="json")
    assert told.pop("limits").keys() == {
        "deadline_minutes", "gpu_minutes", "items", "tries", "retry_delay_s", "shard_minutes",
        "shards_at_once", "item_minutes", "reserve_gb",
    }  # fmt: skip
    assert told == {
        "name": "n", "prompts": "a red circle", "prompt_file": "", "num_frames": 16, "fps": 8.0,
        "height": 64, "width": 64, "steps": 4, "sampler": "flow_map", "guidance": 2.0, "seed": -1,
        "model": "scenes-64", "strict": False, "accept_only": False, "draws": 4,
        "plateau_draws": 0, "plateau_gain": 0.05,
    }  # fmt: skip
