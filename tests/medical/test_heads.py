"""Folders of heads as people have them: a head is taken, left out by rule, or refused by name."""

import logging

import numpy as np
import pytest
import torch

from core.refusal import Refusal
from medical.files.naming import naming_nobody
from medical.files.nifti import read_volume, write_volume
from medical.files.volume import FileHeader, Volume
from medical.request import MRITrainingRequest
from medical.training.dataset import load_heads, load_labels
from medical.training.heads import find_heads
from medical.training.training import head_batches

SHAPE = (50, 52, 54)


def ball(shape=SHAPE):
    axes = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in shape), indexing="ij")
    inside = sum(axis**2 for axis in axes) < 0.9
    texture = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    return (80 + 100 * texture) * inside


def save(path, data, spacing=(1.0, 1.0, 1.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = FileHeader(dtype="int16")
    write_volume(Volume(data.float(), np.diag([*spacing, 1.0]), header), path)
    return path


def anat(root, subject, session=""):
    return root / subject / session / "anat"


@pytest.fixture
def root(tmp_path):
    """A dataset with one head that is right."""
    save(anat(tmp_path, "sub-01") / "sub-01_T1w.nii.gz", ball())
    return tmp_path


def second(root):
    return anat(root, "sub-02") / "sub-02_T1w.nii.gz"


def refused(root, **options):
    request = MRITrainingRequest.model_validate({"heads": str(root), **options})
    with pytest.raises(Refusal) as caught:
        head_batches(request)
    return str(caught.value)


def one_bright_voxel():
    data = torch.zeros(SHAPE)
    data[25, 25, 25] = 5
    return data


UNFIT = [
    (torch.zeros(SHAPE), "sub-02_T1w.nii.gz is dark"),
    (torch.full(SHAPE, 7.0), "sub-02_T1w.nii.gz is dark"),
    (one_bright_voxel(), "sub-02_T1w.nii.gz is dark"),
    ((ball() > 0) * 1.0, "sub-02_T1w.nii.gz is a mask and no scan: all of its voxels are 0 or 1"),
    (ball((30, 52, 54)), "sub-02_T1w.nii.gz has 30 x 52 x 54 voxels, and patches are 48 long"),
]


@pytest.mark.parametrize(("data", "words"), UNFIT)
def test_a_head_that_cannot_be_trained_on_is_refused_by_file(root, data, words):
    save(second(root), data)
    said = refused(root)
    assert f"1 head cannot be trained on ({words}" in said
    assert said.endswith("move these files away or export them again.")
    assert "sub-01" not in said


def test_all_unfit_heads_are_named_at_once(root):
    for k in range(2, 10):
        save(anat(root, f"sub-{k:02d}") / f"sub-{k:02d}_T1w.nii.gz", torch.zeros(SHAPE))
    said = refused(root)
    assert "8 heads cannot be trained on" in said
    assert "sub-06" in said
    assert said.count("sub-") == 5
    assert "and 3 more" in said


def test_a_damaged_head_is_refused_by_file(root):
    path = save(second(root), ball())
    path.write_bytes(path.read_bytes()[:-200])
    assert str(path) in refused(root)


def test_pages_and_logs_of_others_name_nobody(root):
    save(second(root), torch.zeros(SHAPE))
    labels = save(anat(root, "sub-01") / "sub-01_dseg.nii.gz", -ball())
    for load, named in ((load_heads, "sub-02_T1w.nii.gz"), (load_labels, str(labels))):
        with pytest.raises(Refusal, match=named) as caught:
            load(root)
        assert "(a person)" in caught.value.unnamed
        assert "sub-0" not in caught.value.unnamed
        assert caught.value.unnamed.endswith("where the people stand, says who it is.")


@pytest.mark.parametrize(
    "name", ["x_sub-02_T1w.nii.gz", "sub-Özil_T1w.nii.gz", "sub-02 Meyer_T1w.nii.gz"]
)
def test_names_that_are_not_by_the_rule_leave_no_trace_either(name):
    with pytest.raises(Refusal) as caught, naming_nobody("Look there."):
        raise Refusal(f"/data/heads/{name} has 3 voxels: too few; export it again.")
    said = "(a person) has 3 voxels: too few; export it again. Look there."
    assert caught.value.unnamed == said


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 5.0), (1.0, 1.0, 2.6), (0.4, 1.2, 1.2)])
def test_thick_heads_among_fine_ones_are_left_out_and_said(root, caplog, spacing):
    save(second(root), ball(), spacing)
    save(anat(root, "sub-03") / "sub-03_T1w.nii.gz", ball(), (0.7, 0.9, 1.2))
    with caplog.at_level(logging.WARNING, logger="medical"):
        assert [name for name, _ in load_heads(root)] == ["sub-01", "sub-03"]
    assert "left out: 1 file: its voxels of" in caplog.text
    assert "sub-02" not in caplog.text.replace(str(root), "")
    assert "too thick: at most 2 mm along each axis and 2.5 times the finest" in caplog.text


def test_thick_heads_alone_are_refused_with_the_reason(tmp_path):
    save(second(tmp_path), ball(), (0.5, 0.5, 5.0))
    assert "sub-02_T1w.nii.gz: its voxels of 0.5 x 0.5 x 5 mm are too thick" in refused(tmp_path)


def test_sessions_and_unpacked_heads_are_taken(root):
    save(anat(root, "sub-02", "ses-1") / "sub-02_ses-1_T1w.nii.gz", ball())
    save(anat(root, "sub-02", "ses-2") / "sub-02_ses-2_run-1_T1w.nii", ball())
    save(anat(root, "sub-03") / "sub-03_T1w.nii", ball())
    save(anat(root, "sub-04") / "sub-04_T1w.nii.gz", ball()).rename(
        anat(root, "sub-04") / "sub-04_T1w.NII.GZ"
    )
    names = ["sub-01", "sub-02_ses-1", "sub-02_ses-2_run-1", "sub-03", "sub-04"]
    assert [name for name, _ in load_heads(root)] == names


def test_what_is_named_like_a_head_and_is_none_is_left_out_and_said(root):
    save(anat(root, "sub-01") / "sub-01_T1w.nii", ball())
    (anat(root, "sub-01") / "._sub-01_T1w.nii.gz").write_bytes(b"Mac OS X")
    (anat(root, "sub-02")).mkdir(parents=True)
    second(root).symlink_to("../../.git/annex/objects/x")
    found = find_heads(root)
    assert list(found.taken) == ["sub-01"]
    assert found.taken["sub-01"].suffix == ".gz"
    assert {path.name: why for path, why in found.left_out.items()} == {
        "sub-01_T1w.nii": "the same head is taken packed",
        "._sub-01_T1w.nii.gz": "a hidden file",
        "sub-02_T1w.nii.gz": "its link leads nowhere, so fetch it or remove it",
    }


LABELS = [
    (torch.zeros(SHAPE), "labels 0.0% of its head: .*; label it or move the file away"),
    (one_bright_voxel(), "labels 0.0% of its head: .*; label it or move the file away"),
    (ball() * 0 - 1, "a label map holds -1: .*; number the tissues from 1"),
    (torch.arange(50 * 52 * 54).reshape(SHAPE) % 300, "a label map has 300 values: .*; give"),
]


@pytest.mark.parametrize(("labels", "words"), LABELS)
def test_a_label_map_that_labels_no_tissues_is_refused_by_file(root, labels, words):
    file = save(anat(root, "sub-01") / "sub-01_dseg.nii.gz", labels)
    with pytest.raises(Refusal, match=f"{file}.*{words}"):
        load_labels(root)
    assert str(file) in refused(root, contrast_share=0.5)


def test_probabilities_are_no_labels(root):
    file = anat(root, "sub-01") / "sub-01_dseg.nii"
    header = FileHeader(dtype="float32")
    write_volume(Volume(ball() / 180, np.diag([1.0] * 4), header), file)
    with pytest.raises(Refusal, match=f"{file} holds other values than small whole numbers"):
        load_labels(root)
    save(anat(root, "sub-02") / "sub-02_T1w.nii.gz", ball())
    file.unlink()
    save(anat(root, "sub-02") / "sub-02_dseg.nii", (ball() > 0) * 3)
    assert torch.unique(load_labels(root)["sub-02"]).tolist() == [0, 3]


def test_what_seems_to_be_a_head_and_stands_elsewhere_is_said(root):
    save(anat(root, "sub-03") / "sub-03_t1w.nii.gz", ball())
    save(root / "sub-04" / "sub-04_T1w.nii.gz", ball())
    save(root / "Sub-05" / "anat" / "Sub-05_T1w.nii.gz", ball())
    save(root / "derivatives" / "x" / "sub-06" / "anat" / "sub-06_T1w.nii.gz", ball())
    save(anat(root, "sub-07") / "sub-07_T2w.nii.gz", ball())
    anat(root, "sub-08").mkdir(parents=True)
    (anat(root, "sub-08") / "sub-08_T1w.mgz").write_bytes(b"x")
    found = find_heads(root)
    assert list(found.taken) == ["sub-01"]
    said = found.says()
    names = ("sub-03_t1w.nii.gz", "sub-04_T1w.nii.gz", "Sub-05_T1w.nii.gz", "sub-08_T1w.mgz")
    names = (*names, "derivatives", "sub-07_T2w.nii.gz")
    assert all(name in said for name in names)
    assert "derivatives: no part of the raw dataset" in said
    assert "sub-07_T2w.nii.gz: heads are T1-weighted images" in said
    assert len(found.left_out) == len(names)
    assert said.count("heads are named sub-*_T1w.nii[.gz]") == 1
    assert "sub-08_T1w.mgz: it is no NIfTI" in said


def test_folders_are_looked_through_behind_links_and_not_in_circles(root, tmp_path_factory):
    more = tmp_path_factory.mktemp("more")
    save(anat(more, "x") / "sub-09_T1w.nii.gz", ball())
    (root / "linked").symlink_to(more)
    (root / "sub-01/again").symlink_to("..")
    assert list(find_heads(root).taken) == ["sub-01"]
    assert not find_heads(anat(root, "sub-01") / "sub-01_T1w.nii.gz").taken  # a file is no folder
    assert find_heads(root).says().startswith("sub-09_T1w.nii.gz: heads are named sub-*")


@pytest.mark.timeout(20)
def test_folders_that_link_to_each_other_are_each_walked_once(root):
    folders = [root / f"part-{k}" for k in range(9)]
    for folder in folders:
        folder.mkdir()
        (folder / f"{folder.name}_T1w.nii.gz").write_bytes(b"x")
    for one in folders:
        for other in folders:
            if one != other:
                (one / f"to-{other.name}").symlink_to(other)
    assert len(find_heads(root).left_out) == len(folders)


def test_of_many_files_twenty_are_named(root):
    for k in range(2, 32):
        (anat(root, f"sub-{k:02d}") / f"sub-{k:02d}_T2w.nii.gz").parent.mkdir(parents=True)
        (anat(root, f"sub-{k:02d}") / f"sub-{k:02d}_T2w.nii.gz").write_bytes(b"x")
    said = find_heads(root).says()
    assert said.count("sub-") == 20
    assert "sub-21_T2w.nii.gz and 10 more: heads are" in said


def test_two_heads_of_one_name_are_told_by_their_folders(root):
    save(anat(root, "sub-01", "ses-1") / "sub-01_T1w.nii.gz", ball())
    save(anat(root, "sub-00") / "sub-02_T1w.nii.gz", ball())
    save(second(root), ball())
    found = find_heads(root)
    assert {name: path.parent.parent.name for name, path in found.taken.items()} == {
        "sub-01": "sub-01",
        "sub-02": "sub-02",
    }
    said = found.says()
    assert "it stands in sub-01/ses-1/anat and is named as the head taken from sub-01/anat" in said
    assert "it stands in sub-00/anat and is named as the head taken from sub-02/anat" in said


@pytest.mark.parametrize(
    ("begin", "words"),
    [
        (b"/annex/objects/MD5E-s1--0.nii.gz\n", "git-annex"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    ],
)
def test_a_file_that_only_points_elsewhere_is_named_as_that(root, begin, words):
    second(root).parent.mkdir(parents=True)
    second(root).write_bytes(begin)
    assert f"sub-02_T1w.nii.gz: its content is not here but in {words}" in find_heads(root).says()
    with pytest.raises(Refusal, match=f"holds no scan: its content is not here but in {words}"):
        read_volume(second(root))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_bidsignore_names_is_not_trained_on(root, encoding):
    save(second(root), ball())
    assert list(find_heads(root).taken) == ["sub-01", "sub-02"]
    (root / ".bidsignore").write_text("sub-02/\n", encoding=encoding)
    found = find_heads(root)
    assert list(found.taken) == ["sub-01"]
    assert found.says() == "sub-02_T1w.nii.gz: named by .bidsignore"
