import base64
import errno
import io
import logging

import httpx
import numpy as np
import pytest
import torch
from PIL import Image
from prefect.exceptions import Pause

from core.refusal import Refusal
from core.trouble import Trouble
from flows.machines.resources import Resources
from flows.pages import artifacts as artifacts_module
from flows.pages import failures as failures_module
from flows.pages.artifacts import (
    LARGEST_ARTIFACT,
    LARGEST_PICTURE,
    ArtifactMeter,
    batch_page,
    data_uri,
    show_result,
    show_table,
    webp_uri,
)
from flows.pages.failures import explained, failure_shown
from flows.requests.flow_requests import TidyRequest
from flows.storage.files import FileRef, checked_project


@pytest.fixture
def shown(monkeypatch):
    calls = []
    monkeypatch.setattr(
        artifacts_module,
        "create_progress_artifact",
        lambda *a: calls.append(("create", *a)) or "id",
    )
    monkeypatch.setattr(
        artifacts_module, "update_progress_artifact", lambda *a: calls.append(("update", *a))
    )
    monkeypatch.setattr(
        artifacts_module,
        "create_markdown_artifact",
        lambda page, description: calls.append((page, description)),
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


def test_what_a_gallery_shows_meanwhile_is_linked_once(shown):
    meter = ArtifactMeter("batch-progress", batch_page("ward-3", "night"))
    for done in range(1, 1001):
        meter(done, 1000)
    links = [call for call in shown if call[0] not in ("create", "update")]
    title = "Follow it in the gallery"
    assert links == [(f"[{title}](/gallery/p/ward-3/batches/night/)\n", title)]


def test_a_page_holds_its_picture_and_no_markup_from_outside(shown):
    show_result("a [b](c)", data_uri(b"GIF", "webp"), {"prompt": "x|y <b>`*", "reason": ""})
    ((page, _),) = shown
    assert "![a bc](data:image/webp;base64,R0lG)" in page
    assert r"| prompt | x\|y \<b\>\`\* |" in page
    assert "reason" not in page


def test_the_largest_picture_fits_a_page(shown):
    show_result("title", data_uri(bytes(LARGEST_PICTURE), "png"), {"a" * 50: "b" * 400})
    assert len(shown[0][0]) <= LARGEST_ARTIFACT


def test_a_picture_of_noise_is_made_to_fit():
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    head, _, body = webp_uri(buffer.getvalue()).partition(",")
    assert head == "data:image/webp;base64"
    shown = base64.b64decode(body)
    assert len(shown) <= LARGEST_PICTURE
    assert Image.open(io.BytesIO(shown)).width in (900, 450, 225)


def test_outputs_are_listed_with_links_that_save_them(shown, tmp_path):
    clip = tmp_path / "a_clip.mp4"
    clip.write_bytes(bytes(2500))
    page = "/gallery/p/default/r/text_to_video/a-1/a"
    show_result("t", data_uri(b"", "webp"), {}, page, {"clip": FileRef.of(clip)})
    link = "/gallery/p/default/f/text_to_video/a-1/a/a_clip.mp4?download=1"
    assert f"| clip | [a\\_clip.mp4]({link}) | 2.5 kB | `" in shown[0][0]


def test_a_table_has_every_column_that_a_row_has(shown):
    show_table("t", [{"night": "1"}, {"night": "2", "run": "a|b"}])
    assert "| night | run |\n| --- | --- |\n| 1 |  |\n| 2 | a\\|b |\n" in shown[0][0]


def refusal():
    with pytest.raises(ValueError, match="project=") as caught:
        checked_project("../a")
    return caught.value


@pytest.mark.parametrize(
    ("error", "what_to_do"),
    [
        (refusal(), "start a new run"),
        (ValueError("from inside a library"), "This is a fault"),
        (OSError(errno.ENOSPC, "full"), "Free some space"),
        (torch.OutOfMemoryError("16 GB"), "fewer frames"),
        (httpx.ConnectError("away"), "See that it is up"),
        (Trouble("model: damaged: it is checked; copy it again."), "See to what is named"),
        (RuntimeError("broken"), "This is a fault"),
    ],
)
def test_a_failure_says_what_to_do_and_goes_on(shown, error, what_to_do):
    with pytest.raises(type(error)), failure_shown():
        raise error
    ((page, title),) = shown
    refused = isinstance(error, ValueError) and what_to_do == "start a new run"
    assert title == ("This run was refused" if refused else "This run failed")
    assert "Refusal" not in page
    assert what_to_do in page
    assert str(error).split(":")[0] in page.replace("\\", "")


def test_a_refusal_is_a_state_of_its_own_with_the_refusal_as_its_words(shown):
    @explained
    def flow(project):
        checked_project(project)
        raise ValueError("from inside a library")

    state = flow("../a")
    assert (state.name, state.is_failed(), state.message) == ("Refused", True, str(refusal()))
    with pytest.raises(ValueError, match="library"):
        flow("a")
    assert len(shown) == 2


@pytest.mark.parametrize(("level", "traced"), [("INFO", False), ("DEBUG", True)])
def test_where_a_refusal_was_raised_is_told_only_to_who_asks(shown, caplog, level, traced):
    with caplog.at_level(level, logger="flows"):
        explained(checked_project)("../a")
    assert f"refused: {refusal()}" in caplog.text
    assert ("in checked_project" in caplog.text) is traced


def test_prefect_logs_no_stack_trace_for_a_refusal_and_one_for_a_fault(shown):
    explained(checked_project)
    log = logging.getLogger("prefect.task_runs")
    for error, traced in ((refusal(), False), (ValueError("from inside"), True)):
        told = (type(error), error, None)
        line = log.makeRecord(log.name, logging.ERROR, "", 0, "Task run failed", (), told)
        assert log.filter(line)
        assert bool(line.exc_info) is traced
        last = "Engine execution exited with unexpected exception"
        line = log.makeRecord(log.name, logging.ERROR, "", 0, last, (), told)
        assert bool(log.filter(line)) is traced


def odd_number():
    return int("x")


def odd_pair():
    one, other = (1, 2, 3)
    return one, other


def odd_largest():
    return max([])


def odd_shape():
    return np.reshape(np.zeros(3), (2, 2))


def odd_words():
    raise ValueError(str(int("x")))


def odd_file():
    return Resources.model_validate({"gpus": "many"})


def odd_request():
    return TidyRequest.model_validate({"what": "?"})


def refused():
    raise Refusal("a=1: it must be 2; set 2.")


def refused_for_another():
    try:
        int("x")
    except ValueError as error:
        raise Refusal("a=x: it must be a number; set one.") from error


ODD = [odd_number, odd_pair, odd_largest, odd_shape, odd_words, odd_file]


@pytest.mark.parametrize("work", ODD)
def test_what_nobody_raised_on_purpose_is_a_fault(shown, work):
    with pytest.raises(ValueError):  # noqa: PT011
        explained(work)()
    assert "This is a fault" in shown[0][0]


@pytest.mark.parametrize("work", [refused, refused_for_another, odd_request])
def test_what_is_raised_on_purpose_is_a_refusal(shown, work):
    assert explained(work)().name == "Refused"


def library():
    raise ValueError("a=1: it must be 2; set 2.")


def test_what_a_library_raises_is_a_fault(shown):
    with pytest.raises(ValueError, match=r"a=1"):
        explained(library)()
    assert "This is a fault" in shown[0][0]


def test_a_suspended_run_did_not_fail(shown):
    with pytest.raises(Pause), failure_shown():
        raise Pause
    assert shown == []


def test_a_failure_that_cannot_be_shown_is_still_the_one_that_is_raised(monkeypatch):
    def away(*_):
        raise RuntimeError("no server")

    monkeypatch.setattr(failures_module, "show_facts", away)
    with pytest.raises(ValueError, match="mine"), failure_shown():
        raise ValueError("mine")
