"""The form of a new training run: what is asked (`fields`), the frames below it, and the screen that holds them."""

from __future__ import annotations

from tui.screens.new_run.screen import NewRun

__all__ = ["NewRun"]
