"""What README, docs and the program's own messages tell a person to type is there to be typed.

Nothing is run: `bakehouse …` is parsed by click with every command's body taken out, `make …` by make's dry run, and the module
of `python -m …` must do something when it is run.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from core.cli.main import bakehouse
from tests.bench.__main__ import BENCHMARKS

CHECKOUT = Path(__file__).parents[2]
DOCUMENTS = [CHECKOUT / "README.md", CHECKOUT / "CHANGELOG.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
OUR_PACKAGES = ("core", "jobs", "tui", "tests")
SOURCES = [path for package in OUR_PACKAGES for path in sorted((CHECKOUT / package).rglob("*.py"))]
# Other people's programs that a code block may call.
FOREIGN = (".", "cd", "$EDITOR", "hf")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
ASSIGNMENT = re.compile(r"[A-Z_]+=")
BEGINNING = re.compile(r"bakehouse |make |pip install|python3? -m")
"""Without one of these a file names no command."""
COMMAND = re.compile(r"(?:[A-Z_]+=\S+ )*(?:bakehouse|make|pip install|python3? -m)(?: |$)")
MODULE = re.compile(rf"python3? -m ((?:{'|'.join(OUR_PACKAGES)})\b(?:\.[a-z_]+)*)")
# What stands for the number of a job.
NUMBERS = ("JOB", "ID")


def split(line: str) -> Iterator[list[str]]:
    """The commands of a line of shell, as words: without comments, assignments in front, and the folder of the program."""
    words: list[str] = []
    for word in [*shlex.split(line, comments=True), ";"]:
        if word in (";", "&&", "||", "|", "&"):
            if words:
                yield [Path(words[0]).name if "/" in words[0] else words[0], *words[1:]]
            words = []
        elif words or not ASSIGNMENT.match(word):
            words.append(word)


def in_code_blocks(text: str) -> list[str]:
    blocks = (body for language, body in FENCED.findall(text) if language == "sh")
    return [shlex.join(words) for body in blocks for line in body.splitlines() for words in split(line)]


def inline(text: str) -> list[str]:
    """Code in the text's lines that is a command."""
    return [span for span in INLINE.findall(FENCED.sub("", text)) if COMMAND.match(span)]


def in_messages() -> Iterator[str]:
    """Commands that a message, a help text or a shipped file names; a digit stands for what is filled in."""
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        if path.is_relative_to(CHECKOUT / "tests") or not BEGINNING.search(text):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "1" for part in node.values)
                yield from inline("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from inline(node.value)
    for path in (CHECKOUT / "configs").rglob("*.yaml"):
        yield from inline(path.read_text(encoding="utf-8"))


TEXTS = [path.read_text(encoding="utf-8") for path in DOCUMENTS]
TYPED = sorted({command for text in TEXTS for command in in_code_blocks(text)})
NAMED = sorted({command for text in TEXTS for command in inline(text)})
TOLD = sorted(set(in_messages()))
TOLD_OF = [path for path in [*DOCUMENTS, *SOURCES] if path != Path(__file__)]
MODULES = sorted({name for path in TOLD_OF for name in MODULE.findall(path.read_text(encoding="utf-8"))})


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every command's body is taken out, so that calling it is parsing its words; files of the person's are there."""

    def take_out(command: click.Command) -> None:
        monkeypatch.setattr(command, "callback", lambda *_, **__: None)
        if isinstance(command, click.Group):
            monkeypatch.setattr(command, "invoke_without_command", True)
            monkeypatch.setattr(command, "no_args_is_help", False)
            for name in command.list_commands(click.Context(command)):
                child = command.get_command(click.Context(command), name)
                assert child is not None
                take_out(child)

    take_out(bakehouse)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "titles.jsonl").touch()


def check(command: str, *, whole: bool) -> None:
    """An error where the command cannot be given. `whole`: nothing that it needs may be missing."""
    for program, *words in split(command):
        if program == "bakehouse":
            parse(words, whole=whole)
        elif program == "make":
            for line in dry_run(words):
                check(line, whole=False)
        elif program.startswith("python") and words[:1] == ["-m"]:
            assert not is_ours(words[1]) or runs(words[1]), f"`{command}` would do nothing"
            assert words[1] != "tests.bench" or {*words[2:]} <= {*BENCHMARKS}, f"`{command}` names no benchmark"
        elif program == "pip" and words[0] == "install":
            assert extras(words) <= known_extras(), f"`{command}` asks for extras that pyproject.toml does not have"
        else:
            assert program in FOREIGN or not whole, f"{program} is a program that this test does not know"


def parse(words: list[str], *, whole: bool) -> None:
    """A `click.UsageError` where a command, an option or an argument is not known, or, of a whole one, is missing."""
    words = ["1" if word in NUMBERS else os.path.expanduser(word) for word in words if word not in ("COMMAND", "NAME")]  # noqa: PTH111
    try:
        bakehouse.main(args=words, prog_name="bakehouse", standalone_mode=False)
    except click.MissingParameter:
        if whole:
            raise


def dry_run(words: list[str]) -> list[str]:
    """The lines that make would run for this, those of them that call a program of ours."""
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not here")
    done = subprocess.run([make, "--dry-run", *words], cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.replace("\\\n", " ").splitlines()
    return [line for line in lines if re.match(r"\S*\b(bakehouse|python) ", line)]


def is_ours(module: str) -> bool:
    return module.partition(".")[0] in OUR_PACKAGES


def runs(module: str) -> bool:
    """Whether `python -m module` does more than to import it."""
    spec = importlib.util.find_spec(module)
    if spec is not None and spec.submodule_search_locations:
        spec = importlib.util.find_spec(f"{module}.__main__")
    return (
        spec is not None
        and spec.origin is not None
        and '\nif __name__ == "__main__":\n' in Path(spec.origin).read_text()
    )


def extras(words: list[str]) -> set[str]:
    named = (re.fullmatch(r"\.\[(.*)\]", word) for word in words)
    return {extra for found in named if found for extra in found[1].split(",")}


def known_extras() -> set[str]:
    return set(tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


@pytest.mark.process
@pytest.mark.parametrize("command", TYPED)
def test_a_command_of_a_code_block_can_be_typed_as_it_stands(command: str) -> None:
    check(command, whole=True)


@pytest.mark.process
@pytest.mark.parametrize("command", NAMED)
def test_a_command_that_a_document_names_exists(command: str) -> None:
    check(command, whole=False)


@pytest.mark.parametrize("command", TOLD)
def test_a_command_that_a_message_names_exists(command: str) -> None:
    check(command, whole=False)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_that_is_said_to_run_does(module: str) -> None:
    assert runs(module)


def test_an_option_that_a_document_names_alone_belongs_to_a_command() -> None:
    known: set[str] = set()

    def collect(command: click.Command) -> None:
        known.update(option for one in command.params for option in (*one.opts, *one.secondary_opts))
        for name in command.list_commands(click.Context(command)) if isinstance(command, click.Group) else ():
            child = command.get_command(click.Context(command), name)
            assert child is not None
            collect(child)

    collect(bakehouse)
    spans = (span for text in TEXTS for span in INLINE.findall(FENCED.sub("", text)))
    named = {span.split()[0].partition("=")[0] for span in spans if re.match(r"--[a-z]", span)}
    assert named, "README names options"
    assert named <= known


@pytest.mark.parametrize("name", ["", *(f".{name}" for name in BENCHMARKS)])
def test_a_benchmark_tells_what_it_measures(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = f"tests.bench{name}"
    monkeypatch.setattr(sys, "argv", ["", "--help"])
    monkeypatch.delitem(sys.modules, "tests.bench.__main__")
    with pytest.raises(SystemExit) as left:
        runpy.run_module(module, run_name="__main__")
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m {module} ")


@pytest.mark.process
@pytest.mark.parametrize(
    "command",
    [
        "bakehouse quue list",
        "bakehouse queue lst",
        "bakehouse train judge --modle Qwen3-4B",
        "make tset",
        "python -m tests.bench.nothing",
        "python -m tests.bench.trace",
        "python -m tests.bench nothing",
        "pip install '.[trian]'",
    ],
)
def test_what_does_not_exist_is_found(command: str) -> None:
    with pytest.raises((click.UsageError, AssertionError)):
        check(command, whole=False)


def test_the_documents_are_read() -> None:
    """The patterns find what they are written for."""
    assert {"bakehouse queue kill JOB", "make bench", "python -m tests.bench.memory"} <= set(NAMED)
    assert any(command.startswith("bakehouse train titles") for command in TYPED)
    assert any(command.startswith("make demo TORCH_INDEX=") for command in TYPED)
    assert any(command.startswith("bakehouse queue kill") for command in TOLD)
