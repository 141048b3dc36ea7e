"""Keys one after the other: the next one is given to the console when what the last one did is done.

Textual sends a key to the widget that has the focus when the key arrives. Where keys arrive in a burst (a slow line, pasted
text, a fast typist), the screen that the first of them opened is not there yet, its field has no focus yet, its names are not
read yet: the others would be lost, or would be taken for commands by the pane below. So a key waits until the messages of the
one before it have run through, the screen on top is mounted and has its focus, and the screen says that it takes keys.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from textual import events
from textual.message import Message

from core.text import printable

if TYPE_CHECKING:
    from textual.app import App
    from textual.message_pump import MessagePump

LEAVING = frozenset({"escape", "ctrl+c", "ctrl+q"})
"""Keys that do not wait for a screen that is reading: they leave it, and what was typed for it is of no use then."""
MOVING = frozenset({"ctrl+c", "j", "k", "up", "down", "left", "right", "pageup", "pagedown"})
"""Keys that open nothing: the same one once more need not wait for what the last one did."""
MOST_AT_ONCE = 50
"""Presses of one such key, held down or in a flood, after which what they did is waited for."""
ROUNDS = 2
"""A handler's messages are handled in the round after it."""
LOOK_SECONDS = 0.02
PATIENCE_SECONDS = 10.0
"""A widget that has not come to its messages by then is not waited for: a console that takes no key is worse."""

TypedEvent = events.Key | events.Paste


class Deliver(Message, bubble=False):
    """It is an event's turn."""

    def __init__(self, event: TypedEvent) -> None:
        super().__init__()
        self.event = event


class KeyQueue:
    """Gives the app one key or paste at a time. `deliver` is what Textual does with one."""

    def __init__(self, app: App[Any], deliver: Callable[[TypedEvent], Awaitable[None]]) -> None:
        self.app = app
        self.deliver = deliver
        self.waiting: deque[TypedEvent] = deque()
        self._target: MessagePump | None = None
        self._task: asyncio.Task[None] | None = None

    async def take(self, event: TypedEvent) -> None:
        """A key has come; called by the app."""
        cleaned = clean(event)
        if cleaned is None:
            return
        if self._task is None and self._stands:
            await self.give(cleaned)
            self._task = asyncio.create_task(self._work())
            return
        self.waiting.append(cleaned)
        if self._task is None:
            self._task = asyncio.create_task(self._work())

    async def give(self, event: TypedEvent) -> None:
        """Let the app handle it now; a key that comes while the console closes is nobody's."""
        if not self.app.screen_stack:
            return
        self._target = self.app.focused or self.app.screen
        await self.deliver(event)

    @property
    def _stands(self) -> bool:
        """A screen is on top, and it is mounted."""
        stack = self.app.screen_stack if self.app.is_running else []
        return bool(stack) and stack[-1].is_mounted

    async def _work(self) -> None:
        try:
            await self._settled()
            while self.waiting:
                for event in self._next():
                    self.app.post_message(Deliver(event))
                await self._settled()
        finally:
            self._task = None

    def _next(self) -> list[TypedEvent]:
        """The next key, with those behind it that are the same and only move."""
        taken = [self.waiting.popleft()]
        while self.waiting and len(taken) < MOST_AT_ONCE and _moves_on(taken[0], self.waiting[0]):
            taken.append(self.waiting.popleft())
        return taken

    async def _settled(self) -> None:
        """Wait until the last key has done all it does, and the screen on top takes the next one."""
        await self._through(self.app)  # the app has delivered it
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._stands and self.app.is_running and time.monotonic() < deadline:
            await asyncio.sleep(LOOK_SECONDS)
        rounds, place = 0, None
        while rounds < ROUNDS or place != self._place:
            place = self._place
            for node in self._ways():
                await self._through(node)
            rounds += 1
        while not self._screen_takes_keys:
            if any(isinstance(event, events.Key) and event.key in LEAVING for event in self.waiting):
                while not (isinstance(self.waiting[0], events.Key) and self.waiting[0].key in LEAVING):
                    self.waiting.popleft()
                return
            await asyncio.sleep(LOOK_SECONDS)

    @property
    def _place(self) -> tuple[MessagePump | None, MessagePump | None]:
        if not self._stands:
            return None, None
        return self.app.screen, self.app.focused

    @property
    def _screen_takes_keys(self) -> bool:
        return not self._stands or bool(getattr(self.app.screen, "takes_keys", True))

    def _ways(self) -> list[MessagePump]:
        """All that a key's messages pass: from the widget that got it, and from where the focus is now, up to the app."""
        found: list[MessagePump] = []
        for start in (self._target, *self._place[::-1]):
            node: MessagePump | None = start
            while node is not None and node is not self.app:
                if node not in found:
                    found.append(node)
                node = node._parent
        return [*found, self.app]

    async def _through(self, node: MessagePump) -> None:
        """Wait until a widget has handled what it was sent so far."""
        passed = asyncio.Event()
        if not node.call_later(passed.set):
            return
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not passed.is_set() and (node is self.app or node.is_attached) and time.monotonic() < deadline:
            try:
                await asyncio.wait_for(passed.wait(), 0.1)
            except TimeoutError:
                continue


def _moves_on(event: TypedEvent, following: TypedEvent) -> bool:
    if not (isinstance(event, events.Key) and isinstance(following, events.Key)):
        return False
    return event.key == following.key and event.key in MOVING


def clean(event: TypedEvent) -> TypedEvent | None:
    """The event as a widget can show it. None of a key that is half of a surrogate pair: no terminal can be sent that."""
    if isinstance(event, events.Paste):
        text = printable(event.text, keep="\n")
        return event if text == event.text else events.Paste(text)
    half = event.character is not None and any("\ud800" <= letter <= "\udfff" for letter in event.character)
    return None if half else event
