"""Answers and scoring: what is stored, what is a fault, and what the checks of a task say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.golden import GoldenInput
from core.config.task import Task
from core.errors import InputError
from core.scoring.answers import Answer, answer_key, append_answer, find_fault, read_answers
from core.scoring.scorer import Score, parse_answer, part_score, plan_checks, score_answer, score_answers
from core.thinking import split_thinking
from tests.support.invented_answers import answer as invented_answer

HEADING = {
    "check": "heading",
    "level": 3,
    "pattern": r"^(?P<note>\S+) — (?P<verdict>PASS|FAIL)$",
    "count": "expect.notes",
}
SUMMARY = {"check": "regex", "pattern": "^SUMMARY: .+$", "multiline": True, "id": "summary"}
VERDICT = {"id": "verdict", "check": "captured_equals", "name": "verdict"}
GOOD = "### tea — PASS\n\nSUMMARY: one note"


def task(**keys: Any) -> Task:
    return Task.model_validate({"name": "judge", "format": [HEADING, SUMMARY], "content": [VERDICT], **keys})


def golden(name: str = "one", **expect: Any) -> GoldenInput:
    return GoldenInput(id=name, input="note: tea", expect=expect or {"notes": 1, "verdict": "PASS"})


def answer(text: str = GOOD, **keys: Any) -> Answer:
    usual = {"key": "k1", "fault": None, "completion_tokens": 12, "time": 1.0}
    return replace(invented_answer("base", "judge", "one", 0, text, **usual), **keys)


def values(scores: list[Score]) -> dict[str, float]:
    return {score.check_id: score.value for score in scores}


def test_an_answer_is_scored_by_each_check_in_its_part() -> None:
    scores = score_answer(task(), golden(), answer())
    assert [(score.check_id, score.part, score.value) for score in scores] == [
        ("heading", "format", 1.0),
        ("summary", "format", 1.0),
        ("verdict", "content", 1.0),
    ]
    assert all(score.answer_key == "k1" and score.detail == "" and not score.faulty for score in scores)


def test_captures_of_the_format_checks_are_compared_with_the_expectation() -> None:
    (*_, verdict) = score_answer(task(), golden(notes=1, verdict="FAIL"), answer())
    assert (verdict.value, verdict.detail) == (0, "PASS where FAIL is expected")


def test_captures_are_compared_even_when_the_format_is_wrong() -> None:
    scores = score_answer(task(), golden(notes=2, verdict="PASS"), answer())
    assert values(scores) == {"heading": 0, "summary": 1, "verdict": 1}


def test_a_comparison_in_the_format_part_sees_the_checks_behind_it() -> None:
    scores = score_answer(task(format=[VERDICT, HEADING], content=[]), golden(), answer())
    assert values(scores) == {"verdict": 1, "heading": 1}


def test_captures_of_content_checks_are_not_compared() -> None:
    odd = {"check": "regex", "pattern": "(?P<verdict>FAIL)"}
    expected = golden(notes=1, verdict="FAIL")
    (*_, verdict) = score_answer(task(content=[odd, VERDICT]), expected, answer(f"{GOOD} FAIL"))
    assert (verdict.value, verdict.detail) == (0, "PASS where FAIL is expected")


@pytest.mark.parametrize(
    ("spoiled", "detail"),
    [
        ({"text": "", "completion_tokens": 1}, "empty answer"),
        ({"text": " \n "}, "empty answer"),
        ({"finish": "length", "completion_tokens": 2048}, "answer cut at 2,048 tokens"),
        ({"text": f"<think>hm, tea</think>{GOOD}"}, "thinking in the answer"),
        ({"text": f"hm, tea</think>{GOOD}"}, "thinking in the answer"),
        ({"text": f"{GOOD}<think>and now"}, "thinking in the answer"),
        ({"thinking": "hm, tea"}, "thinking in the answer"),
        ({"fault": "empty"}, "empty answer"),
    ],
)
def test_what_the_model_did_wrong_scores_nothing_on_every_check_and_is_named(
    spoiled: dict[str, Any], detail: str
) -> None:
    scores = score_answer(task(), golden(), answer(**spoiled))
    assert values(scores) == {"heading": 0, "summary": 0, "verdict": 0}
    assert {score.detail for score in scores} == {detail}
    assert not any(score.faulty for score in scores)


def test_an_answer_that_the_server_spoiled_has_no_scores() -> None:
    assert score_answer(task(), golden(), answer(text="", fault="server")) == []


def test_the_empty_block_of_a_template_is_no_thinking() -> None:
    assert set(values(score_answer(task(), golden(), answer(f"<think>\n\n</think>\n\n{GOOD}"))).values()) == {1.0}


def test_thinking_that_the_task_wants_is_kept_out_of_the_checks() -> None:
    thought = "<think>### salt — FAIL\n\n### oil — FAIL</think>\n" + GOOD
    scores = score_answer(task(thinking="on"), golden(), answer(thought))
    assert values(scores) == {"heading": 1, "summary": 1, "verdict": 1}


def test_thinking_that_never_ends_is_a_fault_though_thinking_is_wanted() -> None:
    scores = score_answer(task(thinking="on"), golden(), answer(f"<think>hm {GOOD}"))
    assert {score.detail for score in scores} == {"thinking in the answer"}


def test_a_faulty_check_is_marked_and_the_others_are_done() -> None:
    slow = {"check": "regex", "pattern": "(x+x+)+y", "id": "slow"}
    scores = score_answer(task(format=[slow, SUMMARY], content=[]), golden(), answer("x" * 3000 + "\nSUMMARY: 1"), 0.1)
    by_id = {score.check_id: score for score in scores}
    assert (by_id["slow"].value, by_id["slow"].faulty) == (0, True)
    assert by_id["slow"].detail == "the pattern ran longer than 0.1 s"
    assert (by_id["summary"].value, by_id["summary"].faulty) == (1, False)


def test_equal_checks_have_scores_of_their_own() -> None:
    """The store's key of a score is (answer, hash): two checks must never share a hash."""
    same = {"check": "regex", "pattern": "PASS"}
    scores = score_answer(task(format=[same, same], content=[same]), golden(), answer())
    assert len({score.check_hash for score in scores}) == 3
    assert [score.check_id for score in scores] == ["regex", "regex-2", "regex-3"]


def test_a_changed_check_or_expectation_makes_old_scores_recognisable() -> None:
    before = {check.id: check.hash for check in plan_checks(task(), golden())}
    other = {**HEADING, "pattern": r"^(?P<note>\S+) - (?P<verdict>PASS|FAIL)$"}
    after = {check.id: check.hash for check in plan_checks(task(format=[other, SUMMARY]), golden())}
    assert before["heading"] != after["heading"]
    assert before["verdict"] != after["verdict"], "the verdict is captured by the heading"
    assert before["summary"] == after["summary"]
    mended = {check.id: check.hash for check in plan_checks(task(), golden(notes=1, verdict="FAIL"))}
    assert (mended["heading"], mended["summary"]) == (before["heading"], before["summary"])
    assert mended["verdict"] != before["verdict"]


def test_a_new_weight_needs_no_new_scores() -> None:
    weighted = task(format=[{**HEADING, "weight": 3}, SUMMARY])
    assert [check.hash for check in plan_checks(weighted, golden())] == [
        check.hash for check in plan_checks(task(), golden())
    ]


def test_scoring_again_gives_the_same_scores() -> None:
    answers = [answer(), answer("no", key="k2")]
    assert score_answers(task(), [golden()], answers) == score_answers(task(), [golden()], answers)


def test_an_answer_to_no_input_is_an_error() -> None:
    with pytest.raises(InputError, match="`other`"):
        score_answers(task(), [golden()], [answer(input_id="other")])


def test_a_score_survives_its_line() -> None:
    (score, *_) = score_answer(task(), golden(), answer("nothing"))
    line = json.loads(json.dumps(score.to_json()))
    assert set(line) == {"answer_key", "check_id", "check_hash", "part", "value", "detail", "faulty", "candidate"}
    assert Score.from_json({**line, "of_a_newer_version": 1}) == score


def test_the_score_of_a_part_is_the_weighted_mean() -> None:
    weighted = task(format=[{**HEADING, "weight": 3}, SUMMARY])
    scored = {"heading": 1.0, "summary": 0.0, "verdict": 0.5}
    assert part_score(weighted, "format", scored) == 0.75
    assert part_score(weighted, "content", scored) == 0.5


def test_a_part_without_checks_or_weight_has_no_score() -> None:
    assert part_score(task(content=[]), "content", {"heading": 1, "summary": 1}) is None
    weightless = task(content=[{**VERDICT, "weight": 0}])
    assert part_score(weightless, "content", {"heading": 1, "summary": 1, "verdict": 1}) is None


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.floats(0, 1e6, allow_subnormal=False).filter(lambda w: w == 0 or w > 1e-9)),
        min_size=1,
        max_size=8,
    )
)
def test_the_score_of_a_part_is_between_the_least_and_the_greatest_value(scored: list[tuple[float, float]]) -> None:
    checks = [{**SUMMARY, "id": f"c{number}", "weight": weight} for number, (_, weight) in enumerate(scored)]
    values = {f"c{number}": value for number, (value, _) in enumerate(scored)}
    found = part_score(task(format=checks, content=[]), "format", values)
    if sum(weight for _, weight in scored) == 0:
        assert found is None
    else:
        counted = [value for value, weight in scored if weight > 0]
        assert found is not None
        assert min(counted) - 1e-9 <= found <= max(counted) + 1e-9


def test_repeats_are_compared_by_what_was_captured() -> None:
    one = parse_answer(task(), golden(), answer(GOOD))
    assert one == parse_answer(task(), golden(), answer("### tea — PASS\n\nSUMMARY: another wording"))
    assert one != parse_answer(task(), golden(), answer("### tea — FAIL\n\nSUMMARY: one note"))


def test_repeats_are_not_compared_by_captures_whose_names_begin_with_an_underscore() -> None:
    said = {"check": "regex", "pattern": r"^(?P<_said>SUMMARY: (?P<notes>\S+).*)$", "multiline": True}
    one = parse_answer(task(format=[said], content=[]), golden(), answer("SUMMARY: one note"))
    assert one == parse_answer(task(format=[said], content=[]), golden(), answer("SUMMARY: one of them"))
    assert one != parse_answer(task(format=[said], content=[]), golden(), answer("SUMMARY: two notes"))


def test_without_captures_repeats_are_compared_by_their_words() -> None:
    plain = task(format=[SUMMARY], content=[])
    one = parse_answer(plain, golden(), answer("SUMMARY:  a\n"))
    assert one == parse_answer(plain, golden(), answer("SUMMARY: a"))
    assert one != parse_answer(plain, golden(), answer("SUMMARY: b"))


@pytest.mark.parametrize(
    ("raw", "text", "thinking", "is_open"),
    [
        ("plain", "plain", None, False),
        ("  plain ", "  plain ", None, False),
        ("<think>a</think>b", "b", "a", False),
        ("a</think>b", "b", "a", False),
        ("<think>a</think>b<think>c</think>d", "bd", "a\nc", False),
        ("a<think>b", "a", "b", True),
        ("<think>\n</think>b", "b", "", False),
        ("<think>a<think>b</think>c", "c", "a<think>b", False),
    ],
)
def test_thinking_is_parted_from_the_answer(raw: str, text: str, thinking: str | None, is_open: bool) -> None:
    split = split_thinking(raw)
    assert (split.text, split.thinking, split.open) == (text, thinking, is_open)


@given(st.lists(st.sampled_from(["<think>", "</think>", "a", "\n"]), max_size=12).map("".join))
def test_parting_never_leaves_a_block_in_the_answer(raw: str) -> None:
    assert "<think>" not in split_thinking(raw).text


def test_the_limit_is_the_first_fault_to_name() -> None:
    assert find_fault(split_thinking("<think>on and on"), "length", "on") == "length"


def test_answers_survive_the_file_and_a_torn_last_line(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    stored = [answer(), answer("Grüße — 茶 \u2028 end", key="k2", repeat=1)]
    for one in stored:
        append_answer(path, one)
    with path.open("a") as file:
        file.write('{"key": "k3", "candi')
    assert read_answers(path) == stored
    append_answer(path, answer(key="k4", repeat=2))
    assert [one.key for one in read_answers(path)] == ["k1", "k2", "k4"]


def test_a_doubled_answer_counts_once_but_two_candidates_may_share_weights(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    for one in (answer(), answer("later"), answer(candidate="twin")):
        append_answer(path, one)
    assert [(one.candidate, one.text) for one in read_answers(path)] == [("base", GOOD), ("twin", GOOD)]


def test_no_file_has_no_answers(tmp_path: Path) -> None:
    assert read_answers(tmp_path / "answers.jsonl") == []


def test_the_key_of_an_answer_is_stable_and_tells_everything_apart_that_it_is_made_of() -> None:
    given: dict[str, Any] = {
        "task": "t",
        "weights": "w",
        "prompt_sha256": "p",
        "sampling": {"temperature": 0.2, "top_p": None},
        "seed": 0,
        "repeat": 0,
        "input_id": "one",
    }
    key = answer_key(**given)
    assert key == answer_key(**{**given, "sampling": {"top_p": None, "temperature": 0.2}})
    changed = [
        {**given, name: "other" if isinstance(value, str) else 7} for name, value in given.items() if name != "sampling"
    ]
    changed.append({**given, "sampling": {"temperature": 0.3, "top_p": None}})
    keys = [answer_key(**one) for one in changed]
    assert len({key, *keys}) == len(changed) + 1
