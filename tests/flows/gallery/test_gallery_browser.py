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

from core.records import sha256_file
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
    scan = root.parent / "thick.nii.gz"
    write_volume(Volume(volume[..., ::4], np.diag([1.0, 1.0, 4.0, 1.0])), scan)
    facts = {"bytes": scan.stat().st_size, "sha256": sha256_file(scan)}
    results = {
        clips / "a.json": ("text_to_video", {"prompt": "a box moves"}, {"video": "a.mp4"}),
        scans / "b.json": (
            "super_resolve_mri",
            {"scan": str(scan)},
            {"result": "b.nii.gz", "std": "b_std.nii.gz"},
        ),
    }
    for path, (task, request, files) in results.items():
        outputs = {role: {"file": name, "sha256": "0" * 64} for role, name in files.items()}
        record = {"task": task, "created": "2026-11-20T10:00:00+00:00", "request": request}
        inputs = {"scan": facts} if "scan" in request else {}
        path.write_text(json.dumps(record | {"outputs": outputs, "inputs": inputs}))


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
    page.refused = refused
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


def test_the_card_of_a_scan_shows_one_cut_and_nothing_of_the_next(page, address, places):
    sheet = np.zeros((750, 790, 3), dtype=np.uint8)
    for top, level in ((60, 200), (260, 120), (460, 80)):  # the rows of a flat head
        sheet[top : top + 170, 20:770] = level
    Image.fromarray(sheet).save(places / "outputs/p/super_resolve_mri/b-2/b.png")
    page.goto(f"{address}/p/p/")
    page.wait_for_selector(".card.medical img[style]")
    shown = pixels(page, ".card.medical .picture").max(axis=-1)
    column = shown[:, shown.shape[1] // 2]
    bright = np.flatnonzero(column > 60)
    assert column[bright].min() > 190
    assert abs(bright.mean() - len(column) / 2) < 3
    assert 0.5 < len(bright) / len(column) < 0.9


def opens_volume(page, address):
    page.goto(f"{address}/p/p/r/super_resolve_mri/b-2/b")
    page.wait_for_selector("#viewer[data-drawn=yes]")
    page.locator(".wait").wait_for(state="hidden")


def chooses(page, words, sign):
    page.locator("#controls").get_by_text(words, exact=True).click()
    page.wait_for_selector(f"#viewer[data-{sign}]")
    page.wait_for_timeout(300)
    return pixels(page, "#viewer")


def test_a_volume_is_drawn_and_overlaid(page, address):
    opens_volume(page, address)
    plain = pixels(page, "#volume")
    assert (plain.max(axis=-1) > 100).mean() > 0.1
    gray = np.ptp(plain, axis=-1) < 12
    assert gray.mean() > 0.9
    assert not page.locator("#scale").is_visible()
    colored = np.ptp(chooses(page, "Uncertainty", "overlay=std"), axis=-1) > 40
    assert colored.mean() > 0.05
    low, _, high = page.locator("#scale span").all_text_contents()
    assert float(high) > float(low) == 0  # what is below the window would be clear
    page.get_by_text("Standard deviation of the samples, in the intensity units").wait_for()
    assert np.ptp(pixels(page, "#scale canvas"), axis=-1).max() > 100


def test_before_and_after_are_divided_by_a_slider(page, address):
    opens_volume(page, address)
    after = pixels(page, "#viewer")
    before = chooses(page, "Scan", "image=scan")
    assert (np.abs(before - after).max(axis=-1) > 30).mean() > 0.02
    half = chooses(page, "Before and after", "image=compare")
    middle = half.shape[1] // 2
    left, right = half[:-60, : middle - 12], half[:-60, middle + 12 :]
    assert np.abs(left - before[:-60, : middle - 12]).mean() < 1
    assert np.abs(right - after[:-60, middle + 12 :]).mean() < 1
    page.locator("#wipe").fill("100")
    page.wait_for_timeout(100)
    assert np.abs(pixels(page, "#viewer")[:-60, :-60] - before[:-60, :-60]).mean() < 1


def test_the_viewer_says_on_which_side_left_is_and_keeps_it(page, address):
    opens_volume(page, address)
    page.get_by_text("The patient's left is on the left.").wait_for()
    left = pixels(page, "#volume")
    chooses(page, "Radiological", "convention=radiological")
    page.get_by_text("The patient's left is on the right.").wait_for()
    right = pixels(page, "#volume")
    assert np.abs(left - right).max() > 60
    page.reload()
    page.wait_for_selector("#viewer[data-drawn=yes]")
    page.get_by_text("The patient's left is on the right.").wait_for()
    assert page.get_by_label("Radiological").is_checked()


def test_a_scan_is_uploaded_by_choosing_it_and_what_is_none_is_refused(page, address, tmp_path):
    scan = tmp_path / "p 17.nii.gz"
    write_volume(Volume(torch.ones(6, 5, 4), np.diag([1.0, 1.0, 4.0, 1.0])), scan)
    page.goto(f"{address}/p/p/")
    page.get_by_role("link", name="Upload scans").click()
    page.locator("#file").set_input_files(scan)
    page.get_by_text("upload:p-17.nii.gz", exact=True).wait_for()
    assert (tmp_path / "outputs/p/uploads/p-17.nii.gz").read_bytes() == scan.read_bytes()
    (tmp_path / "notes.nii").write_text("no scan at all")
    with page.expect_event("console", lambda said: "400" in said.text):
        page.locator("#file").set_input_files(tmp_path / "notes.nii")
    page.get_by_text("notes.nii is not a NIfTI file").wait_for()
    page.refused.clear()  # the browser itself reports every answer of 400
