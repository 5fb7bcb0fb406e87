"""A project's results take no more of the disk than the operator allows."""

import errno
import os

import pytest

from flows.batches import shard as shard_module
from flows.batches.items import items_of
from flows.batches.ledger import Batch, gives_out
from flows.batches.makers import Maker
from flows.batches.start import plan_batch, start_batch
from flows.pages.failures import FULL, OVER_QUOTA, advice
from flows.requests.batch_requests import ClipBatchRequest, ShardRequest
from flows.settings.settings import read_settings
from flows.storage import quota as quota_module
from flows.storage.quota import Quota, used_bytes


@pytest.fixture
def results(places, monkeypatch):
    """2 kB of results of the project ``ward``, where each may have 10 kB."""
    monkeypatch.setenv("LAMINA_QUOTA_GB", "0.00001,studio=0.1")
    folder = places / "outputs" / "ward" / "batches" / "night"
    folder.mkdir(parents=True)
    (folder / "a.mp4").write_bytes(bytes(1500))
    (folder.parents[1] / "b.json").write_bytes(bytes(500))
    (folder / "elsewhere").symlink_to("/")
    return folder


def test_what_stands_and_what_is_needed_must_fit(results):
    link = os.lstat(results / "elsewhere").st_size
    assert used_bytes(read_settings().outputs / "ward") == 2000 + link
    Quota(read_settings(), "ward").check(8000 - link)
    with pytest.raises(
        ValueError,
        match=r"project=ward: its results take 2e-06 GB and 8e-06 GB more are needed, where "
        r"LAMINA_QUOTA_GB allows 1e-05 GB: remove some of them, or have the operator raise it",
    ):
        Quota(read_settings(), "ward").check(8001 - link)


def test_a_project_of_its_own_has_its_own_and_none_is_none(results, monkeypatch):
    Quota(read_settings(), "studio").check(99_000_000)
    with pytest.raises(ValueError, match="project=studio"):
        Quota(read_settings(), "studio").check(101_000_000)
    monkeypatch.setenv("LAMINA_QUOTA_GB", "")
    Quota(read_settings(), "ward").check(10**15)
    monkeypatch.setenv("LAMINA_QUOTA_GB", "ward=0")
    Quota(read_settings(), "ward").check(10**15)
    Quota(read_settings(), "other").check(10**15)


def test_nothing_more_is_granted_when_nothing_is_needed(results):
    (results / "c.mp4").write_bytes(bytes(20_000))
    Quota(read_settings(), "ward").check(0)


def test_grants_count_until_they_are_measured(results, monkeypatch):
    measured, true = [], quota_module.used_bytes
    monkeypatch.setattr(quota_module, "used_bytes", lambda f: measured.append(f) or true(f))
    quota = Quota(read_settings(), "ward")
    for _ in range(3):
        quota.check(2500)
    assert len(measured) == 1
    quota.check(2500)  # the sum of all grants would not fit, what stands does
    assert len(measured) == 2
    (results / "d.mp4").write_bytes(bytes(6000))
    quota.check(2500)  # granted before anyone could know
    quota.check(2500)
    with pytest.raises(ValueError, match="project=ward: its results take 8e-06 GB"):
        quota.check(2500)


def test_a_file_that_goes_away_stops_no_count(results, monkeypatch):
    assert used_bytes(results / "nothing") == 0
    for name in "cdef":
        (results / f"{name}.mp4").write_bytes(bytes(100))
    size = quota_module._size

    def away(entry):
        (results / entry.name).unlink()
        return size(entry)

    monkeypatch.setattr(quota_module, "_size", lambda e: (away if e.name == "d.mp4" else size)(e))
    assert used_bytes(results) == 1500 + 300 + os.lstat(results / "elsewhere").st_size


def test_a_quota_of_either_kind_is_a_full_disk_to_a_batch():
    over, full = OSError(errno.EDQUOT, "Disk quota exceeded"), OSError(errno.ENOSPC, "No space")
    assert gives_out(over)
    assert (advice(over), advice(full)) == (OVER_QUOTA, FULL)
    assert "quota" in OVER_QUOTA


class OverQuota(Maker):
    """Stands for a file system that says so when the third file is written."""

    def finish(self, job, batch):
        if "green" in job.item.request.prompt:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        return super().finish(job, batch)


def started(prompts):
    request = ClipBatchRequest(
        name="night", prompts=prompts, num_frames=4, height=32, width=32, steps=1,
        model="tiny-video",
    )  # fmt: skip
    batch = Batch.named(read_settings(), "ward", "night")
    batch.root.mkdir(parents=True, exist_ok=True)
    start_batch(batch, request, plan_batch(batch, request, items_of(request)))
    return batch


def run():
    asked = ShardRequest(project="ward", batch="night", shard=0)
    return shard_module.run_shard(read_settings(), asked, lambda done, total, note="": None)


def test_a_file_systems_quota_ends_the_shard_and_blames_no_item(
    places, monkeypatch, encoder_read_once
):
    batch = started("a red circle\na blue circle\na green circle")
    monkeypatch.setattr(shard_module, "Maker", OverQuota)
    with pytest.raises(OSError, match=r"quota exceeded.*; the shard ends here") as caught:
        run()
    assert (caught.value.errno, advice(caught.value)) == (errno.EDQUOT, OVER_QUOTA)
    assert {x["state"] for x in batch.outcomes().values()} == {"made"}
    monkeypatch.setattr(shard_module, "Maker", Maker)
    assert run().left == 0


def test_a_projects_quota_is_seen_before_each_item(places, monkeypatch, encoder_read_once):
    batch = started("a red circle\na blue circle\na green circle")
    monkeypatch.setattr(shard_module.Quota, "check", _two_granted())
    with pytest.raises(OSError, match=r"project=ward: its results .*; the shard ends") as caught:
        run()
    assert (caught.value.errno, advice(caught.value)) == (errno.EDQUOT, OVER_QUOTA)
    assert [x["state"] for x in batch.outcomes().values()] == ["made", "made"]


def _two_granted():
    """As if each item were granted half of what is left, by the real rule."""
    check, granted = Quota.check, []

    def counted(self, needed=1):
        granted.append(needed)
        self._limit = 1e9 if len(granted) <= 2 else 1.0
        check(self, needed)

    return counted
