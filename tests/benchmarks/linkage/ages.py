"""How far age and sex tell a head that was left out: ``python -m tests.benchmarks.linkage.ages``.

Each of the people in the shipped model's pool is predicted from the others: by their mean, and by
least squares beside age, sex or both, as heads are drawn around. Told is which share of the
squared error of the mean that takes away, at the whole slope and at half of it; intervals are 95 %
over people (bootstrap). A share below 0 is worse than the mean.
"""

import sys
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from medical.anatomy.head_model import find_pool
from medical.anatomy.pool import DEEP, WIDE, Pool

Values = NDArray[np.float64]
COLUMNS = {"age": (1,), "sex": (2,), "both": (1, 2)}
SLOPES = (1.0, 0.5)
TURNS = 4000


def main() -> int:
    """Measure and print."""
    pool = find_pool()
    for line in told(pool):
        sys.stdout.write(line + "\n")
    return 0


def told(pool: Pool) -> list[str]:
    """A line of Markdown for each thing that is predicted."""
    heads = [f"{name}, {slope:g} of the slope" for slope in SLOPES for name in COLUMNS]
    lines = [f"| {' | '.join(['', *heads])} |", "|---" * (len(heads) + 1) + "|"]
    rows = rows_of(pool)
    for name, values in targets(pool).items():
        cells = [
            cell(left_out(rows, values, ()), left_out(rows, values, columns, slope))
            for slope in SLOPES
            for columns in COLUMNS.values()
        ]
        lines.append(f"| {' | '.join([name, *cells])} |")
    return lines


def rows_of(pool: Pool) -> Values:
    """(P, 3) 1, tens of years beyond 35, and half a sex of each person."""
    found = [(1.0, (age - 35) / 10, 0.5 if sex == "f" else -0.5) for age, sex in pool.told]
    return np.array(found)


def targets(pool: Pool) -> Mapping[str, Values]:
    """(P, n) what is predicted, by name; volumes are those in the pool's space, but for brains."""
    wide, deep = (maps.astype(np.float64) / 255 for maps in (pool.wide, pool.deep))
    tissues = wide.sum((2, 3, 4)) * WIDE.spacing_mm**3 / 1000  # (P, 3) ml
    extents = np.array([person.size for person in pool.people])
    brains = (tissues.sum(1) * extents.prod(1))[:, None]
    fluid = deep[:, :1].sum((2, 3, 4)) * DEEP.spacing_mm**3 / 1000
    count = len(pool.people)
    return {
        "maps of whole heads": wide.reshape(count, -1),
        "maps at depth": deep.reshape(count, -1),
        "extents": np.log(extents),
        "brain, ml": brains,
        "CSF, ml": tissues[:, :1],
        "gray matter, ml": tissues[:, 1:2],
        "white matter, ml": tissues[:, 2:],
        "CSF at depth, ml": fluid,
    }


def left_out(rows: Values, values: Values, columns: tuple[int, ...], slope: float = 1.0) -> Values:
    """(P,) squared error of each person as the others predict them."""
    errors = np.zeros(len(values))
    for person in range(len(values)):
        others = np.arange(len(values)) != person
        known, mean = rows[others][:, columns], values[others].mean(0)
        middle = known.mean(0)
        slopes = np.linalg.pinv(known - middle) @ (values[others] - mean)
        expected = mean + slope * (rows[person, columns] - middle) @ slopes
        errors[person] = ((values[person] - expected) ** 2).sum()
    return errors


def cell(mean: Values, fitted: Values) -> str:
    """The share that is taken away, with its interval."""
    chosen = np.random.default_rng(0).integers(len(mean), size=(TURNS, len(mean)))
    shares = 1 - fitted[chosen].sum(1) / mean[chosen].sum(1)
    low, high = np.quantile(shares, (0.025, 0.975))
    return f"{100 * (1 - fitted.sum() / mean.sum()):.0f} % ({100 * low:.0f} to {100 * high:.0f})"


if __name__ == "__main__":
    sys.exit(main())
