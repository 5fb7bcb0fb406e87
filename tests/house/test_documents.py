"""What the documents say is so: commands exist, works are cited, files that are named stand."""

import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = ("core", "video", "medical", "lamina", "flows")
DOCUMENTS = ("README.md", "CONTRIBUTING.md")
PAGES = tuple(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md")))
CHEAP = {("models", "list")}
CITATION = re.compile(
    r"\b([A-Z][a-zà-ÿ]+(?: et al\.| (?:&|and) [A-Z][a-zà-ÿ]+)?),? \(?((?:19|20)\d{2}[a-z]?)\b"
)
NOT_A_WORK = {"ICBM"}


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def commands(document, first):
    """Commands of the document's code blocks that begin with ``first``, as words."""
    for block in re.findall(r"```[a-z]*\n(.*?)```", read(document), re.DOTALL):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == [first]:
                yield tuple(words[1:])


def lamina_commands():
    return sorted({words for name in DOCUMENTS for words in commands(name, "lamina")})


def make_targets():
    return set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))


def cited_works():
    """Keys such as ``Karras et al. 2022`` in the source, with comment marks and breaks undone."""
    for floor in (*FLOORS, "tests/benchmarks"):
        for path in (ROOT / floor).rglob("*.py"):
            text = re.sub(r"\s+#?\s*", " ", path.read_text(encoding="utf-8"))
            for author, year in CITATION.findall(text):
                if author not in NOT_A_WORK:
                    yield f"{author} {year}"


def test_the_first_command_comes_early():
    lines = read("README.md").splitlines()
    assert lines.index("make demo     # run both jobs through Prefect") < 20


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_that_is_named_exists(document):
    named = {words[0] for words in commands(document, "make")}
    named |= set(re.findall(r"`make ([a-z-]+)`", read(document)))
    assert named
    assert named <= make_targets()


def test_every_make_target_is_explained():
    help_ = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(re.findall(r"make ([a-z-]+)", help_.stdout)) == make_targets()


@pytest.mark.parametrize("words", lamina_commands(), ids=" ".join)
def test_every_lamina_command_that_is_shown_is_understood(words):
    """Cyclopts resolves the command and binds every option, without running it."""
    from flows.commands.command_line import app

    command, bound, _ = app.parse_args(list(words), exit_on_error=False, print_error=False)
    assert callable(command)
    assert bound is not None


@pytest.mark.parametrize("words", sorted(CHEAP & set(lamina_commands())), ids=" ".join)
def test_cheap_commands_run(words, capsys):
    from flows.commands.command_line import main

    assert main(words) == 0
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("document", [*DOCUMENTS, *PAGES])
def test_every_file_that_is_named_stands(document):
    folder = (ROOT / document).parent.relative_to(ROOT)
    links = [folder / name for name in re.findall(r"\]\(([^):#]+)(?:#[^)]*)?\)", read(document))]
    named = re.findall(
        r"`((?:core|video|medical|lamina|flows|infra|tests)/[a-z_/]+\.[a-z]+)`", read(document)
    )
    assert [name for name in links + named if not (ROOT / name).exists()] == []


def additions():
    """What ``CONTRIBUTING.md`` says can be added: the cells of each row."""
    section = read("CONTRIBUTING.md").split("## How to add")[1].split("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line[:3] == "| a"]
    return [pytest.param(*row[1:], id=row[0].strip()) for row in rows]


@pytest.mark.parametrize(("write", "line", "shown"), additions())
def test_what_can_be_added_has_its_room_its_table_and_a_test_that_reads_the_table(
    write, line, shown
):
    rooms = re.findall(r"`((?:core|video|medical|flows)/[a-z_/]*)`", write)
    assert all((ROOT / room).is_dir() for room in rooms)
    tests = re.findall(r"`(tests/[a-z_/]+\.py)`", shown)
    assert tests
    for name, first, second in re.findall(r"`([A-Z]+)` of `([a-z_/.]+)`(?: or `(.+?)`)?", line):
        for module in filter(None, (first, second)):
            assert re.search(rf"^{name}\b.* = ", read(module), re.MULTILINE), module
        assert any(name in read(test) for test in tests), (name, tests)


def test_every_environment_variable_that_is_named_is_read():
    named = set(re.findall(r"`(LAMINA_[A-Z0-9_]+)`", read("docs/reference/settings.md")))
    assert named
    folders = (ROOT / "flows/settings", ROOT / "video/engines")
    code = "".join(path.read_text() for folder in folders for path in folder.glob("*.py"))
    code += read("core/numerics.py")
    assert [name for name in sorted(named) if f'"{name}"' not in code] == []


def test_the_flows_that_are_listed_are_the_flows():
    from flows.requests.flow_requests import MODELS

    table = re.findall(r"^\| (`.+?) \|", read("docs/reference/flows.md"), re.MULTILINE)
    listed = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", " ".join(table)))
    assert listed == set(MODELS)


def test_every_cited_work_is_in_the_references_once():
    keys = re.findall(r"^- \*\*(.+?)\.\*\*", read("REFERENCES.md"), re.MULTILINE)
    assert len(keys) == len(set(keys))
    assert set(keys) == set(cited_works())


def test_one_version():
    version = tomllib.loads(read("pyproject.toml"))["project"]["version"]
    assert f"version: {version}\n" in read("CITATION.cff")


def test_constraints_are_exact_and_lie_within_the_ranges():
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = [line for line in read("constraints.txt").splitlines() if not line.startswith("#")]
    exact = dict(line.split("==") for line in lines)
    project = tomllib.loads(read("pyproject.toml"))["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    for requirement in map(Requirement, wanted):
        assert exact[canonicalize_name(requirement.name)] in requirement.specifier, requirement
    assert exact["torch"] == "2.13.0"
