"""The leaderboard: from stored answers and scores to who is better, and how sure one may be."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from rich.cells import cell_len

from core.bakeoff.answers import Answer
from core.bakeoff.leaderboard import Leaderboard, build_leaderboard
from core.bakeoff.report import render_text
from core.bakeoff.scoring import Score, score_answers
from core.config.golden import GoldenInput
from core.config.task import Task
from core.errors import InputError

FORMAT = [{"check": "contains_any", "id": word, "values": [word]} for word in ("one", "two", "three", "four", "five")]
CONTENT = [{"check": "regex", "id": "verdict", "pattern": "PASS"}]
ALL = "one two three four five PASS"

Writer = Callable[[int, int], str]


def task(**keys: Any) -> Task:
    base = {"name": "judge", "format": FORMAT, "content": CONTENT, "sampling": {"temperature": 0.2}, "repeats": 3}
    return Task.model_validate({**base, **keys})


def inputs(n: int, sources: int | None = None) -> list[GoldenInput]:
    return [
        GoldenInput(id=f"i{index}", input="x", source=None if sources is None else f"s{index % sources}")
        for index in range(n)
    ]


def answer(candidate: str, index: int, repeat: int, text: str, **keys: Any) -> Answer:
    made = Answer(
        key=f"{candidate}/{index}/{repeat}",
        candidate=candidate,
        task="judge",
        input_id=f"i{index}",
        repeat=repeat,
        seed=repeat,
        text=text,
        thinking=None,
        finish="stop",
        fault=None,
        prompt_tokens=30,
        completion_tokens=50,
        characters=200,
        seconds=2.0,
        batch_size=12,
        tokens_per_second=25.0,
        prompt_sha256="0" * 64,
        time=0.0,
    )
    return replace(made, **keys)


def answers(candidate: str, n: int, write: Writer | str, repeats: int = 3, **keys: Any) -> list[Answer]:
    return [
        answer(candidate, index, repeat, write if isinstance(write, str) else write(index, repeat), **keys)
        for index in range(n)
        for repeat in range(repeats)
    ]


def words(seed: int, least: int = 0, most: int = 5) -> Writer:
    """Answers with `least` to `most` of the five words, by chance but repeatable."""

    def write(index: int, repeat: int) -> str:
        number = random.Random(f"{seed} {index} {repeat}").randint(least, most)
        return "text " + " ".join(ALL.split()[:number])

    return write


def board(n: int, stored: Iterable[Answer], **keys: Any) -> Leaderboard:
    listed = list(stored)
    made: Task = keys.pop("task", task())
    golden = keys.pop("golden", inputs(n))
    scores: list[Score] = keys.pop("scores", None) or score_answers(made, golden, listed)
    return build_leaderboard(made, golden, listed, scores, **keys)


TUNED_AND_BASE = [*answers("base", 13, words(1, 0, 1)), *answers("judge-tuned", 13, words(2, 4, 5))]


def test_the_headline_is_the_best_against_the_base() -> None:
    found = board(13, TUNED_AND_BASE)
    one = found.comparison("judge-tuned", "format")
    assert one is not None and one.interval.low is not None and one.interval.high is not None
    tuned, base = found.row("judge-tuned"), found.row("base")
    assert tuned.format_score is not None and base.format_score is not None
    assert found.headline.text == (
        f"judge-tuned {5 * tuned.format_score:.2f}/5 over base {5 * base.format_score:.2f}/5: "
        f"+{5 * one.difference:.2f} [{5 * one.interval.low:.2f}, {5 * one.interval.high:.2f}], p 0.0002, 13 inputs × 3"
    )
    assert one.verdict == "better"
    assert one.p_adjusted == pytest.approx(2 / 2**13)
    assert (found.best, found.incumbent, found.tied_set, found.complete) == (
        "judge-tuned",
        "base",
        ("judge-tuned",),
        True,
    )


def test_the_difference_is_that_of_the_scores_one_sees() -> None:
    found = board(12, [*answers("base", 12, words(1)), *answers("b", 12, words(2))], golden=inputs(12, sources=5))
    one = found.comparison("b", "format")
    assert one is not None
    ours, theirs = found.row("b").format_score, found.row("base").format_score
    assert ours is not None and theirs is not None
    assert one.difference == pytest.approx(ours - theirs)
    assert (one.inputs, one.clusters) == (12, 5)
    assert any("12 inputs come from 5 sources" in note for note in found.notes)


def test_rows_are_sorted_by_format_and_then_by_content() -> None:
    stored = [
        *answers("same format, no pass", 8, "one two three"),
        *answers("most format", 8, "one two three four"),
        *answers("same format, pass", 8, "one two three PASS"),
    ]
    assert [row.name for row in board(8, stored).rows] == ["most format", "same format, pass", "same format, no pass"]


def test_scores_intervals_and_speeds_of_a_row() -> None:
    stored = [
        *answers("a", 8, lambda index, repeat: ALL if repeat or index % 2 else "one two three four", seconds=0.5),
    ]
    row = board(8, stored).row("a")
    # Half of the inputs lose one of five checks and the verdict in one of three repeats.
    assert row.format_score == pytest.approx(1 - 0.2 / 3 / 2)
    assert row.content_score == pytest.approx(1 - 1 / 3 / 2)
    assert row.worst == pytest.approx(0.9)
    assert row.pass_k == 0.5
    assert row.consistency == 0.5
    assert row.repeatability_sd == pytest.approx(math.sqrt((0.2**2 / 3) / 2))
    assert row.interval.low is not None and row.interval.high is not None
    assert row.interval.low < row.format_score < row.interval.high <= 1
    assert (row.seconds_per_answer, row.tokens_per_second, row.characters_per_second) == (0.5, 100, 400)
    assert (row.answers, row.expected, row.missing, row.at_limit) == (24, 24, 0, 0)


def test_the_base_is_the_incumbent_by_its_form_not_by_its_score() -> None:
    stored = [*answers("SmolLM2-135M", 8, ALL), *answers("job:3", 8, words(1))]
    assert board(8, stored, candidates={"job:3": "adapter", "SmolLM2-135M": "base"}).incumbent == "SmolLM2-135M"
    assert board(8, stored, candidates={"job:3": "adapter", "SmolLM2-135M": "merged"}).incumbent == "SmolLM2-135M"
    assert board(8, stored, incumbent="job:3").incumbent == "job:3"


def test_an_incumbent_that_takes_no_part_is_an_error() -> None:
    with pytest.raises(InputError, match="`ghost` is not among the candidates"):
        board(8, answers("a", 8, ALL), incumbent="ghost")


def test_an_incumbent_that_stays_ahead_is_compared_with_its_best_challenger() -> None:
    found = board(13, [*answers("base", 13, ALL), *answers("b", 13, words(3, 0, 2)), *answers("c", 13, words(4, 2, 3))])
    assert found.headline.text.startswith("c ")
    assert "/5 below base 5.00/5: −" in found.headline.text


# --- what can't be said ----------------------------------------------------------------------------------------


def test_five_inputs_can_never_prove_anything_and_the_notes_say_so() -> None:
    found = board(5, [*answers("base", 5, words(1, 0, 1)), *answers("b", 5, words(2, 4, 5))])
    one = found.comparison("b", "format")
    assert one is not None
    assert one.p_adjusted == one.least_p == pytest.approx(0.0625)
    assert one.verdict != "better"
    assert found.tied_set == ("b", "base")
    assert "5 inputs can never reach p 0.05: the least possible is 0.062. Add 1 for a least p of 0.031." in found.notes


def test_when_all_inputs_say_the_same_there_is_a_p_but_no_interval() -> None:
    found = board(8, [*answers("base", 8, "nothing"), *answers("b", 8, ALL)])
    one = found.comparison("b", "format")
    assert one is not None
    assert (one.interval.low, one.interval.high) == (None, None)
    assert one.p == pytest.approx(2 / 2**8)
    assert "+5.00 (interval not estimable: all inputs say the same), p 0.0078" in found.headline.text


def test_a_single_candidate_is_shown_without_a_comparison() -> None:
    found = board(8, answers("only", 8, words(1)))
    assert found.comparisons == ()
    assert found.tied_set == ("only",)
    assert found.headline.text.startswith("only ")
    assert not found.row("only").tied


def test_no_answers_yet_is_a_leaderboard_too() -> None:
    found = board(8, [], candidates={"base": "base", "job:3": "adapter"}, repeats=3)
    assert found.headline.text == "No scored answers yet."
    assert [(row.name, row.answers, row.missing, row.format_score) for row in found.rows] == [
        ("base", 0, 24, None),
        ("job:3", 0, 24, None),
    ]
    assert not found.complete
    assert "base" in render_text(found)


def test_a_bake_off_of_nothing_is_a_leaderboard_too() -> None:
    found = board(0, [], golden=[])
    assert (found.rows, found.best, found.complete) == ((), None, False)
    assert render_text(found)


def test_a_task_without_checks_says_so() -> None:
    found = board(3, answers("a", 3, ALL), task=task(format=[], content=[]))
    assert found.headline.text == "The task has no checks: there is nothing to compare."
    json.dumps(found.to_json(), allow_nan=False)


def test_a_task_with_content_checks_only_is_led_by_content() -> None:
    stored = [*answers("base", 8, "no"), *answers("b", 8, "PASS")]
    found = board(8, stored, task=task(format=[]))
    assert found.parts == ("content",)
    assert (found.row("b").format_score, found.row("b").score) == (None, 1)
    assert found.headline.text.startswith("b 5.00/5 over base 0.00/5")


def test_one_repeat_says_nothing_of_consistency() -> None:
    found = board(8, answers("a", 8, words(1), repeats=1))
    assert (found.row("a").consistency, found.row("a").repeatability_sd) == (None, None)
    assert "One repeat: nothing is known of consistency." in found.notes


def test_agreement_at_temperature_zero_is_called_what_it_is() -> None:
    cold = task(sampling={"temperature": 0.0})
    assert any("At temperature 0" in note for note in board(8, answers("a", 8, ALL), task=cold).notes)


# --- faults and gaps -------------------------------------------------------------------------------------------


def test_what_the_server_spoiled_is_missing_and_what_the_model_spoiled_scores_nothing() -> None:
    stored = answers("base", 8, ALL)
    stored[0] = replace(stored[0], fault="server", text="")
    stored[3] = replace(stored[3], text="", completion_tokens=1)
    stored[6] = replace(stored[6], finish="length")
    found = board(8, stored, repeats=3)
    row = found.row("base")
    assert (row.answers, row.missing, row.at_limit, dict(row.faults)) == (23, 1, 1, {"empty": 1, "length": 1})
    assert row.format_score == pytest.approx((8 - 1 / 3 - 1 / 3) / 8)
    assert not found.complete
    assert "base: 1 of 24 answers missing; compared over what is there." in found.notes
    assert any(note.startswith("base: 1 of 23 answers reached max_new_tokens (512)") for note in found.notes)
    assert "base: 1 of 23 answers empty: score 0." in found.notes


def test_a_rambler_does_not_win_by_dropping_the_hard_inputs() -> None:
    rambler = [
        replace(one, finish="length") if int(one.input_id[1:]) >= 4 else one for one in answers("rambler", 8, ALL)
    ]
    found = board(8, [*answers("plain", 8, "one two three four PASS"), *rambler])
    assert found.rows[0].name == "plain"


def test_a_retry_takes_the_place_of_what_the_server_spoiled_in_either_order() -> None:
    good = answers("base", 8, ALL)
    bad = replace(good[0], key="spoiled", fault="server", text="")
    for stored in ([bad, *good], [*good, bad]):
        assert board(8, stored).complete


def test_a_comparison_is_over_the_inputs_that_both_answered() -> None:
    stored = [*answers("base", 10, words(1)), *answers("b", 7, words(2)), *answers("c", 10, words(3))]
    found = board(10, stored, repeats=3)
    one = found.comparison("b", "format")
    assert one is not None
    assert (one.inputs, one.missing_inputs, one.correction) == (7, 3, "Holm")
    assert "b: 9 of 30 answers missing; compared over what is there." in found.notes


def test_several_challengers_are_adjusted_together() -> None:
    stored = [*answers("base", 10, words(1)), *answers("b", 10, words(2)), *answers("c", 10, words(3))]
    found = board(10, stored)
    ours = [one for one in found.comparisons if one.part == "format"]
    assert {one.correction for one in ours} == {"max-T"}
    assert all(one.p_adjusted >= one.p for one in ours)
    assert {one.correction for one in board(10, stored[:60]).comparisons} == {None}


def test_scores_of_an_older_check_do_not_count() -> None:
    stored = answers("a", 8, ALL)
    outdated = score_answers(task(format=[{**FORMAT[0], "values": ["uno"]}, *FORMAT[1:]]), inputs(8), stored)
    found = board(8, stored, scores=outdated)
    assert (found.row("a").answers, found.row("a").missing) == (0, 24)
    assert any("24 of them not scored by the checks as they are now" in note for note in found.notes)


def test_answers_to_other_inputs_are_left_out_and_counted() -> None:
    stored = answers("a", 9, ALL)
    scores = score_answers(task(), inputs(9), stored)
    found = build_leaderboard(task(), inputs(8), stored, scores)
    assert found.row("a").answers == 24
    assert "3 answers left out: the golden set has no such input." in found.notes


# --- the tied set ----------------------------------------------------------------------------------------------


def test_models_that_the_inputs_cannot_tell_apart_are_one_tied_set() -> None:
    stored = [
        *answers("base", 13, words(1, 0, 1)),
        *answers("fast", 13, words(2, 3, 5), seconds=1.0),
        *answers("slow", 13, words(3, 3, 5), seconds=2.5),
    ]
    found = board(13, stored)
    assert set(found.tied_set) == {"fast", "slow"}
    assert [row.tied for row in found.rows] == [True, True, False]
    assert "Prefer fast: 2.5 times as fast as slow, its equal." in found.notes
    (note,) = [note for note in found.notes if note.startswith("Tied set")]
    assert "so many inputs can show" in note


def test_content_decides_among_those_that_are_equal_in_format() -> None:
    stored = [
        *answers(
            "form only",
            13,
            lambda index, repeat: "one two three four five" if index else "one two three four five PASS",
        ),
        *answers(
            "form and content", 13, lambda index, repeat: ALL if index > 1 or repeat else "one two three four PASS"
        ),
    ]
    found = board(13, stored)
    assert found.rows[0].name == "form only", "rows stay sorted by format, however small the difference"
    assert found.tied_set == ("form and content",)
    assert found.best == "form and content"


def test_a_difference_below_the_margin_is_no_win() -> None:
    stored = [
        *answers("base", 13, "one two three four five PASS"),
        *answers("b", 13, lambda index, repeat: ALL if repeat else "one two three four PASS"),
    ]
    wide = board(13, stored, task=task(margin=0.1))
    narrow = board(13, stored, task=task(margin=0.05))
    assert wide.tied_set == ("base", "b")
    assert narrow.tied_set == ("base",)


def test_the_comparison_says_how_many_inputs_would_tell() -> None:
    found = board(10, [*answers("base", 10, words(1)), *answers("b", 10, words(2))])
    one = found.comparison("b", "format")
    assert one is not None and one.minimum_detectable is not None
    assert one.minimum_detectable > 0.1
    assert one.add_inputs is not None and one.add_inputs > 0


# --- checks and reasons ----------------------------------------------------------------------------------------


def test_each_check_has_its_share_its_interval_and_its_worst_repeats() -> None:
    stored = answers("a", 8, lambda index, repeat: ALL if index < 6 or repeat else ALL.replace("two ", ""))
    checks = {check.id: check for check in board(8, stored).row("a").checks}
    two = checks["two"]
    assert two.mean == pytest.approx(1 - 2 / 3 / 8)
    assert two.worst_by_input == (1, 1, 1, 1, 1, 1, 0, 0)
    assert two.interval is not None and two.interval.low is not None and two.interval.high is not None
    assert two.interval.low < 1 - 2 / 3 / 8 < two.interval.high <= 1
    assert (two.reasons[0].detail, two.reasons[0].count) == ("none of “two”", 2)
    assert checks["one"].mean == 1
    assert [check.part for check in checks.values()] == ["format"] * 5 + ["content"]


def test_a_check_is_compared_with_the_incumbents_by_what_most_repeats_do() -> None:
    stored = [*answers("base", 8, "one"), *answers("b", 8, lambda index, repeat: ALL if repeat else "one")]
    checks = {check.id: check for check in board(8, stored).row("b").checks}
    assert checks["two"].p_to_incumbent == pytest.approx(2 / 2**8)
    assert checks["one"].p_to_incumbent == 1
    assert all(check.p_to_incumbent is None for check in board(8, stored).row("base").checks)


def test_reasons_are_counted_once_an_answer_the_most_frequent_first() -> None:
    cut = [replace(one, finish="length", completion_tokens=512) for one in answers("a", 3, "x")]
    rest = [one for one in answers("a", 8, "one two three four five") if int(one.input_id[1:]) >= 3]
    reasons = [(reason.detail, reason.count) for reason in board(8, [*cut, *rest]).row("a").reasons]
    assert reasons == [("verdict is not found", 15), ("answer cut at 512 tokens", 9)]


def test_a_check_that_could_not_be_done_is_named() -> None:
    broken = task(content=[{"check": "contains_any", "values": "expect.word", "id": "word"}])
    found = board(8, answers("a", 8, ALL), task=broken)
    assert found.row("a").checks[-1].faulty == 24
    assert "The check word could not be done on 24 answers, which score 0 there: see why." in found.notes
    assert "the golden input has no expect.word" in render_text(found)


# --- JSON and text ---------------------------------------------------------------------------------------------


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
Bake-off judge: 6 inputs × 3, paired, 95 %
tuned 4.83/5 over base 1.00/5: +3.83 [3.40, 4.26], p 0.031, 6 inputs × 3

  candidate      format             to base     content  worst  same  0   1   2   3   4   5
  tuned      4.83  97 %  +3.83 [3.40, 4.26]  5.00 100 %   4.83  1.00                    ├●┤
  base       1.00  20 %                   —  0.00   0 %   1.00  1.00      ●
worst: the mean of each input's worst repeat; same: the share of inputs whose repeats all say the
  same

against base  part     verdict             difference      p  shows  add
tuned         format   better      +3.83 [3.40, 4.26]  0.031   0.58    2
tuned         content  better   +5.00 [not estimable]  0.031      —    —
p by flipping the signs of the inputs; shows: the difference they find with 80 % power; add: how
  many more inputs would find one as small as 0.50 (what is shown needs none)

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
