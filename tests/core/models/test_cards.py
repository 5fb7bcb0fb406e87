"""A card says what the record says."""

from core.models.cards import card

RECORD = {
    "name": "heads",
    "kind": "mri",
    "objective": "flow matching",
    "parameters": 3_400_000,
    "training": {"data": "50 heads | CC0", "stages": [{"steps": 987}, {"steps": 1177}]},
    "limits": ["skull-stripped heads alone"],
    "license": "Apache-2.0",
}


def test_every_fact_stands_on_the_card():
    text = card({**RECORD, "results": {"PSNR": "28.9 dB"}})
    for words in ("# heads", "3.4 million", "50 heads \\| CC0", "steps: 987<br>steps: 1177"):
        assert words in text
    assert "| PSNR | 28.9 dB |" in text
    assert "- skull-stripped heads alone." in text
    assert "not for diagnosis" in text


def test_a_model_without_results_says_so():
    assert "Nothing was measured" in card(RECORD)
