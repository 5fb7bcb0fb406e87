"""Every distribution that an installation brings is pinned in the constraints, and no other."""

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
NAME = "lamina"
TOOLS = {"pip", "setuptools", "wheel"}  # `pip freeze` leaves them out


def pins():
    """Name to version, as the constraints have it."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [line.partition("==") for line in lines if line and not line.startswith("#")]
    assert all(equals for _, equals, _ in found), "only exact versions"
    return {
        canonicalize_name(name): version.partition(";")[0].strip() for name, _, version in found
    }


def needed():
    """Every installed distribution that the project and its extra `dev` ask for, however far."""
    found, waiting = set(), [(NAME, ("dev",))]
    while waiting:
        name, extras = waiting.pop()
        for text in distribution(name).requires or ():
            wanted = Requirement(text)
            asked = [{"extra": extra} for extra in extras] or [{"extra": ""}]
            if wanted.marker and not any(wanted.marker.evaluate(way) for way in asked):
                continue
            key = (canonicalize_name(wanted.name), tuple(sorted(wanted.extras)))
            if key not in found:
                found.add(key)
                waiting.append(key)
    return {name for name, _ in found} - TOOLS - {NAME}


def test_what_is_installed_is_what_is_pinned():
    known, wrong = pins(), []
    for name in sorted(needed()):
        try:
            installed = Version(distribution(name).version).public
        except PackageNotFoundError:
            wrong.append(f"{name} is not installed")
            continue
        if known.get(name) != installed:
            wrong.append(f"{name} {installed} is installed, {known.get(name)} is pinned")
    assert not wrong


def test_a_requirement_never_points_outside_the_index():
    text = (ROOT / "pyproject.toml").read_text() + (ROOT / "constraints.txt").read_text()
    assert not re.search(r"@ *(git|https?|file)|^ *--?[a-z]", text, re.MULTILINE)
