"""A simulated night against cases whose answer is known."""

import pytest

from tests.benchmarks.night import Batch, Simulation, Stages, simulate

IDEAL = Stages(
    look_every=0.01, look=0.0, hand_out=0.0, pick_up=0.0, cold=0.0, deaths=0.0, slow=0.0
)


def changed(**fields):
    return Stages(**vars(IDEAL) | fields)


@pytest.mark.parametrize(("workers", "seconds"), [(1, 80.0), (2, 40.0), (4, 20.0), (8, 20.0)])
def test_equal_shards_take_turns_on_the_workers(workers, seconds):
    night = simulate([([[2.0] * 10] * 4, 64)], workers, IDEAL)
    assert night.seconds == pytest.approx(seconds, abs=0.1)
    assert night.ideal == pytest.approx(80.0 / workers)
    assert night.busy == pytest.approx(80.0 / workers / seconds, abs=0.01)


def test_one_batch_cannot_use_more_workers_than_it_may():
    night = simulate([([[1.0] * 10] * 6, 2)], 6, IDEAL)
    assert night.most_at_once == 2
    assert night.seconds == pytest.approx(30.0, abs=0.1)


def test_two_batches_share_the_workers():
    night = simulate([([[1.0] * 10] * 2, 2), ([[1.0] * 10] * 2, 2)], 2, IDEAL)
    assert night.most_at_once == 4
    assert night.waiting == pytest.approx(20.0 / (20.0 + 40.0), abs=0.01)
    assert night.seconds == pytest.approx(20.0, abs=0.1)


def test_each_shard_starts_cold():
    night = simulate([([[1.0] * 10] * 4, 64)], 1, changed(cold=5.0))
    assert night.seconds == pytest.approx(60.0, abs=0.1)


def test_handing_out_and_looking_take_the_coordinators_time():
    night = simulate([([[1.0] * 10] * 8, 64)], 8, changed(hand_out=2.0))
    assert night.seconds == pytest.approx(8 * 2.0 + 10.0, abs=0.1)
    busy = simulate([([[1.0] * 10] * 8, 64)], 8, changed(look=1.0))
    assert busy.coordinators > 0.9


def test_slow_items_are_as_many_and_as_slow_as_told():
    night = simulate([([[1.0] * 1000] * 10, 64)], 1, changed(slow=0.1, times=5.0))
    assert night.seconds == pytest.approx(10_000 * 1.4, rel=0.03)


def test_what_dead_workers_leave_is_made_by_others_once():
    shards = [[10.0] * 30 for _ in range(40)]
    stages = changed(deaths=2.0, unnoticed=180.0, again=30.0, replaced=30.0)
    simulation = Simulation([Batch(shards, 64)], 8, stages, seed=3)
    night = simulation.run()
    assert night.died > 0
    assert simulation.made == pytest.approx(40 * 30 * 10.0)
    assert not any(simulation.batches[0].left.values())
    assert night.seconds > night.ideal


def test_the_same_seed_is_the_same_night():
    asked = ([([[3.0] * 20] * 30, 8)], 8, Stages(deaths=1.0))
    assert simulate(*asked, seed=1) == simulate(*asked, seed=1)
    assert simulate(*asked, seed=1) != simulate(*asked, seed=2)
