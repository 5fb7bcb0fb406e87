"""Random headers and grids through every command: what is made lies where it must in space.

Places are worked out by nibabel and by formulas of millimeters alone, never by the code under
test. Networks are stand-ins that answer by a rule that is known; they are named so.
"""

import itertools
import random

import nibabel as nib
import numpy as np
import pytest
import torch
from grids import Grid, forms_agree, opened
from test_audit import someone
from test_super_resolve import StandIn

from core.operations.operation import Model
from medical.anatomy.structures import STRUCTURES
from medical.audit.seen import see
from medical.files.nifti import write_volume
from medical.lesions.anomalies import read_facts
from medical.lesions.request import (
    FillLesionsRequest,
    FindAnomaliesRequest,
    InpaintMRIRequest,
    InsertLesionsRequest,
)
from medical.operations.table import OPERATIONS
from medical.request import SegmentRequest, SuperResolutionRequest

GROUP = 20
GROUPS = [pytest.param(seed, marks=[pytest.mark.slow] * (seed > 0)) for seed in range(100)]
AUDITED = [*GROUPS, pytest.param(100, marks=pytest.mark.slow)]
FIRST = 4  # audited heads of the first group, which runs with the fast tests: 2 s each
WHITE, GRAY = 1000.0, 600.0
EDGE = 28.0
RIGHT = np.array([22.0, 0.0, 0.0])
METHOD = Model(None, {"name": "none"})


class Octants(StandIn):
    """A stand-in for the segmenter: structure 1 + octant of what it sees, right, anterior, up."""

    def __init__(self):
        super().__init__()
        self.register_to_config(in_channels=len(STRUCTURES))

    def forward(self, z, t, r=None, cond=None, memory=None):
        return 40.0 * torch.stack([octants(each > 0.02) for each in cond.concat[:, 0]]).float()


def octants(bright):
    """(structures, D, H, W) 1 at the structure that a window's middle of brightness says."""
    sides = [
        torch.arange(n) > float(bright.nonzero()[:, axis].float().mean())
        for axis, n in enumerate(bright.shape)
    ]
    x, y, up = torch.meshgrid(*(side.long() for side in sides), indexing="ij")
    named = torch.where(bright, 1 + x + 2 * y + 4 * up, 0)
    return torch.nn.functional.one_hot(named, len(STRUCTURES)).movedim(-1, 0)


class White(Octants):
    """A stand-in for the segmenter that takes all it sees for white matter.

    The head of anomalies was taught that ventricles and deep structures are no lesions however
    bright: of octants that bear their names its score says nothing about the place of a spot.
    """

    def forward(self, z, t, r=None, cond=None, memory=None):
        bright = cond.concat[:, 0] > 0.02
        named = torch.nn.functional.one_hot(3 * bright.long(), len(STRUCTURES))
        return 40.0 * named.movedim(-1, 1).float()


def made(name, request, target, model=METHOD):
    """The files of one job, in the steps that every command takes."""
    operation = OPERATIONS[name]
    operation.check(request)
    prepared = operation.prepare(request)
    drawn = operation.draw(request, prepared, model, lambda done, total, estimate: None)
    paths = operation.write(request, drawn, target, overwrite=False)
    return paths, operation.numbers(drawn) | operation.verify(request, paths)


def inside(points, center, radii):
    """Whether places lie in an ellipsoid whose axes are those of space."""
    return (((points - center) / radii) ** 2).sum(-1) <= 1


def voxel_ml(grid):
    return abs(np.linalg.det(grid.affine[:3, :3])) / 1000


def noisy(draw, data):
    """With noise where there is something."""
    rough = np.random.default_rng(draw.randrange(1 << 30)).normal(0, 6, data.shape)
    return (data + rough * (data > 0)).clip(0)


def same_header(one, two):
    """Grid, unit, type and scale of two files."""
    a, b = nib.load(one), nib.load(two)
    np.testing.assert_array_equal(a.affine, b.affine)
    assert a.shape == b.shape
    assert a.header["xyzt_units"] == b.header["xyzt_units"]
    assert a.get_data_dtype().newbyteorder("=") == b.get_data_dtype().newbyteorder("=")
    stored = [np.asarray(each.dataobj.get_unscaled()) for each in (a, b)]
    return (stored[0] != stored[1]).reshape(a.shape[:3])


MIDDLE = np.array([0.0, -18.0, 8.0])
HEAD = np.array([66.0, 84.0, 61.0])


def a_head(grid, points, shift):
    """White matter up to 28 mm on the right, gray elsewhere, where MNI has its brain."""
    place = points - shift
    brain = inside(place, MIDDLE, HEAD)
    white = inside(place, MIDDLE, HEAD * 0.9) & (place[..., 0] < EDGE)
    return np.select([white, brain], [WHITE, GRAY], 0.0), white


@pytest.mark.parametrize("seed", GROUPS)
def test_lesions_lie_in_the_white_matter_of_space(tmp_path, seed):
    draw = random.Random(seed)
    for number in range(GROUP):
        code = draw.choice([1, 2, 4])
        shift = np.zeros(3) if code == 4 else np.array([draw.uniform(-40, 40) for _ in range(3)])
        grid = Grid.draw(
            draw, 2 * HEAD, spacing=(3.0, 5.0), center=MIDDLE + shift, codes=(code,), most=0.12
        )
        data, white = a_head(grid, grid.points, shift)
        scan = grid.write(noisy(draw, data), tmp_path, f"{number}_T1w")
        request = InsertLesionsRequest(scan=str(scan), load_ml=8, count=6, seed=number)
        paths, facts = made("insert_mri_lesions", request, tmp_path / f"{number}-out.nii.gz")
        changed = same_header(scan, paths["result"])
        mask, points = opened(paths["mask"])
        assert_places(points, scan, grid)
        assert not (changed & ~(mask > 0)).any()
        # to a voxel: white matter is told by intensities, which lie on the grid
        assert (white[mask > 0]).mean() > 0.97
        assert (points[mask > 0][:, 0] - shift[0]).max() < EDGE
        asked = pytest.approx(8, rel=0.03)
        assert (mask > 0).sum() * voxel_ml(grid) == asked
        assert facts["load_ml"]["delivered"] == asked
        assert facts["mask_ml"] == asked
        assert forms_agree(paths["mask"])


@pytest.mark.parametrize("name", ["fill_mri_lesions", "inpaint_mri"])
@pytest.mark.parametrize("seed", GROUPS)
def test_what_lies_in_a_mask_of_space_is_painted_over(tmp_path, seed, name):
    draw = random.Random(f"{seed}{name}")
    asked = {"fill_mri_lesions": FillLesionsRequest, "inpaint_mri": InpaintMRIRequest}[name]
    for number in range(GROUP):
        grid = Grid.draw(draw, (60, 70, 50), spacing=(1.5, 6.0), center=(5.0, -9.0, 30.0))
        places, hole = grid.points, np.array([draw.uniform(-12, 12) for _ in range(3)])
        hole += (5.0, -9.0, 30.0)
        lesion = inside(places, hole, 9.0)
        tissue = np.where(inside(places, (5.0, -9.0, 30.0), 29.0), WHITE, 0.0)
        data = noisy(draw, np.where(lesion, 300.0, tissue))
        scan = grid.write(data, tmp_path, str(number))
        other = Grid(**vars(grid) | {"unit": draw.choice([2, 1, 3, 10])})  # told in another way
        mask = other.write(lesion * 1.0, tmp_path, f"{number}-mask", dtype="uint8")
        request = asked(scan=str(scan), mask=str(mask), seed=number)
        paths, facts = made(name, request, tmp_path / f"{number}-out.nii.gz")
        changed = same_header(scan, paths["result"])
        after, points = opened(paths["result"])
        assert_places(points, scan, grid)
        assert not (changed & ~lesion).any()
        assert (np.linalg.norm(points[changed] - hole, axis=1) <= 9.01).all()
        assert np.median(after[lesion]) == pytest.approx(WHITE, rel=0.06)
        assert facts["mask_ml"] == pytest.approx(lesion.sum() * voxel_ml(grid), rel=1e-3)


@pytest.mark.parametrize("seed", GROUPS)
def test_tissues_are_found_where_they_are(tmp_path, seed):
    draw = random.Random(f"{seed}tissues")
    for number in range(GROUP):
        center = np.array([draw.uniform(-50, 50) for _ in range(3)])
        grid = Grid.draw(draw, (118, 96, 108), spacing=(2.0, 4.0), center=center)
        shells = [inside(grid.points, center, np.array([56.0, 45.0, 51.0]) * k) for k in (1, 0.8)]
        fluid = inside(grid.points, center + RIGHT, 14.0)  # on the right alone
        truth = np.select([fluid, shells[1], shells[0]], [1, 3, 2], 0)
        data = noisy(draw, np.array([0, 250, 600, 900.0])[truth])
        scan = grid.write(data, tmp_path, str(number))
        request = SegmentRequest(scan=str(scan))
        paths, facts = made("segment_mri", request, tmp_path / f"{number}-out.nii.gz")
        labels, points = opened(paths["result"])
        assert_places(points, scan, grid)
        found = points[labels == 1].mean(0) - center if (labels == 1).any() else np.zeros(3)
        assert (labels == truth).mean() > 0.97
        assert np.linalg.norm(found - RIGHT) < 6.0
        told = facts["volume_ml"]["white matter"]
        assert told == pytest.approx((labels == 3).sum() * voxel_ml(grid), rel=1e-3, abs=0.01)
        assert forms_agree(paths["result"])


@pytest.mark.parametrize("seed", GROUPS)
def test_structures_are_told_right_from_left(tmp_path, seed):
    draw = random.Random(f"{seed}structures")
    for number in range(GROUP):
        center = np.array([draw.uniform(-50, 50) for _ in range(3)])
        grid = Grid.draw(draw, (58, 58, 58), spacing=(1.5, 4.0), center=center, most=0.3)
        brain = inside(grid.points, center, 28.0)
        scan = grid.write(np.where(brain, WHITE, 0.0), tmp_path, str(number))
        request = SegmentRequest(scan=str(scan), labels="structures")
        target = tmp_path / f"{number}-out.nii.gz"
        paths, _ = made("segment_mri", request, target, Model(Octants(), {"name": "stand-in"}))
        labels, points = opened(paths["result"])
        assert_places(points, scan, grid)
        # the network sees the grid's axes that are nearest to those of space
        axes = nearest_axes(grid.affine)
        away = (points - center) @ np.linalg.inv(axes).T  # mm along right, anterior, up
        sure = brain & (np.abs(away) > 6.0).all(-1)
        expected = 1 + (away > 0) @ np.array([1, 2, 4])
        assert (labels[sure] == expected[sure]).all()
        assert not labels[~brain].any()


def nearest_axes(affine):
    """(3, 3) a grid's axes, each turned and named by the direction it is nearest to."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    best = max(
        itertools.permutations(range(3)), key=lambda order: abs(axes[range(3), order]).sum()
    )
    return axes[:, best] * np.sign(axes[range(3), best])


@pytest.mark.parametrize("seed", GROUPS)
def test_bright_spots_are_marked_where_they_are(tmp_path, seed):
    draw = random.Random(f"{seed}anomalies")
    model = Model(White(), {"name": "stand-in", "sha256": read_facts()["segmenter"]})
    for number in range(GROUP):
        center = np.array([draw.uniform(-50, 50) for _ in range(3)])
        grid = Grid.draw(draw, (100, 100, 100), spacing=(2.0, 4.0), center=center)
        spot = center + [draw.uniform(-18, 18) for _ in range(3)]
        brain, away = (
            inside(grid.points, center, 45.0),
            np.linalg.norm(grid.points - spot, axis=-1),
        )
        data = noisy(draw, np.where(brain, 700 + 1100 * np.exp(-((away / 13.0) ** 2)), 0.0))
        scan = grid.write(data, tmp_path, f"{number}_FLAIR")
        request = FindAnomaliesRequest(scan=str(scan))
        target = tmp_path / f"{number}-out.nii.gz"
        paths, facts = made("find_mri_anomalies", request, target, model)
        bright, points = opened(paths["bright"])
        assert_places(points, scan, grid)
        assert bright[away < 5.0].all()
        assert not bright[away > 9.0].any()
        told = facts["above_ml"]["bright"]
        assert told == pytest.approx((bright > 0).sum() * voxel_ml(grid), rel=1e-3, abs=0.01)
        score, places = opened(paths["result"])
        assert_places(places, scan, grid)
        assert score[away < 5.0].mean() > score[brain & (away > 9.0)].mean()
        assert all(map(forms_agree, paths.values()))


@pytest.mark.parametrize("seed", GROUPS)
def test_finer_voxels_show_what_lies_there(tmp_path, seed):
    draw = random.Random(f"{seed}finer")
    model = Model(StandIn(), {"name": "stand-in"})
    for number in range(GROUP):
        center = np.array([draw.uniform(-90, 90) for _ in range(3)])
        thick = draw.choice([(2.0, 7.0), (3.0, 4.0)])
        grid = Grid.draw(draw, (54, 48, 42), spacing=thick, center=center)
        spot = center + [draw.uniform(-6, 6) for _ in range(3)]
        data = 100 + 900 * np.exp(-(((grid.points - spot) / 9.0) ** 2).sum(-1))
        scan = grid.write(data, tmp_path, str(number))
        wanted = tuple(draw.choice([1.3, 1.7, 2.0]) for _ in range(3))
        request = SuperResolutionRequest(
            scan=str(scan), spacing_mm=wanted, samples=1, steps=1, noise_std=0
        )
        target = tmp_path / f"{number}-out.nii.gz"
        paths, _ = made("super_resolve_mri", request, target, model)
        after, points = opened(paths["result"])
        truth = 100 + 900 * np.exp(-(((points - spot) / 9.0) ** 2).sum(-1))
        weight = (after - 150).clip(0)[..., None]
        found = (points * weight).sum((0, 1, 2)) / weight.sum()
        before = (data - 150).clip(0)[..., None]
        stood = (grid.points * before).sum((0, 1, 2)) / before.sum()
        assert np.corrcoef(after.ravel(), truth.ravel())[0, 1] > 0.97
        assert np.linalg.norm(found - stood) < 0.7
        assert all(map(forms_agree, paths.values()))
        assert_same_view(grid, paths["result"])
        places = opened(paths["consistency"])[1]
        assert_places(places, scan, grid)
        assert opened(paths["std"])[0].shape == after.shape


@pytest.mark.parametrize("seed", AUDITED)
def test_an_audit_sees_one_person_in_every_form_of_a_file(tmp_path, seed):
    draw = random.Random(f"{seed}audit")
    person = someone(seed)
    whole = write_volume(person, tmp_path / "whole.nii")
    known = see(whole, "whole").labels
    for number in range(GROUP if seed else FIRST):
        order, flips = draw.sample(range(3), 3), draw.choices([False, True], k=3)
        data, affine = person.data.numpy(), np.eye(4)
        for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
            affine[:3, new] = person.affine[:3, old] * (-1 if flip else 1)
        ends = [(n - 1) * flip for n, flip in zip(np.array(data.shape)[order], flips, strict=True)]
        affine[:3, 3] = person.affine[:3, 3] - affine[:3, :3] @ ends
        data = np.flip(data.transpose(order), [k for k in range(3) if flips[k]])
        grid = Grid.draw(draw, (10, 10, 10))
        grid.shape, grid.affine = data.shape, affine
        found = see(grid.write(data, tmp_path, str(number)), "turned").labels
        assert (found == known).mean() > 0.995
        # voxels are the same whatever the axes; places differ as a header's float32 rounds them,
        # and the descent that aligns a head makes tenths of a millimeter of that
        assert (found != known)[known > 0].mean() < 0.02


def assert_places(points, scan, grid):
    """Voxels lie where the scan's header has them, which is where they were drawn.

    A header says less than the drawing: of the four numbers of a qform three are kept in float32
    (2 ** -24 of 1) and the fourth follows as the root of what is left of 1. At a half turn that is
    about 0, and off by as much as (3 * 2 ** -24) ** 0.5 = 4.2e-4, a turning of 8.5e-4. So results
    are held against the header, within float32, and the header against the drawing by that.
    """
    told = opened(scan)[1]
    np.testing.assert_allclose(points, told, atol=2e-3)
    radius = np.linalg.norm(grid.points - grid.points[0, 0, 0], axis=-1).max()
    assert np.abs(told - grid.points).max() < 8.5e-4 * radius + 2e-3


def assert_same_view(grid, path):
    """The middle of a grid stays; its ends move by half a voxel at most."""
    image = nib.load(path)
    affine = image.affine.copy()
    affine[:3] *= grid.unit_mm
    ends = []
    for shape, each in ((grid.shape, grid.affine), (image.shape, affine)):
        corners = np.array([[*c, 1.0] for c in np.ndindex(2, 2, 2)]) * [*shape[:3], 1]
        corners[:, :3] -= 0.5
        ends.append((corners @ each.T)[:, :3])
    np.testing.assert_allclose(ends[0].mean(0), ends[1].mean(0), atol=5e-3)
    along = (ends[1] - ends[0]) @ np.linalg.inv(grid.affine[:3, :3]).T
    assert (np.abs(along) * np.linalg.norm(grid.affine[:3, :3], axis=0) <= 1.01).all()
