"""NIfTI files under a geometry contract: the only door to nibabel.

What comes in goes out: affine, form codes, units, stored type and scaling are the input's own
unless a new grid or a map of another kind is written. Both forms are written and agree, because
ITK reads the qform and most others the sform; a sheared affine has no qform, so its code is 0.
Free text of the header and its extensions are not carried over, they may hold a patient's name.
"""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.volumeutils import apply_read_scaling
from numpy.typing import NDArray

from core.arrays import Tensor, plain, tensor
from core.progress import counted
from core.records import atomic_path
from core.refusal import Refusal
from medical.files.container import SUFFIXES, check_content, check_gzip, check_size, is_gzip
from medical.files.forms import affine_of, form_codes, shape_of, stored_sizes
from medical.files.privacy import (
    checked_description,
    own_description,
    without_words,
    words_removed,
)
from medical.files.stored import all_finite, clear_zeros, read_values, stored_voxels
from medical.files.volume import FileHeader, Volume, check_near, is_sheared

FEWEST_STEPS = 4  # of float32 between the lowest intensity and the highest
logging.getLogger("nibabel.global").setLevel(
    logging.CRITICAL
)  # what is wrong with a header is said here


def read_volume(path: str | Path) -> Volume:
    """The scan in a NIfTI file, intensities as stored times slope plus intercept.

    Args:
        path: A .nii or .nii.gz file with one 3-D image of real numbers.

    Raises:
        Refusal: The file is not such an image, or its grid has no place in space.
    """
    volume = read_plain(path)
    return replace(volume, data=tensor(plain(volume.data)))


def read_plain(path: str | Path) -> Volume:
    """The same, its voxels an array of numpy, for where there is no torch."""
    path = Path(path)
    image = _open(path)
    affine = _checked_affine(path, image)
    if is_gzip(path):
        check_gzip(path, _last_byte(image))
    return Volume(cast("Tensor", _intensities(path, image)), affine, _describe(image))


def read_size(path: str | Path) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Shape and spacing (mm) of the scan in a NIfTI file, without reading its voxels.

    Raises:
        Refusal: The file is not such an image, or its grid has no place in space.
    """
    path = Path(path)
    image = _open(path)
    norms = np.linalg.norm(_checked_affine(path, image)[:3, :3], axis=0)
    return shape_of(image.shape), tuple((norms * _describe(image).unit_mm).tolist())


def read_header(path: str | Path) -> FileHeader:
    """What the header of a NIfTI file says beside the grid, without its voxels."""
    return _describe(_open(Path(path)))


def write_volume(
    volume: Volume, path: str | Path, *, description: str | None = None, overwrite: bool = False
) -> Path:
    """Write a volume as NIfTI, read it back, and only then give it its name.

    Args:
        volume: Voxels, affine and the header they keep.
        path: A new .nii or .nii.gz file.
        description: Text for the header's descrip, 80 bytes at most; None keeps the volume's.
        overwrite: Whether an existing file may be replaced.

    Returns:
        The path written.

    Raises:
        Refusal: The name, the description or the voxels cannot be stored.
    """
    path = Path(path)
    if not path.name.endswith(SUFFIXES):
        raise Refusal(
            f"{path} is not a NIfTI name: results are written as .nii or .nii.gz; rename it."
        )
    if not all_finite(plain(volume.data)):
        raise Refusal(
            f"{path} would hold NaN or infinite voxels: results must be finite; nothing was "
            "written, check the input."
        )
    text = volume.header.description if description is None else description
    words = checked_description(text)
    with atomic_path(path, overwrite=overwrite) as temporary:
        nib.save(_encode(volume, words), temporary)
        written = read_plain(temporary)
        assert written.shape == volume.shape, f"{path}: {written.shape} came back"
        assert np.allclose(written.affine, volume.affine, rtol=1e-5, atol=1e-4), f"{path}: affine"
    return path


def nifti_bytes(volume: Volume) -> bytes:
    """A volume as the bytes of an unpacked NIfTI file, for a scan that came as another kind."""
    return _encode(volume, checked_description(volume.header.description)).to_bytes()


def _open(path: Path) -> nib.Nifti1Image:
    if path.is_dir():
        raise Refusal(f"{path} is a folder: a scan is one file; name the .nii.gz inside it.")
    if path.exists() and not path.is_file():
        raise Refusal(
            f"{path} is no regular file but a pipe, device or socket: a scan is read from a file; "
            "write it to one and name that."
        )
    if not path.is_file():
        raise Refusal(f"{path} does not exist: a scan is read from a file; check the path.")
    check_content(path)
    try:
        with np.errstate(all="ignore"):
            image = _loaded(path)
    except Exception as error:  # whatever a header of any bytes makes nibabel raise
        raise Refusal(
            f"{path} is not a NIfTI file or is damaged ({_words(error)}): scans are read as .nii "
            "or .nii.gz; convert it, for instance with dcm2niix."
        ) from error
    if not isinstance(image, nib.Nifti1Image):  # Nifti2Image is one too
        raise Refusal(
            f"{path} is a {type(image).__name__}: scans are read as single-file NIfTI; "
            "convert it to .nii.gz."
        )
    _check_image(path, image)
    check_size(path, _last_byte(image))
    return image


def _loaded(path: Path) -> object:
    """What nibabel makes of a file; it knows endings in one case alone, and they come in any."""
    known = (*SUFFIXES, *(ending.upper() for ending in SUFFIXES))
    if path.name.endswith(known) or not path.name.lower().endswith(SUFFIXES):
        return nib.load(path)
    files = {"image": nib.FileHolder(str(path))}
    with files["image"].get_prepare_fileobj("rb") as file:
        size = file.read(4)
    both = (int.from_bytes(size, order) for order in ("little", "big"))
    kind = nib.Nifti2Image if nib.Nifti2Header.sizeof_hdr in both else nib.Nifti1Image
    return kind.from_file_map(files)


def _check_image(path: Path, image: nib.Nifti1Image) -> None:
    shape, dtype = shape_of(image.shape), np.dtype(image.get_data_dtype())
    if dtype.fields is not None or dtype.kind not in "iuf":
        raise Refusal(
            f"{path} stores {dtype}: a scan has one real number per voxel, not color or complex "
            "values; export the magnitude image."
        )
    if len(shape) != 3:
        raise Refusal(
            f"{path} has shape {shape}: a scan has three axes; save one frame of it, for "
            "instance img.slicer[..., 0]."
        )
    if min(shape) < 2:
        raise Refusal(
            f"{path} has shape {shape}: every axis needs at least two slices; "
            "give the whole volume instead of one slice."
        )
    begin, least = _proxy(image).offset, image.header.single_vox_offset
    if begin < least:
        raise Refusal(
            f"{path} says that its voxels begin at byte {begin} (vox_offset), inside the header: "
            f"they begin at {least} or later; export it again."
        )


def _last_byte(image: nib.Nifti1Image) -> int:
    """How many bytes there are up to the last voxel, as the header says."""
    voxels = math.prod(map(int, image.shape))
    return int(_proxy(image).offset) + voxels * np.dtype(image.get_data_dtype()).itemsize


def _proxy(image: nib.Nifti1Image) -> ArrayProxy:
    return cast("ArrayProxy", image.dataobj)


def _intensities(path: Path, image: nib.Nifti1Image) -> NDArray[np.float32]:
    try:
        with np.errstate(all="ignore"):
            scale = np.float64(_proxy(image).slope), np.float64(_proxy(image).inter)
            raw = _proxy(image).get_unscaled().reshape(shape_of(image.shape))
            data, (bad, least, most) = read_values(raw, lambda x: apply_read_scaling(x, *scale))
    except Exception as error:
        raise Refusal(
            f"{path} cannot be read to its end ({_words(error)}): the file must be whole; "
            "copy or export it again."
        ) from error
    if bad:
        raise Refusal(
            f"{path} is NaN or infinite in {counted(bad, 'voxel')}: intensities must be "
            "finite; replace them, for instance with numpy.nan_to_num."
        )
    if not np.isfinite([data.min(), data.max()]).all():
        raise Refusal(
            f"{path} has intensities up to {max(-least, most):.3g}: they are computed as float32, "
            f"at most {np.finfo(np.float32).max:.3g}; divide them by a constant."
        )
    clear_zeros(data, float(scale[1]))
    if 0 < most - least < FEWEST_STEPS * float(np.spacing(max(-data.min(), data.max()))):
        raise Refusal(
            f"{path} has intensities from {least:.17g} to {most:.17g}: float32, in which they are "
            "computed, tells next to none of them apart; subtract the lowest and scale them."
        )
    return data


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _checked_affine(path: Path, image: nib.Nifti1Image) -> NDArray[np.float64]:
    if int(image.header["sform_code"]) <= 0 and int(image.header["qform_code"]) <= 0:
        raise Refusal(
            f"{path} has neither sform nor qform (both codes are 0): without an affine the voxel "
            "size and sides are guesses; set one with nibabel's set_sform."
        )
    if int(image.header["sform_code"]) <= 0 and 0 in (sizes := stored_sizes(image)):
        raise Refusal(
            f"{path} gives its voxels the size {sizes} (pixdim), and has no sform: a voxel of "
            "size 0 has no place in space; write the true size into the header."
        )
    affine = affine_of(image)
    columns = np.linalg.norm(affine[:3, :3], axis=0) if np.isfinite(affine).all() else np.zeros(3)
    if columns.min() <= 0 or abs(np.linalg.det(affine[:3, :3] / columns)) < 1e-3:
        raise Refusal(
            f"{path} has the affine {affine[:3].round(4).tolist()}: it must be finite and "
            "invertible, or voxels have no size; repair the header."
        )
    check_near(path, shape_of(image.shape), affine, _describe(image).unit_mm)
    return affine


def _describe(image: nib.Nifti1Image) -> FileHeader:
    header, stored = image.header, _proxy(image)
    sform, qform = form_codes(image)
    fields = header.as_byteswapped("<").binaryblock
    extensions = [int(each.get_code()) for each in header.extensions]
    return FileHeader(
        dtype=header.get_data_dtype().newbyteorder("=").name,
        slope=float(stored.slope),
        intercept=float(stored.inter),
        sform_code=sform,
        qform_code=qform,
        units=int(header["xyzt_units"]),
        description=own_description(fields),
        template=without_words(fields),
        removed=words_removed(fields, extensions),
    )


def _encode(volume: Volume, description: bytes) -> nib.Nifti1Image:
    """The image to save: voxels in the stored type, and a header that says so."""
    info = volume.header
    kind = nib.Nifti2Image if len(info.template) == 540 else nib.Nifti1Image
    header = kind.header_class(info.template or None, check=False)
    # The order of slices that are no longer there.
    if shape_of(header.get_data_shape()) != volume.shape:
        for name in ("slice_start", "slice_end", "slice_code", "slice_duration"):
            header[name] = 0
    header.set_data_dtype(np.dtype(info.dtype))
    voxels = stored_voxels(volume.data, info)
    image = kind(voxels, volume.affine, header)
    image.header.set_slope_inter(info.slope, info.intercept)
    image.set_sform(volume.affine, code=info.sform_code or 1)
    if is_sheared(volume.affine):
        image.header["qform_code"] = 0
        image.header.set_zooms(np.linalg.norm(volume.affine[:3, :3], axis=0))
    else:
        image.set_qform(volume.affine, code=info.qform_code or info.sform_code or 1)
    image.header["xyzt_units"] = info.units
    image.header["descrip"] = description
    if info.rescaled:
        image.header["cal_min"] = image.header["cal_max"] = 0.0
    return image
