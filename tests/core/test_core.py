"""The names core offers are the ones its modules hold, and its example runs."""

import ast
import doctest
import inspect
from importlib import import_module
from pathlib import Path

import pytest

import core

MODULES = sorted(Path(core.__file__).parent.rglob("*.py"))


def test_every_offered_name_is_its_modules_own():
    assert set(core.__all__) == set(core.HOMES)
    for name, home in core.HOMES.items():
        assert getattr(core, name) is getattr(import_module(f"core.{home}"), name)
    with pytest.raises(AttributeError, match="no attribute 'sampler_of_dreams'"):
        core.sampler_of_dreams  # noqa: B018  the lookup is the test


def test_the_example_runs():
    failures, attempted = doctest.testmod(core)
    assert attempted > 4
    assert failures == 0


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_rooms_stay_small(path):
    source = path.read_text()
    assert len(source.splitlines()) <= 300
    tree = ast.parse(source)
    assert ast.get_docstring(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60 or is_constructor_of_the_network(node)


def is_constructor_of_the_network(node):
    """Half of it is the list of settings diffusers keeps in config.json."""
    return node.name == "__init__" and "block_out_channels" in {
        a.arg for a in node.args.args
    } and node.end_lineno - node.lineno < 90  # fmt: skip


def test_a_sampler_reads_in_one_look():
    from core.sampling.samplers import SAMPLERS

    for sampler in SAMPLERS.values():
        assert len(inspect.getsource(inspect.unwrap(sampler.walk)).splitlines()) <= 36
