"""Raw datasets of nnU-Net v2: what its own ``verify_dataset_integrity`` refuses is refused here.

Each fault below was shown to nnU-Net 2.8.1 as well. It takes the whole dataset and refuses the
same ones but for NaN, which its reader (SimpleITK 2.5) hands on as numbers; of an affine that
differs it only warns.
"""

import json

import nibabel as nib
import numpy as np
import pytest

from medical.files.nnunet import faults, image_name, label_name, write_description

AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])


def put(path, data, affine=AFFINE):
    path.parent.mkdir(exist_ok=True)
    image = nib.Nifti1Image(data, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nib.save(image, path)


def raw_dataset(folder):
    """Two cases of two channels, and labels 0 to 2; the folder."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for case in ("sub001", "sub002"):
        for channel in (0, 1):
            image = random.random((6, 7, 5)).astype(np.float32)
            put(folder / image_name(case, channel), image)
        put(folder / label_name(case), random.integers(0, 3, (6, 7, 5)).astype(np.uint8))
    labels = {"background": 0, "lesion": 1, "core": 2}
    write_description(folder, channels=["T1w", "FLAIR"], labels=labels, count=2, extra={})
    return folder


def about(folder, **changes):
    """Other entries of ``dataset.json``; None takes one out."""
    path = folder / "dataset.json"
    told = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in told.items() if value is not None}))


def image_with(folder, value):
    data = np.full((6, 7, 5), 1.0, np.float32)
    data[2, 3, 1] = value
    put(folder / image_name("sub001", 1), data)


FAULTS = {
    "no description": lambda folder: (folder / "dataset.json").unlink(),
    "no labels": lambda folder: (folder / "labelsTr").rename(folder / "elsewhere"),
    "no images": lambda folder: (folder / "imagesTr").rename(folder / "elsewhere"),
    "no file ending": lambda folder: about(folder, file_ending=None),
    "no channel names": lambda folder: about(folder, channel_names=None),
    "no number of cases": lambda folder: about(folder, numTraining=None),
    "another number of cases": lambda folder: about(folder, numTraining=3),
    "labels with a gap": lambda folder: about(folder, labels={"background": 0, "a": 1, "b": 3}),
    "a label that is not told": lambda folder: about(folder, labels={"background": 0, "a": 1}),
    "a case without its labels": lambda folder: (folder / label_name("sub002")).unlink(),
    "a channel that lacks": lambda folder: (folder / image_name("sub001", 1)).unlink(),
    "a voxel that is NaN": lambda folder: image_with(folder, np.nan),
    "another shape": lambda folder: put(
        folder / label_name("sub001"), np.zeros((6, 7, 4), np.uint8)
    ),
    "another spacing": lambda folder: put(
        folder / label_name("sub001"), np.zeros((6, 7, 5), np.uint8), np.diag([1.0, 1, 3, 1])
    ),
}


def test_a_whole_dataset_has_no_fault(tmp_path):
    assert faults(raw_dataset(tmp_path / "Dataset501_pilot")) == []


@pytest.mark.parametrize("name", FAULTS)
def test_what_nnunet_refuses_is_a_fault(tmp_path, name):
    folder = raw_dataset(tmp_path / "Dataset501_pilot")
    FAULTS[name](folder)
    assert faults(folder)


def test_an_affine_that_differs_is_a_fault_too(tmp_path):
    folder, moved = raw_dataset(tmp_path / "Dataset501_pilot"), AFFINE.copy()
    moved[0, 3] = 2.0
    put(folder / label_name("sub001"), np.zeros((6, 7, 5), np.uint8), moved)
    assert "lies elsewhere" in " ".join(faults(folder))
