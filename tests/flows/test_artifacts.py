import base64
import io

import numpy as np
import pytest
from PIL import Image

from flows import _artifacts
from flows._artifacts import (
    LARGEST_ARTIFACT,
    LARGEST_PICTURE,
    ArtifactMeter,
    data_uri,
    show_result,
    webp_uri,
)


@pytest.fixture
def shown(monkeypatch):
    calls = []
    monkeypatch.setattr(
        _artifacts, "create_progress_artifact", lambda *a: calls.append(("create", *a)) or "id"
    )
    monkeypatch.setattr(
        _artifacts, "update_progress_artifact", lambda *a: calls.append(("update", *a))
    )
    monkeypatch.setattr(
        _artifacts,
        "create_markdown_artifact",
        lambda page, key, description: calls.append((key, page, description)),
    )
    return calls


def test_a_fast_job_updates_its_artifact_first_and_last_only(shown):
    meter = ArtifactMeter("sampling")
    for done in range(1, 1001):
        meter(done, 1000, f"step {done}")
    assert shown == [
        ("create", 0.1, "sampling", "step 1"),
        ("update", "id", 100.0, "step 1000"),
    ]


def test_a_page_holds_its_picture_and_no_markup_from_outside(shown):
    show_result("clip", "a [b](c)", data_uri(b"GIF", "webp"), {"prompt": "x|y <b>`*"})
    ((key, page, _),) = shown
    assert key == "clip"
    assert "![a bc](data:image/webp;base64,R0lG)" in page
    assert r"| prompt | x\|y \<b\>\`\* |" in page


def test_the_largest_picture_fits_a_page(shown):
    show_result("clip", "title", data_uri(bytes(LARGEST_PICTURE), "png"), {"a" * 50: "b" * 400})
    assert len(shown[0][1]) <= LARGEST_ARTIFACT


def test_a_picture_of_noise_is_made_to_fit():
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    head, _, body = webp_uri(buffer.getvalue()).partition(",")
    assert head == "data:image/webp;base64"
    shown = base64.b64decode(body)
    assert len(shown) <= LARGEST_PICTURE
    assert Image.open(io.BytesIO(shown)).width in (900, 450, 225)
