"""Tiny engines, each made once, and a state folder of one's own."""

import pytest
import torch
from tiny_engines import save_engine


@pytest.fixture(scope="session")
def shelf(tmp_path_factory):
    """A folder with engines; ``made(name)`` adds one the first time."""
    return tmp_path_factory.mktemp("engines")


@pytest.fixture
def made(shelf, tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LAMINA_ENGINES", str(shelf))

    def folder(name):
        if not (shelf / name).is_dir():
            state = torch.get_rng_state()
            save_engine(name, shelf)
            torch.set_rng_state(state)
        return shelf / name

    return folder
