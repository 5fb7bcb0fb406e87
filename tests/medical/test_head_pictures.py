"""Pictures of changed and mapped heads: one axial cut, as radiologists look at it."""

import io

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from medical.datasets.pictures import LESION
from medical.files.volume import Volume
from medical.operations.head_picture import (
    color_of,
    picture_of_change,
    picture_of_labels,
    picture_of_map,
)

SPACING = (1.0, 1.5, 2.0)  # mm along right, anterior, superior


@pytest.fixture
def head():
    """A box of 80 x 90 x 60 mm in air; its spot is right, in front and near the top."""
    data = np.zeros((100, 80, 40), np.float32)
    data[10:90, 10:70, 5:35] = 100.0
    spot = np.zeros(data.shape, bool)
    spot[70:80, 55:65, 28:32] = True
    return data, spot


def volume(data, axes="RAS"):
    """The same head in a file whose axes are others; and how its arrays are turned so."""
    to = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(axes)
    )
    image = nib.Nifti1Image(data, np.diag([*SPACING, 1.0])).as_reoriented(to)
    found = Volume(torch.from_numpy(image.get_fdata(dtype=np.float32).copy()), image.affine)
    return found, lambda array: nib.orientations.apply_orientation(array, to)


def opened(png):
    return np.array(Image.open(io.BytesIO(png))).astype(int)


def side(there):
    """Whether what is true of (H, W) lies left and above."""
    rows, columns = np.nonzero(there)
    return columns.mean() < there.shape[1] / 2, rows.mean() < there.shape[0] / 2


def test_a_change_is_shown_before_after_and_outlined(head):
    data, spot = head
    scan, _ = volume(data)
    after = np.where(spot, 50.0, data).astype(np.float32)
    before, now, marked = np.split(opened(picture_of_change(scan, after, spot)), 3, axis=1)
    darker = before[..., 0] - now[..., 0] > 60
    assert side(darker) == (True, True)
    red = (marked == LESION).all(-1)
    assert red.any()
    assert (darker[red]).mean() > 0.8
    # square pixels: the box is 80 mm wide and 90 mm high, and so is the spot 10 by 15
    rows, columns = np.nonzero(darker)
    assert np.ptp(rows) / np.ptp(columns) == pytest.approx(1.5, rel=0.12)


@pytest.mark.parametrize("axes", ["LPS", "PIR", "SAL"])
def test_the_axes_of_a_file_change_no_picture(head, axes):
    data, spot = head
    after = np.where(spot, 50.0, data).astype(np.float32)
    scan, _ = volume(data)
    other, turn = volume(data, axes)
    wanted = picture_of_change(scan, after, spot)
    assert picture_of_change(other, turn(after), turn(spot)) == wanted


def test_labels_have_colors_of_their_own(head):
    data, spot = head
    scan, _ = volume(data)
    labels = np.where(spot, 7, np.where(data > 0, 3, 0)).astype(np.uint8)
    labels[:, :, :28] = 0  # the cut lies where most of the labels are
    plain, colored = np.split(opened(picture_of_labels(scan, labels)), 2, axis=1)
    assert (plain[..., 0] == plain[..., 1]).all()
    tinted = np.abs(colored - np.array(color_of(7))).sum(-1) < 330
    assert side(tinted & (np.ptp(colored, axis=-1) > 40)) == (True, True)
    assert len({color_of(label) for label in range(1, 40)}) == 39


def test_a_map_is_brightest_where_it_is_highest(head):
    data, spot = head
    scan, _ = volume(data)
    scores = np.where(spot, 0.9, 0.1).astype(np.float32)
    _, hot = np.split(opened(picture_of_map(scan, scores)), 2, axis=1)
    light = hot.sum(-1)
    assert side(light > 0.8 * light.max()) == (True, True)


def test_nothing_changed_and_nothing_bright_are_shown_too(head):
    data, spot = head
    scan, _ = volume(data)
    assert opened(picture_of_change(scan, data, np.zeros_like(spot))).any()
    empty, _ = volume(data * 0)
    opened(picture_of_change(empty, data * 0, spot))
    opened(picture_of_map(empty, data * 0))
