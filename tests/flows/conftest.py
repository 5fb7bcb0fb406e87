"""Tiny models with random weights, and a state folder of one's own."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from stores import cable, host, server, team
from waiting import until

from core.models.checkpoints import save_model
from flows.stack.api import Server
from medical.training.presets import tiny as tiny_mri
from video.training.presets import tiny as tiny_video

__all__ = ["cable", "host", "server", "team"]

STACK_PATIENCE_S = 400.0
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-quic",
    "--enable-unsafe-swiftshader",
    "--use-angle=swiftshader",
]


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models ``tiny-video`` and ``tiny-mri``."""
    shelf = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    for kind, make in {"video": tiny_video, "mri": tiny_mri}.items():
        record = {"name": f"tiny-{kind}", "kind": kind, "objective": "average velocity"}
        save_model(shelf / f"tiny-{kind}", make(), record | {"guidance_trained_in": True})
    return shelf


@pytest.fixture
def all_free(stack: Any, tmp_path: Path) -> Iterator[None]:
    """Afterwards both GPUs of a module's stack take a run, at once, and nothing is under way."""
    from stacks import check_all_free

    yield
    check_all_free(stack, tmp_path)


@pytest.fixture
def disk_of(places: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Path]]:
    """Put the outputs on a disk of so many megabytes."""
    disk = places / "disk"

    def mount(megabytes: int) -> Path:
        disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(disk)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("this machine lets nobody mount a small disk")
        monkeypatch.setenv("LAMINA_OUTPUTS", str(disk))
        return disk

    yield mount
    if disk.is_mount():
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture(scope="session")
def encoder() -> Any:
    """The text encoder, which takes seconds to read."""
    from video.engines.text import TextEncoder

    return TextEncoder()


@pytest.fixture
def encoder_read_once(encoder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards take the encoder that is read already."""
    monkeypatch.setattr("video.engines.own_engine.encoder", lambda: encoder)


@pytest.fixture
def places(tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point every place at ``tmp_path`` and the tiny models; the working folder, too."""
    for name in [name for name in os.environ if name.startswith("LAMINA_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LAMINA_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("LAMINA_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("LAMINA_MODELS", str(tiny_models))
    monkeypatch.setenv("LAMINA_DEVICE", "cpu")
    monkeypatch.setenv("LAMINA_PORT", "4200")
    monkeypatch.setenv("LAMINA_C2PA", "off")  # files stay the same bytes; see jobs/test_signing.py
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def world_model(places, monkeypatch):
    """The name of a tiny model whose record says that it knows only the procedural world."""
    record = {"name": "tiny-world", "kind": "video", "objective": "average velocity"}
    record |= {"guidance_trained_in": True, "training": {"request": {"clips": ""}}}
    save_model(places / "shelf" / "tiny-world", tiny_video(), record)
    shelves = os.environ["LAMINA_MODELS"], str(places / "shelf")
    monkeypatch.setenv("LAMINA_MODELS", os.pathsep.join(shelves))
    return "tiny-world"


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest,
    tiny_models: Path,
    tmp_path_factory: pytest.TempPathFactory,
    database: Callable[[], dict[str, str]],
) -> Iterator[tuple[Path, Server]]:
    """A real stack of the module's own, in a process of its own: its folder and its server.

    A module may set further variables in ``PLACES``.
    """
    folder = tmp_path_factory.mktemp("stack")
    environment = {
        **os.environ,
        "LAMINA_HOME": str(folder / "state"),
        "LAMINA_OUTPUTS": str(folder / "outputs"),
        "LAMINA_MODELS": str(tiny_models),
        "LAMINA_DEVICE": "cpu",
        "OMP_NUM_THREADS": "1",
        **database(),
        **getattr(request.module, "PLACES", {}),
    }
    command = [sys.executable, "-m", "flows.commands.command_line", "up"]
    log = folder / "up.log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=file)
    state = folder / "state" / "stack.json"
    try:
        until(lambda: state.exists() or process.poll() is not None, "the stack")
        assert process.poll() is None, log.read_text()
        yield folder, Server(json.loads(state.read_text())["address"])
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(STACK_PATIENCE_S)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The program; asked for by the session, so that nothing is started where it is missing."""
    pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    return program


@pytest.fixture
def browser(chromium: str) -> Iterator[Any]:
    """A real headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()
