"""A batch that was made ahead is the batch, and a GPU's waiting is told from its work."""

import pytest
import tiny_run
import torch

from core.seeds import generator, normal
from core.training.feed import training_device
from core.training.pace import Pace

pytestmark = [
    pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight"),
    pytest.mark.usefixtures("one_thread"),
]
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def trainer(folder, steps, *, ahead, **changes):
    run = tiny_run.trainer(folder, steps, **({"checkpoint_minutes": 60.0} | changes))
    run.feed.ahead = ahead
    return run


def saved(folder):
    """The bytes of a checkpoint, without its clock."""
    files = sorted((folder / "checkpoint").iterdir())
    return {path.name: path.read_bytes() for path in files if path.name != "clock.json"}


class Counted:
    """Batches, and how many were made and computed when each was asked for."""

    def __init__(self):
        self.made = []
        self.done = 0

    def __call__(self, size, random):
        self.made.append((random.initial_seed(), self.done))
        return tiny_run.batch(size, random)

    def finish(self, _progress):
        self.done += 1


def test_batches_made_ahead_train_the_same_network(tmp_path):
    plain, ahead = Counted(), Counted()
    run = trainer(tmp_path / "plain", 3, ahead=False, make_batch=plain, accumulation=2)
    run.run(plain.finish)
    run = trainer(tmp_path / "ahead", 3, ahead=True, make_batch=ahead, accumulation=2)
    run.run(ahead.finish)
    assert saved(tmp_path / "plain") == saved(tmp_path / "ahead")
    assert [seed for seed, _ in plain.made] == [seed for seed, _ in ahead.made]
    each = [0, 0, 1, 1, 2, 2]
    assert [done for _, done in plain.made] == each
    assert [done for _, done in ahead.made] == [max(0, step - 1) for step in each]


def test_the_next_batch_is_made_before_processes_wait_for_each_other(tmp_path, monkeypatch):
    counted, waited = Counted(), []
    run = trainer(tmp_path, 3, ahead=True, make_batch=counted)
    wait = run.splitter._anywhere
    monkeypatch.setattr(
        run.splitter, "_anywhere", lambda this: waited.append(len(counted.made)) or wait(this)
    )
    run.run()
    assert waited == [2, 3, 3]


def test_a_run_that_stopped_with_a_batch_in_hand_goes_on_bit_for_bit(tmp_path):
    trainer(tmp_path / "whole", 3, ahead=False).run()
    first = trainer(tmp_path / "stopped", 3, ahead=True)
    assert not first.run(should_stop=lambda: first.step == 1)
    assert trainer(tmp_path / "stopped", 3, ahead=True).run()
    assert saved(tmp_path / "whole") == saved(tmp_path / "stopped")


def test_a_batch_of_another_step_is_not_taken(tmp_path):
    run = trainer(tmp_path, 9, ahead=True)
    expected = trainer(tmp_path / "other", 9, ahead=False).feed.parts(3)
    run.feed.prepare(7)
    (found,) = run.feed.parts(3)
    assert torch.equal(found.x, expected[0].x)
    assert torch.equal(found.drawn.noise, expected[0].drawn.noise)


def test_nothing_is_made_for_a_step_that_will_not_come(tmp_path):
    counted = Counted()
    run = trainer(tmp_path, 2, ahead=True, make_batch=counted)
    run.feed.prepare(2)
    assert counted.made == []


def test_without_memory_for_two_batches_each_is_made_in_its_turn(tmp_path):
    counted = Counted()

    def hungry(size, random):
        if len(counted.made) > counted.done:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return counted(size, random)

    trainer(tmp_path / "plain", 3, ahead=False).run()
    run = trainer(tmp_path / "ahead", 3, ahead=True, make_batch=hungry)
    assert run.run(counted.finish)
    assert not run.feed.ahead
    assert run.clock.pieces == 1
    assert saved(tmp_path / "plain") == saved(tmp_path / "ahead")


def test_another_fault_of_the_data_is_told(tmp_path):
    def broken(size, random):
        if random.initial_seed() == generator(0, 1, 0, 0).initial_seed():
            raise RuntimeError("the disk is gone")
        return tiny_run.batch(size, random)

    with pytest.raises(RuntimeError, match="the disk is gone"):
        trainer(tmp_path, 3, ahead=True, make_batch=broken).run()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_cpu_makes_each_batch_in_its_turn(tmp_path):
    assert training_device().type == "cpu"
    assert not tiny_run.trainer(tmp_path, 1).feed.ahead


def test_on_a_gpu_only_its_waiting_counts(monkeypatch):
    """Blocks that it computed through take no time of its clock."""
    clock = iter([0.0, 0.0, 5.0, 905.0, 905.0, 1000.0])  # ms

    class Event:
        def __init__(self, *, enable_timing):
            assert enable_timing

        def record(self):
            self.at = next(clock)

        def synchronize(self):
            pass

        def elapsed_time(self, other):
            return other.at - self.at

    monkeypatch.setattr(torch.cuda, "Event", Event)
    pace = Pace(torch.device("cuda"))
    with pace.data():
        pass
    with pace.computing():
        pass
    with pace.data():
        pass
    taken = pace.take()
    assert (taken.data_s, taken.compute_s) == pytest.approx((0.095, 0.9))


def test_normal_numbers_on_a_cpu_are_those_of_the_generator():
    found = normal((2, 3), generator(5), torch.device("cpu"))
    assert torch.equal(found, torch.randn(2, 3, generator=generator(5)))


@needs_gpu
def test_normal_numbers_on_a_gpu_follow_from_the_cpu_generator():
    device = torch.device("cuda")
    found = normal((1000, 100), generator(5), device)
    assert torch.equal(found, normal((1000, 100), generator(5), device))
    assert not torch.equal(found, normal((1000, 100), generator(6), device))
    assert abs(float(found.mean())) < 0.02
    assert abs(float(found.std()) - 1) < 0.02


@needs_gpu
def test_a_gpu_gets_the_same_batches_ahead(tmp_path):
    run = tiny_run.trainer(tmp_path, 9)
    other = trainer(tmp_path / "other", 9, ahead=False)
    assert run.feed.ahead
    for step in range(4):
        run.feed.prepare(step)
        ours, theirs = run.feed.parts(step)[0], other.feed.parts(step)[0]
        assert torch.equal(ours.x, theirs.x)
        assert torch.equal(ours.drawn.noise, theirs.drawn.noise)
    assert run.run()
