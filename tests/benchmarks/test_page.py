"""The page shows every kind of processor, and no measurement takes the place of another kind's."""

import json

from tests.benchmarks.page import page
from tests.benchmarks.results import Figure, Row, keep_beside, kind_of

FLAGS = {"AMD EPYC": ["avx2", "avx512_bf16"], "Intel(R) Xeon(R) Processor": ["avx2", "amx_bf16"]}
EPYC, XEON = "AMD EPYC (avx512_bf16, 2 cores)", "Intel Xeon (amx_bf16, 2 cores)"


def record(processor, seconds, *, day=1, protocol="One pass.", **more):
    figures = [Figure(name="wall time", value=seconds, unit="s", high=2.0)]
    row = Row(title="Pass", protocol=protocol, figures=figures, **more)
    found = row.as_record(seconds=1, options={}, load=0)
    where = {"processor": processor, "flags": FLAGS[processor], "cores": 2}
    return found | {
        "measured": f"2026-01-0{day}T00:00+00:00",
        "machine": found["machine"] | where,
    }


def kept(path, *records):
    for each in records:
        keep_beside(path, "pass", each)
    return json.loads(path.read_text())


def lines(text, start):
    return [line for line in text.splitlines() if line.startswith(start)]


def test_kinds_are_told_apart_by_name_instructions_and_cores():
    assert [kind_of(record(who, 1)["machine"]) for who in FLAGS] == [EPYC, XEON]
    more = record("AMD EPYC", 1)["machine"] | {"cores": 8}
    assert kind_of(more) == "AMD EPYC (avx512_bf16, 8 cores)"


def test_a_second_kind_stands_beside_the_first(tmp_path):
    path = tmp_path / "rows.json"
    rows = kept(path, record("AMD EPYC", 1.5), record("Intel(R) Xeon(R) Processor", 2.5))
    text = page(rows, ["pass", "never run"])
    assert lines(text, "| benchmark") == [f"| benchmark | what | target | {EPYC} | {XEON} |"]
    for start in ("| Pass | wall time", "| wall time"):
        (line,) = lines(text, start)
        assert line.endswith("| at most 2 s | 1.500 s, met | 2.500 s, **missed by 0.5** |")
    assert [line.count("Xeon") for line in lines(text, "Measured")] == [0, 1]


def test_the_same_kind_is_measured_anew(tmp_path):
    rows = kept(tmp_path / "rows.json", record("AMD EPYC", 1.5), record("AMD EPYC", 1.0, day=2))
    assert "1.500" not in page(rows, ["pass"])
    assert "1.000 s, met" in page(rows, ["pass"])


def test_what_one_kind_lacks_is_empty_and_what_differs_names_its_kind(tmp_path):
    old = record("AMD EPYC", 1.5, notes=["Both.", "Alone."])
    new = record("Intel(R) Xeon(R) Processor", 2.5, day=2, protocol="Two.", notes=["Both."])
    new["figures"].append(new["figures"][0] | {"name": "memory", "target": ""})
    text = page(kept(tmp_path / "rows.json", old, new), ["pass"])
    assert lines(text, "| memory") == ["| memory |  |  | 2.500 s, **missed by 0.5** |"]
    assert f"{EPYC}: One pass.\n" in text
    assert f"{XEON}: Two.\n" in text
    assert lines(text, "- ") == ["- Both.", f"- {EPYC}: Alone."]
