"""The leaderboard as JSON and as a report in a terminal of any width."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from rich.cells import cell_len

from core.cli.results_report import render_text
from core.config.golden import GoldenInput
from tests.support.leaderboards import ALL, TUNED_AND_BASE, answers, board, task, words


@pytest.mark.parametrize("n", [0, 1, 5, 13, 24])
def test_the_json_is_plain_and_finite_and_says_why_a_figure_is_absent(n: int) -> None:
    stored = [*answers("base", n, "nothing"), *answers("b", n, ALL), *answers("c", n, words(1), seconds=0.0)]
    document = board(n, stored).to_json()
    text = json.dumps(document, allow_nan=False)
    assert json.loads(text) == document
    for one in document["comparisons"]:
        assert one["interval"]["low"] is not None or one["interval"]["reason"]
    for row in document["rows"]:
        assert row["format_interval"]["low"] is not None or row["format_interval"]["reason"]


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_no_line_of_the_report_is_wider_than_asked(width: int) -> None:
    stored = [
        *TUNED_AND_BASE,
        *answers("a candidate with a name that goes on and on and on", 13, words(4)),
        *answers("茶の審査員", 13, words(5)),
        *(replace(one, finish="length") for one in answers("rambler", 13, "x")),
    ]
    lines = render_text(board(13, stored, repeats=4), width).splitlines()
    assert max(cell_len(line) for line in lines) <= width
    assert not any(line.endswith(" ") for line in lines)


def test_the_report_shows_scores_differences_and_the_interval_on_its_scale() -> None:
    text = render_text(board(13, TUNED_AND_BASE), 120)
    assert "judge-tuned" in text and "to base" in text and "13 inputs × 3, paired, 95 %" in text
    (tuned,) = [line for line in text.splitlines() if line.strip().startswith("judge-tuned  ") and "●" in line]
    (base,) = [line for line in text.splitlines() if line.strip().startswith("base  ") and "●" in line]
    assert tuned.index("●") > base.index("●")
    assert "●" in tuned and "┤" in tuned


def test_nothing_that_a_model_printed_reaches_the_terminal_as_a_command() -> None:
    hostile = task(
        format=[{"check": "regex", "pattern": r"(?P<verdict>[\s\S]+)"}],
        content=[{"check": "captured_equals", "name": "verdict"}],
    )
    golden = [GoldenInput(id="i0", input="x", expect={"verdict": "PASS"})]
    stored = answers("evil\x1b[2J", 1, "\x1b]0;owned\x07\x9b31m\u202e PASS")
    text = render_text(board(1, stored, task=hostile, golden=golden))
    assert not [character for character in text if ord(character) < 32 and character != "\n"]
    assert not {"\x9b", "\u202e", "\x7f"} & set(text)
    assert "where PASS is expected" in text


def test_heads_of_columns_tell_candidates_apart_that_begin_alike() -> None:
    stored = [*answers("SmolLM2-135M base", 13, words(1, 0, 1)), *answers("SmolLM2-135M tuned", 13, words(2, 4, 5))]
    lines = render_text(board(13, stored), 100).splitlines()
    assert any(line.split() == ["check", "tuned", "base"] for line in lines)
    assert any(" to base " in line for line in lines)


def test_an_interval_is_shown_only_as_far_as_a_difference_can_go() -> None:
    stored = [*answers("base", 8, "no"), *answers("b", 8, lambda index, repeat: ALL if index else "one two three four")]
    found = board(8, stored)
    one = found.comparison("b", "format")
    assert one is not None and one.interval.high is not None and one.interval.high > 1
    assert found.to_json()["comparisons"][0]["interval"]["high"] == one.interval.high
    text = render_text(found, 100)
    assert ", 5.00]" in found.headline.text and ", 5.00]" in text
    assert "an end beyond what is possible (±5) is shown as ±5" in text
    assert "beyond what is possible" not in render_text(board(13, TUNED_AND_BASE), 100)


def test_whether_cutting_answers_is_fair_is_told_by_the_others_longest_answer() -> None:
    cut = [replace(one, finish="length", completion_tokens=512) for one in answers("base", 8, "x")]
    notes = board(8, [*cut, *answers("tuned", 8, ALL)]).notes
    assert any("10.2 × the longest whole answer of tuned (50 tokens): enough for a whole answer." in n for n in notes)
    long = board(8, [*cut, *answers("tuned", 8, ALL, completion_tokens=500)]).notes
    assert any("(500 tokens), which leaves little room: raise the limit and ask again." in note for note in long)
    assert any("No other candidate shows" in note for note in board(8, cut).notes)


def test_the_figures_that_a_note_is_about_bear_its_mark() -> None:
    cut = [replace(one, finish="length", completion_tokens=512) for one in answers("base", 8, "x")]
    text = render_text(board(8, [*cut, *answers("tuned", 8, ALL)]), 100)
    assert " 24*" in text and "notes (* above marks figures that they are about)\n* base: 24 of 24" in text
    assert "*" not in render_text(board(13, TUNED_AND_BASE), 100)


def test_the_report_of_a_finished_bake_off_stays_as_it_is() -> None:
    """The whole report once, so that a change of its looks is seen and meant."""
    stored = [
        *answers("base", 6, "one", seconds=2.0),
        *answers("tuned", 6, lambda index, repeat: ALL if index else "one two three four PASS", seconds=1.0),
    ]
    assert render_text(board(6, stored), 100) == EXPECTED


EXPECTED = """\
Bake-off judge: 6 inputs × 3, paired, 95 %, scores 0 to 5
tuned 4.83/5 over base 1.00/5 in format: +3.83 [3.40, 4.26], p 0.031, 6 inputs × 3

  candidate  format             to base  content  worst   same  0   1   2   3   4   5
  tuned        4.83  +3.83 [3.40, 4.26]     5.00   4.83  100 %                    ├●┤
  base         1.00                   —     0.00   1.00  100 %      ●
worst: the mean of each input's worst repeat; same: the share of inputs whose repeats all say the
  same

scored before failure modes were looked for: rescore with the current checks

against base  part     verdict             difference      p  noise   MDE  +n
tuned         format   better      +3.83 [3.40, 4.26]  0.031      —  0.58   2
tuned         content  better   +5.00 [not estimable]  0.031      —     —   —
p: sign-flip permutation test, adjusted for 1 candidate and 2 parts by max-T. MDE: smallest
  difference detectable at 80 % power. +n: inputs needed to detect 0.50.

  candidate  s/answer  tok/s  char/s  tokens  answers  missing  cut  empty
  tuned          1.00     50     200      50       18        0    0      0
  base           2.00     25     100      50       18        0    0      0
Times are shared out over batches of 12; tokens are those of a mean answer.

check                      tuned            base
one      format            100 %           100 %
two      format            100 %             0 %
three    format            100 %             0 %
four     format            100 %             0 %
five     format             83 %             0 %
verdict  content           100 %             0 %

why tuned lost points
     3 × none of “five”
why base lost points
    18 × none of “two”
    18 × none of “three”
    18 × none of “four”
    18 × none of “five”
          and 1 other reason
"""
