"""A killed run goes on bit for bit, and parts and processes add up to one gradient."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny_run
import torch
from safetensors.torch import load_file

from core.conditioning import Conditioning
from core.families.family import Draw
from core.families.flow import FlowMatching
from core.seeds import generator
from core.training.checkpoint import history
from core.training.stages import Stage, flow_then_jumps, train_stages
from core.training.trainer import OPTIMIZERS

# Under autocast, torch says once that it cannot fuse a normalization.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight"),
    pytest.mark.usefixtures("one_thread"),
]

SCRIPT = Path(__file__).with_name("tiny_run.py")
GOLDEN = Path(__file__).with_name("golden") / "losses.json"


@pytest.fixture
def descent(monkeypatch):
    """Plain gradient descent at rate 0.1: after one step the gradient can be read off."""
    monkeypatch.setitem(OPTIMIZERS, "sgd", tiny_run.plain_descent)
    return {"optimizer": "sgd", "clip": 1e9, "warmup": 0, "cooldown": 0.0, "learning_rate": 0.1,
            "mixed_precision": "no"}  # fmt: skip


def saved(folder):
    """Every byte a run must carry on with."""
    checkpoint = Path(folder) / "checkpoint"
    assert sorted(p.name for p in checkpoint.iterdir()) == [
        "average.safetensors", "clock.json", "network.safetensors", "optimizer.safetensors",
        "state.json",
    ]  # fmt: skip
    return {p.name: p.read_bytes() for p in checkpoint.iterdir() if p.name != "clock.json"}


def launch(*arguments, launcher=()):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True)


def test_time_spent_before_there_was_a_clock_counts(tmp_path):
    tiny_run.trainer(tmp_path, 2).run()
    (tmp_path / "checkpoint" / "clock.json").unlink()
    path = tmp_path / "checkpoint" / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"spent_s": 90.0}))
    assert tiny_run.trainer(tmp_path, 4).clock.spent_s == 90


def test_a_finished_run_that_is_asked_for_again_has_no_further_sitting(tmp_path):
    tiny_run.trainer(tmp_path, 2).run()
    again = tiny_run.trainer(tmp_path, 2)
    assert again.run()
    assert again.clock.sittings == [{"from_step": 0, "goal": 2}]


def test_a_killed_run_goes_on_bit_for_bit(tmp_path):
    tiny_run.trainer(tmp_path / "whole", 6).run()
    done = launch(tmp_path / "killed", 6, "kill", 4)
    assert done.returncode == -signal.SIGKILL, done.stderr
    state = json.loads((tmp_path / "killed" / "checkpoint" / "state.json").read_text())
    assert state["step"] == 3  # step 4 was done but not yet saved: it is done again
    again = tiny_run.trainer(tmp_path / "killed", 6, seed=99)  # its own weights do not matter
    assert again.step == 3
    assert again.run()
    assert again.step == 6
    assert saved(tmp_path / "killed") == saved(tmp_path / "whole")
    clock = json.loads((tmp_path / "killed" / "checkpoint" / "clock.json").read_text())
    assert clock["sittings"] == [{"from_step": 0, "goal": 6}, {"from_step": 3, "goal": 6}]
    assert clock["spent_s"] > 0


@pytest.mark.parametrize(("optimizer", "precision"), [("muon", "bf16"), ("adamw", "no")])
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, optimizer, precision):
    settings = {"optimizer": optimizer, "mixed_precision": precision, "accumulation": 2}
    tiny_run.trainer(tmp_path / "whole", 3, **settings).run()
    stopped = tiny_run.trainer(tmp_path / "stopped", 3, **settings)
    assert not stopped.run(should_stop=lambda: True)
    assert stopped.step == 1
    torch.manual_seed(123)  # the process-wide generator plays no part
    assert tiny_run.trainer(tmp_path / "stopped", 3, **settings).run()
    assert saved(tmp_path / "stopped") == saved(tmp_path / "whole")


def test_a_run_killed_inside_save_still_has_a_checkpoint(tmp_path):
    tiny_run.trainer(tmp_path / "run", 2).run(should_stop=lambda: True)
    before = saved(tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoint"
    checkpoint.rename(checkpoint.with_name("checkpoint.old"))  # between the two renames
    half = checkpoint.with_name("checkpoint.new")
    half.mkdir()
    (half / "network.safetensors").write_bytes(b"half")
    assert tiny_run.trainer(tmp_path / "run", 2).step == 1
    assert saved(tmp_path / "run") == before


def test_a_run_of_another_seed_network_or_format_is_not_resumed(tmp_path, tiny):
    run = tiny_run.trainer(tmp_path, 1)
    run.run()
    make_batch = run.feed.make_batch
    with pytest.raises(ValueError, match=r"seed=1: .* made with seed 0; resume with that seed"):
        type(run)(run.network, make_batch, run.objective, tiny_run.plan(1, seed=1), tmp_path)
    with pytest.raises(ValueError, match=r"another network: .* choose that preset"):
        type(run)(tiny(), make_batch, run.objective, run.plan, tmp_path)
    state = tmp_path / "checkpoint" / "state.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | {"format_version": 9}))
    with pytest.raises(ValueError, match=r"format_version 9: this release reads 1"):
        tiny_run.trainer(tmp_path, 1)


def test_an_unknown_optimizer_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"optimizer='adam': .* one of \['adamw', 'muon'\]"):
        tiny_run.trainer(tmp_path, 1, optimizer="adam")


def parts_of_step_zero(places, rows):
    """The batches and draws that the named (part, rank) places see at step 0."""
    for part, rank in places:
        random = generator(0, 0, part, rank)
        x, cond = tiny_run.batch(rows, random)
        yield x, cond, tiny_run.OBJECTIVE.draw(x, random)


def weights_after_one_step(places, rows):
    """By hand: one gradient of all rows at once, jumps gathered from every place."""
    network = tiny_run.network().train()
    seen = list(parts_of_step_zero(places, rows))
    x = torch.cat([x for x, _, _ in seen])
    cond = Conditioning(tokens=torch.cat([c.tokens for _, c, _ in seen]))
    drawn = Draw(**{
        name: torch.cat([getattr(d, name) for _, _, d in seen])
        for name in ("noise", "t", "r", "keep", "guidance")
    })  # fmt: skip

    def predict(z, t, r, cond):
        return network(z, t, r, cond)

    tiny_run.OBJECTIVE.loss(predict, x, cond, drawn)[0].backward()
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    return network.state_dict()


def assert_close(ours, theirs):
    moved = tiny_run.network().state_dict()
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        assert torch.allclose(weight, theirs[name], rtol=1e-4, atol=1e-6), name
    assert any(not torch.allclose(ours[n], moved[n], atol=1e-4) for n in ours)


def test_accumulated_parts_are_one_big_batch(tmp_path, descent):
    run = tiny_run.trainer(tmp_path, 1, accumulation=2, **descent)
    run.run()
    assert_close(run.network.state_dict(), weights_after_one_step([(0, 0), (1, 0)], 4))


@pytest.mark.slow
@pytest.mark.parametrize("memory", [0, 2])
def test_two_processes_train_one_network_on_both_their_data(tmp_path, memory):
    """Also where the second of them has memory for two of its four samples only."""
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = launch(tmp_path, 1, "rank", memory, launcher=launcher)
    assert done.returncode == 0, done.stderr
    ranks = [load_file(tmp_path / f"rank{rank}.safetensors") for rank in range(2)]
    averages = [load_file(tmp_path / f"average{rank}.safetensors") for rank in range(2)]
    for first, second in (ranks, averages):
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert_close(ranks[0], weights_after_one_step([(0, 0), (0, 1)], 4))


def test_a_step_that_is_not_finite_is_skipped_and_logged(tmp_path, caplog):
    calls = []

    def poisoned(size, random):
        x, cond = tiny_run.batch(size, random)
        calls.append(1)
        return (x * float("nan") if len(calls) == 3 else x), cond

    run = tiny_run.trainer(tmp_path, 5, make_batch=poisoned)
    weights = {}

    def remember(progress):
        copies = [p.detach().clone() for p in run.network.parameters()]
        averages = [a.clone() for a in run.average.state().values()]
        weights[progress.step] = copies + averages
        assert (progress.loss == progress.loss) is (progress.step != 3)

    run.run(remember)
    assert all(map(torch.equal, weights[2], weights[3]))
    assert not all(map(torch.equal, weights[3], weights[4]))
    assert all(torch.isfinite(w).all() for w in weights[5])
    assert [r.message for r in caplog.records if r.levelname == "WARNING"] == [
        "step 2: gradient is not finite; the step was skipped"
    ]


def test_losses_are_what_they_were():
    """A refactoring proves with this that it changed nothing; tiny_run.py golden writes it."""
    wanted = json.loads(GOLDEN.read_text())
    found = tiny_run.golden_losses()
    for objective, curves in wanted.items():
        for name, values in curves.items():
            assert found[objective][name] == pytest.approx(values, rel=2e-3, abs=1e-5)


def test_training_learns(tmp_path):
    errors = []
    run = tiny_run.trainer(
        tmp_path, 40, objective=FlowMatching(dropout=0.0), batch_size=16, checkpoint_minutes=60.0,
        learning_rate=5e-3,
    )  # fmt: skip
    run.run(lambda progress: errors.append(progress.error))
    assert sum(errors[-10:]) < 0.6 * sum(errors[:10])


def stages(steps=2, **changes):
    return [
        Stage("flow", FlowMatching(), tiny_run.plan(steps)),
        Stage("jumps", tiny_run.OBJECTIVE, tiny_run.plan(steps, **changes)),
    ]


def test_stages_follow_each_other_and_are_resumed(tmp_path):
    seen = []

    def watch(stage, progress):
        seen.append((stage, progress.step))

    network, done = train_stages(
        tiny_run.network(), tiny_run.batch, stages(), tmp_path, on_progress=watch
    )
    assert done
    assert not network.training
    assert seen == [("flow", 1), ("flow", 2), ("jumps", 1), ("jumps", 2)]
    assert network.config.trained_objective == "average_velocity"
    again, done = train_stages(
        tiny_run.network(9), tiny_run.batch, stages(), tmp_path, on_progress=watch
    )
    assert done
    assert len(seen) == 4  # everything was there
    for name, weight in network.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])


def test_a_stage_starts_from_the_average_of_the_one_before(tmp_path):
    train_stages(tiny_run.network(), tiny_run.batch, stages()[:1], tmp_path / "one")
    average = load_file(tmp_path / "one" / "flow" / "checkpoint" / "average.safetensors")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    frozen = [stages()[0], stages(1, learning_rate=0.0)[1]]
    network, _ = train_stages(tiny_run.network(), tiny_run.batch, frozen, tmp_path / "two")
    for name, weight in network.named_parameters():
        assert torch.allclose(weight, average[name], atol=1e-7)


def test_a_run_that_is_asked_to_stop_ends_unfinished(tmp_path):
    _, done = train_stages(
        tiny_run.network(), tiny_run.batch, stages(3), tmp_path, should_stop=lambda: True
    )
    assert not done
    assert json.loads((tmp_path / "flow" / "checkpoint" / "state.json").read_text())["step"] == 1
    assert not (tmp_path / "jumps").exists()


def tick_ten_seconds(monkeypatch):
    """Every look at the clock finds it ten seconds later: at the start, and after every step."""
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(
        "core.training.trainer.time", SimpleNamespace(monotonic=lambda: next(clock))
    )


def test_a_time_budget_ends_the_whole_schedule_in_time(tmp_path, monkeypatch):
    tick_ten_seconds(monkeypatch)
    run = tiny_run.trainer(
        tmp_path, 1000, minutes=1.0, cooldown=0.5, warmup=0, checkpoint_minutes=60.0
    )
    seen = []
    assert run.run(seen.append)
    assert run.step == 6
    peak = run.plan.learning_rate
    falling = [peak * (1 - math.sqrt((share - 0.5) / 0.5)) for share in (4 / 6, 5 / 6)]
    assert [p.learning_rate for p in seen] == pytest.approx([peak] * 4 + falling)
    assert [p.budget_left_s for p in seen] == [50, 40, 30, 20, 10, 0]


def test_progress_is_even_where_a_budget_cuts_the_first_stage_short(tmp_path, monkeypatch):
    tick_ten_seconds(monkeypatch)
    both = [
        Stage("flow", FlowMatching(), tiny_run.plan(1000, minutes=0.5, checkpoint_minutes=60.0)),
        Stage("jumps", FlowMatching(), tiny_run.plan(500, minutes=0.25, checkpoint_minutes=60.0)),
    ]
    seen = []
    train_stages(
        tiny_run.network(), tiny_run.batch, both, tmp_path, on_progress=lambda _, p: seen.append(p)
    )
    assert [p.steps_before + p.step for p in seen] == [1, 2, 3, 4, 5]
    assert [p.run_share for p in seen] == pytest.approx([2 / 9, 4 / 9, 6 / 9, 8 / 9, 1])
    assert [p.seconds_left + p.later_s for p in seen] == [35, 25, 15, 5, 0]


def test_a_time_budget_is_counted_over_all_sittings(tmp_path, monkeypatch):
    tick_ten_seconds(monkeypatch)
    first = tiny_run.trainer(tmp_path, 1000, minutes=1.0, checkpoint_minutes=60.0)
    assert not first.run(should_stop=lambda: first.step == 4)
    again = tiny_run.trainer(tmp_path, 1000, minutes=1.0, checkpoint_minutes=60.0)
    assert again.run()
    assert again.step == 6


def test_a_time_budget_is_shared_out_to_the_stages():
    both = flow_then_jumps(
        FlowMatching(), tiny_run.OBJECTIVE, steps=300, jump_steps=50, minutes=20.5
    )
    jumps = 50 * (1 + 0.5 + 2 / 3)  # of their steps, those that jump and the guided teacher
    assert [s.plan.minutes for s in both] == pytest.approx(
        [20 * 300 / (300 + jumps), 20 * jumps / (300 + jumps)]
    )
    (flow,) = flow_then_jumps(
        FlowMatching(), tiny_run.OBJECTIVE, steps=300, jump_steps=0, minutes=20.5
    )
    assert flow.plan.minutes == 20


def test_settings_do_not_change_half_way(tmp_path):
    train_stages(tiny_run.network(), tiny_run.batch, stages()[:1], tmp_path)
    other = [s._replace(plan=replace(s.plan, learning_rate=0.5)) for s in stages()[:1]]
    with pytest.raises(ValueError, match=r"learning_rate=0.5 \(was .*give the old ones"):
        train_stages(tiny_run.network(), tiny_run.batch, other, tmp_path)


def test_stages_are_trained_in_their_order_or_not_at_all(tmp_path):
    train_stages(tiny_run.network(), tiny_run.batch, stages()[1:], tmp_path)
    with pytest.raises(ValueError, match="holds the stage jumps and not flow"):
        train_stages(tiny_run.network(), tiny_run.batch, stages(), tmp_path)


def test_a_stage_has_the_time_that_the_one_before_left(tmp_path, monkeypatch):
    tick_ten_seconds(monkeypatch)
    first, second = (stage._replace(plan=replace(stage.plan, minutes=1.0)) for stage in stages())
    many = second._replace(plan=replace(second.plan, steps=1000, checkpoint_minutes=60.0))
    seen = []
    _, done = train_stages(
        tiny_run.network(), tiny_run.batch, [first, many], tmp_path,
        on_progress=lambda stage, progress: seen.append(stage),
    )  # fmt: skip
    assert done
    spent = {name: facts["minutes"] for name, facts in history(tmp_path).items()}
    assert list(spent) == ["flow", "jumps"]
    assert seen.count("flow") == 2
    assert 0 < spent["flow"] < 1 < spent["jumps"]
    assert sum(spent.values()) == pytest.approx(2, abs=0.1)


def test_what_a_run_no_longer_trains_is_not_in_its_history(tmp_path):
    train_stages(tiny_run.network(), tiny_run.batch, stages(), tmp_path)
    train_stages(tiny_run.network(), tiny_run.batch, stages()[:1], tmp_path)
    assert list(history(tmp_path)) == ["flow"]
