from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.records import atomic_path
from core.refusal import Refusal
from flows.storage.files import (
    LONGEST_NAME,
    FileRef,
    check_apart,
    check_target,
    plain_name,
    result_folder,
)


def test_a_reference_opens_the_bytes_it_means(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("first")
    ref = FileRef.of(path)
    assert ref.open() == path
    assert FileRef.model_validate_json(ref.model_dump_json()) == ref


def test_a_reference_notices_other_bytes(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("first")
    ref = FileRef.of(path)
    path.write_text("other")
    with pytest.raises(RuntimeError, match=r"holds sha256 .* instead of"):
        ref.open()
    path.unlink()
    with pytest.raises(RuntimeError, match="has gone"):
        ref.open()


@given(st.text())
def test_any_text_becomes_a_name_inside_its_folder(text):
    name = plain_name(text, "otherwise")
    assert 1 <= len(name) <= LONGEST_NAME
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert not name.startswith("-")
    assert not name.endswith("-")
    assert (Path("/root") / name).parent == Path("/root")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Two red circles, moving left!", "two-red-circles-moving-left"),
        ("../../etc/passwd", "etc-passwd"),
        ("Überraschung", "uberraschung"),
        ("图像", "otherwise"),
        ("a" * 59 + "-b", "a" * 59),
    ],
)
def test_names(text, name):
    assert plain_name(text, "otherwise") == name


def test_two_runs_of_one_name_have_two_folders(tmp_path):
    folders = {result_folder(tmp_path, "p", "flow", "name", run * 8) for run in "ab"}
    assert {folder.name for folder in folders} == {"name-aaaaaaaa", "name-bbbbbbbb"}
    assert all(folder.is_dir() for folder in folders)


def test_targets_that_cannot_be_written_are_refused_at_once(tmp_path):
    there = tmp_path / "there.mp4"
    there.write_bytes(b"x")
    check_target(there, overwrite=True)
    check_target(tmp_path / "new.mp4", overwrite=False)
    for path, words in (
        (there, "exists: .* --overwrite"),
        (tmp_path, "is a folder"),
        (tmp_path / "missing" / "a.mp4", "does not exist: .* create it first"),
        (tmp_path / ("x" * 252 + ".mp4"), "this name has 256 bytes: .* choose a shorter one"),
        (tmp_path / ("\u5934" * 84 + ".mp4"), "this name has 256 bytes: "),
        (tmp_path / ("y" * 300) / "a.mp4", "cannot be written \\(File name too long\\)"),
        (Path("/proc/a.mp4"), "/proc/a.mp4 cannot be written .* choose another name or folder"),
    ):
        with pytest.raises(Refusal, match=words):
            check_target(path, overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == ["there.mp4"]


def test_a_name_of_any_allowed_length_is_written(tmp_path):
    for name in ("x" * 251 + ".mp4", "x." + "y" * 249 + ".mp4"):
        check_target(tmp_path / name, overwrite=False)
        with atomic_path(tmp_path / name) as temporary:
            temporary.write_bytes(b"x")
        assert (tmp_path / name).read_bytes() == b"x"


def test_no_result_goes_into_a_folder_that_is_an_input(tmp_path):
    series = tmp_path / "series"
    (series / "deeper").mkdir(parents=True)
    (tmp_path / "link").symlink_to(series)
    for named in (series, tmp_path / "link", series / "deeper" / ".."):
        with pytest.raises(Refusal, match="choose another folder"):
            check_apart(series / "o.nii.gz", str(named))
        with pytest.raises(Refusal, match="choose another folder"):
            check_apart(tmp_path / "link" / "o.nii.gz", str(named))
    check_apart(tmp_path / "o.nii.gz", str(series), "")


@pytest.mark.parametrize("folder", ["/proc", "/sys", "/sys/fs/cgroup"])
def test_no_result_goes_where_the_kernel_is_shown(folder):
    if not Path(folder).is_dir():
        pytest.skip(f"there is no {folder} here")
    with pytest.raises(Refusal, match=f"{folder}/a.mp4 cannot be written .*shows the kernel"):
        check_target(Path(folder) / "a.mp4", overwrite=False)
