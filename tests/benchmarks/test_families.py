"""The families' page: equal arithmetic, one last layer for all, runs that go on, verdicts."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from core.families.family import OneLevel
from core.families.table import FAMILIES
from tests.benchmarks.arms.data import Data
from tests.benchmarks.families import __main__ as command
from tests.benchmarks.families import measures, plots
from tests.benchmarks.families.arm import ARMS, Arm
from tests.benchmarks.families.networks import network
from tests.benchmarks.families.shipped import shipped
from tests.benchmarks.families.training import Laboratory

WORK = 1200


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: f"{arm.domain} {arm.name}")
def test_every_arm_takes_the_same_arithmetic(arm):
    stages = arm.stages(WORK)
    spent = sum(stage.plan.steps * stage.objective.cost for stage in stages)
    assert spent == pytest.approx(WORK, rel=0.03)
    assert {stage.plan.seed for stage in stages} == {arm.seed}


def test_every_family_is_there_on_both_domains():
    for domain in ("video", "mri"):
        arms = [arm for arm in ARMS if arm.domain == domain]
        assert {*FAMILIES, "distillation"} == {arm.family for arm in arms}
        assert {"unet", "dit"} == {arm.network for arm in arms}
        assert {"vp", "ve"} == {arm.settings.get("sde", "vp") for arm in arms}
    folders = {arm.folder(WORK) for arm in ARMS} | {ARMS[0].folder(WORK + 1)}
    assert len(folders) == len(ARMS) + 1


def test_arms_are_taught_through_the_sample_but_for_the_one_that_is_not():
    for arm in ARMS:
        if arm.domain == "mri" and arm.is_one_level:
            lesson = arm.lesson().taught_by(network(arm))
            assert isinstance(lesson, OneLevel)
            assert lesson.through_sample is not arm.own_answer, arm.name


def test_a_transformer_has_the_arithmetic_of_the_u_net():
    from torch.utils.flop_counter import FlopCounterMode

    def flops(kind):
        net = network(Arm(name="x", domain="mri", family="flow_matching", network=kind))
        z, t = torch.zeros(1, 1, 16, 32, 32), torch.ones(1)
        cond = data_of(z)
        with FlopCounterMode(display=False) as counter:
            net(z, t, t, cond)
        return counter.get_total_flops()

    assert flops("dit") == pytest.approx(flops("unet"), rel=0.05)


def data_of(z):
    from core.conditioning import Conditioning

    return Conditioning(concat=torch.zeros(len(z), 2, *z.shape[2:]), spacing=torch.ones(1, 3))


def drawn_by(errors, *, spread=1.0):
    """A result of patches whose error, by evaluations, is given."""
    rows = {
        str(e): {"one": [v] * 4, "mean": [v] * 4, "spread": [spread * v] * 4}
        for e, v in zip((1, 2, 4, 8, 16, 32), errors, strict=True)
    }
    levels = {key: [0.1, 0.11, 0.12, 0.1] for key in ("0.9", "0.75", "0.5", "0.25")}
    return {
        "arm": {"domain": "mri"},
        "drawn": {**rows, "nothing": [1.0] * 4},
        "errors": {"data": [1.0] * 4, **levels},
    }


def test_what_is_said_follows_from_the_numbers():
    result = drawn_by([1.0, 0.5, 0.101, 0.1, 0.1, 0.2], spread=0.75)
    assert measures.gain(result, 8) == pytest.approx(10.0)
    assert (measures.best(result), measures.enough(result)) == (8, 4)
    assert measures.calibration(result, 8) == pytest.approx(1.0)  # (1 + 1/3) * 0.75 = 1
    worse = drawn_by([1.0] * 6)
    worse["errors"]["0.5"] = [0.2, 0.22, 0.26, 0.2]
    assert measures.beside(worse, result, None).word == "worse"
    assert measures.beside(worse, result, 3.0).word == "no different"
    assert measures.drawn_beside(result, worse, None).word == "better"
    fewer = drawn_by([1.0] * 6)
    fewer["drawn"]["1"]["mean"] = [0.5, 1.0, 0.5, 1.0]  # best on the even patches alone
    fewer["drawn"]["2"]["mean"] = [1.0, 0.5, 1.0, 0.5]  # and on the odd ones
    assert measures.drawn_beside(fewer, worse, None).mean == 0  # not chosen where it is judged
    one = worse | {"drawn": {e: _first(found) for e, found in worse["drawn"].items()}}
    assert measures.drawn_beside(one, one, None).word == "no different"


def test_the_page_holds_what_the_shipped_models_lose_by_fewer_steps(tmp_path):
    assert shipped(tmp_path / "results.json") == ""
    docs = Path(__file__).parents[2] / "docs"
    told = shipped(docs / "results.json")
    assert "| 1 step | 2 steps | 4 steps | 8 steps | 16 steps | 32 steps |" in told
    assert f"\n{told}\n## Every run" in (docs / "families.md").read_text()


def _first(found):
    return found[:1] if isinstance(found, list) else {k: v[:1] for k, v in found.items()}


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """Six subjects of noise, the last of which is for validation."""
    folder = tmp_path_factory.mktemp("heads")
    for subject in range(1, 7):
        data = np.random.default_rng(subject).random((40, 40, 40), dtype=np.float32)
        place = folder / f"sub-{subject:02d}" / "anat"
        place.mkdir(parents=True)
        image = nibabel.Nifti1Image(255 * data, np.eye(4))
        nibabel.save(image, place / f"sub-{subject:02d}_T1w.nii.gz")
    return folder


@pytest.mark.slow
def test_arms_are_trained_once_and_told_on_a_page(heads, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.benchmarks.families.scores.EVALUATIONS", (1, 2, 4, 8, 16, 32))
    monkeypatch.setattr("tests.benchmarks.families.scores.PATCHES", 2)
    lab = Laboratory(
        Data(heads, items=2, prompts=2, most_heads=1, scenes=8),
        tmp_path / "state",
        {"video": 3, "mri": 4},
        heads=2,
    )
    chosen = [a for a in ARMS if a.name in {"flow_matching", "ddpm", "average_velocity"}]
    for arm in chosen:
        assert lab.run(arm)
    assert command.write_page(lab, tmp_path, {})
    text = (tmp_path / "families.md").read_text()
    assert "**3 steps of flow matching on clips and 4 on heads**,\nwhere the command" in text
    assert all(f"- **{arm.name}**" in text for arm in chosen)
    assert "video edm" in text.partition("Planned and not measured: ")[2]
    for word in ("clips", "heads"):
        for kind in ("curves", "losses", "drawn"):
            assert (tmp_path / f"pictures/families/{word}-{kind}.png").stat().st_size > 1000
    kept = json.loads((tmp_path / "families.json").read_text())
    assert kept["work"] == {"video": 3, "mri": 4}
    assert list(kept["arms"]["mri ddpm"]["drawn"]) == ["1", "2", "4", "8", "16", "32", "nothing"]

    monkeypatch.setattr(Laboratory, "_run", lambda *_: pytest.fail("trained again"))
    assert all(lab.run(arm) for arm in chosen)
    assert command.write_page(lab, tmp_path, {})
    assert (tmp_path / "families.md").read_text() == text

    elsewhere = Laboratory(lab.data, tmp_path / "elsewhere", lab.work, heads=2)
    before = command.published(tmp_path / "families.json", lab.work)
    assert set(before) == {command.name(arm) for arm in chosen}
    assert command.write_page(elsewhere, tmp_path, before)
    assert json.loads((tmp_path / "families.json").read_text()) == kept
    assert command.place(elsewhere, tmp_path, before) == tmp_path
    assert command.place(elsewhere, tmp_path, {}) == elsewhere.state / "docs"
    other = command.published(tmp_path / "families.json", {"video": 3, "mri": 5})
    assert set(other) == {key for key in before if key.startswith("video")}


def test_each_column_of_what_was_drawn_says_its_evaluations(tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(
        plots, "_save", lambda figure, path: titles.extend(a.get_title() for a in figure.axes)
    )
    pictures = {f"{column} 0": np.zeros((4, 4, 3)) for column in plots.SHOWN}
    plots.drawn(tmp_path / "x.png", {"one": pictures, "other": pictures}, 0, clips=True)
    count = len(plots.SHOWN)
    assert titles == [str(e) for e in plots.SHOWN] + [""] * count
