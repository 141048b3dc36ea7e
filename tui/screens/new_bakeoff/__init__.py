"""The form of a bake-off: what is ticked (`choices`), what that comes to (`rows`), and the screen that holds both."""

from __future__ import annotations

from tui.screens.new_bakeoff.screen import NewBakeoff

__all__ = ["NewBakeoff"]
