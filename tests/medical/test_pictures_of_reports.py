"""Pictures in reports lie as radiologists see them, and facts are told in words."""

import io

import numpy as np
import pytest
from PIL import Image

from medical.datasets.pictures import MIDDLE, colored, cuts, kept, middle, shown
from medical.datasets.subject import _anatomy, _scanner

WHOLE = (slice(0, 60), slice(0, 80), slice(0, 40))


@pytest.fixture
def head():
    """(X, Y, Z) right, anterior, superior; bright on the right, in front, at the top."""
    data = np.full((60, 80, 40), 0.2, np.float32)
    data[40:, 60:, 30:] = 1.0
    return data


def side(plane):
    """Of a plane (H, W): whether its bright part is on the left, and whether above."""
    rows, columns = np.nonzero(plane > 0.5)
    return columns.mean() < plane.shape[1] / 2, rows.mean() < plane.shape[0] / 2


def test_the_right_of_a_head_is_on_the_left(head):
    (plane,) = cuts(head, WHOLE, [0.9])
    assert side(plane) == (True, True)
    head = np.where(np.arange(40) > 25, head, 0.2)
    head[40:, 30:50, 15:25] = 1.0  # what the middle planes see
    axial, coronal, _ = middle(head, WHOLE)
    assert side(axial)[0]
    assert side(coronal)[0]


def test_the_front_is_on_the_left_of_a_sagittal_plane(head):
    head[20:50, 60:, 30:] = 1.0
    assert side(middle(head, WHOLE)[2]) == (True, True)


def test_letters_say_what_is_on_the_left(head):
    planes = [plane * 0 for plane in middle(head, WHOLE)]
    labels = [plane.astype(np.uint8) for plane in planes]
    row = shown(planes, 1.0, MIDDLE)
    assert np.array_equal(row, colored(planes, labels, labels, 1.0, tissues=True, sides=MIDDLE))
    lit = np.nonzero(row[..., 0].any(0))[0]
    letters = np.split(lit, np.nonzero(np.diff(lit) > 5)[0] + 1)
    assert len(letters) == 3
    right, again, front = (row[:, each[0] : each[-1] + 1, 0] for each in letters)
    assert np.array_equal(right, again)
    assert not np.array_equal(right, front)
    assert np.array_equal(front, front[:, ::-1])  # an A is the same in a mirror, an R is not
    assert not np.array_equal(right, right[:, ::-1])


def test_a_plane_narrower_than_a_letter_is_shown():
    row = shown([np.zeros((240, 6), np.float32)], 1.0)
    assert Image.open(io.BytesIO(kept(row))).size == (6, 240)


def test_facts_are_words():
    told = {"age": 25.0, "age_band": "20 to 29", "sex": None, "withheld": ["sex"], "people": 13,
            "size": [1.0424, 0.9679, 1.0656], "length_mm": 20.0}  # fmt: skip
    assert dict(_anatomy(told)) == {
        "age": "20 to 29",
        "sex": "not told",
        "size": "1.04 x 0.97 x 1.07 of the usual",
        "length of the fields of weights": "20 mm",
        "people whose differences were mixed": "13",
    }
    assert dict(_anatomy({})) == {"age": "not known", "sex": "not known"}


def test_faults_of_a_scanner_are_named_where_there_are_some():
    clean = {"bias": 0.0, "blur_mm": 0.0, "slice_axis": "z", "slice_mm": 0.0, "noise": 0.0}
    assert _scanner(clean) == [("scanner", "none of its faults")]
    assert _scanner(clean | {"bias": 0.2, "slice_mm": 2.34}) == [
        ("scanner: bias", "0.2"),
        ("scanner: slice", "2.34 mm along z"),
    ]
