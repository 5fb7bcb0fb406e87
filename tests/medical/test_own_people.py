"""A dataset drawn from people that the user brings: mapped, pooled by hash, refused in time."""

import numpy as np
import pytest
import torch
from heads import fractions

from core.refusal import Refusal
from medical.anatomy.pool import CANONICAL, person_hash
from medical.datasets import own_people
from medical.datasets.making import Maker
from medical.datasets.own_people import own_heads
from medical.datasets.request import MRIDatasetRequest
from medical.files.nifti import write_volume
from medical.files.volume import FileHeader, Volume

COUNT = 7


def folder_of(root, count, *, ages=True, description=None):
    """A BIDS folder of balls with rough surfaces."""
    random, rows = np.random.default_rng(3), ["participant_id\tage\tgender"]
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = CANONICAL.corner
    for k in range(count):
        shares = fractions(
            CANONICAL, 1 + 0.02 * random.standard_normal(), random.normal(0, 0.02, 4)
        )
        image = np.tensordot([300.0, 650.0, 1000.0], shares, 1)
        image = (image + random.normal(0, 20, image.shape)) * (image > 0)
        path = root / f"sub-{k:02d}" / "anat" / f"sub-{k:02d}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        data = torch.from_numpy(image.clip(0).astype(np.float32))
        volume = Volume(data, affine, FileHeader(dtype="int16"))
        write_volume(volume, path, description=description)
        rows.append(f"sub-{k:02d}\t{20 + 3 * k if ages else 'n/a'}\t{'fm'[k % 2]}")
    (root / "participants.tsv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return folder_of(tmp_path_factory.mktemp("own") / "mine", COUNT)


def asked(sources, **fields):
    return MRIDatasetRequest(
        name="own",
        count=1,
        spacing_mm=(2, 2, 2),
        contrasts=("T1w",),
        sources=str(sources),
        **fields,
    )


@pytest.mark.slow
def test_people_are_pooled_by_hash_and_a_quarter_is_kept(people):
    maker = Maker.of(asked(people, accept_linkage=True))
    hashes = {person_hash("mine", f"sub-{k:02d}") for k in range(COUNT)}
    assert {person.hash for person in maker.heads.people} == hashes
    assert {(p.age, p.sex) for p in maker.heads.people} == {
        (20 + 3 * k, "fm"[k % 2]) for k in range(COUNT)
    }
    drawn_from = {person.hash for pool in maker.plan.pools for person in pool}
    assert len(drawn_from) == 6
    assert any("of your own" in words and "accepted" in " ".join(maker.plan.said)
               for words in maker.plan.said)  # fmt: skip
    assert "mine" in maker.heads.words
    pool = own_heads(str(people))._pool
    shipped = own_people.find_pool()
    assert pool.wide[:, 2].mean() == pytest.approx(shipped.wide[:, 2].mean(), rel=0.4)
    assert len({pool.wide[k].tobytes() for k in range(COUNT)}) == COUNT
    assert maker.heads.digest != shipped.digest


@pytest.mark.slow
def test_people_who_may_be_recognized_must_be_accepted(people):
    with pytest.raises(Refusal, match=r"of your own.*accept_linkage=true"):
        Maker.of(asked(people))


def test_two_people_are_refused(tmp_path):
    folder_of(tmp_path / "two", 2)
    with pytest.raises(Refusal, match="heads of 2 people: a dataset is drawn from 7 or more"):
        Maker.of(asked(tmp_path / "two", accept_linkage=True))


def test_people_of_no_age_and_drawn_heads_are_refused(tmp_path):
    folder_of(tmp_path / "ageless", 7, ages=False)
    with pytest.raises(Refusal, match="does not tell age and sex of 7 people"):
        Maker.of(asked(tmp_path / "ageless", accept_linkage=True))
    folder_of(tmp_path / "drawn", 7, description="Synthetic (Lamina). Not a person.")
    with pytest.raises(Refusal, match="says that it is synthetic"):
        Maker.of(asked(tmp_path / "drawn", accept_linkage=True))


def test_a_head_with_its_skull_is_refused(tmp_path):
    folder = folder_of(tmp_path / "faces", 7)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-110, -140, -110)
    x, y, z = np.indices((110, 130, 110)) * 2.0 + affine[:3, 3].reshape(3, 1, 1, 1)
    radius = np.sqrt((x / 95) ** 2 + (y / 115) ** 2 + (z / 95) ** 2)
    image = np.select([radius < 0.6, radius < 0.8, radius < 1], [1000.0, 650.0, 400.0], 0.0)
    image += np.random.default_rng(0).normal(0, 15, image.shape) * (image > 0)
    data = torch.from_numpy(image.clip(0).astype(np.float32))
    write_volume(
        Volume(data, affine), folder / "sub-00" / "anat" / "sub-00_T1w.nii.gz", overwrite=True
    )
    with pytest.raises(Refusal, match="without their skull"):
        Maker.of(asked(folder, accept_linkage=True))


@pytest.mark.slow
def test_a_head_of_own_people_is_drawn(people, tmp_path):
    from medical.datasets.making import make_dataset

    made = make_dataset(Maker.of(asked(people, accept_linkage=True)), tmp_path / "out")
    assert made.made + len(made.missing) == 1
