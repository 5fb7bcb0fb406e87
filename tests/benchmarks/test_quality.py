"""The measures of the results page, where the answer is known."""

import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from core.seeds import generator
from tests.benchmarks.intervals import student, wilson
from tests.benchmarks.quality.__main__ import main
from tests.benchmarks.quality.calibration import (
    coverage,
    reliability,
    scale_for,
    spread_against_error,
)
from tests.benchmarks.quality.cases import Setting
from tests.benchmarks.quality.detail import CENTERS, spectra
from tests.benchmarks.quality.heads import MEAN
from tests.benchmarks.quality.planes import BASE, PRODUCT, planes
from tests.benchmarks.quality.trust_rows import bins, mesh
from tests.benchmarks.quality.untold_rows import width_figures
from tests.benchmarks.quality.weight_cards import renew, results


def test_intervals_are_the_published_ones():
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 10)[0] == 0.0
    found = student([1.0, 2.0, 3.0])
    assert found is not None
    assert found == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-3)
    assert student([1.0]) is None


def restoration(factor, seed):
    """Errors that are normal, and a spread that is too small by a factor."""
    dice = generator(seed)
    shape = (40, 40, 40)
    sigma = 0.01 * torch.exp2(3 * torch.rand(shape, generator=dice))
    made = SimpleNamespace(
        mean=SimpleNamespace(data=sigma * torch.randn(shape, generator=dice)),
        std=SimpleNamespace(data=sigma / factor),
    )
    return spread_against_error(made, torch.zeros(shape), torch.ones(shape, dtype=torch.bool))


def test_one_factor_makes_normal_errors_fit():
    fixed, read = restoration(3.0, 0), restoration(3.0, 1)
    scale = scale_for([fixed["ratios"]])
    assert scale == pytest.approx(3.0 * 1.96 / 2, rel=0.03)
    assert coverage(read["ratios"], scale) == pytest.approx(0.95, abs=0.005)
    assert coverage(read["ratios"], 1.0) == pytest.approx(0.495, abs=0.01)
    curve = reliability([read["counts"]], [read["squares"]], 3.0)
    assert len(curve) > 4
    assert all(error == pytest.approx(spread, rel=0.2) for spread, error, _ in curve)


def test_half_the_amplitude_is_a_quarter_of_the_power():
    truth = torch.randn((12, 12, 80), generator=generator(0))
    mask = torch.ones(truth.shape, dtype=torch.bool)
    found = spectra({"truth": truth, "half": truth / 2}, mask, 2, 1.0)
    whole, half = (np.array(found[name]["power"]) for name in ("truth", "half"))
    assert len(whole) == len(CENTERS)
    assert half / whole == pytest.approx(0.25, rel=1e-4)
    assert np.array(found["half"]["error"]) / whole == pytest.approx(0.25, rel=1e-4)
    assert max(found["truth"]["error"]) == 0.0


def test_the_window_is_where_the_model_is_worst():
    truth = torch.full((80, 80, 80), 0.5)
    base, product = truth.clone(), truth.clone()
    product[56:64, 24:32, 40:48] += 0.3
    scan = SimpleNamespace(data=truth[:, :, ::4])
    mask = torch.ones(truth.shape, dtype=torch.bool)
    layers = {"truth": truth, BASE: base, PRODUCT: product}
    kept = planes(layers, scan, mask, (1.0, 1.0, 1.0))
    assert kept[f"behind/{PRODUCT}"].shape == (48, 48)
    assert float(kept[f"behind/{PRODUCT}"].max()) == pytest.approx(0.8, abs=1e-3)
    assert float(kept[f"behind/{BASE}"].max()) == pytest.approx(0.5, abs=1e-3)


def test_a_case_is_measured_once_and_its_time_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.benchmarks.quality.cases.weights_digest", lambda kind: "0" * 64)
    calls = []

    def measure():
        calls.append(1)
        return {"psnr": 30.0}, {"plane": np.eye(3)}

    for turn in range(2):
        for kept in tmp_path.glob("cases/*/*.json"):
            os.utime(kept, (0, 0))
        setting = Setting(into=tmp_path, store=tmp_path / "cases")
        assert setting.find("mri", {"head": 1}, measure) == {"psnr": 30.0}
        assert setting.fresh == 1 - turn
        assert (setting.measured == {"1970-01-01T00:00+00:00"}) == bool(turn)
        assert np.array_equal(setting.arrays("mri", {"head": 1})["plane"], np.eye(3))
    assert calls == [1]
    setting.find("mri", {"head": 2}, measure)
    assert calls == [1, 1]
    setting.forget()
    assert not (tmp_path / "cases").exists()


def measured(name="gain", kind="mri", weights="ab", **options):
    figure = {"name": name, "value": 3.03, "unit": "dB", "interval": [2.5, 3.5], "verdict": "met"}
    row = {"title": f"MRI: {name}", "kind": kind, "weights": weights, "figures": [figure]}
    return row | {"options": options}


def test_scans_of_one_head_are_no_heads():
    at = {BASE: 30.0, "found": 1.0, "share": 1.0}
    one = [[{**at, MEAN: 31.0}], [{**at, MEAN: 32.0}], [{**at, MEAN: 33.0}]]
    gain, share = width_figures(4.0, one)
    assert (gain.value, gain.interval, gain.cases) == (2.0, None, 1)
    assert gain.name.endswith("(one head)")
    assert share.interval == pytest.approx((0.4385, 1.0), abs=1e-4)
    assert share.cases == 3
    gain, _ = width_figures(4.0, [numbers * 2 for numbers in one])
    assert (gain.cases, gain.interval) == (2, (2.0, 2.0))


def test_errors_are_held_against_what_was_predicted_bin_by_bin():
    told = torch.linspace(0.01, 0.1, 1000)
    sign = torch.ones(1000)
    sign[::2] = -1
    right = bins(sign * told, told)
    assert right == pytest.approx([1.0] * 10)
    last = bins(torch.where(told > told[899], 3 * told, told), told)
    assert last == pytest.approx([1.0] * 9 + [3.0])


def test_a_mesh_is_seen_at_its_period_and_even_noise_is_none():
    noise = torch.randn(40, 40, 64, generator=generator(0))
    assert mesh(noise, 2, 4.0) == pytest.approx(1.0, abs=0.2)
    wave = 0.5 * torch.cos(2 * torch.pi * torch.arange(64) / 4.0)
    assert mesh(noise + wave, 2, 4.0) > 5
    assert mesh((noise + wave).movedim(2, 0), 0, 4.0) > 5
    finest = noise + 0.5 * (-1.0) ** torch.arange(64)
    assert mesh(finest, 2, 2.0) > 5


def test_cards_tell_what_was_measured_in_full_on_these_weights():
    rows = {
        "a": measured(),
        "b": measured("quick", quick=True),
        "c": measured("old", weights="cd"),
        "d": measured("clip", kind="video"),
    }
    assert results(rows, "mri", "ab") == {"gain": "gain 3.030 dB (2.500 to 3.500)"}


def test_cards_are_renewed_beside_weights_and_keep_what_is_measured_elsewhere(tmp_path):
    for room, name, kind in (("video", "scenes-64", "video"), ("medical", "heads-1mm", "mri")):
        folder = tmp_path / room / "weights" / name
        folder.mkdir(parents=True)
        record = {"name": name, "kind": kind, "objective": "flow matching", "sha256": {}}
        record["sha256"]["weights.safetensors"] = "ab"
        record["results"] = {"speed": "fast", "gain": "stale"}
        record["numeric_noise_db"] = 69.5
        (folder / "model.json").write_text(json.dumps(record))
    renew({"a": measured()}, tmp_path)
    renewed = json.loads((tmp_path / "medical/weights/heads-1mm/model.json").read_text())
    told = renewed["results"]
    assert renewed["numeric_noise_db"] == 69.5
    assert told["gain"].startswith("gain 3.030 dB")
    assert told["speed"] == "fast"
    assert "3.030" in (tmp_path / "medical/weights/heads-1mm/CARD.md").read_text()
    assert not (tmp_path / "video/weights/scenes-64/CARD.md").exists()


def test_a_row_whose_data_is_not_here_is_left_out_with_the_way_to_it(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("LAMINA_DATA", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["x", "--only", "ways", "--into", str(tmp_path)])
    assert main() == 0
    assert "ways is left out: there are no validation heads" in capsys.readouterr().err
    assert not (tmp_path / "results.json").exists()
