"""The experiments' own parts: one trunk under two domains, regression, budgets, verdicts."""

import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch

from core.conditioning import Conditioning
from core.seeds import generator
from core.training.optimizers import muon
from tests.benchmarks.arms import averages, networks, verdicts
from tests.benchmarks.arms.__main__ import train, write_page
from tests.benchmarks.arms.arm import ARMS, MRI, VIDEO, mri, video
from tests.benchmarks.arms.data import Data
from tests.benchmarks.arms.measures import (
    SAME,
    Noise,
    difference,
    gains,
    levels,
    noise,
    runs,
    strangers,
)
from tests.benchmarks.arms.training import RESULT, Laboratory, claimed

SMALL = (16, 32)


def small(form):
    return networks.network(replace(form, widths=SMALL), seed=1)


def clip(batch=2):
    tokens = torch.randn((batch, 5, 384), generator=generator(1))
    x = torch.randn((batch, 3, 4, 16, 16), generator=generator(0))
    return x, Conditioning(tokens=tokens, spacing=torch.tensor([[0.1, 1.0, 1.0]]))


def patch(batch=2):
    x = torch.randn((batch, 1, 8, 16, 16), generator=generator(2))
    beside = torch.randn((batch, 2, 8, 16, 16), generator=generator(3))
    return x, Conditioning(concat=beside, spacing=torch.ones(1, 3))


def one_step(model, batches):
    optimizer = muon(model, lr=1e-2)
    goals = {3: networks.objective(video()), 1: networks.objective(mri("x"))}
    objective = networks.Both(by_channels=goals)
    for step in range(2):  # the first only opens the last layer, which begins at zero
        for x, cond in batches:
            drawn = objective.draw(x, generator(5, step))
            objective.loss(model, x, cond, drawn)[0].backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return optimizer


def weights_of(network, *, own):
    """How many weights belong to the domain, or to the trunk."""
    named = network.named_parameters()
    return sum(p.numel() for k, p in named if (k.split(".")[0] in networks.OWN) == own)


def test_every_arm_has_a_name_of_its_own_and_begins_with_one_before_it():
    names = [arm.name for arm in ARMS]
    assert len(set(names)) == len(names)
    for place, arm in enumerate(ARMS):
        assert not arm.begins_with or arm.begins_with in names[:place]
    arm = mri("x")
    changed = [mri("x", 5), mri("x", seed=1), mri("x", patch=(4, 4, 4)), mri("x", units=2.0)]
    folders = {a.folder(60.0) for a in (arm, *changed)} | {arm.folder(30.0)}
    assert len(folders) == len(changed) + 2


def test_what_a_step_costs_does_not_depend_on_what_is_minimized():
    assert video(objective={"power": 1.0}).forms == (VIDEO,)
    assert mri("x", 1, seed=3, begins_with="video").forms == (MRI,)
    assert video(batch=32).forms[0].key != VIDEO.key


def test_two_domains_share_a_trunk_and_nothing_else():
    nets = [small(VIDEO), small(MRI)]
    model = networks.TwoDomains(nets)
    before = {k: v.clone() for k, v in nets[1].state_dict().items()}
    optimizer = one_step(model, [clip()])
    changed = {k for k, v in nets[1].state_dict().items() if not torch.equal(v, before[k])}
    assert any(k.startswith("mid_block") for k in changed)
    assert not [k for k in changed if k.split(".")[0] in networks.OWN]
    outer = {id(p) for p in optimizer.param_groups[1]["params"]}
    assert {id(n.stem.mix.weight) for n in nets} <= outer
    assert {id(n.head.mix.weight) for n in nets} <= outer
    weights = [p.data_ptr() for p in model.state_dict().values()]
    assert len(set(weights)) == len(weights)  # so that a checkpoint holds each once
    own = sum(weights_of(net, own=True) for net in nets)
    trunk = weights_of(nets[0], own=False)
    assert sum(p.numel() for p in model.parameters()) == own + trunk


def test_two_domains_answer_as_each_network_alone():
    nets = [small(VIDEO), small(MRI)]
    model = networks.TwoDomains(nets)
    one_step(model, [clip(), patch()])
    t = torch.full((2,), 0.7)
    for net, (x, cond) in zip(nets, (clip(), patch()), strict=True):
        alone = small(VIDEO if x.shape[1] == 3 else MRI)
        alone.load_state_dict(net.state_dict())
        assert alone(x, t, t, cond).abs().max() > 0
        assert torch.equal(model(x, t, t, cond), alone(x, t, t, cond))


def test_a_trunk_is_taken_without_what_belongs_to_a_domain():
    trained, fresh = small(VIDEO), small(MRI)
    one_step(trained, [clip()])
    before = {k: v.clone() for k, v in fresh.state_dict().items()}
    networks.take_trunk(fresh, trained.state_dict())
    for name, value in fresh.state_dict().items():
        own = name.split(".")[0] in networks.OWN
        assert torch.equal(value, before[name] if own else trained.state_dict()[name])
    with pytest.raises(RuntimeError, match="size mismatch"):
        networks.take_trunk(fresh, networks.network(VIDEO).state_dict())


def test_a_noisy_sample_enters_as_what_of_it_is_signal():
    network = small(MRI)
    x, cond = patch()
    one_step(network, [(x, cond)])
    whole = small(replace(MRI, whole=True))
    whole.load_state_dict(network.state_dict())
    guesses = {}
    for name, net in (("gated", network), ("whole", whole)):
        for level in (1.0, 0.5):
            t = torch.full((2,), level)
            guesses[name, level] = [z - level * net(z, t, t, cond) for z in (x, x.flip(0))]
    gated = guesses["gated", 1.0]
    assert gated[0].std() > 0
    assert torch.allclose(gated[0], gated[1], atol=1e-5)  # it is all noise there
    assert not torch.allclose(*guesses["whole", 1.0], atol=1e-3)
    for ours, theirs in zip(guesses["gated", 0.5], guesses["whole", 0.5], strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)  # half and half, z is that guess itself


def test_regression_is_the_squared_error_of_an_answer_that_never_sees_noise():
    network = networks.network(replace(MRI, widths=SMALL), regression=True)
    objective = networks.objective(mri("x", regression=True, objective={"power": 0.0}))
    x, cond = patch()
    optimizer = muon(network, lr=1e-2)
    objective.loss(network, x, cond, objective.draw(x, generator(0)))[0].backward()
    optimizer.step()
    loss, error = objective.loss(network, x, cond, objective.draw(x, generator(1)))
    answers = []
    for level, z in ((1.0, torch.zeros_like(x)), (1.0, torch.randn_like(x)), (0.4, x)):
        t = torch.full((2,), level)
        answers.append(z - level * network(z, t, t, cond))
    assert answers[0].std() > 0
    assert torch.allclose(answers[0], answers[1], atol=1e-5)
    assert torch.allclose(answers[0], answers[2], atol=1e-5)
    assert loss.item() == pytest.approx((answers[0] - x).square().mean().item(), rel=1e-4)
    assert error.mean().item() == pytest.approx(loss.item(), rel=1e-4)


def result(values, seed=0):
    heads = [{"scores": {"one step": {"psnr": 30.0 + v}, "back-projection": {"psnr": 30.0}}}
             for v in values]  # fmt: skip
    return {"mri": {"heads": heads}, "arm": {"regression": False, "seed": seed}}


def test_a_difference_must_be_beyond_heads_and_seeds():
    ours, theirs = [result([1.0, 1.1, 1.2])], [result([0.8, 0.9, 1.01])]
    assert difference(ours, theirs, gains(), Noise(0.01, 30)).verdict == "better"
    assert difference(theirs, ours, gains(), Noise(0.01, 30)).verdict == "worse"
    assert difference(ours, theirs, gains(), Noise(0.1, 30)).verdict == SAME  # as runs differ
    assert difference(ours, theirs, gains(), Noise(0.05, 30)).verdict == "better"
    assert difference(ours, theirs, gains(), Noise(0.05, 1)).verdict == SAME  # hardly known
    assert difference(ours, theirs, gains(), None).verdict == "better, by one seed"
    wide = [result([0.1, 1.9, 1.0])]
    assert difference(ours, wide, gains(), Noise(0.0, 1)).verdict == SAME  # as heads differ
    told = difference([*ours, *wide], theirs, gains(), Noise(1.0, 30))
    assert told.mean == pytest.approx(1.05 - 2.71 / 3)
    assert told.reach == pytest.approx(2.042 * 1.5**0.5, rel=1e-3)  # two seeds less one


def test_chance_is_known_from_all_arms_of_several_seeds():
    names = ("mri-48", "mri-48-seed-1", "mri-48-seed-2", "mri-5", "mri-5-seed-1", "mri-1")
    values = (1.0, 2.0, 3.0, 10.0, 12.0, 7.0)
    results = {n: result([v], i) for i, (n, v) in enumerate(zip(names, values, strict=True))}
    assert [r["arm"]["seed"] for r in runs(results, "mri-48")] == [0, 1, 2]
    found = noise(results, "mri", gains())
    assert found.freedom == 3
    assert found.deviation == pytest.approx(((2 * 1.0 + 1 * 2.0) / 3) ** 0.5)
    assert noise(results, "video", gains()) is None
    results["mri-5"]["arm"]["regression"] = True
    assert noise(results, "mri", gains()).freedom == 2


def test_levels_count_alike_however_small_their_errors():
    found = {"video": {"errors": {"data": [1.0, 3.0], "1.0": [1.0, 0.3], "0.5": [0.01, 0.003]}}}
    assert levels("video")(found) == pytest.approx([10.0, 20.0])
    found["video"]["of"] = [7, 7]  # two items of one head are one value
    assert levels("video")(found) == pytest.approx([15.0])


def judged(data, domain="mri"):
    return {domain: {"errors": {"data": data, "1.0": data}}}


def test_arms_that_were_judged_on_other_items_are_found():
    found = {"video": judged([1.0], "video"), "mri-48": judged([2.0]), "mri-5": judged([3.0])}
    found["joint"] = judged([2.0]) | judged([1.0], "video")
    assert strangers(found, {"video": "video", "mri": "mri-48"}) == ["mri-5"]


def test_what_follows_is_said_as_the_numbers_have_it():
    def arm(value, domain="mri"):
        values = [10 ** (-(value + 0.01 * i) / 10) for i in range(5)]
        gain = result([value + 0.01 * i for i in range(5)])
        told = {domain: {"errors": {"data": [1.0] * 5, "1.0": values}}}
        told[domain] |= gain["mri"]
        return told

    spread = dict.fromkeys(("video", "mri", "gain", "top"), Noise(0.1, 10))
    results = {"mri-48": arm(2.0), "video-then-mri-48": arm(3.0), "regression-48": arm(3.0)}
    assert "no verdict" in verdicts.shared(results, spread)  # the first had twice the time
    results["mri-48-twice"] = arm(2.9)
    text = verdicts.shared(results, spread)
    assert "neither helps nor harms" in text
    assert "+1.00 (+1.00 to +1.00) dB, **better**" in text
    results["joint-48"] = arm(1.0)
    assert "separate models are the better arrangement" in verdicts.shared(results, spread)
    results["mri-48-twice"] = arm(2.0)
    assert "helps in places and harms in others" in verdicts.shared(results, spread)
    results = {"mri-48": arm(2.0), "video-then-mri-48": arm(1.0)}
    lost = verdicts.shared(results, spread)
    assert "separate models are the better" in lost  # although the other had more time
    assert "single runs" not in lost
    assert "single runs" in verdicts.shared(results, dict.fromkeys(spread))
    results["regression-48"] = arm(3.0)
    told = verdicts.regression(results, spread)
    assert "is better on heads (+1.00" in told
    assert "and better on patches at t = 1 (+1.00" in told
    assert "costs time" in told
    spread["gain"] = Noise(1.0, 10)
    assert "is inside the noise on heads" in verdicts.regression(results, spread)
    results["regression-48"] = arm(1.0)
    assert "costs time" not in verdicts.regression(results, spread)


@pytest.mark.parametrize("std", averages.STDS)
def test_a_profile_is_as_wide_as_its_name_says(std):
    gamma = averages.exponent(std)
    assert ((gamma + 1) / (gamma + 3)) ** 0.5 / (gamma + 2) == pytest.approx(std)


def test_an_average_counts_the_weights_of_a_step_by_its_power(tmp_path, monkeypatch):
    monkeypatch.setattr(averages, "EVERY", 2)
    line, kept = torch.nn.Linear(1, 1, bias=False), averages.Kept(tmp_path / "kept", 6)
    for step in range(1, 7):
        averages.take(line, {"weight": torch.tensor([[float(step)]])})
        kept.keep(line, step)
    for name, weights in kept.averages():
        counts = np.array([2.0, 4.0, 6.0]) ** averages.exponent(float(name))
        mean = (counts * [2, 4, 6]).sum() / counts.sum()
        assert weights["weight"].item() == pytest.approx(mean)
    kept.forget()
    assert not list(tmp_path.iterdir())


def test_another_average_pays_where_it_is_better_by_enough():
    def result(gap):
        errors = {"data": [1.0, 1.0], "1.0": [0.1, 0.2]}
        better = {"data": [1.0, 1.0], "1.0": [0.1 / 10 ** (gap / 10), 0.2 / 10 ** (gap / 10)]}
        other = {"0.05": {"errors": better}, averages.LAST: {"errors": errors}}
        told = {"errors": errors, "averages": other}
        return {"video-averages": {"video": told}}

    judged = verdicts.averages(result(0.2))
    assert judged["clips"]["0.05"].mean == pytest.approx(0.2)
    assert judged["clips"][averages.LAST].mean == 0
    assert "it pays on clips" in verdicts.averages_pay(judged)
    told = verdicts.averages_pay(verdicts.averages(result(0.05)))
    assert "at best +0.05" in told
    assert "it does not pay" in told


def test_an_arm_belongs_to_one_process_at_a_time(tmp_path):
    with claimed(tmp_path / "arm") as first, claimed(tmp_path / "arm") as second:
        assert (first, second) == (True, False)
    with claimed(tmp_path / "arm") as again:
        assert again


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """Six subjects of smooth random blobs, the last of which is for validation."""
    folder = tmp_path_factory.mktemp("heads")
    for subject in range(1, 7):
        dice = np.random.default_rng(subject)
        coarse = torch.from_numpy(dice.random((1, 1, 8, 8, 8), dtype=np.float32))
        data = torch.nn.functional.interpolate(coarse, size=(48, 48, 48), mode="trilinear")
        place = folder / f"sub-{subject:02d}" / "anat"
        place.mkdir(parents=True)
        image = nibabel.Nifti1Image(255 * data[0, 0].numpy(), np.eye(4))
        nibabel.save(image, place / f"sub-{subject:02d}_T1w.nii.gz")
    return folder


@pytest.mark.slow
def test_arms_are_trained_once_and_told_on_a_page(heads, tmp_path, monkeypatch):
    data = Data(heads, items=2, prompts=1, most_heads=1, box=(32, 32, 32), scenes=8)
    lab = Laboratory(data, tmp_path / "state", 1.0, steps=2)
    names = ["video", "mri-48", "video-then-mri-5", "regression-48", "joint-48", "mri-power-0"]
    names.append("mri-48-averages")
    arms = [arm for arm in ARMS if arm.name in names]
    train(lab, arms, tmp_path)
    text = (tmp_path / "experiments.md").read_text()
    assert all(f"`{name}`" in text for name in names)
    missing = text.partition("Planned and not measured: ")[2]
    assert "`mri-5`" in missing
    assert "`mri-48`" not in missing
    for picture in ("heads", "mri-curves", "video-curves", "detail"):
        assert (tmp_path / f"pictures/experiments/{picture}.png").stat().st_size > 1000
    assert sorted(set(data.heads_of_patches)) == [0]
    kept = json.loads((tmp_path / "experiments.json").read_text())
    assert kept["joint-48"]["steps"] == {"video": 2, "mri": 2}
    assert kept["mri-48"]["curve"][-1]["step"] == 2
    assert kept["mri-48-averages"]["mri"]["errors"] == kept["mri-48"]["mri"]["errors"]
    judged = kept["mri-48-averages"]["mri"]["averages"]
    assert judged.keys() == {averages.LAST, *map(str, averages.STDS)}
    assert judged[averages.LAST]["errors"] == judged["0.2"]["errors"]  # two steps, one kept
    assert len(judged["0.2"]["heads"]) == 1
    assert not list(tmp_path.rglob("kept"))

    monkeypatch.setattr(Laboratory, "run", lambda self, arm: pytest.fail("trained again"))
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob(RESULT)}
    train(lab, arms, tmp_path)
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob(RESULT)}
    for path in before:  # the page is remade of what it was made of
        path.unlink()
    assert write_page(lab, tmp_path)
    assert (tmp_path / "experiments.md").read_text() == text


@pytest.mark.slow
def test_looking_at_an_arm_changes_nothing_and_a_cut_one_goes_on(heads, tmp_path, monkeypatch):
    data = Data(heads, items=2, prompts=1, most_heads=1, box=(32, 32, 32), scenes=8)
    arm = replace(mri("x", 5), forms=(replace(MRI, widths=SMALL),))
    whole = Laboratory(data, tmp_path / "whole", 1.0, steps=4).run(arm)

    monkeypatch.setattr("tests.benchmarks.arms.training.LOOKS", (1.0,))
    monkeypatch.setattr("core.training.trainer.Trainer._done", cut(at=2))
    lab = Laboratory(data, tmp_path / "cut", 1.0, steps=4)
    with pytest.raises(KeyboardInterrupt):
        lab.run(arm)
    assert lab.result(arm) is None
    monkeypatch.undo()
    again = lab.run(arm)
    assert again["mri"]["errors"] == whole["mri"]["errors"]


def cut(at):
    """The check after each step of a run that is killed once a checkpoint holds ``at`` steps."""

    def done(trainer):
        if trainer.step == at:
            trainer.save()
            raise KeyboardInterrupt
        return trainer.step >= trainer.plan.steps

    return done


def test_a_page_needs_the_references(tmp_path, capsys):
    lab = Laboratory(Data(tmp_path), tmp_path / "state", 60.0)
    assert not write_page(lab, tmp_path)
    assert "must be trained first" in capsys.readouterr().err
    assert not list(tmp_path.glob("experiments*"))
