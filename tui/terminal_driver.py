"""Textual's driver for a terminal, with the guard of `tui.terminal_input` before its parser."""

from __future__ import annotations

import os
import selectors
import time

from textual import events
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

from tui.terminal_input import Input, TerminalInput

IDLE_SECONDS = 0.1  # between two looks whether the console ends
LOOK_SECONDS = 0.03  # while an ESC or a sequence waits for more, or for silence
READ_BYTES = 4096
# So many messages wait for the app at most: beyond them the terminal waits, and with it whoever floods it.
MOST_WAITING = 1000


class ConsoleDriver(LinuxDriver):
    """What arrives at stdin never ends the console and never counts as a key that nobody pressed."""

    def run_input_thread(self) -> None:
        guard, self._parser = TerminalInput(), XTermParser()
        with selectors.SelectSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                if self._app.message_queue_size > MOST_WAITING:
                    self.exit_event.wait(LOOK_SECONDS)
                    continue
                readable = selector.select(LOOK_SECONDS if guard.is_open else IDLE_SECONDS)
                data = self._read() if readable else b""
                if readable and not data:  # hung up: the watchdog of the terminal ends the console
                    self.exit_event.wait(LOOK_SECONDS)
                now = time.monotonic()
                for piece in guard.feed(data, now) if data else guard.quiet(now):
                    self._hand_on(piece)

    def _read(self) -> bytes:
        try:
            return os.read(self.fileno, READ_BYTES)
        except OSError:
            return b""

    def _hand_on(self, piece: Input) -> None:
        if piece.kind == "escape":
            self.process_message(events.Key("escape", "\x1b"))
            return
        if piece.kind == "paste":
            self.process_message(events.Paste(piece.text))
            return
        try:
            for event in self._parser.feed(piece.text):
                self.process_message(event)
        except Exception:  # noqa: BLE001 - Textual's parser met what it does not expect: that piece is lost, the console is not
            self._parser = XTermParser()
