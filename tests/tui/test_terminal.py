"""The console in a real terminal: how it starts, what it costs, and that it ends whatever happens to the terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import re
import signal
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.home import Home
from core.runner.loop import consoles_open
from core.store.database import open_database
from tests.support.stored import add_job
from tests.support.terminal_replies import broken_text, late_reply, torn
from tests.support.waiting import PATIENCE_SECONDS, wait_until
from tests.tui.terminal import Terminal

pytestmark = pytest.mark.process

HELP = "esc back"
CONSOLE = [sys.executable, "-c", "import sys; from core.cli.main import main; sys.exit(main())"]


def colours_in(data: bytes) -> set[bytes]:
    """The SGR sequences that set a colour."""
    found = re.findall(rb"\x1b\[([0-9;]*)m", data)
    return {codes for codes in found if re.search(rb"(^|;)([34][0-8]|9[0-7]|10[0-7])(;|$)", codes)}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home in which a job waits, and where no runner may start it."""
    home = Home(tmp_path / "home").create()
    with contextlib.closing(open_database(home)) as connection:
        connection.execute("UPDATE queue SET paused = 1, reason = 'a test'")
        add_job(connection, title="train judge · SmolLM2-135M", project_id="shipped", on_restart="hold")
    return home


@pytest.fixture
def environment(home: Home, tmp_path: Path) -> Iterator[dict[str, str]]:
    from core.runner.status import runner_status

    yield {
        "BAKEHOUSE_HOME": str(home.root),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "BAKEHOUSE_LEASE_DIR": str(tmp_path),
        "BAKEHOUSE_GPU_SOURCE": "none",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    status = runner_status(home)
    if status.alive and status.pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(status.pid, signal.SIGTERM)


def test_it_shows_the_queue_and_leaves_with_q(home: Home, environment: dict[str, str]) -> None:
    with Terminal(CONSOLE, environment=environment) as terminal:
        assert terminal.shows("train judge · SmolLM2-135M", PATIENCE_SECONDS), terminal.text
        assert terminal.shows("paused: a test", PATIENCE_SECONDS), terminal.text
        assert terminal.shows("nothing serves yet", PATIENCE_SECONDS), terminal.text
        assert consoles_open(home)
        terminal.type("q")
        assert terminal.ended(PATIENCE_SECONDS)
        assert terminal.status == 0
        assert "Left the console. 1 job waiting." in terminal.text
    assert not consoles_open(home)


def test_a_runner_is_started_and_its_readings_are_shown(environment: dict[str, str]) -> None:
    with Terminal(CONSOLE, environment=environment) as terminal:
        assert terminal.shows("free ", PATIENCE_SECONDS), terminal.text
        assert terminal.shows("no GPU found: the CPU is the one slot", PATIENCE_SECONDS), terminal.text


def test_two_consoles_show_the_same(home: Home, environment: dict[str, str]) -> None:
    with (
        Terminal(CONSOLE, environment=environment) as first,
        Terminal(CONSOLE, environment=environment, columns=80, lines=24) as second,
    ):
        assert first.shows("train judge", PATIENCE_SECONDS) and second.shows("train judge", PATIENCE_SECONDS)
        first.type("q")
        assert first.ended(PATIENCE_SECONDS)
        assert consoles_open(home)
        second.type("G")
        assert second.shows("1 waiting", PATIENCE_SECONDS)


def test_it_follows_the_size_of_the_terminal(environment: dict[str, str]) -> None:
    with Terminal(CONSOLE, environment=environment) as terminal:
        assert terminal.shows("1 Fleet", PATIENCE_SECONDS) and terminal.shows("4 Bake-off", PATIENCE_SECONDS)
        assert "╭─ 1 Fleet" in terminal.text
        terminal.resize(80, 24)
        assert terminal.watch(
            PATIENCE_SECONDS, lambda: "╭─ 1 Fleet" not in terminal.text and " 1 Fleet" in terminal.text
        )
        assert terminal.watch(PATIENCE_SECONDS, lambda: "╭─ 3 Queue" in terminal.text)
        terminal.resize(120, 40)
        assert terminal.watch(PATIENCE_SECONDS, lambda: "╭─ 1 Fleet" in terminal.text)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(home: Home, environment: dict[str, str], number: signal.Signals) -> None:
    with Terminal(CONSOLE, environment=environment) as terminal:
        assert terminal.shows("train judge", PATIENCE_SECONDS)
        os.kill(terminal.pid, number)
        assert terminal.ended(PATIENCE_SECONDS)
        assert terminal.status == 0
        assert "Left the console." in terminal.text
    assert not consoles_open(home)


def test_it_ends_when_the_terminal_is_gone(home: Home, environment: dict[str, str]) -> None:
    with Terminal(CONSOLE, environment=environment) as terminal:
        assert terminal.shows("train judge", PATIENCE_SECONDS)
        terminal.hang_up()
        assert terminal.ended(PATIENCE_SECONDS)
    assert not consoles_open(home)


def test_it_ends_without_a_terminal_though_sighup_is_ignored(home: Home, environment: dict[str, str]) -> None:
    """As under nohup: no signal tells it, only the closed terminal itself."""
    command = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *CONSOLE]
    with Terminal(command, environment=environment) as terminal:
        assert terminal.shows("train judge", PATIENCE_SECONDS)
        terminal.hang_up()
        assert terminal.ended(PATIENCE_SECONDS)
    assert not consoles_open(home)


def waiting_to_be_read(terminal: Terminal) -> int:
    """Bytes that the console has written and nobody has read."""
    return int.from_bytes(fcntl.ioctl(terminal.descriptor, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_a_stalled_reader_does_not_keep_it_from_ending(home: Home, environment: dict[str, str]) -> None:
    with Terminal(CONSOLE, environment=environment) as terminal:
        assert terminal.shows("train judge", PATIENCE_SECONDS)
        # Nobody reads any more: typing makes it write until the terminal's buffer and its own queue are full.
        unread = [-1] * 40
        while unread[-1] <= 0 or len(set(unread[-40:])) > 1:
            assert len(unread) < 40 * PATIENCE_SECONDS, unread
            terminal.type("1234z")
            time.sleep(0.05)
            unread.append(waiting_to_be_read(terminal))
        os.kill(terminal.pid, signal.SIGTERM)
        wait_until(lambda: os.waitpid(terminal.pid, os.WNOHANG)[0] == terminal.pid, what="its end")
        terminal.status = 0
    assert not consoles_open(home)


def test_without_colours_none_is_sent(environment: dict[str, str]) -> None:
    sent = record(environment | {"NO_COLOR": "1"})
    assert not colours_in(sent), sorted(colours_in(sent))[:5]
    assert "▶" in sent.decode(errors="replace") or "◷" in sent.decode(errors="replace")


def test_a_terminal_of_16_colours_gets_no_others(environment: dict[str, str]) -> None:
    sent = record(environment | {"TERM": "xterm", "COLORTERM": ""})
    colours = colours_in(sent)
    assert colours
    assert not [codes for codes in colours if re.search(rb"(^|;)[34]8;", codes)], sorted(colours)[:5]


def test_an_idle_console_says_little(environment: dict[str, str]) -> None:
    """On a slow line less than 1 kB/s when nothing but the clock and the machine's figures change."""
    with Terminal([*CONSOLE, "--low-bandwidth"], environment=environment) as terminal:
        assert terminal.shows("nothing serves yet", PATIENCE_SECONDS)

        def settled() -> bool:
            before = terminal.bytes
            terminal.watch(1)
            return terminal.bytes - before < 1000

        wait_until(settled, what="all that is shown at first")
        before = terminal.bytes
        terminal.watch(6)
        assert (terminal.bytes - before) / 6 < 1000


def record(environment: dict[str, str]) -> bytes:
    """All that a console sends until its panes are filled."""
    sent = bytearray()
    with Terminal(CONSOLE, environment=environment) as terminal:
        feed = terminal.stream.feed

        def keep(data: bytes) -> None:
            sent.extend(data)
            feed(data)

        terminal.stream.feed = keep  # type: ignore[method-assign]
        assert terminal.shows("nothing serves yet", PATIENCE_SECONDS), terminal.text
    return bytes(sent)


def nothing_was_done(home: Home) -> bool:
    with contextlib.closing(open_database(home)) as connection:
        asked = connection.execute("SELECT count(*) FROM commands").fetchone()[0]
        states = connection.execute("SELECT state FROM jobs").fetchall()
    return asked == 0 and [tuple(state) for state in states] == [("waiting",)]


def test_what_a_bad_line_brings_does_nothing(home: Home, environment: dict[str, str]) -> None:
    chance = random.Random(11)
    with Terminal(CONSOLE, environment=environment) as terminal:
        assert terminal.shows("train judge · SmolLM2-135M", PATIENCE_SECONDS), terminal.text
        for _ in range(10_000):
            terminal.send(chance.choice((late_reply, torn, broken_text))(chance))
        terminal.send(b"\x1b\\")
        terminal.type("?")
        assert terminal.shows(HELP, PATIENCE_SECONDS), terminal.text
        assert nothing_was_done(home)
        terminal.type("q")  # out of the help
        assert terminal.watch(PATIENCE_SECONDS, lambda: HELP not in terminal.text), terminal.text
        terminal.type("q")
        assert terminal.ended(PATIENCE_SECONDS), terminal.text
        assert terminal.status == 0


@pytest.mark.parametrize("flood", [b"\xe9" * 50_000, b"j" * 50_000, b"\x03" * 2_000, b"\x1b[<35;10;5M" * 5_000])
def test_a_flood_leaves_it_alive(home: Home, environment: dict[str, str], flood: bytes) -> None:
    with Terminal(CONSOLE, environment=environment) as terminal:
        assert terminal.shows("train judge · SmolLM2-135M", PATIENCE_SECONDS), terminal.text
        terminal.send(flood)
        terminal.type("q")
        assert terminal.ended(PATIENCE_SECONDS), terminal.text
        assert terminal.status == 0
        assert nothing_was_done(home)


def test_a_fault_is_one_line_a_file_and_a_terminal_as_it_was(home: Home, environment: dict[str, str]) -> None:
    broken = "from tui.screens.help import TextDialog; TextDialog.compose = lambda screen: 1 / 0; " + CONSOLE[2]
    with Terminal([CONSOLE[0], "-c", broken], environment=environment) as terminal:
        before = termios.tcgetattr(terminal.descriptor)
        assert terminal.shows("train judge · SmolLM2-135M", PATIENCE_SECONDS), terminal.text
        terminal.type("?")
        assert terminal.ended(PATIENCE_SECONDS), terminal.text
        assert terminal.status == 1
        said = " ".join(terminal.text.split())
        assert "The console ended with a fault of its own (ZeroDivisionError: division by zero)" in said
        assert "Traceback" not in said
        assert termios.tcgetattr(terminal.descriptor) == before
    [report] = home.crashes.iterdir()
    assert "ZeroDivisionError" in report.read_text()
    assert report.stat().st_mode & 0o777 == 0o600


def test_a_terminal_that_cannot_place_text_is_told(environment: dict[str, str]) -> None:
    with Terminal(CONSOLE, environment={**environment, "TERM": "dumb"}) as terminal:
        assert terminal.ended(PATIENCE_SECONDS)
        assert terminal.status == 2
        assert "TERM is `dumb`" in terminal.text


def test_a_terminal_of_another_encoding_is_told(environment: dict[str, str]) -> None:
    with Terminal(CONSOLE, environment={**environment, "PYTHONIOENCODING": "latin-1"}) as terminal:
        assert terminal.ended(PATIENCE_SECONDS)
        assert terminal.status == 2
        assert "set to iso8859-1" in terminal.text


def test_a_wrong_locale_does_not_matter_where_the_terminal_takes_utf8(environment: dict[str, str]) -> None:
    with Terminal(CONSOLE, environment={**environment, "PYTHONIOENCODING": "latin-1"}, utf8=True) as terminal:
        assert terminal.shows("train judge · SmolLM2-135M", PATIENCE_SECONDS), terminal.text


def test_an_empty_no_color_is_no_wish(environment: dict[str, str]) -> None:
    with Terminal(CONSOLE, environment={**environment, "NO_COLOR": ""}) as terminal:
        assert terminal.shows("train judge · SmolLM2-135M", PATIENCE_SECONDS), terminal.text
        assert {cell.fg for line in terminal.screen.buffer.values() for cell in line.values()} - {"default"}
