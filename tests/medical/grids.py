"""Random NIfTI headers and grids, written by nibabel alone, with pictures of places in space."""

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from nibabel.quaternions import quat2mat

UNITS = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # code of the unit of length to its millimeters
DTYPES = ("int16", "uint16", "int32", "float32", "float64", "uint8")
SMALLEST = 2  # voxels along an axis


def turn(angles):
    """(3, 3) of a turning about x, y and z."""
    (ca, cb, cc), (sa, sb, sc) = np.cos(angles), np.sin(angles)
    x = np.array([[1, 0, 0], [0, ca, -sa], [0, sa, ca]])
    y = np.array([[cb, 0, sb], [0, 1, 0], [-sb, 0, cb]])
    z = np.array([[cc, -sc, 0], [sc, cc, 0], [0, 0, 1]])
    return x @ y @ z


@dataclass
class Grid:
    """A grid in space and how a file tells it.

    Attributes:
        shape: along the file's axes.
        affine: (4, 4) to millimeters.
        forms: ``sform``, ``qform``, ``both``, or ``other``: a qform that lies elsewhere.
        code: of the form that counts.
        unit: xyzt_units, seconds included.
        dtype: as stored.
        scale: slope and intercept.
        kind: of image, byte order, ending, axes of one after the third.
    """

    shape: tuple
    affine: np.ndarray
    forms: str
    code: int
    unit: int
    dtype: str
    scale: tuple
    kind: tuple

    @classmethod
    def draw(
        cls, draw, extent_mm, *, spacing=(1.5, 6.0), center=(0.0, 0.0, 0.0), most=0.5, codes=(1, 2)
    ):
        """A grid over a box, as scanners, converters and people leave them.

        Args:
            draw: a ``random.Random``.
            extent_mm: of the box along right, anterior, superior; the grid covers it.
            spacing: least and most between voxels.
            center: of the box, mm.
            most: angle of a turning about each axis, radians.
            codes: that the form which counts may have.
        """
        steps = np.array([draw.uniform(*spacing) for _ in range(3)])
        if draw.random() < 0.3:
            steps[:] = draw.uniform(*spacing)
        angles = [draw.choice([0.0, draw.uniform(-most, most)]) for _ in range(3)]
        axes = turn(angles)[:, draw.sample(range(3), 3)] * [draw.choice([-1, 1]) for _ in range(3)]
        sheared = draw.random() < 0.12
        if sheared:
            axes[:, 0] += draw.uniform(0.02, 0.08) * axes[:, 1]
            axes[:, 0] /= np.linalg.norm(axes[:, 0])
        half = np.array(extent_mm) / 2
        corners = np.array(list(np.ndindex(2, 2, 2))) * 2 * half - half  # (8, 3)
        seen = np.abs(corners @ np.linalg.inv(axes).T).max(0) * 2  # mm along the grid's axes
        shape = tuple(int(n) for n in np.maximum(np.ceil(seen / steps) + 1, SMALLEST))
        affine = np.eye(4)
        affine[:3, :3] = axes * steps
        middle = affine[:3, :3] @ ((np.array(shape) - 1) / 2)
        affine[:3, 3] = np.array(center) - middle
        forms = draw.choice(["sform", "other"] if sheared else ["sform", "qform", "both", "other"])
        dtype = draw.choice(DTYPES)
        plain = draw.random() < 0.4
        slope = 1.0 if plain else draw.choice([0.5, 2.0, draw.uniform(0.2, 3.0)])
        inter = 0.0 if plain else -slope * draw.choice([0, 100, 1024])
        if dtype == "uint8":
            slope, inter = 8.0, 0.0
        kind = (
            draw.choice([nib.Nifti1Image, nib.Nifti1Image, nib.Nifti2Image]),
            draw.choice("<<>"),
            draw.choice([".nii", ".nii.gz"]),
            draw.choice([0, 0, 0, 1, 2]),
        )
        unit = draw.choice([2, 2, 2, 0, 1, 3]) + draw.choice([0, 8])
        code = draw.choice(codes)
        return cls(shape, affine, forms, code, unit, dtype, (slope, inter), kind)

    @property
    def points(self):
        """(D, H, W, 3) where the voxels lie, mm."""
        index = np.stack(np.indices(self.shape), -1)
        return index @ self.affine[:3, :3].T + self.affine[:3, 3]

    @property
    def unit_mm(self):
        """Millimeters of the file's unit."""
        return UNITS[self.unit & 7]

    def write(self, data, folder, name, *, dtype=None):
        """Write intensities (D, H, W) so; the file."""
        make, order, ending, more = self.kind
        kind = np.dtype(dtype or self.dtype)
        slope, inter = (1.0, 0.0) if dtype else self.scale
        stored = (data - inter) / slope
        if kind.kind in "iu":
            stored = np.rint(stored).clip(np.iinfo(kind).min, np.iinfo(kind).max)
        header = make.header_class(endianness=order)
        header.set_data_dtype(kind.newbyteorder(order))
        image = make(stored.astype(kind).reshape(*self.shape, *(1,) * more), None, header)
        told = self.affine.copy()
        told[:3] /= self.unit_mm
        other = told @ np.diag([-1.0, 1.0, 1.0, 1.0])
        other[:3, :3] = turn([0.3, 0.2, 0.1]) @ np.linalg.qr(other[:3, :3])[0]
        image.set_sform(told, self.code if self.forms != "qform" else 0)
        if self.forms == "sform":
            image.header["qform_code"] = 0
        elif self.forms == "other":
            image.set_qform(other, 4)
        else:
            image.set_qform(told, self.code)
        image.header.set_slope_inter(slope, inter)
        image.header["xyzt_units"] = self.unit
        path = folder / f"{name}{ending}"
        nib.save(image, path)
        return path


def qform(image):
    """(4, 4) what a qform tells by the standard's formula, in which ITK reads it too.

    nibabel takes the first of the four numbers for 0 up to 6e-4, the standard up to 3.2e-4.
    """
    b, c, d = (float(image.header[f"quatern_{name}"]) for name in "bcd")
    first = 1.0 - (b * b + c * c + d * d)
    sizes = np.array(image.header["pixdim"][1:4], dtype=np.float64)
    sizes[2] *= -1 if image.header["pixdim"][0] < 0 else 1
    affine = np.eye(4)
    affine[:3, :3] = quat2mat([np.sqrt(first) if first >= 1e-7 else 0.0, b, c, d]) * sizes
    affine[:3, 3] = [image.header[f"qoffset_{name}"] for name in "xyz"]
    return affine


def opened(path):
    """Intensities (D, H, W) and places of voxels (D, H, W, 3) in mm, as the standard has them."""
    image = nib.load(path)
    data = np.asarray(image.dataobj, dtype=np.float64)
    data = data.reshape(data.shape[:3])
    unit = UNITS[int(image.header["xyzt_units"]) & 7]
    index = np.stack(np.indices(data.shape), -1)
    affine = image.get_sform() if image.header["sform_code"] > 0 else qform(image)
    return data, (index @ affine[:3, :3].T + affine[:3, 3]) * unit


def forms_agree(path):
    """Whether ITK, which reads the qform, finds a file's voxels where others do.

    To a twentieth of a voxel: of half turns a qform's float32 keeps three digits.
    """
    image = nib.load(path)
    coded = int(image.header["qform_code"])
    if not coded:
        return True
    corners = np.array([[*c, 1] for c in np.ndindex(2, 2, 2)]) * [*image.shape[:3], 1]
    away = corners @ (qform(image) - image.affine).T
    same = np.abs(away).max() < 0.05 * np.linalg.norm(image.affine[:3, :3], axis=0).min()
    return bool(same) and coded == int(image.header["sform_code"])
