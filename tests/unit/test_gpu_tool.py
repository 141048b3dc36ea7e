"""Running a vendor's tool: it ends, it fails or it hangs, and whoever reads the card goes on."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from core.gpu.source import SourceError
from core.gpu.sources.tool import Tool, ToolOutput
from tests.support.depth import at_most
from tests.support.tooloutputs import printing, standin
from tests.support.waiting import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.process

HANG = "sleep 600"


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def gone(pid: int) -> bool:
    return wait_until(lambda: not alive(pid), what=f"the end of {pid}")


def pid_in(path: Path) -> int:
    return int(wait_until(lambda: path.exists() and path.read_text().strip(), what=f"a pid in {path.name}"))


def test_the_streams_are_apart_and_the_exit_code_is_kept(tmp_path: Path) -> None:
    tool = standin(tmp_path, "card-smi", "echo figures; echo warning >&2; exit 3")
    assert tool.run() == ToolOutput("figures\n", "warning\n", 3)


def test_it_gets_its_arguments_no_input_and_plain_english(tmp_path: Path) -> None:
    tool = standin(tmp_path, "card-smi", 'cat; echo "$LANG $LC_ALL $TERM $# $2"')
    assert tool.run("--one", "two words").stdout == "C C dumb 2 two words\n"


def test_bytes_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    assert printing(tmp_path, "card-smi", b"\xff\xfe{\x00}\x80").run().stdout == "\ufffd\ufffd{\x00}\ufffd"


def test_a_tool_on_a_relative_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    standin(tmp_path / "bin", "card-smi", "pwd")
    monkeypatch.chdir(tmp_path)
    assert Tool("card-smi", {"PATH": "bin:/usr/bin:/bin"}).run().stdout == "/\n"


def test_a_tool_that_is_not_there_or_cannot_be_started_is_a_fault(tmp_path: Path) -> None:
    tool = Tool("card-smi", {"PATH": str(tmp_path)})
    assert tool.path() is None
    with pytest.raises(SourceError, match="card-smi is not on PATH"):
        tool.run()
    (tmp_path / "card-smi").write_bytes(b"\x7fELF and nothing else")
    (tmp_path / "card-smi").chmod(0o755)
    with pytest.raises(SourceError, match=r"card-smi cannot be started: .*format"):
        tool.run()


@pytest.mark.timed
def test_a_tool_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    tool = standin(tmp_path, "card-smi", f'{HANG} & echo $! > "{tmp_path}/child"; echo $$ > "{tmp_path}/self"; wait')
    for limit in (0.4, 4.0, 40.0):
        start = time.monotonic()
        with pytest.raises(SourceError, match=f"card-smi has not ended after {limit:.2g} s"):
            tool.run(limit_seconds=limit)
        assert time.monotonic() - start < at_most(limit + 1.1)
        if (tmp_path / "self").exists():  # it has come so far in its time
            break
    assert gone(pid_in(tmp_path / "child"))
    assert gone(pid_in(tmp_path / "self"))


def test_a_tool_that_closes_its_output_and_stays_is_no_answer(tmp_path: Path) -> None:
    tool = standin(tmp_path, "card-smi", f"echo figures; exec >&- 2>&-; {HANG}")
    with pytest.raises(SourceError, match="has not ended"):
        tool.run(limit_seconds=0.4)


@pytest.mark.timed
def test_a_child_that_holds_the_output_open_does_not_hold_up_the_answer(tmp_path: Path) -> None:
    tool = standin(tmp_path, "card-smi", f'{HANG} & echo $! > "{tmp_path}/child"; echo figures')
    start = time.monotonic()
    try:
        assert tool.run(limit_seconds=PATIENCE_SECONDS).stdout == "figures\n"
        assert time.monotonic() - start < at_most(5)
    finally:
        os.kill(pid_in(tmp_path / "child"), signal.SIGKILL)


def test_a_tool_that_never_stops_printing_is_ended(tmp_path: Path) -> None:
    tool = standin(tmp_path, "card-smi", f'echo $$ > "{tmp_path}/self"; exec yes figures')
    with pytest.raises(SourceError, match="card-smi printed more than 4 MiB"):
        tool.run(limit_seconds=PATIENCE_SECONDS)
    assert gone(pid_in(tmp_path / "self"))


@pytest.mark.timed
def test_a_tool_that_cannot_be_killed_is_left_behind_and_not_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = standin(tmp_path, "card-smi", f'echo $$ >> "{tmp_path}/starts"; {HANG}')
    with monkeypatch.context() as patch:
        # As a process in state D: the kernel takes the signal and nothing happens.
        patch.setattr(os, "killpg", lambda *_: None)
        with pytest.raises(SourceError, match="has not ended"):
            tool.run(limit_seconds=0.3)
    pid = pid_in(tmp_path / "starts")
    try:
        start = time.monotonic()
        with pytest.raises(SourceError, match=f"process {pid}\\) hangs since [0-9]+ s and cannot be killed"):
            tool.run(limit_seconds=PATIENCE_SECONDS)
        assert time.monotonic() - start < at_most(1)
        assert len((tmp_path / "starts").read_text().split()) == 1
    finally:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    # Its end is noticed, and the tool is run again.
    assert gone(pid)
    standin(tmp_path, "card-smi", "echo figures")

    def run_again() -> str | None:
        with suppress(SourceError):
            return tool.run(limit_seconds=PATIENCE_SECONDS).stdout
        return None

    assert wait_until(run_again, what="the tool run again") == "figures\n"


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        ("", ""),
        ("WARNING: nothing to report\n", "WARNING: nothing to report"),
        ("WARNING: one\nERROR: the driver is not there\nsee the manual\n", "ERROR: the driver is not there"),
        ("\x1b[31mfailed\x07 to open\x1b[0m\n", "failed to open"),
        ("x" * 10_000, "x" * 199 + "…"),
    ],
)
def test_what_it_said_is_one_line_that_can_be_shown(stderr: str, said: str) -> None:
    assert ToolOutput("", stderr, 1).said == said
