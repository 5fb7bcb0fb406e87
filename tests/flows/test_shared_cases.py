"""Small inputs as people bring them, written by the generators of ``shared/cases``.

Each is read, refused by name, or left out with a reason; nothing is a traceback. What needs a
running stack is tested where the stack is (``stack/test_foreign_settings.py``).
"""

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import binary_erosion
from starlette.testclient import TestClient

from core.refusal import Refusal
from flows.commands.command_line import main
from flows.gallery.application import PREFIX, alone
from flows.settings.settings import read_settings
from medical.files.nifti import read_volume
from medical.files.survey import Wanted, survey
from medical.operations.super_resolve_mri import SuperResolveMRI
from medical.request import SuperResolutionRequest
from medical.training.dataset import load_heads, load_labels
from video.engines.text import check_length
from video.files.captioned_clips import load_clips
from video.world.understanding import understand

CASES = Path(__file__).parents[3] / "shared/cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="shared/cases is not here")


def written(name, folder):
    words = [sys.executable, str(CASES / name), str(folder)]
    subprocess.run(words, check=True, capture_output=True, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    return written("medical_cases.py", tmp_path_factory.mktemp("scans"))


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return written("video_cases.py", tmp_path_factory.mktemp("videos"))


REFUSED_SCANS = {
    "analyze.hdr": "is a Spm2AnalyzeImage",
    "analyze.img": "is a Spm2AnalyzeImage",
    "analyze.mat": "is not a NIfTI file",
    "bad_quaternion_qform_only.nii.gz": "is not a NIfTI file or is damaged",
    "both_codes_zero.nii.gz": "has neither sform nor qform",
    "constant_0.nii.gz": "every voxel is 0",
    "dim4_two_volumes.nii.gz": "save one frame of it",
    "dim_negative.nii.gz": "every axis needs at least two slices",
    "dim_zero.nii.gz": "every axis needs at least two slices",
    "dims_lie_30000_cubed.nii": "where its header asks for 54000000000352",
    "dims_lie_30000_cubed.nii.gz": "where its header asks for 54000000000352",
    "dims_lie_twice_the_slices.nii.gz": "where its header asks for 92512",
    "float64_1e300.nii.gz": r"computed as float32, at most 3\.4e\+38",
    "freesurfer.mgz": "is a MGHImage",
    "gz_cut_in_the_middle.nii.gz": "is damaged",
    "gz_damaged_crc_wrong.nii.gz": "is damaged",
    "gz_named_nii.nii": "is not a NIfTI file",
    "gz_without_its_last_8_bytes.nii.gz": "ends before its checksum",
    "iso_1mm.nii.gz": "no axis would become finer",
    "mask_empty.nii.gz": "every voxel is 0",
    "mask_4d.nii.gz": "is a mask and no scan: all of its voxels are 0 or 1",
    "mask_flipped_left_right.nii.gz": "is a mask and no scan: all of its voxels are 0 or 1",
    "mask_meter_shifted_5mm.nii.gz": "is a mask and no scan: all of its voxels are 0 or 1",
    "mask_result_grid.nii.gz": "is a mask and no scan: all of its voxels are 0 or 1",
    "mask_scan_grid.nii.gz": "is a mask and no scan: all of its voxels are 0 or 1",
    "mask_shifted_3mm.nii.gz": "is a mask and no scan: all of its voxels are 0 or 1",
    "mask_spacing_1p009.nii.gz": "is a mask and no scan: all of its voxels are 0 or 1",
    "nan_outside_head.nii.gz": "NaN or infinite in 576 voxels",
    "one_bit_per_voxel.nii.gz": "data code 1 not supported",
    "one_slice.nii.gz": "every axis needs at least two slices",
    "pair.hdr": "is a Nifti1Pair",
    "pair.img": "is a Nifti1Pair",
    "plain_named_gz.nii.gz": "is not a gzip file",
    "qform_only_0p5_pixdim1_zero.nii.gz": "a voxel of size 0 has no place",
    "qform_only_pixdim12_zero.nii.gz": "a voxel of size 0 has no place",
    "qform_only_pixdim3_zero.nii.gz": "a voxel of size 0 has no place",
    "scl_inter_nan.nii.gz": "invalid intercept nan",
    "sform_nan.nii.gz": "must be finite and invertible",
    "sform_zero_matrix_code1_qform_good.nii.gz": "must be finite and invertible",
    "type_complex64.nii.gz": "stores complex64",
    "type_rgb.nii.gz": "one real number per voxel",
    "vox_offset_0.nii.gz": "they begin at 352 or later",
}


def check(path, **more):
    SuperResolveMRI().check(SuperResolutionRequest(scan=str(path), **more))


def test_every_scan_is_read_or_refused_by_name(scans):
    refused = {}
    for path in sorted(path for path in scans.iterdir() if path.is_file()):
        try:
            check(path)
        except Refusal as refusal:
            refused[path.name] = str(refusal)
    assert refused.keys() == REFUSED_SCANS.keys()
    assert all(name in said for name, said in refused.items())
    for name, words in REFUSED_SCANS.items():
        with pytest.raises(Refusal, match=words):
            raise Refusal(refused[name])


def test_names_are_any_that_a_disk_can_hold(scans):
    for path in (scans / "names").iterdir():
        if path.exists():
            check(path)
        else:
            with pytest.raises(Refusal, match="does not exist"):
                check(path)


@pytest.mark.parametrize("thickness", [10.0, 20.0])
def test_slices_that_no_scanner_makes_are_refused(scans, thickness):
    with pytest.raises(Refusal, match="slices are 4 mm apart, and slices of more than 2 times"):
        check(scans / "base_int16.nii.gz", slice_thickness_mm=thickness)


@pytest.mark.parametrize(
    ("scan", "mask"),
    [
        ("unit_meter", "mask_meter_shifted_5mm"),
        ("base_int16", "mask_spacing_1p009"),
        ("base_int16", "mask_shifted_3mm"),
        ("base_int16", "mask_flipped_left_right"),
    ],
)
def test_a_mask_on_another_grid_is_refused(scans, scan, mask):
    with pytest.raises(Refusal, match="the protected mask has shape"):
        check(scans / f"{scan}.nii.gz", protect=str(scans / f"{mask}.nii.gz"))


def restore(places, scan, *more):
    small = ["--model", "tiny-mri", "--samples", "1", "--steps", "1"]
    return main(["mri", "super-resolve", str(scan), str(places / "out.nii.gz"), *small, *more])


def test_what_no_machine_holds_is_refused_at_once(places, scans, capfd, monkeypatch):
    monkeypatch.setattr(SuperResolveMRI, "read", None)  # which takes long
    wide = scans / "wide_512x512x60_for_0p2mm.nii.gz"
    assert restore(places, wide, "--spacing-mm", "0.2", "0.2", "0.2") == 2
    assert "needs 1 CPU, " in capfd.readouterr().err
    assert not list(places.glob("out*"))


@pytest.mark.parametrize("folder", ["/proc", "/proc/self/none"])
def test_an_output_that_cannot_be_written_is_refused_before_work(scans, folder, monkeypatch):
    monkeypatch.setattr(SuperResolveMRI, "draw", None)
    assert restore(Path(folder), scans / "base_int16.nii.gz") == 2


@pytest.mark.parametrize(
    "name", ["one_voxel_minus_32768", "padding_minus_32768", "padding_minus_1024"]
)
def test_a_number_for_no_tissue_is_said_and_the_rest_is_as_without_it(places, scans, name, capfd):
    assert restore(places, scans / f"{name}.nii.gz") == 0
    assert "for no tissue: " in capfd.readouterr().err
    found = read_volume(places / "out.nii.gz").data.numpy()
    base = scans / "base_int16.nii.gz"
    assert restore(places, base, "--overwrite") == 0
    plain = read_volume(places / "out.nii.gz").data.numpy()
    same = read_volume(scans / f"{name}.nii.gz").data.numpy() == read_volume(base).data.numpy()
    elsewhere = binary_erosion(same, iterations=3, border_value=1).repeat(4, 2)
    assert 0.4 < elsewhere.mean() < 1
    off = np.sqrt(np.mean((found - plain)[elsewhere] ** 2))
    assert off < 0.02 * plain.max()


@pytest.mark.parametrize(
    "name",
    [
        "inplane_1p00195_thick_4",
        "inplane_1p006_1p005_thick_4",
        "blocks_in_corners_1p00195",
        "blocks_1p2_iso_40_slices_1p01",
    ],
)
def test_corners_stay_in_their_place(places, scans, name):
    """All grids cover the same box: an axis is resampled or left alone."""
    path = scans / f"{name}.nii.gz"
    assert restore(places, path) == 0
    boxes = []
    for volume in (read_volume(path), read_volume(places / "out.nii.gz")):
        first = np.array([-0.5, -0.5, -0.5, 1])
        last = np.array([*(np.array(volume.data.shape) - 0.5), 1])
        boxes.append(np.stack([volume.affine @ first, volume.affine @ last]))
    assert np.abs(boxes[0] - boxes[1]).max() < 0.02


@pytest.mark.parametrize("name", ["inplane_1p2_noise_2_percent", "inplane_1p2_thick_4"])
def test_results_stay_inside_the_intensities_of_the_scan(places, scans, name):
    path = scans / f"{name}.nii.gz"
    assert restore(places, path) == 0
    scan, found = (read_volume(each).data for each in (path, places / "out.nii.gz"))
    assert scan.min() <= found.min()
    assert found.max() <= scan.max()


PLANS = {
    "bids_dangling": (1, "its link leads nowhere"),
    "bids_annex_pointer": (1, "in git-annex"),
    "bids_appledouble": (1, "a ._ file of macOS"),
    "bids_uncompressed_one": (2, ""),
    "bids_uncompressed_all": (2, ""),
    "bids_link_anat/ds": (2, ""),
    "bids_sessions_runs": (2, "derivatives"),
    "bids_wrong_case": (1, "another suffix than T1w"),
    "folder_upper_case": (3, ""),
    "folder_with_own_results": (1, "an uncertainty or consistency map"),
    "folder_duplicates": (3, ""),
    "sub-01_study/ds": (2, ""),
}


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_takes_what_is_there_and_says_what_it_leaves_out(scans, name):
    count, words = PLANS[name]
    found = survey(scans / name, Wanted(()))
    assert len(found.taken) == count
    assert words in " ".join(f"{path} {why}" for path, why in found.left_out.items())
    assert bool(found.left_out) == bool(words)


def test_subjects_are_looked_for_below_the_dataset_alone(scans):
    assert len(survey(scans / "sub-01_study/ds", Wanted(("01",))).taken) == 1


TRAININGS = {
    "train_dark_one": "sub-02_T1w.nii.gz is dark",
    "train_empty_one": "sub-02_T1w.nii.gz is dark",
    "train_small_one": "sub-02_T1w.nii.gz has 30 x 60 x 56 voxels",
    "train_nan_one": "NaN or infinite",
}


@pytest.mark.parametrize("name", TRAININGS)
def test_heads_that_cannot_be_trained_on_are_refused_by_file(scans, name):
    with pytest.raises(Refusal, match=TRAININGS[name]):
        load_heads(scans / name, least_size=48)


def test_a_label_map_that_labels_nothing_is_refused_by_file(scans):
    with pytest.raises(Refusal, match=r"sub-01_dseg\.nii\.gz labels 0\.0% of its head"):
        load_labels(scans / "train_dseg_empty")


def test_thick_heads_are_left_out_by_rule_and_sessions_taken(scans, caplog):
    with caplog.at_level(logging.WARNING, logger="medical"):
        assert len(load_heads(scans / "train_thick_one")) == 1
    assert "left out: 1 file: its voxels of 0.5 x 0.5 x 5 mm are too thick" in (caplog.text)
    assert len(load_heads(scans / "train_sessions")) == 3


REFUSED_PROMPTS = {
    "allbad.csv": "allbad.csv:2: column seed=x0",
    "array.jsonl": "array.jsonl:1: is a list",
    "baddate.yaml": "baddate.yaml:2: is a date",
    "bigint.jsonl": "bigint.jsonl:1: is not JSON",
    "bigint.yaml": "bigint.yaml:1: column seed",
    "bomb4.yaml": "bomb4.yaml:1: column prompt: is a list",
    "bomb6.yaml": "bomb6.yaml:1: column prompt: is a list",
    "bomb7.yaml": "bomb7.yaml:1: column prompt: is a list",
    "bool.jsonl": "bool.jsonl:1: column seed=true",
    "deep.jsonl": "deep.jsonl:1: is not JSON (too many brackets",
    "deep.yaml": "deep.yaml:1: holds lists within lists",
    "dup_header.csv": "dup_header.csv:1: column seed stands there twice",
    "dup_header_space.csv": "dup_header_space.csv:1: column seed stands there twice",
    "dup_key.jsonl": "dup_key.jsonl:1: column seed stands there twice",
    "dup_key.yaml": "dup_key.yaml:1: column seed stands there twice",
    "dup_prompt.csv": "dup_prompt.csv:1: column prompt stands there twice",
    "dup_prompt_key.jsonl": "dup_prompt_key.jsonl:1: column prompt stands there twice",
    "nul.csv": "nul.csv:2: column prompt",
    "octal.yaml": "octal.yaml:1: column seed: '0123'",
    "sexagesimal.yaml": "sexagesimal.yaml:1: column seed: '1:30'",
    "surrogate.jsonl": "surrogate.jsonl:1: holds half a character",
    "unhashable.yaml": "unhashable.yaml:1: a name is a list or a table",
}
PROMPTS = {
    "ok.csv": 2,
    "u2028.jsonl": 1,
    "nel.jsonl": 1,
    "hash.txt": 2,
    "comment.csv": 1,
    "comment_row.csv": 1,
    "bom.txt": 2,
    "utf16.csv": 1,
    "bomb_ok.yaml": 2,
    "oldmac.csv": 2,
    "trailing_comma.csv": 2,
    "ok_blank.jsonl": 2,
    "-dash.txt": 1,
}


def test_prompt_files_are_refused_by_file_and_row(places, videos, capfd):
    for name, words in REFUSED_PROMPTS.items():
        assert main(["batch", "plan", str(videos / "prompts" / name)]) == 2, name
        assert words in capfd.readouterr().err


def test_prompt_files_give_the_rows_that_are_written(places, videos, capfd):
    for name, count in PROMPTS.items():
        assert main(["batch", "plan", str(videos / "prompts" / name)]) == 0, name
        assert capfd.readouterr().out.startswith(f"{count} item"), name


CLIPS = {"editlist": (12, 8), "vfr": (60, 25), "sar": (20, 8), "rescaled_ours": (20, 8)}
CLIPS |= {"tag_badsize": (20, 8), "tag_meta_list": (20, 8), "long": (300, 30), "av1": (20, 8)}
CLIPS |= {"cap_bom": (20, 8), "cap_nul": (20, 8), "strange": (20, 8), "plain": (20, 8)}
REFUSED_CLIPS = {
    "gap": r"a\.mp4 stands still for 60\.1 s after frame 10",
    "fps300": r"a\.mp4 has 300 frames per second",
    "slow": r"a\.mp4 has 0\.05 frames per second",
    "cap_latin1": r"a\.txt is not UTF-8 text",
    "cap_utf16": r"a\.txt is not UTF-8 text",
    "cap_only_bom": r"a\.txt: the caption of a\.mp4 is missing or empty",
    "cap_zwsp": r"a\.txt: the caption of a\.mp4 is missing or empty",
    "cap_missing": r"a\.txt: the caption of a\.mp4 is missing or empty",
    "hole": r"a\.mp4 cannot be decoded",
    "trunc_fast": r"a\.mp4 is damaged in 1 place",
    "trunc_moov": r"a\.mp4 cannot be decoded",
    "zero": r"a\.mp4 cannot be decoded",
}


@pytest.mark.parametrize("name", CLIPS)
def test_a_clip_is_read_as_it_is_shown(videos, name):
    (clip,) = load_clips(videos / "clips" / name, num_frames=4)
    assert (clip.frames.shape[1], clip.fps) == (CLIPS[name][0], pytest.approx(CLIPS[name][1]))
    assert clip.caption.startswith("a red circle")


@pytest.mark.parametrize("name", ["sar", "rescaled_ours"])
def test_four_quarters_stay_four_quarters(videos, name):
    (clip,) = load_clips(videos / "clips" / name, num_frames=4)
    corners = [clip.frames[:, -1, y, x].tolist() for y in (4, 59) for x in (4, 59)]
    shown = [max(range(3), key=corner.__getitem__) for corner in corners[:3]]
    assert shown == [0, 1, 2]  # red, green, blue; white is the fourth
    assert min(corners[3]) > 180


@pytest.mark.parametrize("name", REFUSED_CLIPS)
def test_a_clip_that_is_none_is_refused_by_file(videos, name):
    with pytest.raises(Refusal, match=REFUSED_CLIPS[name]):
        load_clips(videos / "clips" / name, num_frames=4)


def test_a_caption_that_is_too_long_is_refused_by_file(videos):
    with pytest.raises(Refusal, match=r"^a\.txt: "):
        load_clips(videos / "clips/cap_long", check=check_length)


def test_capital_letters_and_hidden_files(videos, caplog):
    assert len(load_clips(videos / "clips/upper")) == 2
    with caplog.at_level(logging.WARNING):
        assert len(load_clips(videos / "clips/appledouble")) == 1
    assert "._a.mp4" in caplog.text


def test_an_odd_record_breaks_no_page(videos, monkeypatch):
    for root in sorted((videos / "records").iterdir()):
        monkeypatch.setenv("LAMINA_OUTPUTS", str(root))
        visitor = TestClient(alone(read_settings()), base_url=f"http://127.0.0.1{PREFIX}")
        home = visitor.get("/")
        assert (home.status_code, "good" in home.text) == (200, True), root.name
        for project in sorted(path.name for path in root.iterdir()):
            for page in (f"/p/{project}/", f"/p/{project}/r/text_to_video/run-1/clip"):
                assert visitor.get(page).status_code in (200, 404), (root.name, page)


@pytest.mark.parametrize("name", ["toml", "pyproject", "dotenv", "clean"])
def test_settings_of_other_projects_are_not_followed(videos, places, name):
    show = "from prefect.settings import get_current_settings as s\n"
    show += "print(s().server.database.connection_url.get_secret_value())"
    (places / "show_it.py").write_text(show)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    kept |= {"PREFECT_HOME": str(places / "state")}
    kept["PYTHONPATH"] = f"{places}:{Path(__file__).parents[2]}"
    words = [sys.executable, "-m", "flows.settings.own_prefect", "show_it"]
    found = subprocess.run(
        words, env=kept, cwd=videos / "settings" / name, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == f"sqlite+aiosqlite:///{places / 'state' / 'prefect.db'}"
    assert not (videos / "settings/other.db").exists()


DRAWN = {
    "RED circle!!": (),
    "three blue squares moving left slowly": (),
    "un cercle rouge": ("read as: cercle -> circle", "not understood: un, rouge"),
    "3 yellow triangles move up": (),
    "two reed circels move lfet": ("read as: reed -> red", "read as: lfet -> left"),
    "a big red circle and a small blue square swap places": ("not understood: swap places",),
    "a red ball falls down and bounces": ("not understood: bounces",),
    "a blue circle on a black background": (),
    "a red circle turns into a blue square": ("not understood: turns into",),
    "the camera zooms in on a white triangle": ("not understood: camera zooms in on",),
    "Cinematic, ultra detailed masterpiece, 4k: a red circle": ("not understood: Cinematic",),
    "🔴 moves left": ("read as: 🔴 -> a red circle",),
}
NOT_DRAWN = {
    "a cat runs on the beach": "no shape that is known",
    "a circle that is not red": "negations such as 'not'",
    "no squares, only a green star": "negations such as 'no'",
    "a purple hexagon bouncing around the screen": "nothing has the color 'purple'",
    "five green circles": "one to three things, not 'five'",
    "a golden heart spinning": "there is no shape 'heart'",
    "a small orange diamond moves right fast": "there is no shape 'diamond'",
    "a person waving hello": "no shape that is known",
}


def test_all_prompts_of_the_page_are_here():
    page = (CASES / "README.md").read_text(encoding="utf-8")
    section = page.partition("## Prompts as people type them\n")[2].split("\n\n")[0]
    typed = section.replace("`", "").split(" · ")
    assert {prompt.strip() for prompt in typed} == {*DRAWN, *NOT_DRAWN}


@pytest.mark.parametrize("prompt", DRAWN)
def test_what_is_left_out_of_a_prompt_is_said(prompt):
    found = understand(prompt)
    assert not found.refused
    said = "\n".join(found.remarks())
    assert all(words in said for words in DRAWN[prompt])
    assert bool(said) == bool(DRAWN[prompt])


@pytest.mark.parametrize("prompt", NOT_DRAWN)
def test_what_cannot_be_drawn_is_refused_by_name(prompt):
    assert NOT_DRAWN[prompt] in "; ".join(understand(prompt).refused)
