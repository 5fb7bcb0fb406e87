"""Random damage in what people bring: a verified result or a refusal, and nothing half-written."""

import gzip
import random
import struct
from functools import partial

import numpy as np
import pytest
import torch
from damages import check_sentence, damaged, outcome

from core.models.installed import load_folder
from flows.jobs.operations import operation_named
from flows.jobs.pipeline import make
from flows.requests.prompt_tables import READERS, read_rows, requests_of
from medical.files.nifti import read_volume, write_volume
from medical.files.volume import FileHeader, Volume
from medical.request import SuperResolutionRequest
from video.files.captioned_clips import load_clips
from video.files.clip import Clip, read_mp4, write_mp4
from video.request import VideoRequest

GROUP = 100
GROUPS = [pytest.param(seed, marks=[pytest.mark.slow] * (seed > 0)) for seed in range(20)]
LONGEST_S = 6.0  # of a restoration that a lying header asks for; longer ones are only prepared
HEADER = 352  # bytes of a NIfTI header
PROMPT = "a red circle moves left"
PIECES = [
    b"prompt", b"seed", b"fps", b"steps", b"model", b",", b";", b"\t", b":", b": ", b"- ", b"\n",
    b"\r\n", b"\r", b'"', b"'", b"{", b"}", b"[", b"]", b"&a", b"*a", b"<<", b"|", b">", b"#",
    b"!!", b"---\n", b"? ", b"\\u", b"\\ud83d", b"0", b"1e9", b"0x1f", b"1:30", b"-1", b"true",
    b"null", b"NaN", b"2026-02-30", b"\xff\xfe", b"\xef\xbb\xbf", b"\x00", b"\x85",
    "\u2028".encode(), "\U0001f534".encode(), b"\xed\xa0\x80", b"  ", b"    ", b"@", b"%",
    PROMPT.encode(), b"a blue square moves up",
]  # fmt: skip


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """The bytes of a small scan, not packed."""
    data = torch.zeros(12, 10, 4)
    data[2:10, 2:8, 1:3] = torch.rand(8, 6, 2, generator=torch.Generator().manual_seed(0)) + 0.5
    header = FileHeader(dtype="int16")
    path = tmp_path_factory.mktemp("scan") / "scan.nii"
    write_volume(Volume((1000 * data).round(), np.diag([1.0, 1.0, 4.0, 1.0]), header), path)
    return path.read_bytes()


@pytest.mark.parametrize("seed", GROUPS)
def test_a_damaged_scan_is_restored_and_verified_or_refused(tiny_models, scan, tmp_path, seed):
    draw = random.Random(seed)
    operation = operation_named("super_resolve_mri")
    model = load_folder(tiny_models / "tiny-mri", torch.device("cpu"))
    numbers = {"refused": 0, "made": 0}

    def restore(request, target):
        operation.prepare(request)
        if operation.cost(request).seconds > LONGEST_S:
            return {}
        return make(operation, request, target, model)

    for number in range(GROUP):
        packed = draw.random() < 0.6
        path = tmp_path / f"{number}.nii{'.gz' * packed}"
        if packed and draw.random() < 0.5:
            path.write_bytes(damaged(draw, gzip.compress(scan, mtime=0)))
        else:
            content = damaged(draw, scan, HEADER)
            path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
        request = SuperResolutionRequest(scan=str(path), model="tiny-mri", samples=1)
        paths, said = outcome(partial(restore, request, tmp_path / f"{number}-out.nii.gz"))
        if said:
            check_sentence(said, path.name)
            numbers["refused"] += 1
        elif paths:
            assert torch.isfinite(read_volume(paths["result"]).data).all()
            numbers["made"] += 1
            for file in (*paths.values(), tmp_path / f"{number}-out.json"):
                file.unlink()
        path.unlink()
        assert not list(tmp_path.iterdir())
    assert numbers["refused"] > 0.2 * GROUP
    assert numbers["made"] > 0.1 * GROUP


def test_a_scan_that_is_the_same_everywhere_is_restored_or_refused_by_file(tiny_models, tmp_path):
    operation = operation_named("super_resolve_mri")
    model = load_folder(tiny_models / "tiny-mri", torch.device("cpu"))
    for value, words in ((7.0, ""), (-7.0, "some contrast")):
        path = tmp_path / f"scan{value:g}.nii"
        volume = Volume(torch.full((12, 10, 4), value), np.diag([1.0, 1.0, 4.0, 1.0]))
        write_volume(volume, path)
        request = SuperResolutionRequest(scan=str(path), model="tiny-mri", samples=1)
        target = tmp_path / f"out{value:g}.nii.gz"
        paths, said = outcome(lambda r=request, t=target: make(operation, r, t, model))
        assert words in said
        assert str(path) in said or float(read_volume(paths["result"]).data.mean()) == value


def test_a_mask_is_no_scan_and_a_phantom_of_two_values_is_one(tiny_models, tmp_path):
    operation = operation_named("super_resolve_mri")
    model = load_folder(tiny_models / "tiny-mri", torch.device("cpu"))
    for value in (1.0, 255.0, 800.0):
        data = torch.zeros(12, 10, 4)
        data[2:10, 2:8, 1:3] = value
        path = tmp_path / f"sub-{value:g}_T1w.nii"
        write_volume(Volume(data, np.diag([1.0, 1.0, 4.0, 1.0])), path)
        request = SuperResolutionRequest(scan=str(path), model="tiny-mri", samples=1)
        target = tmp_path / f"out{value:g}.nii.gz"
        _, said = outcome(lambda r=request, t=target: make(operation, r, t, model))
        words = f"{path} is a mask and no scan: all of its voxels are 0 or {value:g}; check that "
        assert said.startswith(words) if value < 800 else not said
    raw = bytearray(path.read_bytes())
    raw[68:70] = struct.pack("<h", 1002)
    path.write_bytes(raw)
    _, said = outcome(lambda: operation.prepare(request))
    assert said.startswith(f"{path} is a label map and no scan: its header says so (intent_code; ")
    assert "set it to 0 in a scan whose header was copied from a label map" in said


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """The bytes of a small clip."""
    noise = np.random.default_rng(0).integers(0, 256, (12, 4, 4, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("clip") / "a.mp4"
    write_mp4(Clip(noise.repeat(8, 1).repeat(8, 2), 8.0), path, metadata={"prompt": PROMPT})
    return path.read_bytes()


@pytest.mark.parametrize("seed", GROUPS)
def test_a_damaged_clip_is_read_whole_or_refused(clip, tmp_path, seed):
    draw = random.Random(seed)
    index = clip.index(b"mdat")
    path = tmp_path / "a.mp4"
    (tmp_path / "a.txt").write_text(PROMPT)
    refused = 0
    for _ in range(GROUP):
        path.write_bytes(damaged(draw, clip, index))
        found, said = outcome(partial(read_mp4, path))
        taken, said_of_taken = outcome(partial(load_clips, tmp_path, size=32, num_frames=8))
        if said:
            check_sentence(said, "a.mp4")
            refused += 1
        else:
            assert found.frames.dtype == np.uint8
        if said_of_taken:
            check_sentence(said_of_taken, "a.mp4")
        else:
            assert tuple(taken[0].frames.shape[-2:]) == (32, 32)
    assert 0.1 * GROUP < refused < 0.9 * GROUP


def prompt_file(draw, suffix):
    """Something that a person or a program might have written by mistake."""
    right = {
        "txt": f"{PROMPT}\na blue square moves up\n",
        "csv": f"prompt,seed\n{PROMPT},7\n{PROMPT},8\n",
        "jsonl": f'{{"prompt": "{PROMPT}", "seed": 7}}\n{{"prompt": "{PROMPT}"}}\n',
        "yaml": f"- {PROMPT}\n- prompt: {PROMPT}\n  seed: 7\n",
    }[suffix].encode()
    kind = draw.random()
    if kind < 0.4:
        return damaged(draw, right)
    if kind < 0.7:
        place = draw.randrange(len(right))
        return right[:place] + draw.choice(PIECES) + right[place + draw.randrange(3) :]
    if kind < 0.9:
        return b"".join(draw.choices(PIECES, k=draw.randrange(30)))
    return draw.randbytes(draw.randrange(200))


@pytest.mark.parametrize("seed", GROUPS)
def test_random_prompt_files_are_read_or_refused_by_file(tmp_path, seed):
    draw = random.Random(seed)
    fields = set(VideoRequest.model_fields)
    refused = 0
    for _ in range(GROUP):
        for suffix in READERS:
            path = tmp_path / f"p{suffix}"
            path.write_bytes(prompt_file(draw, suffix.lstrip(".").replace("yml", "yaml")))
            found, said = outcome(
                lambda path=path: requests_of(read_rows(path), VideoRequest.model_validate, fields)
            )
            refused += bool(said)
            assert path.name in said or all(request.prompt.strip() for _, request in found)
            assert "Traceback" not in said
    assert 0.2 < refused / GROUP / len(READERS) < 0.8
