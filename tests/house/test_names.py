"""Names that would shadow or be shadowed, and names that say nothing."""

import importlib.metadata
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = ("core", "video", "medical", "lamina", "flows")
SAYS_NOTHING = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}


@pytest.mark.parametrize("floor", FLOORS)
def test_no_other_distribution_brings_our_package_names(floor):
    assert set(importlib.metadata.packages_distributions().get(floor, [])) <= {"lamina"}
    assert Path(find_spec(floor).origin) == ROOT / floor / "__init__.py"


def test_no_flow_file_shares_its_name_with_a_package():
    """Prefect puts flows/ first on sys.path for path entrypoints, where it would shadow."""
    taken = set(importlib.metadata.packages_distributions()) | sys.stdlib_module_names
    files = {path.stem for path in (ROOT / "flows").glob("*.py")} - {"__init__"}
    assert not files & (taken | set(FLOORS))


def test_each_deployment_is_a_flow_is_a_file():
    import yaml

    declared = yaml.safe_load((ROOT / "infra/prefect.yaml").read_text(encoding="utf-8"))
    for deployment in declared["deployments"]:
        name = deployment["name"]
        assert deployment["entrypoint"] == f"flows.{name}.{name}"
        assert (ROOT / "flows" / f"{name}.py").is_file()


def test_tests_are_not_packages():
    """A tests/core/__init__.py would take the name of core."""
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_no_module_is_a_drawer_for_everything():
    stems = {p.stem.strip("_") for floor in FLOORS for p in (ROOT / floor).rglob("*.py")}
    assert not stems & SAYS_NOTHING


def test_the_top_level_holds_only_what_such_a_repository_carries():
    import subprocess

    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    if not listed:
        pytest.skip("not a git checkout")
    folders = {path.partition("/")[0] for path in listed if "/" in path}
    assert folders <= {*FLOORS, "tests", "infra", "docs", ".ci"}
