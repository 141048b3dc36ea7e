"""The runner's log: every line has its time, nothing that was written is lost, and only one process renames the file."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from core.home import Home
from core.runner.log import KEPT_FILES

CORE = Path(__file__).parents[2] / "core"
STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ ")


def run(home: Home, body: str, *, most_bytes: int = 1_000_000) -> str:
    """Run a body in a process that logs as the runner does, its streams opened as whoever starts it opens them.

    Returns everything in the log's files, the oldest first.
    """
    home.create()
    program = f"""
import os, sys, threading, warnings, logging
from core.home import Home
from core.runner.log import begin, logger
from pathlib import Path
home = Home(Path(sys.argv[1]))
log = begin(home, {most_bytes})
{body}
"""
    with home.runner_log.open("ab") as streams:
        subprocess.run([sys.executable, "-c", program, str(home.root)], stdout=streams, stderr=streams, check=False)
    return "".join(path.read_text() for path in reversed(files(home)))


def files(home: Home) -> list[Path]:
    """The log and its former ones, the newest first."""
    return [path for path in (home.runner_log, *(Path(f"{home.runner_log}.{n}") for n in range(1, 9))) if path.exists()]


@pytest.mark.process
def test_every_message_has_its_time_and_is_one_line(tmp_path: Path) -> None:
    said = run(
        Home(tmp_path / "home"), r'logger.info("a job named %s", "one\ntwo\x1b[2J\u202e"); logger.warning("more")'
    )
    lines = said.splitlines()
    assert len(lines) == 2 and all(STAMP.match(line) for line in lines)
    assert lines[0].endswith("INFO a job named one two") and lines[1].endswith("WARNING more")


@pytest.mark.process
def test_what_nobody_catches_is_in_the_log_with_its_traceback(tmp_path: Path) -> None:
    body = """
def fail():
    raise ValueError("in a thread\\x1b[31m")
thread = threading.Thread(target=fail, name="sampler"); thread.start(); thread.join()
warnings.warn("a library warns")
try: raise OSError("a round")
except OSError: logger.exception("failed")
raise RuntimeError("at last")
"""
    said = run(Home(tmp_path / "home"), body)
    for words in (
        "not caught in thread sampler",
        "ValueError: in a thread\n",
        "a library warns",
        "OSError: a round",
        "at last",
    ):
        assert words in said
    assert said.count("Traceback (most recent call last)") == 3 and "\x1b" not in said


@pytest.mark.process
def test_a_fault_in_c_code_leaves_its_stack(tmp_path: Path) -> None:
    said = run(Home(tmp_path / "home"), "import ctypes; ctypes.string_at(0)")
    assert "Segmentation fault" in said


@pytest.mark.process
def test_a_log_that_grows_is_renamed_and_stdout_and_stderr_follow_it(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    body = """
for number in range(200):
    logger.info("message %d %s", number, "x" * 20)
    os.write(1, f"stdout {number}\\n".encode()); os.write(2, f"stderr {number}\\n".encode())
os.write(2, b"last\\n")
"""
    said = run(home, body, most_bytes=2000)
    found = files(home)
    assert len(found) == KEPT_FILES + 1
    assert all(path.stat().st_size < 4000 for path in found)
    assert home.runner_log.read_text().endswith("last\n"), "the streams write into the newest file"
    newest = [int(number) for number in re.findall(r"message (\d+)", said)]
    assert newest == list(range(newest[0], 200)), "of what is kept nothing is missing or twice"
    assert [int(number) for number in re.findall(r"stderr (\d+)", said)][-1] == 199


@pytest.mark.process
def test_a_process_without_the_lock_renames_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    body = "log.holds_lock = False\nfor number in range(60): logger.info('message %d %s', number, 'x' * 20)"
    said = run(home, body, most_bytes=500)
    assert files(home) == [home.runner_log] and said.count("message") == 60


@pytest.mark.process
def test_a_log_that_cannot_be_opened_stops_nobody(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    home.runner_log.mkdir()
    program = f"""
from pathlib import Path
from core.home import Home
from core.runner.log import begin, logger
assert begin(Home(Path({str(home.root)!r}))) is None
logger.info("still said")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "still said" in done.stderr


def test_only_commands_and_shims_print() -> None:
    """What the runner says goes through a logger, with its time."""
    found = []
    for path in sorted(CORE.rglob("*.py")):
        text = path.read_text()
        if path.parent.name != "cli" and path.name != "shim.py" and "print" in text:
            calls = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
            found += [f"{path.name}:{call.lineno}" for call in calls if ast.unparse(call.func) == "print"]
    assert not found
