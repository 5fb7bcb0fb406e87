"""Memory that runs out and gradients that blow up: the run gets over them, or says why not."""

import json
from dataclasses import asdict, dataclass, field

import pytest
import tiny_run
import torch

from core.families.flow import FlowMatching
from core.training.faults import MOST_SKIPPED
from core.training.gradients import is_out_of_memory
from core.training.log import read_log
from core.training.optimizers import OPTIMIZERS
from core.training.watch import Watch
from core.trouble import Trouble

pytestmark = [
    pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight"),
    pytest.mark.usefixtures("one_thread"),
]

EXACT = {"mixed_precision": "no", "checkpoint_minutes": 60.0}
PLAIN = {**EXACT, "optimizer": "sgd", "clip": 1e9, "warmup": 0, "learning_rate": 0.1}


def clock(folder):
    return json.loads((folder / "checkpoint" / "clock.json").read_text())


@pytest.mark.parametrize(("most", "precision", "near"), [(3, "no", 1e-6), (1, "bf16", 1e-3)])
def test_where_memory_runs_out_the_same_batch_is_computed_in_pieces(
    tmp_path, caplog, monkeypatch, most, precision, near
):
    monkeypatch.setitem(OPTIMIZERS, "sgd", tiny_run.plain_descent)
    plan = {**PLAIN, "mixed_precision": precision}
    whole = tiny_run.trainer(tmp_path / "whole", 2, **plan)
    whole.run()
    run = tiny_run.trainer(tmp_path / "run", 2, objective=tiny_run.hungry(most), **plan)
    assert run.run()
    for ours, theirs in zip(run.network.parameters(), whole.network.parameters(), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=near)
    fewest = {3: 2, 1: 1}[most]  # eight rows in two, then four, then eight pieces
    troubles = clock(tmp_path / "run")["troubles"]
    assert troubles == [{"step": 0, "what": "out of memory", "samples_at_a_time": fewest}]
    said = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert said == [
        f"step 0: out of memory; from here on the same batch is computed {fewest} at a time, not 8"
    ]


def test_a_run_remembers_how_much_fits(tmp_path):
    first = tiny_run.trainer(tmp_path, 4, objective=tiny_run.hungry(2), **EXACT)
    assert not first.run(should_stop=lambda: True)
    again = tiny_run.trainer(tmp_path, 4, objective=tiny_run.hungry(2), **EXACT)
    assert again.splitter.pieces == 4
    assert again.run()
    assert len(clock(tmp_path)["troubles"]) == 1


def test_a_run_whose_samples_do_not_fit_one_by_one_ends_with_a_reason(tmp_path):
    run = tiny_run.trainer(tmp_path, 2, objective=tiny_run.hungry(0), **EXACT)
    with pytest.raises(ValueError, match=r"one sample at a time .* at least one sample; choose"):
        run.run()


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (torch.OutOfMemoryError("any words"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"), True),
        (MemoryError(), True),
        (RuntimeError("size mismatch"), False),
        (ValueError("out of memory."), False),
    ],
)
def test_only_memory_is_taken_for_memory(error, answer):
    assert is_out_of_memory(error) is answer


@pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError])
def test_arithmetic_that_does_not_fit_is_left_uncounted(tmp_path, monkeypatch, error):
    def count(work):
        raise error("no room for the counter")

    monkeypatch.setattr("core.training.watch.count_flops", count)
    assert tiny_run.trainer(tmp_path, 1, **EXACT).run()
    assert clock(tmp_path)["flops"] == 0


def test_other_errors_go_through(tmp_path):
    def broken(size, random):
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        tiny_run.trainer(tmp_path, 2, make_batch=broken).run()


@dataclass(frozen=True, kw_only=True)
class Explosive(FlowMatching):
    """Gives no finite loss while ``lit`` holds anything."""

    lit: list = field(default_factory=list)

    def loss(self, predict, x, cond, drawn):
        value, error = super().loss(predict, x, cond, drawn)
        return (value * float("nan") if self.lit else value), error


def explosive():
    return Explosive(**asdict(FlowMatching()))


def test_gradients_that_blow_up_send_the_run_back_at_half_the_rate(tmp_path, caplog):
    objective = explosive()
    run = tiny_run.trainer(
        tmp_path / "flow", 100, objective=objective,
        watch=Watch(log=tmp_path / "log", stage="flow"), warmup=0, cooldown=0.0,
    )  # fmt: skip
    seen = []

    def watch(progress):
        seen.append((progress.step, progress.learning_rate))
        if progress.step == 3 and len(seen) == 3:
            objective.lit.append(1)
        if len(seen) == 3 + MOST_SKIPPED:
            objective.lit.clear()

    assert not run.run(watch, should_stop=lambda: len(seen) == 15)
    peak = run.plan.learning_rate
    there = [(step, peak) for step in range(1, 4 + MOST_SKIPPED)]
    assert seen == [*there, (4, peak / 2), (5, peak / 2), (6, peak / 2)]
    assert clock(tmp_path / "flow")["troubles"] == [
        {"step": 3, "what": "gradients not finite", "went_back_to": 3, "rate_share": 0.5}
    ]
    assert "training goes on from step 3 at 0.5 of the learning rate" in caplog.text
    steps = [record["step"] for record in read_log(tmp_path)]
    assert steps == sorted(set(steps))
    assert steps[-1] == 6


def test_gradients_that_blow_up_again_end_the_run_with_a_reason(tmp_path):
    objective = explosive()
    objective.lit.append(1)
    run = tiny_run.trainer(tmp_path, 100, objective=objective)
    with pytest.raises(Trouble, match=r"steps 0 to 9: .* needs finite ones; look for"):
        run.run()
    assert clock(tmp_path)["rate_share"] == 0.5
    kept = tiny_run.trainer(tmp_path, 100)
    assert kept.step == 0
    for ours, fresh in zip(
        kept.network.parameters(), tiny_run.network().parameters(), strict=True
    ):
        assert torch.equal(ours, fresh)
