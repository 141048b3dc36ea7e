"""What every screen shares. The app makes it and hands it to each screen, so that none of them needs to know the app."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from core.home import Home
from tui.model.background_reader import BackgroundReader
from tui.model.feed import Feed
from tui.model.snapshot import EMPTY, Snapshot

if TYPE_CHECKING:
    from core.config.project import Project


@dataclass
class Context:
    """The home, the project, the two threads that read, and the newest snapshot.

    `post` takes a message for the app from any thread; once the console has ended, the message is dropped.
    """

    home: Home
    find_project: Callable[[], Project]
    feed: Feed
    reader: BackgroundReader
    post: Callable[[Message], None]
    low_bandwidth: bool = False
    select_first: int | None = None
    """The job that is selected at first; None: the first one of the queue."""
    live: bool = True
    """False where no thread is started: a test posts the snapshots itself."""
    snapshot: Snapshot = EMPTY

    def painted(self) -> None:
        """The first screen stands: now there is time for what is slow."""
        if self.live and not self.reader.is_alive():
            self.reader.start()
