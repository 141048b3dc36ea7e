"""The parts that rows are made of: text, figures, bars, the chart, the last line."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.strip import Strip

from core.cli.common import state_in_words
from core.format import clock, data_size, duration, percent, when
from core.progress import Progress
from tests.tui.scene import NOW, job
from tui.commands import command, keys_that_fit
from tui.lines import Line, folded, side_by_side, wrapped
from tui.model.answers import AnswerRead, CheckSaid
from tui.model.leaderboards import RankedCandidate
from tui.panes.queue import rest_of
from tui.screens.result_answers import answer_part
from tui.widgets.bars import interval, progress_bar, sparkline, stacked_bar
from tui.widgets.canvas import changed_span
from tui.widgets.chart import by_column, loss_chart
from tui.widgets.detail import facts
from tui.widgets.job_row import state


@given(st.lists(st.text(alphabet="ab 日é…", max_size=12), max_size=6), st.integers(0, 30))
def test_a_row_is_exactly_as_wide_as_it_must_be(parts: list[str], width: int) -> None:
    line = Line()
    for part in parts:
        line.add(part, "dim")
    strip = line.strip(width, ansi=False)
    assert cell_len(strip.text) == width or (width > 0 and "日" in "".join(parts) and cell_len(strip.text) <= width)


def test_a_row_is_filled_from_both_ends() -> None:
    assert Line("left").right(Line("right"), 14).plain == "left     right"
    assert Line("much too long").right(Line("right"), 14).plain == "much to… right"


def test_parts_that_do_not_fit_are_left_out_from_the_end() -> None:
    parts = [("one", "text"), ("two", "text"), ("three", "text")]
    assert side_by_side(parts).plain == "one · two · three"
    assert side_by_side(parts, width=10).plain == "one · two"


@given(st.text(alphabet="abc 日", max_size=60), st.integers(2, 20))
def test_wrapping_loses_no_word(text: str, width: int) -> None:
    rows = list(wrapped(text, width))
    assert "".join("".join(rows).split()) == "".join(text.split())
    assert all(cell_len(row) <= width for row in rows)


@given(st.text("[], 1.2−日", max_size=40), st.integers(1, 12))
def test_intervals_fold_as_words_do(text: str, width: int) -> None:
    for rows in (list(wrapped(text, width)), [line.plain for line in folded(Line(text), width)]):
        assert "".join("".join(rows).split()) == "".join(text.split())
        assert width == 1 or all(cell_len(row) <= width for row in rows)


def test_a_figure_stays_with_its_interval() -> None:
    text = "It frees 5.2 GB against the other: −1.26 [−1.74, −0.79] in format, shown to be worse."
    for width in range(22, 90):
        for rows in (list(wrapped(text, width)), [line.plain for line in folded(Line(text), width)]):
            assert any("−1.26 [−1.74, −0.79]" in row for row in rows), width


def test_what_a_row_cut_off_goes_on_below_it() -> None:
    reason = "out of memory at length 1536, after 3 steps"
    assert rest_of(reason, "✗ 39 train  11:50 out of memory at le…", 40) == ["… length 1536, after 3 steps"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (0, "0 s"), (70, "70 s"), (1560, "26 min"), (11100, "3 h 05"), (190_000, "2 d 4 h"), (-1, "")],
)
def test_durations(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


def test_figures() -> None:
    assert (
        data_size(11_400_000_000) == "11.4 GB"
        and data_size(132_000_000) == "132 MB"
        and data_size(4_200_000) == "4.2 MB"
    )
    assert percent(0.999) == "99 %" and percent(1.0) == "100 %"
    assert when(1_000_000, 1_000_100) == clock(1_000_000)
    assert when(1_000_000, 3_000_000) == "12 Jan"


def test_bars_have_their_width() -> None:
    assert progress_bar(0.58, 10).plain == "━━━━━━────"
    assert stacked_bar([(5, "busy"), (2, "dim")], 10, 10, 9.5).plain == "███████░░┊"
    assert stacked_bar([(20, "busy")], 10, 10).plain == "██████████"
    assert sparkline([0, None, 50, 100], 6, 100).plain == "  ▁ ▅█"


def test_an_interval_is_drawn_on_its_scale() -> None:
    assert interval(0.8, 0.9, 1.0, 0.6, 1.0, 21, "text").plain == "          ├────●────┤"
    assert interval(None, 0.9, None, 0.6, 1.0, 21, "text").plain.strip() == "●"
    assert interval(0.1, 0.2, 0.3, 0.6, 1.0, 21, "text").plain.strip() == "◂"


@given(st.lists(st.floats(0, 100), min_size=1, max_size=300), st.integers(1, 200))
def test_the_curve_stays_between_its_points(values: list[float], columns: int) -> None:
    means = by_column(list(enumerate(values)), columns)
    assert len(means) == columns or len(values) == 1
    assert min(values) - 1e-9 <= min(means) and max(means) <= max(values) + 1e-9


@pytest.mark.parametrize("points", [[], [(1, 2.0)], [(1, 2.0), (2, 2.0)], [(1, 3.0), (500, 1.0)]])
@pytest.mark.parametrize("size", [(57, 11), (20, 5), (10, 3), (200, 40)])
def test_the_chart_fits_its_place(points: list[tuple[int, float]], size: tuple[int, int]) -> None:
    width, height = size
    rows = loss_chart(points, (), width, height, "step 1")
    assert len(rows) <= max(2, height)
    assert all(row.width <= max(width, 13) for row in rows)


def test_only_what_changed_is_sent() -> None:
    old = Line("loss 0.41 ", "text").add("58 %", "dim").add(" left", "text").strip(30, False)
    new = Line("loss 0.41 ", "text").add("59 %", "dim").add(" left", "text").strip(30, False)
    assert changed_span(old, new) == (10, 14)
    assert changed_span(old, old) is None
    assert changed_span(Strip.blank(4), Line("full").strip(4, False)) == (0, 4)


def test_the_last_line_shortens_before_it_drops() -> None:
    commands = [
        command("n", "new run", "", "n", "a", rank=1, short="new"),
        command("z", "zoom", "", "z", "b"),
        command("b", "bake-off", "", "b", "c"),
        command("q", "leave", "", "q", "d", rank=1),
    ]
    assert keys_that_fit(commands, 60) == [("n", "new run"), ("z", "zoom"), ("b", "bake-off"), ("q", "leave")]
    assert keys_that_fit(commands, 28) == [("n", "new"), ("z", "zoom"), ("q", "leave")]
    assert keys_that_fit(commands, 16) == [("n", "new"), ("q", "leave")]


@pytest.mark.parametrize(
    ("checks", "said"),
    [
        ({"zone": "zone: 0 matches, expected 1"}, "× zone: 0 matches, expected 1"),
        ({"zone": "no match"}, "× zone: no match"),
        ({"zone": "answer cut", "water": "answer cut"}, "× zone, water: answer cut"),
        ({"zone": "zoned: no"}, "× zone: zoned: no"),
    ],
)
def test_a_reason_says_once_which_check_it_is_of(checks: dict[str, str], said: str) -> None:
    one = AnswerRead(1, "text", tuple(CheckSaid(name, 0.0, detail) for name, detail in checks.items()))
    assert said in [row.plain for row in answer_part(RankedCandidate("tuned", 0.5), (one,), None, 80)]


def test_a_running_job_says_the_range_that_is_left() -> None:
    progress = Progress(done=50, total=100, unit="answers", eta_low_seconds=240.0, eta_high_seconds=540.0, time=NOW)
    row = replace(job(42, "running", "bake-off judge"), progress=progress)
    assert "50 % 4–9 min" in state(row, 60, NOW).plain
    narrow = state(row, 18, NOW).plain
    assert narrow.endswith("50 % 4–9 min") and narrow.startswith("━"), "the bar gives way, not the time"
    assert ("4–9 min left", "dim") in facts(row, None)
    assert state_in_words(row) == "50 %, 4–9 min left"
