"""What people's prompt files hold that is easily misread: read as written, or refused by row."""

import itertools
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.refusal import Refusal
from flows.requests.prompt_tables import READERS, read_rows, requests_of
from video.request import VideoRequest

GOOD = "a red circle moves left"
OTHER = "a blue square moves up"
DIGITS = "9" * 5000


def requests(path):
    return requests_of(
        read_rows(path), VideoRequest.model_validate, set(VideoRequest.model_fields)
    )


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content", "where", "words"),
    [
        ("p.csv", f"prompt,seed,seed\n{GOOD},7,8\n", "p.csv:1", "column seed stands there twice"),
        ("p.csv", f"prompt,prompt\n{GOOD},{OTHER}\n", "p.csv:1", "column prompt stands"),
        ("p.csv", f"# mine\nprompt,seed,seed \n{GOOD},7,8\n", "p.csv:2", "column seed stands"),
        ("p.jsonl", f'\n{{"prompt": "{GOOD}", "seed": 1, "seed": 2}}\n', "p.jsonl:2", "twice"),
        ("p.yaml", f"- {GOOD}\n- prompt: {GOOD}\n  seed: 1\n  seed: 2\n", "p.yaml:2", "twice"),
        ("p.yaml", f"- prompt: {GOOD}\n  prompt: {OTHER}\n", "p.yaml:1", "column prompt stands"),
        ("p.yaml", f"- {GOOD}\n- 2026-02-30\n", "p.yaml:2", "is a date"),
        ("p.yaml", f"- prompt: {GOOD}\n  seed: 2026-02-28\n", "p.yaml:1: column seed", "a date"),
        ("p.yaml", f"- prompt: {GOOD}\n  seed: {DIGITS}\n", "p.yaml:1: column seed", "decimal"),
        ("p.jsonl", f'{{"prompt": "{GOOD}", "seed": {DIGITS}}}', "p.jsonl:1", "of digits"),
        ("p.yaml", f"- prompt: {GOOD}\n  seed: 0123\n", "p.yaml:1: column", "'0123' .* digits"),
        ("p.yaml", f"- prompt: {GOOD}\n  seed: 1:30\n", "p.yaml:1: column", "'1:30' .* digits"),
        ("p.yaml", f"- prompt: {GOOD}\n  fps: 1:30.5\n", "p.yaml:1: column fps", "decimal"),
        ("p.yaml", f"- prompt: {GOOD}\n  seed: yes\n", "p.yaml:1: column seed", "not true"),
        ("p.jsonl", f'{{"prompt": "{GOOD}", "seed": true}}', "p.jsonl:1: column seed", "not true"),
        ("p.jsonl", f'{{"prompt": "{GOOD}", "fps": true}}', "p.jsonl:1: column fps", "not true"),
        ("p.jsonl", f'{{"prompt": "{GOOD}", "steps": NaN}}', "p.jsonl:1: column steps", "correct"),
        ("p.jsonl", '{"prompt": ["a", "b"]}', "p.jsonl:1: column prompt", "is a list"),
        ("p.jsonl", '{"prompt": "a red \\ud83d circle"}', "p.jsonl:1", "half a character"),
        ("p.jsonl", '{"prompt": "a", "\\ud83d": 1}', "p.jsonl:1", "half a character"),
        ("p.yaml", '- "a red \\ud83d circle"\n', "p.yaml:1", "half a character"),
        ("p.yaml", f"- ? [a, b]\n  : {GOOD}\n", "p.yaml:1", "a name is a list"),
        ("p.yaml", "- a #ff0000 circle moves left\n", "p.yaml:1", 'as a comment: .* "quotes"'),
        ("p.yaml", "- prompt: a #1 circle\n", "p.yaml:1: column prompt", "as a comment"),
        ("p.yaml", f"- &a\n  prompt: {GOOD}\n  <<: *a\n", "p.yaml:1", "merges itself"),
        ("p.yaml", f"- {GOOD}\n- <<: 3\n", "p.yaml:2", "merges tables alone"),
        ("p.yaml", f"- {GOOD}\n- !!python/name:os.system x\n", "p.yaml:2", "python/name"),
        ("p.yaml", '- "\\U00110000"\n', "p.yaml", "is not YAML"),
        ("p.yaml", f"- {GOOD}\n---\n- {OTHER}\n", "p.yaml", r"is not YAML \(line 2\)"),
    ],
)  # fmt: skip
def test_what_could_be_misread_is_refused_by_file_and_row(tmp_path, name, content, where, words):
    with pytest.raises(Refusal, match=rf"^{where}\b.*{words}"):
        requests(written(tmp_path, name, content))


@pytest.mark.parametrize(
    ("name", "content", "prompts"),
    [
        ("p.txt", "a #ff0000 circle\n# note\n\t#2\na red circle # 1\n",
         ["a #ff0000 circle", "a red circle # 1"]),
        ("p.csv", f"# mine, \"the\nprompt,seed\n# later\n{GOOD},7\n#,\n\"# 1\",\n", [GOOD, "# 1"]),
        ("p.csv", f"prompt ,seed\n\"a\n# red circle\",7\n{OTHER},\n", ["a\n# red circle", OTHER]),
        ("p.csv", f"prompt,,\n{GOOD},,\n", [GOOD]),
        ("p.csv", f"prompt\r{GOOD}\r\r{OTHER}\r", [GOOD, OTHER]),
        ("p.jsonl", '{"prompt": "a red circle\u2028moves"}\n', ["a red circle\u2028moves"]),
        ("p.jsonl", '{"prompt": "a\x85circle"}\r\n{"prompt": "# 1"}', ["a\x85circle", "# 1"]),
        ("p.yaml", f"- {GOOD}  # the easy one\n- 'a #1 circle'\n", [GOOD, "a #1 circle"]),
        ("p.yaml", f"- &p {{prompt: {GOOD}}}\n- <<: *p\n  seed: 3\n- *p\n", [GOOD] * 3),
        ("p.yaml", f"- &p {{prompt: {GOOD}}}\n- <<: [*p, {{seed: 3}}]\n  prompt: {OTHER}\n",
         [GOOD, OTHER]),
    ],
)  # fmt: skip
def test_what_is_written_is_read(tmp_path, name, content, prompts):
    assert [made.prompt for _, made in requests(written(tmp_path, name, content))] == prompts


def test_numbers_of_yaml_are_read_as_before(tmp_path):
    text = (
        "- {prompt: a, seed: 1_000, fps: 7.5}\n- {prompt: a, seed: 0x1F, steps: '7', fps: 1e+1}\n"
    )
    (_, first), (_, second) = requests(written(tmp_path, "p.yaml", text))
    assert (first.seed, first.fps) == (1000, 7.5)
    assert (second.seed, second.steps, second.fps) == (31, 7, 10)


def bomb(levels):
    names = "abcdefghij"[:levels]
    lines = ["- prompt:", "    - &a [x,x,x,x,x,x,x,x,x,x]"]
    for before, name in itertools.pairwise(names):
        lines.append(f"    - &{name} [{','.join([f'*{before}'] * 10)}]")
    return "\n".join(lines)


def bomb_of_rows(levels):
    names = "abcdefghij"[:levels]
    lines = ["- &a [x,x,x,x,x,x,x,x,x,x]"]
    for before, name in itertools.pairwise(names):
        lines.append(f"- &{name} [{','.join([f'*{before}'] * 10)}]")
    return "\n".join(lines)


def bomb_of_merges(levels):
    lines = [f"- &m0 {{prompt: {GOOD}}}"]
    for level in range(1, levels):
        lines.append(f"- &m{level}\n  <<: [{','.join([f'*m{level - 1}'] * 10)}]")
    return "\n".join(lines)


def bomb_of_fields():
    wide = ", ".join(f"f{number}: 1" for number in range(2000))
    return f"- &a {{prompt: {GOOD}, {wide}}}\n" + "- *a\n- <<: *a\n" * 1000


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.yaml", bomb(4)),
        ("p.yaml", bomb(10)),
        ("p.yaml", bomb_of_rows(10)),
        ("p.yaml", "- " + "[" * 3000 + "]" * 3000),
        ("p.yaml", "- " + "{a: " * 3000 + "}" * 3000),
        ("p.yaml", "- " * 3000 + "a"),
        ("p.jsonl", '{"prompt": ' + "[" * 100_000 + "]" * 100_000 + "}"),
        ("p.jsonl", '{"prompt": ' + '{"a":' * 100_000),
    ],
)
def test_what_nests_or_grows_is_refused_at_once(tmp_path, name, text):
    start = time.process_time()
    with pytest.raises(Refusal, match=rf"^{name}:1"):
        read_rows(written(tmp_path, name, text))
    assert time.process_time() - start < 2


def test_merges_that_grow_are_read_once_each(tmp_path):
    rows = read_rows(written(tmp_path, "p.yaml", bomb_of_merges(200)))
    assert [row.fields for row in rows] == [{"prompt": GOOD}] * 200


def test_fields_that_aliases_multiply_are_refused_by_size(tmp_path):
    with pytest.raises(Refusal, match=r"^p\.yaml:\d+: aliases make more fields"):
        read_rows(written(tmp_path, "p.yaml", bomb_of_fields()))


@pytest.mark.parametrize("name", [f"{'p' * 300}.txt", "p\0.txt", "loop.txt"])
def test_a_name_that_no_file_can_have_is_refused(tmp_path, name):
    (tmp_path / "loop.txt").symlink_to(tmp_path / "loop.txt")
    with pytest.raises(Refusal, match=r"^prompt_file=.*; (name|write)|^prompt_file=.*: name"):
        read_rows(tmp_path / name)


SEEDS = {
    ".txt": f"# note\n{GOOD}\n".encode(),
    ".csv": f'prompt,seed\n"{GOOD}",7\n{OTHER},\n'.encode(),
    ".jsonl": f'{{"prompt": "{GOOD}", "seed": 7}}\n{{"prompt": "{OTHER}"}}\n'.encode(),
    ".yaml": f"- &p {{prompt: {GOOD}, seed: 7}}\n- <<: *p\n  fps: 1.5\n- {OTHER}\n".encode(),
}
SIGNS = st.one_of(
    st.binary(max_size=6),
    st.text("{}[]():,;-&*?!|>%@`<=~'\"\\#\n\r\t 0123456789.eExXnNoUu", max_size=8).map(str.encode),
    st.sampled_from(
        [b"<<: *p", b"!!int ", b"!!float ", b"!!binary ", b"!!timestamp ", b"!!set ", b"---\n",
         b"%YAML 1.1\n", b"2026-02-30", b"\\ud800", b"\\U00110000", b".inf", b"1e999", b"0x_",
         b"true", b"null", b"NaN", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xc2\x85", b"\0",
         DIGITS.encode()]
    ),
)  # fmt: skip


@pytest.mark.parametrize("suffix", SEEDS)
@settings(max_examples=250)
@given(edits=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 12), SIGNS), max_size=5))
@example(edits=[(0, 200, b"")])
def test_any_bytes_give_requests_or_a_refusal(tmp_path_factory, suffix, edits):
    content = SEEDS[suffix]
    for place, gone, new in edits:
        content = content[:place] + new + content[place + gone :]
    path = written(tmp_path_factory.mktemp("any"), f"p{suffix}", content)
    try:
        made = requests(path)
    except Refusal as refusal:
        made, said = [], str(refusal)
    else:
        said = "".join(request.prompt for _, request in made)
    assert made or f"p{suffix}" in said
    assert said.encode()  # it can be shown


def test_every_suffix_is_tried_with_random_bytes():
    assert set(READERS) == {*SEEDS, ".yml"}


@pytest.mark.parametrize(
    "content",
    [
        f"prompt;seed\n{GOOD};7\n{OTHER};8\n",
        f"sep=;\r\nprompt;seed\r\n{GOOD};7\r\n{OTHER};8\r\n",
        f'"prompt";"seed"\n"{GOOD}";7\n"{OTHER}";8\n',
        f"sep=\t\r\nprompt\tseed\r\n{GOOD}\t7\r\n{OTHER}\t8\r\n",
        f"sep=,\nprompt,seed\n{GOOD},7\n{OTHER},8\n",
        f"\ufeffprompt\tseed\n{GOOD}\t7\n{OTHER}\t8\n",
        f"# mine\nprompt\u200b;seed\u00a0\n{GOOD};7\n{OTHER};8\n",
    ],
)
def test_cells_stand_between_what_stands_between_the_columns(tmp_path, content):
    found = [request for _, request in requests(written(tmp_path, "p.csv", content))]
    assert [(request.prompt, request.seed) for request in found] == [(GOOD, 7), (OTHER, 8)]


def test_commas_of_a_prompt_stay_in_a_file_with_semicolons(tmp_path):
    content = f'prompt;seed\n{GOOD}, slowly;7\n"{OTHER}; slowly";8\n'
    found = [request.prompt for _, request in requests(written(tmp_path, "p.csv", content))]
    assert found == [f"{GOOD}, slowly", f"{OTHER}; slowly"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("p.csv", f",prompt\n0,{GOOD}\n", r"^p\.csv:2: has a value in a column without a name"),
        ("p.csv", f"prompt,\n{GOOD},x\n", "name it or leave it out"),
        ("p.jsonl", f'{{"": 1, "prompt": "{GOOD}"}}\n', r'^p\.jsonl:1: column ""=1: "" is no'),
        ("p.jsonl", "null\n", r"^p\.jsonl:1: is nothing: a row is a table"),
        ("p.jsonl", "5\n", r"^p\.jsonl:1: is a number: a row is a table"),
        ("p.yaml", f"- {GOOD}\n-\n", r"^p\.yaml:2: is nothing: a row is a table"),
        ("p.csv", f"text;seed\n{GOOD};7\n", "the columns are `text;seed`"),
    ],
)
def test_refusals_name_what_came_in_words(tmp_path, name, content, words):
    with pytest.raises(Refusal, match=words):
        requests(written(tmp_path, name, content))


@pytest.mark.parametrize("value", ["0.125", "0.500"])
def test_a_point_behind_a_zero_stands_before_decimals(tmp_path, value):
    content = f"prompt;guidance\n{GOOD};{value}\n"
    [row] = read_rows(written(tmp_path, "p.csv", content))
    assert row.fields["guidance"] == value


def test_a_point_between_thousands_or_before_decimals_is_asked_about(tmp_path):
    content = f"prompt;guidance\n{GOOD};1.125\n"
    with pytest.raises(Refusal, match=r"write 1125, .* or write 1\.1250 for a fraction"):
        requests(written(tmp_path, "p.csv", content))
    [(_, request)] = requests(written(tmp_path, "p.csv", content.replace("1.125", "1.1250")))
    assert request.guidance == 1.125


@pytest.mark.parametrize(
    "content",
    [
        f"# note\nprompt\tseed\n{GOOD}\t5\n",
        f"\nprompt;seed\n{GOOD};5\n",
        f"\n# note\n\nprompt,seed\n{GOOD},5\n",
        f"\n# note\nprompt\n{GOOD}\n",
    ],
)
def test_a_table_in_a_text_file_begins_with_its_first_line_that_says_something(tmp_path, content):
    [(_, request)] = requests(written(tmp_path, "p.txt", content))
    assert request.prompt == GOOD
    assert request.seed == (5 if "seed" in content else 0)
