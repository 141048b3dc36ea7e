"""Names, logs and answers of others on their way through the commands: the terminal gets them as text or not at all."""

from __future__ import annotations

import ast
import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.cli.common import job_line
from core.cli.main import main
from core.cli.output import json_text
from core.errors import BakehouseError
from core.home import Home
from core.store.attempts import list_attempts
from core.store.database import transaction
from core.text import printable
from tests.support.hostile import FRAGMENTS, NAME, assert_only_printed
from tests.support.stored import fresh, job_in

ROOT = Path(__file__).parents[2]
HOSTILE = NAME.replace("\ud800", "").replace("\x00", "")
"""A name that a database and a file's content can hold."""
Run = Callable[..., str]


def assert_harmless(output: str) -> None:
    """Assert that every line of an output is text and nothing else."""
    for line in output.split("\n"):
        assert printable(line, keep="\t") == line
        assert_only_printed(line.replace("\t", " "))


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs a command in a home whose jobs have hostile titles, reasons and logs; its output, both streams together."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    home, connection = fresh(tmp_path)
    monkeypatch.setenv("BAKEHOUSE_HOME", str(home.root))
    for state in ("waiting", "running", "failed", "done"):
        spoil(home, connection, job_in(connection, state).id)  # type: ignore[arg-type]
    with transaction(connection):
        connection.execute("UPDATE queue SET paused = 1, reason = ?, author = ?", [HOSTILE, HOSTILE])

    def command(*words: str) -> str:
        with pytest.raises(SystemExit):
            main(list(words))
        return "".join(capsys.readouterr())

    yield command
    connection.close()


def spoil(home: Home, connection: sqlite3.Connection, job_id: int) -> None:
    """Make everything hostile that a job says of itself."""
    with transaction(connection):
        connection.execute("UPDATE jobs SET title = ?, task = ? WHERE id = ?", [HOSTILE, HOSTILE, job_id])
    for attempt in list_attempts(connection, job_id):
        folder = home.run_dir(job_id).attempt(attempt.number)
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.log.write_bytes(b"".join(fragment.encode(errors="replace") + b"\n" for fragment in FRAGMENTS))
        folder.watch.write_text(json.dumps({"time": 5.0, "message": HOSTILE, "code": HOSTILE}) + "\n")
        folder.signals.write_text(json.dumps({"time": 5.0, "signal": HOSTILE, "by": HOSTILE}) + "\n")


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    "words",
    [
        ("queue", "list"),
        ("queue", "list", "--all"),
        ("runs", "list"),
        ("runs", "show", "2"),
        ("runs", "show", "3"),
        ("logs", "2"),
        ("results",),
        ("results", HOSTILE),
        ("config", "check", "--project", HOSTILE),
        ("models", "show", HOSTILE),
        ("train", HOSTILE, "--model", HOSTILE),
        ("plan", "--vram", HOSTILE),
        (HOSTILE,),
        ("queue", HOSTILE),
        ("logs", HOSTILE),
    ],
    ids=lambda words: " ".join("HOSTILE" if word == HOSTILE else word for word in words),
)
def test_no_command_lets_a_name_speak_to_the_terminal(run: Run, words: tuple[str, ...], as_json: bool) -> None:
    output = run(*words, *(["--json"] if as_json else []))
    assert output.strip()
    assert_harmless(output)


def test_a_project_s_own_words_are_quoted_as_text(run: Run, tmp_path: Path) -> None:
    run("new", "project", str(tmp_path / "mine"))
    task = tmp_path / "mine/configs/tasks/judge.yaml"
    # A backspace by its number: `\\b` between double quotes is refused before anything is quoted.
    quoted = json.dumps(HOSTILE.removesuffix(" 🙂")).replace("\\b", "\\x08")
    task.write_text(f"name: judge\n{quoted}: 1\nrepeats: {quoted}\n")
    output = run("config", "check", "--project", str(tmp_path / "mine"))
    assert "gnp.exe" in output
    assert_harmless(output)


def test_json_is_read_as_what_it_was_and_shown_as_text() -> None:
    document = {"name": NAME, NAME: [" ".join(FRAGMENTS), "é 日本 \x7f"]}
    for text in (json_text(document), json_text(document, indent=1)):
        assert json.loads(text) == document
        assert_harmless(text)
    assert "é 日本" in json_text(document), "letters stay readable"


def test_a_job_line_keeps_its_columns(tmp_path: Path) -> None:
    _, connection = fresh(tmp_path)
    job = job_in(connection, "waiting")
    connection.close()
    plain, hostile = (job_line(replace(job, title=title)) for title in ("judge", "jud\x1b[31mge\u200b"))
    assert plain == hostile


def test_an_error_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise BakehouseError("two\nlines\x1b[2J", file=HOSTILE, key=HOSTILE, remedy=HOSTILE)

    monkeypatch.setattr("core.cli.main.bakehouse.main", lambda **_: fail())
    output = run("queue", "list")
    assert output.count("\n") == 1 and "two lines" in output
    assert_harmless(output)


def test_commands_print_through_one_place() -> None:
    """`print` and the streams are for core/cli/output.py: what goes through there is cleaned."""
    found = []
    for path in sorted((ROOT / "core/cli").glob("*.py")):
        if path.name == "output.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                if name in ("print", "click.echo", "click.secho") or name.endswith(("stdout.write", "stderr.write")):
                    found.append(f"{path.name}:{node.lineno}: {name}")
    assert not found
