"""What sampling buys beyond the mean: a spread that fits the error, and detail."""

from statistics import fmean
from typing import Any

import numpy as np

from tests.benchmarks.quality import mri_pictures, plots
from tests.benchmarks.quality.calibration import coverage, reliability, scale_for
from tests.benchmarks.quality.cases import Setting
from tests.benchmarks.quality.detail import CENTERS
from tests.benchmarks.quality.heads import MEAN, SAMPLE, STEP
from tests.benchmarks.quality.mri_rows import four_mm, mean_figure
from tests.benchmarks.quality.planes import BASE
from tests.benchmarks.results import Figure, Row, Table

COVERAGE = (0.93, 0.97)
BANDS = {"below the slices' Nyquist": (0.0, 0.125), "0.125 to 0.25": (0.125, 0.25),
         "0.25 to 0.5": (0.25, 0.5)}  # fmt: skip


def calibration(setting: Setting) -> Row:
    """One factor fixed on half of the heads, the coverage read on the other half."""
    found = [numbers["spread"] for numbers, _ in four_mm(setting)]
    fixed, read = found[::2], found[1::2]
    scale = scale_for([spread["ratios"] for spread in fixed])
    shares = [coverage(spread["ratios"], scale) for spread in read]
    plain = [coverage(spread["ratios"], 1.0) for spread in read]
    curve = reliability(
        [spread["counts"] for spread in read], [spread["squares"] for spread in read], scale
    )
    return Row(
        title="MRI: does the uncertainty fit the error?",
        protocol="As above, 4 mm, K = 4. One factor on the spread of the samples is chosen so "
        "that 95 % of the foreground voxels of every other validation head (first, third, ...) "
        "lie within 2 spreads of the truth; read is the share on the heads between them. "
        "Intervals over heads.",
        figures=[
            mean_figure(
                "voxels within 2 spreads, scaled", shares, low=COVERAGE[0], high=COVERAGE[1]
            ),
            mean_figure("voxels within 2 spreads, as it comes", plain),
            Figure(name="factor on the spread", value=scale, unit="times", cases=len(fixed)),
        ],
        pictures=[plots.calibration(setting, curve)],
        notes=[
            "This is the spread of the samples, which the product no longer writes where its "
            "model has a head that predicts its error; it "
            "says where, and by this factor how much. An even number of samples comes in "
            "pairs of opposite noise.",
            f"After scaling, the error over the spread runs from {_ratio(curve[0]):.1f} where the "
            f"spread is smallest to {_ratio(curve[-1]):.1f} where it is largest; of a perfect map "
            "it would be 1 throughout.",
        ],
        details={"scale": scale, "coverage": shares, "reliability": curve},
    )


def detail(setting: Setting) -> Row:
    """Power along the thick axis by spatial frequency, as a share of the truth's."""
    cases = four_mm(setting)
    found = [numbers["spectra"] for numbers, _ in cases]
    names = ("cubic", BASE, STEP, MEAN, SAMPLE)
    power = {name: _shares(found, name, "power") for name in names}
    error = {name: _shares(found, name, "error") for name in names}
    figures, lines = [], []
    for name in names:
        cells = [name]
        for low, high in BANDS.values():
            inside = (low <= CENTERS) & (high > CENTERS)
            cells.append(f"{fmean(power[name][inside]):.2f} / {fmean(error[name][inside]):.2f}")
        lines.append(cells)
    for name in (BASE, MEAN, SAMPLE):
        values = [_band(spectra, name, BANDS["0.125 to 0.25"]) for spectra in found]
        figures.append(mean_figure(f"{name}: share of the truth's power, 0.125 to 0.25", values))
    return Row(
        title="MRI: how much detail, and how much of it is right",
        protocol="As above, 4 mm. Columns along the slice axis inside the foreground's box, Hann "
        "window, power averaged over columns; given as shares of the truth's power at the same "
        "frequency (cycles per mm), then averaged over frequencies and heads. Slices 4 mm apart "
        "hold frequencies up to 0.125; all beyond is the model's own knowledge. Error power: that "
        "of the difference from the truth; 1 is as wrong as leaving the detail out.",
        figures=figures,
        tables=[Table(columns=["power / error power", *BANDS], lines=lines)],
        pictures=[plots.spectrum(setting, power, error), mri_pictures.sampling(setting, cases)],
        details={
            "power": {name: values.tolist() for name, values in power.items()},
            "error": {name: values.tolist() for name, values in error.items()},
            "cycles_per_mm": CENTERS.tolist(),
        },
    )


def _ratio(point: tuple[float, float, float]) -> float:
    return point[1] / point[0]


def _shares(found: list[dict[str, Any]], name: str, what: str) -> np.ndarray:
    """Mean over heads of the share of the truth's power, by frequency."""
    rows = [np.array(s[name][what]) / np.array(s["truth"]["power"]) for s in found]
    return np.mean(rows, axis=0)


def _band(spectra: dict[str, Any], name: str, band: tuple[float, float]) -> float:
    """Mean over the band of one head's share of the truth's power."""
    share = np.array(spectra[name]["power"]) / np.array(spectra["truth"]["power"])
    return float(share[(band[0] <= CENTERS) & (band[1] > CENTERS)].mean())
