"""The console: it shows the home and asks the runner for things; it decides nothing.

`run_console` is what `bakehouse` calls. What it starts outlives it.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import App
from textual.await_complete import AwaitComplete
from textual.command import CommandPalette
from textual.message import Message

from core.crash_report import crash_line
from core.files import private
from core.format import percent, plural
from core.home import Home
from core.text import printable
from tui.actions import RequestDone
from tui.context import Context
from tui.key_queue import Deliver, KeyQueue
from tui.model.background_reader import BackgroundReader
from tui.model.feed import Feed
from tui.model.snapshot import Snapshot
from tui.queries.project import project_finder
from tui.screens.command_screen import CommandScreen, ConsolePalette, Palette
from tui.screens.dashboard import Dashboard
from tui.terminal_driver import ConsoleDriver
from tui.terminal_watchdog import TerminalWatchdog
from tui.theme import ANSI_THEME, DARK

if TYPE_CHECKING:
    from rich.console import RenderableType

    from core.config.project import Project

POLL_SECONDS = 0.25
SLOW_POLL_SECONDS = 1.0


class ConsoleApp(App[None]):
    """Makes what the screens share, and hands them each new snapshot."""

    CSS_PATH = Path(__file__).with_name("console.tcss")
    TITLE = "Bakehouse"
    COMMANDS: ClassVar = {Palette}
    ENABLE_COMMAND_PALETTE = True

    class SnapshotReady(Message):
        """The feed has a new snapshot; a newer one replaces it while it waits."""

        def __init__(self, snapshot: Snapshot) -> None:
            super().__init__()
            self.snapshot = snapshot

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, ConsoleApp.SnapshotReady)

    def __init__(
        self,
        home: Home,
        project: Callable[[], Project],
        *,
        low_bandwidth: bool = False,
        select: int | None = None,
        live: bool = True,
    ) -> None:
        """`live` false starts no thread: snapshots are posted by whoever made the app."""
        # An empty one is no wish (no-color.org), and Textual would take it for one.
        if os.environ.get("NO_COLOR") == "":
            del os.environ["NO_COLOR"]
        # Without `ansi_color` Textual would turn colours into greys, which are colours as well. A driver that somebody
        # asked for by name, as Textual's tools do, stays theirs.
        super().__init__(
            ansi_color=True if "NO_COLOR" in os.environ else None,
            driver_class=None if "TEXTUAL_DRIVER" in os.environ else ConsoleDriver,
        )
        self.fault: Exception | None = None
        self._answered_until = 0.0
        interval = SLOW_POLL_SECONDS if low_bandwidth else POLL_SECONDS
        self.reader = BackgroundReader(home, project, self._wake_feed)
        self.feed = Feed(home, socket.gethostname().split(".")[0], self._post_snapshot, self.reader, interval)
        self.context = Context(
            home,
            project,
            self.feed,
            self.reader,
            self._post,
            low_bandwidth=low_bandwidth,
            select_first=select,
            live=live,
        )
        self.key_queue = KeyQueue(self, super().on_event)
        self.animation_level = "none"
        for theme in (DARK, ANSI_THEME):
            self.register_theme(theme)
        # Codes of 16 colours are a third as long as those of 16 million.
        few_colours = low_bandwidth or self.console.color_system == "standard" or self.no_color
        self.theme = ANSI_THEME.name if few_colours else DARK.name

    def get_default_screen(self) -> Dashboard:
        return Dashboard(self.context)

    def on_mount(self) -> None:
        if self.context.live:
            self.show(self.feed.snapshot)

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            await self.key_queue.take(event)
        else:
            await super().on_event(event)

    async def on_deliver(self, message: Deliver) -> None:
        await self.key_queue.give(message.event)

    def action_command_palette(self) -> None:
        if not isinstance(self.screen, CommandPalette):
            self.push_screen(ConsolePalette(id="--command-palette"))

    def pop_screen(self) -> AwaitComplete:
        """The dashboard is what the others are put before: it stays."""
        return super().pop_screen() if len(self.screen_stack) > 1 else AwaitComplete()

    def _post(self, message: Message) -> None:
        """From any thread."""
        if self.is_running:
            self.post_message(message)

    def _post_snapshot(self, snapshot: Snapshot) -> None:
        """From the feed's thread."""
        self._post(self.SnapshotReady(snapshot))

    def _wake_feed(self) -> None:
        self.feed.wake()

    def on_console_app_snapshot_ready(self, message: SnapshotReady) -> None:
        self.show(message.snapshot)

    def on_request_done(self, request: RequestDone) -> None:
        if request.failed:
            self.notify(f"✗ {printable(request.text)}", severity="error", markup=False, timeout=12)
        else:
            self.notify(printable(request.text), markup=False, timeout=6)
        for screen in self._command_screens():
            screen.finished(request)

    def show(self, snapshot: Snapshot) -> None:
        """Hand a snapshot to every screen that is open, the hidden ones as well: they come back."""
        self.context.snapshot = snapshot
        for screen in self._command_screens():
            screen.show(snapshot)

    def _command_screens(self) -> list[CommandScreen]:
        return [screen for screen in self.screen_stack if isinstance(screen, CommandScreen) and screen.stands]

    def action_help_quit(self) -> None:
        """ctrl+c: people expect it to end something. Pressed again and again, it is answered once."""
        now = time.monotonic()
        if now < self._answered_until:
            return
        self._answered_until = now + 4
        self.notify("q leaves the console; the jobs go on", markup=False, timeout=4)

    def _handle_exception(self, error: Exception) -> None:
        """Keep what ended the console; `run_console` tells of it."""
        self.fault = self.fault or error
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """End without the screenful of traceback and locals that Textual would print."""
        self._close_messages_no_wait()

    def panic(self, *renderables: RenderableType) -> None:
        self._close_messages_no_wait()

    def leave(self) -> None:
        """End the console; from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.exit)


def farewell(snapshot: Snapshot) -> str:
    """What is said on leaving: the jobs go on."""
    job = snapshot.running
    if job is None:
        waiting = f"{plural(snapshot.waiting, 'job')} waiting. " if snapshot.waiting else ""
        return f"Left the console. {waiting}`bakehouse` opens it again."
    progress = job.progress
    far = f", {percent(progress.fraction)}" if progress and progress.fraction is not None else ""
    rest = f"; {snapshot.waiting} waiting" if snapshot.waiting else ""
    return f"Left the console. Job {job.id} goes on: {printable(job.title)}{far}{rest}. `bakehouse` opens it again."


def run_console(
    home: Home,
    project: Path | None,
    *,
    low_bandwidth: bool = False,
    select: int | None = None,
) -> int:
    """Show the console until a person leaves it, and return the exit code: 1 if a fault ended it.

    `project` is the folder that was named, if any; it is read after the first paint. `TEXTUAL_FPS` and the like must be set
    before this module is imported.
    """
    home.create()
    with open(home.console_lock, "a", opener=private) as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        app = ConsoleApp(home, project_finder(home, project), low_bandwidth=low_bandwidth, select=select)
        watchdog = TerminalWatchdog(app.leave)
        watchdog.install()
        app.feed.start()
        broken: list[BaseException] = []

        def thread_broke(happened: threading.ExceptHookArgs) -> None:
            """A thread without which the console would show old things as if they were new."""
            if happened.exc_value is not None:
                broken.append(happened.exc_value)
            app.leave()

        threading.excepthook = thread_broke
        try:
            # Mouse reports are a line's worth of bytes for each cell that is crossed.
            app.run(mouse=not low_bandwidth)
        except Exception as error:  # noqa: BLE001 - told below, once the terminal is as it was
            broken.append(error)
        finally:
            threading.excepthook = threading.__excepthook__
            app.feed.stop()
            app.reader.stop()
            watchdog.ended()
    if not watchdog.terminal_lives:
        return 0  # nobody reads what is said now, and the writer's failure was the terminal's
    fault = app.fault or next(iter(broken), None)
    if fault is not None:
        watchdog.give_terminal_back()
        print(f"{crash_line(fault, 'The console')}. The jobs continue; `bakehouse` opens it again.", file=sys.stderr)
        return 1
    print(farewell(app.context.snapshot), file=sys.stderr)
    return 0
