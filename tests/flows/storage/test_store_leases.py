"""Hosts that reach for one thing at once: leases, and changes of a plan."""

import json
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from stores import asking, planned
from waiting import until

from core.storage import leases as store_leases_module
from core.storage.faults import LostLeaseError, StoreAwayError, StoreRefusedError
from core.storage.leases import Lease, renewed
from core.storage.place import place_of
from core.storage.store import Store, open_store
from flows.batches import coordinator as coordinator_module
from flows.batches import mirror as batch_mirror_module
from flows.batches.coordinator import coordinate
from flows.batches.ledger import Batch
from flows.batches.locks import alone, being_coordinated, being_made, coordinated, planning
from flows.batches.start import start_batch
from flows.storage.delivery import check_store

HOSTS = 8


def at_once(count, act):
    """What each of so many threads returns that begin together."""
    start = threading.Barrier(count)

    def acting(number):
        start.wait()
        return act(number)

    with ThreadPoolExecutor(count) as hosts:
        return list(hosts.map(acting, range(count)))


def of_host(settings, number):
    return Lease(open_store(settings), "default/x.lease", f"place-{number}")


def test_a_write_loses_to_one_that_came_between(host):
    store = open_store(host("one"))
    assert store.tagged("default/a") is None
    assert not store.swap("default/a", b"x", '"0123"')
    tag = store.swap("default/a", b"apple", "")
    assert store.tagged("default/a") == (b"apple", tag)
    assert not store.swap("default/a", b"banana", "")
    newer = store.swap("default/a", b"banana", tag)
    assert newer not in ("", tag)
    assert not store.swap("default/a", b"cherry", tag)
    assert store.swap("default/a", b"banana", tag) == newer  # its answer was lost
    assert store.read("default/a") == b"banana"


@pytest.mark.parametrize("ignored", ["If-None-Match", "If-Match"])
def test_a_store_that_does_not_compare_is_refused_when_a_worker_starts(team, monkeypatch, ignored):
    settings = team("one")
    check_store()
    assert not [name for name in open_store(settings).names(".hosts") if "turns" in name]
    swap = Store.swap

    def careless(self, key, content, tag):
        if bool(tag) != (ignored == "If-Match"):
            return swap(self, key, content, tag)
        self.write(key, content)
        return "a tag"

    monkeypatch.setattr(Store, "swap", careless)
    with pytest.raises(StoreRefusedError, match=rf"no notice of {ignored}: .*; use a store"):
        check_store()


def test_of_hosts_that_reach_for_a_lease_one_gets_it(host):
    settings = host("one")
    leases = [of_host(settings, number) for number in range(HOSTS)]
    taken = at_once(HOSTS, lambda number: leases[number].take())
    assert sum(taken) == 1
    holder = leases[taken.index(True)]
    holder.renew()
    assert not of_host(settings, "late").take()
    holder.give_up()
    others = at_once(HOSTS, lambda number: of_host(settings, f"again-{number}").take())
    assert sum(others) == 1


def test_an_old_lease_goes_to_one_host_and_its_holder_learns_it(host, monkeypatch):
    settings = host("one")
    old = of_host(settings, "old")
    assert old.take()
    monkeypatch.setattr(store_leases_module, "LEASE_S", 0.0)
    seen = old.store.tagged(old.key)
    with monkeypatch.context() as patch:  # all see the same old lease before any of them writes
        patch.setattr(Store, "tagged", lambda self, key: seen)
        patch.setattr(store_leases_module, "REACHES", 1)
        taken = at_once(HOSTS, lambda number: of_host(settings, number).take())
    assert sum(taken) == 1
    monkeypatch.setattr(store_leases_module, "LEASE_S", 45.0)
    with pytest.raises(LostLeaseError, match=r"another host took over default/x .* is made there"):
        old.renew()
    content = old.store.read(old.key)
    old.give_up()
    assert old.store.read(old.key) == content


def test_a_lease_that_was_given_back_meanwhile_is_lost_all_the_same(team, monkeypatch):
    settings = team("one")
    old, other = of_host(settings, "old"), of_host(settings, "other")
    assert old.take()
    with monkeypatch.context() as patch:
        patch.setattr(store_leases_module, "LEASE_S", 0.0)
        assert other.take()
    other.give_up()
    with pytest.raises(LostLeaseError):
        old.renew()


def test_a_renewal_whose_answer_was_lost_is_found_again(team, monkeypatch):
    lease = of_host(team("one"), 1)
    assert lease.take()
    tag = lease._tag
    lease.renew()
    lease._tag = tag  # as if nobody had heard of the second one
    lease.renew()
    assert not lease.lost


def test_whose_lease_ran_out_unasked_asks_before_it_goes_on(team, monkeypatch):
    settings, clock = team("one"), [1000.0]
    monkeypatch.setattr(store_leases_module, "_clock", lambda: clock[0])
    lease = of_host(settings, 1)
    assert lease.take()
    swap, away = Store.swap, threading.Event()

    def unless_away(self, *rest):
        if away.is_set():
            raise StoreAwayError("away")
        return swap(self, *rest)

    monkeypatch.setattr(Store, "swap", unless_away)
    away.set()
    clock[0] += 0.7 * store_leases_module.LEASE_S
    lease.confirm()  # sure without asking
    clock[0] += 0.2 * store_leases_module.LEASE_S
    with pytest.raises(StoreAwayError):
        lease.confirm()
    away.clear()
    lease.confirm()
    assert not lease.lost


def test_no_clock_of_a_host_decides_about_a_lease(host, monkeypatch):
    settings = host("one")
    if settings.store.startswith("memory"):
        pytest.skip("a store within this process has its clock")
    holder = of_host(settings, 1)
    assert holder.take()
    true = time.time
    for skew in (-7200.0, 7200.0):
        monkeypatch.setattr(time, "time", lambda skew=skew: true() + skew)
        assert not of_host(settings, f"skewed {skew}").take()
    monkeypatch.undo()
    assert not holder.lost


def test_a_store_without_times_is_refused_before_a_lease_is_judged_by_them(team, monkeypatch):
    settings = team("one")
    names = Store.names

    def timeless(self, folder):
        return {n: type(x)(x.size, 0.0) for n, x in names(self, folder).items()}

    assert of_host(settings, 1).take()
    monkeypatch.setattr(Store, "names", timeless)
    with pytest.raises(StoreRefusedError, match=r"does not tell when .* use a store that does"):
        of_host(settings, 2).take()


def test_a_lease_is_renewed_while_the_block_lasts_and_free_after_it(team, monkeypatch):
    monkeypatch.setattr(store_leases_module, "RENEW_S", 0.01)
    lease = of_host(team("one"), 1)
    assert lease.take()
    with renewed(lease):
        first = lease.store.read(lease.key)
        until(lambda: lease.store.read(lease.key) != first, "a renewal")
    assert lease.store.read(lease.key) == b""


def test_a_lease_that_was_given_up_while_the_store_was_away_is_not_taken_again(team, monkeypatch):
    def away(*_):
        raise StoreAwayError("away")

    lease = of_host(team("one"), 1)
    assert lease.take()
    with monkeypatch.context() as patch, renewed(lease):
        patch.setattr(Store, "swap", away)
    with pytest.raises(LostLeaseError):
        lease.confirm()


def test_no_change_of_a_plan_is_lost_however_many_hosts_make_one(team):
    planned(team("one"), 1)
    batches = [Batch.named(team(f"host-{n}"), "default", "night") for n in range(HOSTS)]
    assert all(at_once(HOSTS, lambda n: batches[n].change(**{f"field_{n}": n})))
    said = Batch.named(team("reader"), "default", "night").read()
    assert [said[f"field_{n}"] for n in range(HOSTS)] == list(range(HOSTS))


def test_a_pause_and_an_end_at_once_are_not_both_taken(team):
    planned(team("one"), 1)
    for turn in range(5):
        here, there = (Batch.named(team(name), "default", "night") for name in ("one", "two"))
        here.change(state="running", turn=turn)
        wishes = [(here, "finished"), (there, "paused")]
        done = at_once(
            2, lambda n, to=wishes: to[n][0].change(only_from=("running",), state=to[n][1])
        )
        assert sum(done) == 1
        expected = wishes[done.index(True)][1]
        assert Batch.named(team(f"reader-{turn}"), "default", "night").state() == expected


def test_a_shard_waits_for_a_plan_that_is_being_changed(team, monkeypatch):
    one = planned(team("one"), 1)
    two = Batch.named(team("two"), "default", "night")
    two.read()
    begun = threading.Event()

    def work():
        with alone(two, 0) as ours:
            assert ours
            begun.set()

    with planning(one) as free:
        assert free
        shard = threading.Thread(target=work)
        shard.start()
        lease = f"{one.mirror._folder}/shards/0000.lease"
        until(lambda: one.mirror.store.read(lease) is not None, "a try of the shard")
        assert not begun.wait(0.5)
    until(begun.is_set, "the shard")
    shard.join()
    with alone(two, 0), planning(one) as free:
        assert not free
    assert not being_made(one, 0)


def test_who_asks_whether_a_batch_is_coordinated_takes_it_from_nobody(team):
    one, two = planned(team("one"), 1), Batch.named(team("two"), "default", "night")
    assert not being_coordinated(two)
    assert "batch.lease" not in one.mirror.store.names("default/batches/night")
    with coordinated(one) as ours:
        assert ours
        assert being_coordinated(one)
        assert being_coordinated(two)
    assert not being_coordinated(two)


class Deaf:
    """Hands whose run never ends; the coordinator learns meanwhile that it was replaced."""

    look_every_s = 0.01

    def __init__(self, meanwhile):
        self.meanwhile, self.ended = meanwhile, []

    def offers(self, settings):
        return []

    def start(self, asked, key):
        self.meanwhile()
        return "run-1"

    def look(self, run):
        return "running"

    def end(self, run):
        self.ended.append(run)


def test_a_coordinator_that_was_replaced_while_cut_off_changes_nothing_more(team, monkeypatch):
    monkeypatch.setattr(store_leases_module, "RENEW_S", 0.1)
    successor = []

    def replaced():
        monkeypatch.setattr(store_leases_module, "LEASE_S", 0.0)
        two = Batch.named(team("two"), "default", "night")
        two.read()
        watch = coordinated(two)
        assert watch.__enter__()
        assert two.change(state="running", reason="mine")
        successor.append((two, watch))
        monkeypatch.setattr(store_leases_module, "LEASE_S", 45.0)

    hands = Deaf(replaced)
    ended = coordinate(team("one"), "default", asking(1), hands, lambda *news: None)
    assert "another host took over default/batches/night/batch" in ended["reason"]
    assert not hands.ended
    two, watch = successor[0]
    said = two.read()
    assert (said["state"], said["reason"]) == ("running", "mine")
    two.mirror.leases["batch"].confirm()
    watch.__exit__(None, None, None)


def test_a_plan_signed_by_a_successor_stops_its_predecessor(team, monkeypatch):
    one = planned(team("one"), 1)
    with coordinated(one):
        assert one.change(seconds_per_item=1.0)
        two = Batch.named(team("two"), "default", "night")
        assert two.change(state="paused")  # a person, who coordinates nothing
        assert one.change(seconds_per_item=2.0)
        assert two.change(coordinator="somebody else")
        with pytest.raises(LostLeaseError):
            one.change(state="finished")
        with pytest.raises(LostLeaseError):
            one.read()
    assert (two.read()["seconds_per_item"], two.state()) == (2.0, "paused")


def test_two_hosts_plan_one_batch_once(team, monkeypatch):
    plans = []

    def counted_start(batch, request, plan):
        plans.append(batch)
        start_batch(batch, request, plan)

    monkeypatch.setattr(batch_mirror_module, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(coordinator_module, "start_batch", counted_start)
    monkeypatch.setattr(coordinator_module.Coordinator, "run", lambda self: time.sleep(0.5) or {})
    settings = [team("one"), team("two")]
    asked = asking(2)
    told = at_once(2, lambda n: coordinate(settings[n], "default", asked, Deaf(None), print))
    assert len(plans) == 1
    assert sorted(map(len, told)) == [0, 3]
    assert "another run coordinates" in max(told, key=len)["reason"]


def test_a_copied_folder_of_outputs_is_a_place_of_its_own(tmp_path):
    first = tmp_path / "one"
    name = place_of(first)
    assert place_of(first) == name
    shutil.copytree(first, tmp_path / "copy")
    assert place_of(tmp_path / "copy") != name
    os.rename(first, tmp_path / "moved")
    assert place_of(tmp_path / "moved") == name
    (tmp_path / "moved" / ".place").write_text("torn")
    assert len(place_of(tmp_path / "moved")) == len(name)
    assert json.loads((tmp_path / "moved" / ".place").read_text())["place"] != name
