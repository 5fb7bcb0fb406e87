from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.storage.files import LONGEST_NAME, FileRef, check_target, plain_name, result_folder


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
    ):
        with pytest.raises(ValueError, match=words):
            check_target(path, overwrite=False)
