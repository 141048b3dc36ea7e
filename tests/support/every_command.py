"""Every command of the command line, with arguments that fit: what a test walks that asks something of all of them.

    python -P -m tests.support.every_command COMMANDS.json

runs the commands of a list, each `{"words", "prefix", "environment", "folder", "home"}`, one after the other, and prints what
became of each: in one place for all, such as a disk that exists for this process and its children only.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from core.cli.main import bakehouse
from core.config.shipped import DEMO_MODEL, DEMO_RECIPE, DEMO_TASK

PATIENCE_SECONDS = 120.0
WAITING = "3"
"""The job that has not begun, in the homes that are walked; 1 is a training that is done, 2 a bake-off. What is served there
has the name of the demo's model."""
# What an argument of this name takes; one that is not here gets a number, the first choice, or a word that names nothing.
TEXTS = {
    "task": DEMO_TASK,
    "model": DEMO_MODEL,
    "recipe": DEMO_RECIPE,
    "words": f"{DEMO_TASK} {DEMO_MODEL} job:1",
    "source": "1",
    "jobs": WAITING,
    "which": "2",
}
# Where a command needs more than its arguments.
MORE = {
    "train": ["--model", DEMO_MODEL],
    "audit": ["--model", DEMO_MODEL],
    "data inspect": [],
    "doctor": ["--quick"],
    "golden draft": ["--inputs", os.devnull, "--candidates", DEMO_MODEL, "job:1"],
    # It would wait for its jobs.
    "demo": ["--help"],
    "models pull": [],
    "queue kill": ["--yes"],
    # Its process would go on behind the test; and what is removed could not be shown.
    "served start": ["--help"],
    "served remove": ["--help"],
}
ENDS = {0, 1, 2, 3, 4, 130}
"""The exit codes that `--help` and the README promise."""


def leaves(
    command: click.Command = bakehouse, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Each command that does something, as the registry of commands has it now."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from leaves(found, (*path, name))
        if not command.invoke_without_command:
            return
    yield path, command


def all_commands(data: Path) -> list[list[str]]:
    """The words of each command, with `--json` where it has that, and the plain command line without a command."""
    found = []
    for path, command in leaves():
        words = [*path, *_arguments(path, command, data), *MORE.get(" ".join(path), [])]
        found.append(words)
        if any("--json" in parameter.opts for parameter in command.params):
            found.append([*words, "--json"])
    return [*found, ["--help"], ["--version"], ["no-such-command"]]


def _arguments(path: tuple[str, ...], command: click.Command, data: Path) -> list[str]:
    words: list[str] = []
    for parameter in command.params:
        if not isinstance(parameter, click.Argument):
            continue
        if isinstance(parameter.type, click.Choice):
            words.append(str(parameter.type.choices[0]))
        elif isinstance(parameter.type, click.types.IntParamType):
            words.append(WAITING if path[0] == "queue" else "1")
        elif isinstance(parameter.type, click.Path):
            words.append(str(data.with_name("new-project") if path[0] == "new" else data))
        elif parameter.name == "name":
            words.append("another" if path[0] == "new" else DEMO_MODEL)
        else:
            words += TEXTS.get(parameter.name or "", "nothing-of-this-name").split()
    return words


def run(step: dict[str, Any]) -> dict[str, Any]:
    """Carry out one command of a list: its exit code, what it printed, and whether its home is whole."""
    program = [sys.executable, "-P", "-c", "import sys; from core.cli.main import main; main(sys.argv[1:])"]
    done = subprocess.run(
        [*step["prefix"], *program, *step["words"]],
        capture_output=True,
        env=step["environment"],
        cwd=step["folder"],
        stdin=subprocess.DEVNULL,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return {
        "words": step["words"],
        "code": done.returncode,
        "out": done.stdout.decode(errors="replace"),
        "err": done.stderr.decode(errors="replace"),
        "half_done": stays_half_done(Path(step["home"])),
    }


def stays_half_done(home: Path) -> str:
    """What is half done and remains so. A runner that lives, or an audit, has a temporary file for a moment."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (said := half_done(home)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return said


def half_done(home: Path) -> str:
    """What in a home is neither done nor left alone; empty where all is whole."""
    database = home / "bakehouse.db"
    if not os.access(database, os.R_OK) or database.stat().st_size == 0:
        return ""
    log = database.with_name("bakehouse.db-wal")
    still = not log.exists() or log.stat().st_size == 0
    connection = sqlite3.connect(f"file:{database}?mode=ro{'&immutable=1' if still else ''}", uri=True, timeout=60)
    try:
        if (said := connection.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
            return str(said)
        rows = {str(row[0]) for row in connection.execute("SELECT id FROM jobs")}
    except sqlite3.OperationalError as error:
        return "" if "no such table" in str(error) else f"{error}"
    finally:
        connection.close()
    folders = {folder.name for folder in (home / "runs").glob("*") if folder.name.isdigit()}
    files = {folder.parent.name for folder in (home / "runs").glob("*/job.yaml")}
    left = [path.name for path in home.rglob("*.tmp")] + [path.name for path in home.glob(".probe-*")]
    return (
        ""
        if rows == folders == files and not left
        else f"rows {rows}, folders {folders}, job files {files}, left {left}"
    )


def complaint(done: dict[str, Any]) -> str | None:
    """What is wrong with how a command ended; None where there was its work, or one line that says why not."""
    said = done["out"] + done["err"]
    if done["code"] not in ENDS:
        return f"exit code {done['code']}"
    if "Traceback" in said or "Exception ignored" in said:
        return "a traceback"
    if "fault of its own" in said or "internal_error" in said:
        return "a fault of its own"
    if done["half_done"]:
        return f"half done: {done['half_done']}"
    if done["words"][:2] == ["config", "check"] and done["code"] == 2 and done["out"].strip():
        return None  # to say what is wrong in a project is its work
    if done["code"] in {2, 3, 4} or (done["code"] == 1 and not done["out"]):
        if "--json" in done["words"]:
            return None if json.loads(done["out"])["error"]["message"] else "an empty error"
        lines = [line for line in done["err"].splitlines() if line.startswith(("bakehouse: ", "Error: "))]
        return None if len(lines) == 1 else f"{len(lines)} lines of error"
    return None


if __name__ == "__main__":
    for one in json.loads(Path(sys.argv[1]).read_bytes()):
        print(json.dumps(run(one)), flush=True)
