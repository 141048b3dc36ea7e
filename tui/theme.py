"""Colours by role. A role repeats what a sign or a word already says, so a terminal without colours loses nothing."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from rich.style import Style
from textual.theme import Theme

RGB: Final = {
    "text": "#d4d6d1",
    "dim": "#7d838c",
    "frame": "#4d525a",
    "focus": "#4fb3ad",
    "busy": "#6aa0e4",
    "good": "#86c166",
    "warn": "#e0b050",
    "bad": "#e2685c",
    "violet": "#b98ad6",
}
BACKGROUND: Final = "#131519"
RAISED: Final = "#24272d"

# In 16 colours the person's own palette decides; "dim" is the attribute: bright black is the background in some palettes.
ANSI: Final = {
    "text": Style(),
    "dim": Style(dim=True),
    "frame": Style(dim=True),
    "focus": Style(color="cyan"),
    "busy": Style(color="bright_blue"),
    "good": Style(color="green"),
    "warn": Style(color="yellow"),
    "bad": Style(color="red"),
    "violet": Style(color="magenta"),
}

DARK: Final = Theme(
    name="bakehouse",
    dark=True,
    primary=RGB["focus"],
    secondary=RGB["busy"],
    accent=RGB["focus"],
    foreground=RGB["text"],
    background=BACKGROUND,
    surface=BACKGROUND,
    panel=RAISED,
    success=RGB["good"],
    warning=RGB["warn"],
    error=RGB["bad"],
    variables={
        "border": RGB["focus"],
        "border-blurred": RGB["frame"],
        "frame": RGB["frame"],
        "dim": RGB["dim"],
        "footer-background": BACKGROUND,
        "input-selection-background": f"{RGB['focus']} 35%",
    },
)

ANSI_THEME: Final = Theme(
    name="bakehouse-ansi",
    ansi=True,
    dark=True,
    primary="ansi_cyan",
    secondary="ansi_blue",
    accent="ansi_cyan",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    boost="ansi_default",
    success="ansi_green",
    warning="ansi_yellow",
    error="ansi_red",
    variables={
        "ansi-background": "ansi_default",
        "ansi-foreground": "ansi_default",
        "border": "ansi_cyan",
        "border-blurred": "ansi_bright_black",
        "frame": "ansi_bright_black",
        "dim": "ansi_default",
        "footer-background": "ansi_default",
        "block-cursor-foreground": "ansi_black",
        "block-cursor-background": "ansi_white",
        "input-cursor-foreground": "ansi_black",
        "input-cursor-background": "ansi_white",
        "input-selection-background": "ansi_cyan",
    },
)


@lru_cache(maxsize=256)
def style(role: str, ansi: bool = False) -> Style:
    """The style of a role: space-separated names of `RGB`, plus `bold`, `chosen` (the selected row) and `kept` (the selected
    row of a pane without the focus)."""
    words = role.split()
    name = next((word for word in words if word in RGB), "text")
    bold = "bold" in words
    if ansi:
        marked = Style(reverse=True) if "chosen" in words else Style(bold=True) if "kept" in words else Style()
        plain = ANSI[name] if "chosen" not in words else Style()
        return plain + marked + (Style(bold=True) if bold else Style())
    if "chosen" in words:
        return Style(color=BACKGROUND, bgcolor=RGB["text"], bold=bold)
    return Style(color=RGB[name], bgcolor=RAISED if "kept" in words else BACKGROUND, bold=bold)
