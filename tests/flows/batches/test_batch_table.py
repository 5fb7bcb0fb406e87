import json

import pytest

from flows.batches.items import items_of
from flows.requests.batch_requests import ClipBatchRequest
from flows.requests.prompt_tables import read_rows

PROMPTS = ["a red circle moves left", "a blue square, on a gray background"]


def written(folder, name, content):
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


FILES = {
    "p.txt": f"# tonight\n{PROMPTS[0]}\n\n  # then\n{PROMPTS[1]}\n",
    "p.csv": f'\ufeffprompt, steps\n{PROMPTS[0]},2\n"{PROMPTS[1]}",\n',
    "p.jsonl": "\n".join(json.dumps({"prompt": p}) for p in PROMPTS) + "\n\n",
    "p.yaml": f"- {PROMPTS[0]}\n- prompt: {PROMPTS[1]}\n  steps: 2\n",
}


@pytest.mark.parametrize("name", FILES)
def test_every_form_of_prompt_file_gives_the_same_prompts(tmp_path, name):
    rows = read_rows(written(tmp_path, name, FILES[name]))
    assert [row.fields["prompt"] for row in rows] == PROMPTS
    assert all(row.where.startswith(f"{name}:") for row in rows)


def test_columns_override_the_form(places):
    path = written(
        places, "p.csv", "prompt,steps,seed,height\na red circle,2,7,32\na blue one,,,\n"
    )
    batch = ClipBatchRequest(prompt_file=str(path), steps=5, model="tiny-video")
    (first, second), repeated = items_of(batch)
    assert (first.request.steps, first.request.seed, first.request.height) == (2, 7, 32)
    assert (second.request.steps, second.request.height, repeated) == (5, 64, [])
    assert first.row == "p.csv:2"


def test_all_bad_cells_are_named_at_once_by_file_row_and_column(places):
    rows = ["prompt,steps,color", "a,999,", "b,two,", "c,2,red", ",2,", "d,2,", "e,2,"]
    path = written(places, "bad.csv", "\n".join(rows))
    batch = ClipBatchRequest(prompt_file=str(path), model="tiny-video")
    with pytest.raises(ValueError, match="column") as caught:
        items_of(batch)
    lines = str(caught.value).splitlines()
    assert [" ".join(line.replace("=", " ").split()[:3]).rstrip(":") for line in lines] == [
        "bad.csv:2: column steps",
        "bad.csv:3: column steps",
        "bad.csv:4: column color",
        "bad.csv:5: column prompt",
    ]


def test_a_column_without_a_value_is_refused_if_nothing_is_called_so(places):
    path = written(places, "p.csv", "prompt, stepz ,steps,\na red circle,,,\na blue one, ,,\n")
    with pytest.raises(ValueError, match="column") as caught:
        items_of(ClipBatchRequest(prompt_file=str(path), model="tiny-video"))
    assert str(caught.value) == (
        "p.csv:1: column stepz: stepz is no field of this request; remove it or correct its name."
    )


def test_at_most_ten_complaints_and_how_many_more(places):
    path = written(places, "bad.csv", "prompt,steps\n" + "a,-1\n" * 25)
    with pytest.raises(ValueError, match="and 15 more") as caught:
        items_of(ClipBatchRequest(prompt_file=str(path), model="tiny-video"))
    assert len(str(caught.value).splitlines()) == 11


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.txt", None, "there is no such file; write"),
        ("p.txt", "\n# nothing\n", "it holds no prompt, .*; write"),
        ("p.csv", "text\na\n", "the columns are `text`: one of them must be `prompt`; write"),
        ("p.csv", "prompt,steps\na,1,2\n", "p.csv:2: has 3 cells .* 2 columns; put"),
        ("p.jsonl", '{"prompt": "a"}\n{oh\n', "p.jsonl:2: is not JSON .*; correct"),
        ("p.jsonl", "[1]\n", "p.jsonl:1: is a list: .*; write"),
        ("p.yaml", "prompt: a\n", "holds a table: .*; begin"),
        ("p.yaml", "- [\n", "is not YAML .*; correct"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_its_place(tmp_path, name, content, words):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=words):
        read_rows(path)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "p.txt"
    path.write_bytes(b"a\xff\xfeb")
    with pytest.raises(ValueError, match=r"is not UTF-8 text .*; save"):
        read_rows(path)


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
def test_what_windows_saves_as_unicode_is_read(tmp_path, order):
    mark = "\ufeff".encode(order)
    table = tmp_path / "p.txt"  # "Unicode text" of a spreadsheet: tabs, CRLF
    table.write_bytes(mark + 'prompt\tseed\r\n"a red, red circle"\t7\r\n'.encode(order))
    lines = tmp_path / "lines.txt"
    lines.write_bytes(mark + "a red circle\r\n\u00fcber\r\n".encode(order))
    (row,) = read_rows(table)
    assert (row.where, row.fields) == ("p.txt:2", {"prompt": "a red, red circle", "seed": "7"})
    assert [row.fields["prompt"] for row in read_rows(lines)] == ["a red circle", "\u00fcber"]
    lines.write_bytes(mark + "a red circle".encode(order)[:-1])
    with pytest.raises(ValueError, match=r"lines\.txt is not UTF-16 text .*; save"):
        read_rows(lines)
    table.write_bytes("prompt\n\u00fc\n".encode(order))  # without the mark nobody can tell
    with pytest.raises(ValueError, match=r"p\.txt"):
        read_rows(table)


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        ("prompt,seed\na red circle,7\n", {"prompt": "a red circle", "seed": "7"}),
        ("seed;prompt\n7;a red, red circle\n", {"prompt": "a red, red circle", "seed": "7"}),
        ("prompt\na red, red circle\n", {"prompt": "a red, red circle"}),
        ("prompt, please: a red circle\n", {"prompt": "prompt, please: a red circle"}),
    ],
)
def test_text_under_names_of_columns_is_a_table(tmp_path, content, fields):
    (tmp_path / "p.txt").write_text(content)
    assert [row.fields for row in read_rows(tmp_path / "p.txt")] == [fields]


def test_what_may_be_thousands_is_not_read_as_one(tmp_path):
    (tmp_path / "p.csv").write_text("prompt;seed\na;7\na red circle;1.000\n")
    with pytest.raises(ValueError, match=r"p\.csv:3: holds 1\.000: .*; write 1000, or"):
        read_rows(tmp_path / "p.csv")
    (tmp_path / "p.csv").write_text("prompt,guidance\na red circle,1.500\n")
    assert read_rows(tmp_path / "p.csv")[0].fields["guidance"] == "1.500"


@pytest.mark.parametrize(
    "begin", [r"{\rtf1\ansi ", "\n<!DOCTYPE html>\n", "<?xml version='1.0'?>"]
)
def test_documents_are_no_prompts(tmp_path, begin):
    (tmp_path / "p.txt").write_text(f"{begin} a red circle\n")
    with pytest.raises(ValueError, match=r"p\.txt is .*: a prompt file is plain text; save"):
        read_rows(tmp_path / "p.txt")


def test_prompts_come_from_one_place(places):
    for fields in ({}, {"prompts": "a", "prompt_file": "p.txt"}):
        with pytest.raises(ValueError, match="a batch has one of them; write"):
            items_of(ClipBatchRequest(model="tiny-video", **fields))


def test_only_what_can_be_judged_may_be_judged(places):
    batch = ClipBatchRequest(prompts="a cat sings", model="tiny-video", accept_only=True)
    with pytest.raises(ValueError, match=r"prompts:1: column prompt: .*'cat'.*; write"):
        items_of(batch)


@pytest.mark.parametrize("word", ["very ", "\uac01 "])  # one token a word, and three a character
def test_prompts_that_the_encoder_would_refuse_are_named_by_their_rows(places, word):
    fitting = 60 if word == "very " else 20
    prompts = ["a red circle", word * fitting, word * (fitting + 10)]
    batch = ClipBatchRequest(prompts="\n".join(prompts), model="tiny-video")
    with pytest.raises(ValueError, match=r"^prompts:3: column prompt: .*at most 64 "):
        items_of(batch)


@pytest.mark.parametrize("name", ["passwd", "p.md", "p.txt.gz", ".txt"])
def test_a_prompt_file_is_known_by_its_ending(tmp_path, name):
    (tmp_path / name).write_text("a red circle\n")
    with pytest.raises(ValueError, match=r"a prompt file ends with \.txt, \.csv, .*; rename"):
        read_rows(tmp_path / name)


def test_a_link_does_not_make_a_prompt_file_of_another(tmp_path):
    (tmp_path / "secrets").write_text("a red circle\n")
    (tmp_path / "p.txt").symlink_to(tmp_path / "secrets")
    with pytest.raises(ValueError, match="itself and not only in the name of a link"):
        read_rows(tmp_path / "p.txt")


SECRETS = [
    "root:x:0:0:root:/root:/bin/bash",
    "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI",
    "ssh-ed25519 " + "A" * 68 + " me@here",
    "a red\x00circle",
    "a \x1b[31mred circle",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("name", ["p.txt", "p.csv", "p.jsonl", "p.yaml"])
def test_what_is_no_sentence_is_refused_and_not_repeated(tmp_path, name, secret):
    form = {
        "p.txt": f"a red circle\n{secret}\n",
        "p.csv": f'prompt\na red circle\n"{secret}"\n',
        "p.jsonl": f'{{"prompt": "a red circle"}}\n{json.dumps({"prompt": secret})}\n',
        "p.yaml": f"- a red circle\n- {json.dumps(secret)}\n",
    }[name]
    with pytest.raises(ValueError, match=rf"{name}:\d: column prompt: .*; .* correct it") as told:
        read_rows(written(tmp_path, name, form))
    assert secret not in str(told.value)


@pytest.mark.parametrize(
    "prompt",
    [
        "fireworks",
        "A sign: open 24 h",
        "E = mc2 on a board",
        "日本の" * 30,
        "a 👩‍🚀 waves",
        "it's 10:30",
    ],
)
def test_what_a_person_may_say_is_a_prompt(tmp_path, prompt):
    (row,) = read_rows(written(tmp_path, "p.txt", f"{prompt}\n"))
    assert row.fields["prompt"] == prompt


def test_a_broken_yaml_file_is_not_repeated(tmp_path):
    path = written(tmp_path, "p.yaml", "password: hunter2\n  token: [oh\n")
    with pytest.raises(ValueError, match=r"is not YAML \(line \d\)") as told:
        read_rows(path)
    assert "hunter2" not in str(told.value)
