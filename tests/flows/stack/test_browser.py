"""What a person does in Prefect's own pages: forms, previews and an approval, in real Chromium.

Each test fills a real form of a real stack, presses Submit, and looks. The first one is in every
run of the tests; the others take minutes.
"""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from waiting import until

from flows.batches.ledger import Batch, intact
from flows.stack.api import Run
from medical.files.nifti import write_volume
from medical.files.volume import Volume

pytestmark = pytest.mark.integration


class Person:
    """Somebody with a browser in front of Prefect's pages."""

    def __init__(self, page, folder, server):
        self.page, self.folder, self.server = page, folder, server

    def asks(self, flow, fields, choices=(), advanced=(), advanced_choices=()):
        """Fill the flow's form and submit it; the run that came of it."""
        deployment = self.opens_form(flow)
        before = ids(self.runs(deployment))
        self.fills(self.page, fields, choices)
        if advanced or advanced_choices:
            self.page.get_by_role("tab", name="Set them").click()
            self.fills(self.page, dict(advanced), advanced_choices)
        self.page.get_by_role("button", name="Submit").click()
        new = until(lambda: ids(self.runs(deployment)) - before, "the run")
        return Run(new.pop(), flow, "", "")

    def opens_form(self, flow):
        """Open the flow's form; the deployment's identity."""
        deployment = self.server._answer(f"/deployments/name/{flow}/{flow}")["id"]
        self.page.goto(f"{self.server.address}/v2/deployments/deployment/{deployment}/run")
        return deployment

    def runs(self, deployment):
        wanted = {"deployment_id": {"any_": [deployment]}}
        return self.server._answer("/flow_runs/filter", {"flow_runs": wanted})

    def fills(self, place, fields, choices=()):
        for label, value in fields.items():
            box = place.get_by_label(label, exact=True)
            box.wait_for()
            box.fill(value)
        for label, option in dict(choices).items():
            place.get_by_label(f"Select {label}").click()
            self.page.get_by_role("option", name=option, exact=True).click()

    def waits_for(self, run, state="COMPLETED"):
        until(lambda: self.server.read(run).ended, run.flow)
        ended = self.server.read(run)
        assert ended.state == state, ended.message
        return ended

    def opens(self, run, title):
        """Open what the run's page shows under a title, as a person does: tab, then card."""
        self.page.goto(self.server.page(run))
        self.page.get_by_role("tab", name="Artifacts").click()
        self.page.get_by_role("link").filter(has_text=title).first.click()
        self.page.locator("img[src^='data:image']").first.wait_for()

    def sees_it_move(self, place):
        """Two looks at the picture differ."""
        picture = place.locator("img[src^='data:image/webp']").first
        first = pixels(picture)
        assert np.ptp(first) > 30
        until(lambda: np.abs(pixels(picture) - first).max() > 30, "the preview")


def ids(runs):
    return {run["id"] for run in runs}


def pixels(locator):
    shot = until(lambda: shot_of(locator), "the picture")
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)


def shot_of(locator):
    """None where the page, which asks for news, put another element in its place meanwhile."""
    try:
        return locator.screenshot()
    except Exception as error:
        if "not attached" not in str(error):
            raise
        return None


@pytest.fixture
def person(browser, running):
    page = browser.new_page(viewport={"width": 1300, "height": 1400})
    page.set_default_timeout(120_000)
    return Person(page, *running)


CLIP = {
    "Prompt": "two red circles move left",
    "Number of frames (Optional)": "8",
    "Project (Optional)": "studio",
}


def test_a_sentence_typed_into_the_form_becomes_a_clip_that_plays(person):
    run = person.asks("text_to_video", CLIP, advanced_choices={"Sampler": "heun"})
    person.waits_for(run)
    assert person.server.progress(run)[0] == 100.0
    (page,) = person.server.artifacts(run, "markdown")
    assert len(page["data"]) < 200_000
    assert person.server._answer(f"/flow_runs/{run.id}")["name"] == CLIP["Prompt"]
    shown = {"artifacts": {"flow_run_id": {"any_": [run.id]}}, "sort": "ID_DESC"}
    assert person.server._answer("/artifacts/filter", shown)[0]["id"] == page["id"]
    (record,) = (person.folder / "outputs/studio/text_to_video").glob("*/*.json")
    assert json.loads(record.read_text())["request"]["seed"] > 0
    person.opens(run, CLIP["Prompt"])
    person.sees_it_move(person.page)
    with person.page.expect_download() as saved:
        person.page.get_by_role("link", name=".mp4").click()
    (video,) = (person.folder / "outputs/studio/text_to_video").glob("*/*.mp4")
    assert saved.value.path().read_bytes() == video.read_bytes()
    person.page.get_by_role("link", name="in the gallery").click()
    person.page.wait_for_url("**/gallery/p/studio/r/**")
    person.page.wait_for_selector("#clip")


@pytest.mark.slow
def test_a_scan_named_in_the_form_is_restored_and_shown(person):
    data = torch.zeros(12, 10, 4)
    data[3:9, 3:8, 1:3] = 300.0
    write_volume(Volume(data, np.diag([1.0, 1.0, 4.0, 1.0])), person.folder / "head.nii.gz")
    fields = {"Scan": "head.nii.gz", "Samples (Optional)": "2"}
    run = person.asks("super_resolve_mri", fields, {"Installed model": "tiny-mri"})
    person.waits_for(run)
    person.opens(run, "head")
    assert np.ptp(pixels(person.page.locator("img[src^='data:image/webp']").first)) > 60
    links = person.page.get_by_role("link", name=".nii.gz")
    assert links.count() == 3
    person.page.get_by_role("link", name="in the gallery").click()
    person.page.wait_for_selector("#viewer[data-drawn=yes]")


@pytest.mark.slow
def test_a_dataset_named_in_the_form_becomes_a_derivative_dataset(person):
    for inner in ("ses-a/anat/sub-01_ses-a_T1w", *WANTED, "ses-b/anat/sub-01_ses-b_FLAIR"):
        path = person.folder / "study/sub-01" / f"{inner}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = torch.zeros(12, 10, 4)
        data[3:9, 3:8, 1:3] = 1.0 + len(inner) + ("run-2" in inner)
        write_volume(Volume(data, np.diag([1.0, 1.0, 4.0, 1.0])), path)
    about = {"Name": "Study", "BIDSVersion": "1.10.0"}
    (person.folder / "study/dataset_description.json").write_text(json.dumps(about))
    fields = {
        "Name (Optional)": "visits",
        "Scans": "study",
        "Suffixes (Optional)": "T1w",
        "Entities (Optional)": "ses-b",
        "Samples (Optional)": "1",
    }
    run = person.asks(
        "restore_scans",
        fields,
        {"Installed model": "tiny-mri"},
        advanced={"Reserve (GB) (Optional)": "0"},
    )
    person.waits_for(run)
    bids = person.folder / "outputs/default/batches/visits/bids"
    made = {str(path.relative_to(bids / "sub-01")) for path in bids.rglob("*_T1w.nii.gz")}
    assert made == {f"{inner.removesuffix('T1w')}desc-sr_T1w.nii.gz" for inner in WANTED}
    about = json.loads((bids / "dataset_description.json").read_text())
    assert about["GeneratedBy"][0]["Name"] == "Lamina"
    person.opens(run, "Batch visits")
    person.page.get_by_text(str(bids)).first.wait_for()
    person.page.get_by_role("link", name="in the gallery").click()
    for inner in WANTED:
        name = inner.rpartition("/")[-1]
        person.page.get_by_role("link").filter(has_text=name).first.wait_for()
    person.page.get_by_text(str(bids)).wait_for()


WANTED = ("ses-b/anat/sub-01_ses-b_run-1_T1w", "ses-b/anat/sub-01_ses-b_run-2_T1w")


@pytest.mark.slow
def test_a_form_says_at_once_what_it_does_not_take(person):
    page, frames = person.page, "Number of frames (Optional)"
    deployment = person.opens_form("text_to_video")
    before = ids(person.runs(deployment))
    person.fills(page, CLIP | {frames: "9000"})
    page.get_by_role("button", name="Submit").click()
    box = page.get_by_label(frames, exact=True)  # the browser's own bubble points at it
    assert "less than or equal to 4096" in box.evaluate("box => box.validationMessage")
    assert box.evaluate("box => box === document.activeElement")
    person.fills(page, {frames: "8", "Prompt": "red " * 1001})
    page.get_by_role("button", name="Submit").click()
    page.get_by_text("is too long").first.wait_for()
    assert ids(person.runs(deployment)) == before
    run = person.asks("text_to_video", CLIP | {frames: "900"})  # other engines make as many
    failed = person.waits_for(run, "FAILED")
    assert failed.refused
    assert "num_frames must be at most 128" in failed.message


@pytest.mark.slow
def test_the_page_of_a_run_that_failed_says_what_to_do(person):
    chosen = {"Installed model": "tiny-mri"}
    run = person.asks("super_resolve_mri", {"Scan": "nowhere.nii.gz"}, chosen)
    failed = person.waits_for(run, "FAILED")
    assert failed.refused
    assert failed.message.startswith("nowhere.nii.gz does not exist: ")
    person.page.goto(person.server.page(run))
    person.page.get_by_role("tab", name="Artifacts").click()
    person.page.get_by_role("link").filter(has_text="This run was refused").first.click()
    person.page.get_by_role("cell", name="start a new run").wait_for()


@pytest.mark.slow
def test_a_batch_is_asked_for_by_form_looked_at_and_judged_item_by_item(person):
    prompts = ["a red circle moves left", "a blue square moves up", "a green triangle"]
    fields = {
        "Name (Optional)": "judged",
        "Prompts (Optional)": "\n".join(prompts),
        "Number of frames (Optional)": "8",
    }
    run = person.asks("generate_clips", fields, advanced={"Reserve (GB) (Optional)": "0"})
    person.waits_for(run)
    batch = Batch(person.folder / "outputs" / "default" / "batches" / "judged")
    assert batch.state() == "finished"
    person.opens(run, "Batch judged")
    person.sees_it_move(person.page)
    first = {item.request.prompt: intact(batch, item) for item, _ in batch.items()}

    waiting = person.asks("approve_batch", {"Batch": "judged"})
    until(lambda: person.server.read(waiting).state == "PAUSED", "the question")
    dialog = resume(person, waiting)
    person.sees_it_move(dialog)
    person.fills(dialog, {"By": "Ann", "Rejected (Optional)": "7"}, {"Decision": "accept"})
    dialog.get_by_role("button", name="Resume").click()
    until(lambda: person.server.read(waiting).state != "PAUSED", "the answer")
    until(lambda: person.server.read(waiting).state == "PAUSED", "the second question")
    dialog = resume(person, waiting)
    dialog.get_by_text("items are named by their numbers").wait_for()
    person.fills(
        dialog,
        {"By": "Ann", "Rejected (Optional)": "2", "Note (Optional)": "too dark"},
        {"Decision": "accept", "Afterwards": "draw again"},
    )
    dialog.get_by_role("button", name="Resume").click()
    person.waits_for(waiting)
    person.opens(waiting, "accepted by Ann")
    person.page.get_by_text("too dark").wait_for()

    until(lambda: set(states(batch)) == {"made"} and len(states(batch)) == 3, "the second draw")
    again = {item.request.prompt: intact(batch, item) for item, _ in batch.items()}
    assert all(again.values())
    changed = [prompt for prompt in prompts if again[prompt] != first[prompt]]
    assert changed == [prompts[1]]


def states(batch):
    return [outcome["state"] for outcome in batch.outcomes().values()]


def resume(person, run):
    """The dialog that opens when a person chooses Resume in the run's menu."""
    person.page.goto(person.server.page(run))
    person.page.get_by_role("button", name="Open menu").first.click()
    person.page.get_by_role("menuitem", name="Resume").click()
    dialog = person.page.get_by_role("dialog")
    dialog.get_by_text("Ann").or_(dialog.get_by_label("By", exact=True)).first.wait_for()
    return dialog
