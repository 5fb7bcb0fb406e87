"""The report of a dataset in a real browser: read in one look, slid, and without a network."""

import pytest

from medical.datasets.making import make_dataset
from tests.medical.test_datasets import BallHeads, maker

CRITERIA = [
    "Congruence", "Coverage", "Constraint", "Completeness", "Compliance", "Comprehension",
    "Consistency",
]  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "out"
    make_dataset(maker(BallHeads(), count=2), out)
    return out


def test_the_first_page_is_the_scorecard_and_nothing_is_fetched(browser, dataset):
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    asked, faults = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    page.goto(f"file://{dataset / 'report.html'}")
    cards = page.locator(".card")
    assert [words.split("\n")[0] for words in cards.all_inner_texts()] == CRITERIA
    last = cards.last.bounding_box()
    assert last["y"] + last["height"] < 1000
    assert page.get_by_text("unapproved").first.is_visible()
    slide = page.locator(".slide").first
    slide.fill("80")
    shown = slide.evaluate("s => getComputedStyle(s.previousElementSibling.children[1]).clipPath")
    assert "80%" in shown
    sizes = page.locator("img").evaluate_all("all => all.map(i => i.naturalWidth)")
    assert len(sizes) == 8
    assert min(sizes) > 300
    page.get_by_role("link", name="sub-002", exact=True).click()
    page.get_by_role("heading", name="sub-002").wait_for()
    page.get_by_role("heading", name="Who contributed").wait_for()
    assert faults == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_no_page_names_a_place_in_the_network(dataset):
    for path in [dataset / "report.html", *(dataset / "subjects").glob("*.html")]:
        assert "://" not in path.read_text(), path


def test_a_page_on_a_telephone_does_not_run_over(browser, dataset):
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.goto(f"file://{dataset / 'report.html'}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_words_name_the_colors_that_the_pictures_show(dataset):
    report = (dataset / "report.html").read_text()
    assert "to its lesions, in red" in report
    assert "fluid blue" not in report
    (subject, *_) = (dataset / "subjects").glob("*.html")
    assert "Lesions are red, fluid blue" in subject.read_text()
