"""Draw a terminal screen as a picture: `python -m tests.tui.picture OUT.svg|OUT.png -- COMMAND …`.

The command runs in a real terminal (a pty with pyte behind it), keys are typed into it, and what stands on the screen at the
end is drawn. PNG needs `rsvg-convert`; SVG needs nothing.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.sax.saxutils import escape

from pyte.screens import Char, Screen

from tests.tui.terminal import Terminal

CELL_WIDTH, CELL_HEIGHT, FONT_SIZE, BASELINE = 10.0, 20.0, 16.6, 15.4
FOREGROUND, BACKGROUND = "#d4d6d1", "#131519"
NAMED = {
    "black": "#131519",
    "red": "#e2685c",
    "green": "#86c166",
    "brown": "#e0b050",
    "blue": "#6aa0e4",
    "magenta": "#b98ad6",
    "cyan": "#4fb3ad",
    "white": "#d4d6d1",
    "brightblack": "#7d838c",
    "brightred": "#f08070",
    "brightgreen": "#a0d880",
    "brightbrown": "#f0c878",
    "brightblue": "#8ab8f4",
    "brightmagenta": "#d0a8e8",
    "brightcyan": "#70d0c8",
    "brightwhite": "#ffffff",
}
# Blocks and rules are drawn as shapes, so that they meet whatever the font: (x, y, width, height) in shares of a cell.
SHAPES = {
    "█": (0, 0, 1, 1),
    "▀": (0, 0, 1, 0.5),
    "▄": (0, 0.5, 1, 0.5),
    "━": (0, 0.44, 1, 0.12),
    **{character: (0, 1 - (i + 1) / 8, 1, (i + 1) / 8) for i, character in enumerate("▁▂▃▄▅▆▇")},
}
LINES = {
    "─": "h",
    "│": "v",
    "╭": "rd",
    "╮": "ld",
    "╰": "ru",
    "╯": "lu",
    "├": "vr",
    "┤": "vl",
    "└": "ru",
}

KEYS = {
    "enter": "\r",
    "tab": "\t",
    "esc": "\x1b",
    "right": "\x1b[C",
    "end": "\x1b[F",
    "down": "\x1b[B",
    "backspace": "\x7f",
    "pagedown": "\x1b[6~",
    "f2": "\x1bOQ",
    "f3": "\x1bOR",
}
TYPED = re.compile(r"\{(\w+)\}|(.)")


def colour(name: str, default: str) -> str:
    if name == "default":
        return default
    return NAMED.get(name, f"#{name}")


def colours(cell: Char) -> tuple[str, str]:
    front, back = colour(cell.fg, FOREGROUND), colour(cell.bg, BACKGROUND)
    return (back, front) if cell.reverse else (front, back)


def draw_shape(character: str, x: float, y: float, front: str) -> str | None:
    """SVG of a block or rule character, None for every other one."""
    if character in SHAPES:
        left, top, width, height = SHAPES[character]
        return (
            f'<rect x="{x + left * CELL_WIDTH:.1f}" y="{y + top * CELL_HEIGHT:.1f}" width="{width * CELL_WIDTH + 0.2:.1f}" '
            f'height="{height * CELL_HEIGHT:.1f}" fill="{front}"/>'
        )
    if character == "░":
        dots = [(dx, dy) for dx in (1.5, 6.5) for dy in (2, 7, 12, 17)]
        return "".join(f'<rect x="{x + dx}" y="{y + dy}" width="1.2" height="1.2" fill="{front}"/>' for dx, dy in dots)
    if character in LINES:
        middle_x, middle_y = x + CELL_WIDTH / 2, y + CELL_HEIGHT / 2
        ends = {
            "l": (x, middle_y),
            "r": (x + CELL_WIDTH, middle_y),
            "u": (middle_x, y),
            "d": (middle_x, y + CELL_HEIGHT),
        }
        directions = LINES[character].replace("h", "lr").replace("v", "ud")
        return "".join(
            f'<line x1="{middle_x}" y1="{middle_y}" x2="{ends[d][0]}" y2="{ends[d][1]}" stroke="{front}"/>'
            for d in directions
        )
    if "\u2800" <= character <= "\u28ff":
        bits = ord(character) - 0x2800
        places = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)]
        return "".join(
            f'<circle cx="{x + 2.5 + 5 * dx}" cy="{y + 2.5 + 5 * dy}" r="1.7" fill="{front}"/>'
            for bit, (dx, dy) in enumerate(places)
            if bits >> bit & 1
        )
    return None


def to_svg(screen: Screen) -> str:
    """The screen as SVG."""
    width, height = screen.columns * CELL_WIDTH + 20, screen.lines * CELL_HEIGHT + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="{FONT_SIZE}">',
        f'<rect width="100%" height="100%" fill="{BACKGROUND}"/>',
    ]
    for row in range(screen.lines):
        y = 10 + row * CELL_HEIGHT
        for column in range(screen.columns):
            cell = screen.buffer[row][column]
            x = 10 + column * CELL_WIDTH
            front, back = colours(cell)
            if back != BACKGROUND:
                parts.append(
                    f'<rect x="{x}" y="{y}" width="{CELL_WIDTH + 0.3}" height="{CELL_HEIGHT + 0.3}" fill="{back}"/>'
                )
            if not cell.data.strip():
                continue
            shape = draw_shape(cell.data, x, y, front)
            if shape is None:
                weight = ' font-weight="bold"' if cell.bold else ""
                shape = f'<text x="{x}" y="{y + BASELINE}" fill="{front}"{weight}>{escape(cell.data)}</text>'
            parts.append(shape)
    return "\n".join([*parts, "</svg>"])


def save(screen: Screen, path: Path) -> None:
    """Write the picture; the suffix of `path` says which kind."""
    svg = to_svg(screen)
    if path.suffix == ".svg":
        path.write_text(svg)
        return
    converter = shutil.which("rsvg-convert")
    if converter is None:
        sys.exit("PNG needs rsvg-convert (Debian: librsvg2-bin); take a name that ends in .svg")
    subprocess.run([converter, "-o", str(path)], input=svg.encode(), check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", default="120x40")
    parser.add_argument(
        "--keys", default="", help=f"typed one by one; {{enter}} and the like for {', '.join(KEYS)}; {{5}} waits 5 s"
    )
    parser.add_argument("--wait", type=float, default=3.0, help="seconds before the keys and after them")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    columns, lines = (int(part) for part in arguments.size.split("x"))
    with Terminal(arguments.command, columns=columns, lines=lines) as terminal:
        terminal.watch(arguments.wait)
        if arguments.keys:
            for name, key in TYPED.findall(arguments.keys):
                if name.isdigit():
                    terminal.watch(float(name))
                else:
                    terminal.type(KEYS[name] if name else key)
                    terminal.watch(0.3)
            terminal.watch(arguments.wait)
        save(terminal.screen, arguments.out)


if __name__ == "__main__":
    main()
