"""What is put before another screen and left again: once, however often it is asked to go."""

from __future__ import annotations

from typing import Any, TypeVar

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen, Screen

T = TypeVar("T")


def leave_once(screen: Screen[Any], leave: Any, result: Any) -> AwaitComplete:
    """Dismiss a screen by `leave`, Textual's own way, unless it has gone already.

    A double click, or a key on the heels of a click, asks twice. The second time would give the answer again, and take the
    screen below along: the dashboard at last, and the console with it.
    """
    done: AwaitComplete = leave(result) if screen.app.screen is screen else AwaitComplete()
    return done


class Dialog(ModalScreen[T]):
    """A question, or a text to read."""

    def dismiss(self, result: T | None = None) -> AwaitComplete:
        return leave_once(self, super().dismiss, result)
