"""What ``--help`` prints of every command, as wide as a terminal usually is and wider."""

import io
import itertools

import pytest
from rich.console import Console

from flows.commands.command_line import app, main

COLUMN = 8  # what is indented further continues a text


def commands(group, words=()):
    yield words
    for name in group:
        if not name.startswith("-"):
            yield from commands(group[name], (*words, name))


def printed(words, capsys):
    assert main([*words, "--help"]) == 0
    return capsys.readouterr().out.splitlines()


def panels_of(lines):
    return [line[2:-2] for line in lines if line.startswith("│")]


def broken_early(lines, width):
    """Lines in which the first word of the next one would have found room."""
    for line, after in itertools.pairwise(lines):
        word = after.split()[0] if after.split() else ""
        if line.strip() and word and len(line.rstrip()) + 1 + len(word) <= width:
            yield line


@pytest.mark.parametrize("width", [80, 120])
def test_texts_fill_their_column(width):
    for words in commands(app):
        paper = io.StringIO()
        app.help_print(words, console=Console(file=paper, width=width))
        lines = paper.getvalue().splitlines()
        assert max(map(len, lines)) <= width
        above = [line for line in lines[1:] if not line.startswith(("│", "╭", "╰"))]
        assert list(broken_early(above, width)) == []
        texts = panels_of(lines)
        for line, after in itertools.pairwise(texts):
            if after.startswith(" " * COLUMN):
                assert list(broken_early([line, after], width - 4)) == []


def test_every_list_says_what_each_command_does(capsys):
    for words in commands(app):
        if any(not name.startswith("-") for name in _here(words)):
            listed = [line for line in panels_of(printed(words, capsys)) if line[0] != " "]
            assert [line for line in listed if len(line.split()) < 3] == []


def _here(words):
    group = app
    for name in words:
        group = group[name]
    return group


def test_defaults_and_choices_are_what_a_person_types(capsys):
    told = " ".join(" ".join(panels_of(printed(("mri", "super-resolve"), capsys))).split())
    assert "[default: 1.0 1.0 1.0]" in told
    assert "[default: False]" not in told
    assert '[default: ""]' not in told
    told = " ".join(" ".join(panels_of(printed(("mri", "anomalies"), capsys))).split())
    assert "[choices: T1w, T2w, FLAIR]" in told
