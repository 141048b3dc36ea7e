"""Whatever a dialog says can be read to its end, however narrow the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.home import Home
from tests.tui.conftest import seen
from tui.app import ConsoleApp
from tui.lines import Line, folded
from tui.queries.project import project_finder
from tui.screens.help import DialogText, TextDialog, marked_rows


@given(
    st.lists(
        st.tuples(
            st.one_of(st.text(max_size=60), st.text("ab 日本語é ", max_size=60)),
            st.sampled_from(["dim", "bad", "text"]),
        ),
        min_size=1,
        max_size=4,
    ),
    st.integers(4, 60),
)
def test_nothing_of_a_line_is_lost_when_it_is_folded(pieces: list[tuple[str, str]], width: int) -> None:
    line = Line()
    for text, role in pieces:
        line.add(text, role)
    before = "".join(line.plain.split())
    rows = folded(line, width)
    assert "".join("".join(row.plain.split()) for row in rows) == before
    assert all(row.width <= width for row in rows)


@pytest.mark.parametrize("width", [20, 43, 58])
def test_rows_stay_within_the_width_and_behind_their_mark(width: int) -> None:
    text = "/srv/project/golden/tickets.yaml:15: inputs: no golden inputs: with at least 6 of them a difference can be proved"
    (line,) = marked_rows("✗", "bad", text)
    rows = folded(line, width)
    assert len(rows) > 1 and all(row.width <= width for row in rows)
    assert rows[0].plain.startswith("✗ ") and all(row.plain.startswith("  ") for row in rows[1:])


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (60, 18)])
async def test_the_end_of_a_long_text_is_reached_by_scrolling(tmp_path: Path, size: tuple[int, int]) -> None:
    texts = [f"warning {number}: {'of a long kind ' * 12} END-{number}" for number in range(6)]
    home = Home(tmp_path / "home").create()
    app = ConsoleApp(home, project_finder(home, None), live=False)
    async with app.run_test(size=size) as pilot:
        app.push_screen(TextDialog("Warnings", [row for text in texts for row in marked_rows("▲", "warn", text)]))
        await seen(pilot, lambda: isinstance(app.screen, TextDialog), "the dialog")
        await pilot.pause()
        dialog, read = app.screen.query_one(DialogText), set[str]()
        for _ in range(80):
            read |= {word for word in dialog.text.split() if word.startswith("END-")}
            await pilot.press("down")
        assert read == {f"END-{number}" for number in range(6)}
        assert "…" not in dialog.text
