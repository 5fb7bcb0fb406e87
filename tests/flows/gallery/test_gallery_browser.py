"""The gallery as a person sees it: real pages in a real browser, from the real command."""

import io
import json
import socket
import subprocess
import sys
import time
from urllib.request import urlopen

import numpy as np
import pytest
import torch
from PIL import Image

from medical.files.nifti import write_volume
from medical.files.volume import Volume
from video.files.clip import Clip, write_mp4

pytestmark = pytest.mark.slow


def write_results(root):
    frames = np.zeros((16, 64, 64, 3), dtype=np.uint8)
    for t, frame in enumerate(frames):
        frame[20:40, 2 * t : 2 * t + 20] = (40, 200, 90)
    clips, scans = root / "p/text_to_video/a-1", root / "p/super_resolve_mri/b-2"
    clips.mkdir(parents=True)
    scans.mkdir(parents=True)
    write_mp4(Clip(frames, 8.0), clips / "a.mp4", metadata={})
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 40)] * 3, indexing="ij"))
    ball = (np.linalg.norm(grid, axis=0) < 0.8) * (600 + 400 * np.sin(9 * grid[0]))
    volume = torch.from_numpy(ball.astype(np.float32))
    write_volume(Volume(volume, np.eye(4)), scans / "b.nii.gz")
    write_volume(Volume(volume.sqrt(), np.eye(4)), scans / "b_std.nii.gz")
    results = {
        clips / "a.json": ("text_to_video", {"prompt": "a box moves"}, {"video": "a.mp4"}),
        scans / "b.json": (
            "super_resolve_mri",
            {"scan": "b.nii.gz"},
            {"result": "b.nii.gz", "std": "b_std.nii.gz"},
        ),
    }
    for path, (task, request, files) in results.items():
        outputs = {role: {"file": name, "sha256": "0" * 64} for role, name in files.items()}
        record = {"task": task, "created": "2026-11-20T10:00:00+00:00", "request": request}
        path.write_text(json.dumps(record | {"outputs": outputs}))


@pytest.fixture
def address(places):
    write_results(places / "outputs")
    with socket.socket() as ear:
        ear.bind(("127.0.0.1", 0))
        port = ear.getsockname()[1]
    words = [sys.executable, "-m", "flows.commands.command_line", "gallery", "--port", str(port)]
    process = subprocess.Popen(words)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                with urlopen(f"http://127.0.0.1:{port}/gallery/"):
                    break
            except OSError:
                assert time.monotonic() < deadline, "the gallery does not answer"
                assert process.poll() is None
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/gallery"
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.set_default_timeout(60_000)
    refused = []
    page.on("console", lambda said: said.type == "error" and refused.append(said.text))
    page.on("pageerror", lambda error: refused.append(str(error)))
    yield page
    assert refused == []


def played(page, seconds):
    """Wait until the clip has played so far; the page's policy lets Playwright not wait there."""
    deadline = time.monotonic() + 60
    while page.evaluate("document.querySelector('#clip').currentTime") < seconds:
        assert time.monotonic() < deadline, "the clip does not play"
        page.wait_for_timeout(50)


def pixels(page, selector):
    shot = page.locator(selector).screenshot()
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)


def test_a_clip_plays_and_its_frames_change(page, address):
    page.goto(f"{address}/")
    page.get_by_text("a box moves").first.click()
    page.wait_for_selector("#clip")
    played(page, 0.3)
    first = pixels(page, "#clip")
    assert first[..., 1].max() > 120
    played(page, 1.2)
    assert np.abs(pixels(page, "#clip") - first).max() > 60
    page.get_by_role("button", name="Copy", exact=True).click()
    page.get_by_text("Copied").or_(page.get_by_text("Selected")).wait_for()


def test_a_volume_is_drawn_and_overlaid(page, address):
    page.goto(f"{address}/p/p/r/super_resolve_mri/b-2/b")
    page.wait_for_selector("#viewer[data-drawn=yes]")
    page.locator(".wait").wait_for(state="hidden")
    plain = pixels(page, "#volume")
    assert (plain.max(axis=-1) > 100).mean() > 0.1
    gray = np.ptp(plain, axis=-1) < 12
    assert gray.mean() > 0.9
    page.get_by_text("Uncertainty", exact=True).click()
    page.wait_for_selector("#viewer[data-overlay=std]")
    page.wait_for_timeout(300)
    colored = np.ptp(pixels(page, "#volume"), axis=-1) > 40
    assert colored.mean() > 0.05
