"""Which sampler walks a network where nobody asked for another, and from where."""

from typing import get_args

import pytest
import torch

from core.families.names import FamilyName
from core.families.table import FAMILIES
from core.families.walking import reachable, usual_walk
from core.sampling.samplers import flow_map
from core.sampling.schedules import linear, shifted
from core.training.plan import Plan
from core.training.stages import HALVINGS, Stage, taught


def of_family(tiny, name):
    network = tiny()
    network.register_to_config(trained_objective=name)
    return network


def test_forms_name_the_families_of_the_table():
    assert get_args(FamilyName) == ("usual", *FAMILIES)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_usual_walk_goes_from_noise_to_data_and_follows_from_the_seed(name, tiny, gaussian):
    network = of_family(tiny, name)
    z = torch.randn(1, 1, 2, 4, 4, dtype=torch.float64)
    levels = reachable(network, shifted(4, shift=3.0))
    assert levels[0] == FAMILIES[name].highest
    once, again = (usual_walk(network, 3)(gaussian.denoise, z, levels) for _ in range(2))
    assert torch.equal(once, again)
    other = usual_walk(network, 4)(gaussian.denoise, z, levels)
    assert torch.equal(once, other) == (FAMILIES[name].sampler != "multistep")


def test_levels_that_can_be_reached_stay_as_they_are(tiny):
    assert torch.equal(reachable(of_family(tiny, "edm"), linear(4)), linear(4))
    fine = reachable(of_family(tiny, "ddpm"), linear(4000))  # four lie above 0.999
    assert (fine.diff() < 0).all()
    assert 3996 <= len(fine) <= 3998


def test_the_shipped_families_are_walked_as_ever(tiny):
    for name in ("flow_matching", "average_velocity"):
        assert usual_walk(of_family(tiny, name), 0) is flow_map


def test_stages_of_a_family():
    plan = {"steps": 60, "batch_size": 2}
    usual = [Stage("flow", FAMILIES["flow_matching"].teach(), Plan(**plan))]
    assert taught("usual", lambda: usual, **plan) is usual
    (one,) = taught("edm", lambda: usual, **plan)
    assert (one.objective.name, one.plan.steps) == ("edm", 60)
    halved = taught("consistency", lambda: usual, minutes=6.0, **plan)
    assert [stage.objective.gap for stage in halved] == [0.5**k for k in range(HALVINGS)]
    assert sum(stage.plan.steps for stage in halved) == 60
    assert sum(stage.plan.minutes for stage in halved) == pytest.approx(6)
