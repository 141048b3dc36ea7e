"""Paragraphs of plain text for terminals of any width."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.cli.text_grid import wrap
from core.text import cell_width


@pytest.mark.parametrize("width", [0, 1, 2, 3])
def test_no_terminal_is_too_narrow_for_a_paragraph(width: int) -> None:
    lines = list(wrap("confirm: 語 golden inputs", width))
    assert "".join("".join(lines).split()) == "confirm:語goldeninputs"
    assert all(cell_width(line) <= max(width, 2) for line in lines)


@given(st.text(st.characters(categories=("L", "N", "P", "Zs")), max_size=60), st.integers(0, 40), st.integers(0, 12))
def test_what_is_wrapped_keeps_its_letters_and_its_width(text: str, width: int, indent: int) -> None:
    lines = list(wrap(text, width, indent))
    assert "".join("".join(lines).split()) == "".join("".join(wrap(text, 10_000)).split())
    assert all(cell_width(line) <= max(width, 2) for line in lines)


def test_a_figure_stays_with_its_interval() -> None:
    text = "It frees 5.2 GB against the other one: −1.26 [−1.74, −0.79] in format, +1.53 [0.25, 2.81], shown."
    for width in range(24, 100):
        lines = list(wrap(text, width))
        for figure in ("−1.26 [−1.74, −0.79]", "+1.53 [0.25, 2.81],"):
            assert any(figure in line for line in lines), width


@given(st.text("[], 1.2−a", max_size=40), st.integers(0, 12))
def test_what_looks_like_an_interval_is_no_exception(text: str, width: int) -> None:
    lines = list(wrap(text, width))
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(cell_width(line) <= max(width, 2) for line in lines)
