"""Several clips of one prompt: seeds, names, rows, and what is refused."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from core.refusal import Refusal
from flows.batches.items import items_of
from flows.commands.command_line import main
from flows.requests.batch_requests import ClipBatchRequest
from video.request import VideoRequest
from video.several import MOST, checked_count, seed_of, several

PROMPT = "a red circle moving right"


def items(rows, tmp_path, **shared):
    file = tmp_path / "rows.csv"
    file.write_text(rows)
    return items_of(ClipBatchRequest.model_validate({"prompt_file": str(file), **shared}))[0]


def test_seeds_follow_from_one_and_differ():
    seeds = [seed_of(7, number) for number in range(MOST)]
    assert seeds[0] == 7
    assert len(set(seeds)) == MOST
    assert seeds == [seed_of(7, number) for number in range(MOST)]
    assert not {*seeds[1:]} & {seed_of(8, number) for number in range(MOST)}


def test_names_are_numbered_where_there_are_several():
    request = VideoRequest(prompt=PROMPT, seed=3)
    assert several(request, Path("a/out.mp4"), 1) == [(request, Path("a/out.mp4"))]
    found = several(request, Path("a/out.mp4"), 12)
    assert [path.name for _, path in found[::11]] == ["out-01.mp4", "out-12.mp4"]
    assert found[0][0] == request


@pytest.mark.parametrize("count", [0, 65, -1, "many", True, 2.5])
def test_what_is_no_number_of_clips_is_refused(count):
    with pytest.raises(Refusal, match=r"count=.*1 to 64 clips"):
        checked_count(count)


def test_a_row_and_a_batch_say_how_many(tmp_path):
    once = items(f"prompt\n{PROMPT}\n", tmp_path)
    found = items(f"prompt,count\n{PROMPT},3\na blue star,\n", tmp_path, count=2)
    assert len(found) == 5
    assert found[0].address == once[0].address  # the first is the clip that a single one is
    assert len({item.address for item in found}) == 5
    assert [item.row for item in found][:2] == ["rows.csv:2 (1 of 3)", "rows.csv:2 (2 of 3)"]
    assert [item.request.prompt for item in found].count("a blue star") == 2
    with pytest.raises(Refusal, match=r"rows.csv:2: column count: count=0: "):
        items(f"prompt,count\n{PROMPT},0\n", tmp_path)
    with pytest.raises(ValidationError):
        ClipBatchRequest.model_validate({"prompts": PROMPT, "count": 0})


def test_no_column_stands_for_the_number_of_a_clip(tmp_path):
    with pytest.raises(Refusal, match="number of several"):
        items(f"prompt,number of several\n{PROMPT},5\n", tmp_path)


def test_a_batch_of_one_each_is_what_it_was():
    asked = ClipBatchRequest.model_validate({"prompts": PROMPT})
    assert "count" not in asked.model_dump(mode="json")
    assert asked.model_copy(update={"count": 2}).model_dump()["count"] == 2


@pytest.mark.parametrize("name", ["", ".", "..", "/"])
def test_several_clips_of_no_name_are_refused(name, capsys):
    assert main(["video", "generate", PROMPT, name, "--count", "2"]) == 2
    assert "is a folder: a result is a file" in capsys.readouterr().err


def test_the_command_writes_several_and_looks_at_all_names_before(tmp_path, capsys):
    out = tmp_path / "out.mp4"
    words = ["video", "generate", PROMPT, str(out), "--count", "2", "--steps", "1"]
    (tmp_path / "out-2.mp4").write_bytes(b"mine")
    assert main(words) == 2
    assert not (tmp_path / "out-1.mp4").exists()
    (tmp_path / "out-2.mp4").unlink()
    assert main(words) == 0
    seeds = [json.loads((tmp_path / f"out-{n}.json").read_text())["seeds"] for n in (1, 2)]
    assert seeds == [0, seed_of(0, 1)]
    assert main([*words[:4], "--count", "0"]) == 2
    assert "count=0" in capsys.readouterr().err
