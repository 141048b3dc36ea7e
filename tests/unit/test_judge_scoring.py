"""What verdicts come to in a score, and what is said of answers that nobody has judged: unknown, and never 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.bakeoff.gates import fail_under, no_worse_than
from core.bakeoff.leaderboard import Leaderboard, scores_of_board
from core.bakeoff.ranking import build_leaderboard
from core.checks import check_hash
from core.checks.judge import JudgeCheck, Order, judged
from core.config.golden import GoldenInput
from core.config.task import Task
from core.config.validation import validate
from core.config.yaml import load_mapping
from core.errors import InputError
from core.scoring.answers import Answer
from core.scoring.scorer import Scorer, singles
from core.scoring.to_judge import to_judge
from core.scoring.verdicts import GivenVerdict, VerdictBook, append_verdict, book_of, read_verdicts
from tests.support.invented_answers import answer as invented

JUDGE = {"check": "judge", "model": "served:j", "rubric": "Is it right?"}
AGAINST = {**JUDGE, "against": "expect.reference", "id": "against"}
LINE = {"check": "regex", "id": "line", "pattern": "^PRICE"}
INPUTS = [GoldenInput(id=f"i{n}", input=f"note {n}", expect={"reference": f"PRICE {n}"}) for n in range(4)]
TIE = 0.5


def task(*content: dict[str, Any], **keys: Any) -> Task:
    return Task.model_validate({"name": "t", "repeats": 1, "format": [LINE], "content": [*content], **keys})


def definition(**keys: Any) -> JudgeCheck:
    return JudgeCheck.model_validate({**JUDGE, **keys})


SCALES: list[tuple[dict[str, Any], dict[tuple[Order, int], float | None], float | None, str]] = [
    ({}, {("", 1): 0.75}, 0.75, "judged 4 of 5"),
    ({}, {("", 1): 1.0}, 1.0, ""),
    ({"scale": [0, 10]}, {("", 1): 0.3}, 0.3, "judged 3 of 10"),
    ({"asks": 2}, {("", 1): 1.0, ("", 2): 0.5}, 0.75, "judged 4 of 5"),
    ({"asks": 2}, {("", 1): 1.0}, 1.0, ""),
    ({"asks": 2}, {("", 1): None, ("", 2): 0.5}, 0.5, "judged 3 of 5"),
    ({}, {}, None, "not judged"),
    ({}, {("", 1): None}, None, "not judged"),
    ({"partial": False}, {("", 1): 0.75}, 1.0, ""),
    ({"partial": False}, {("", 1): 0.25}, 0.0, "judged 2 of 5"),
    ({"partial": False, "least": 0.8}, {("", 1): 0.75}, 0.0, "judged 4 of 5"),
]
NOT_EACH = "judged better than expect.reference not each time"
COMPARED: list[tuple[int, dict[tuple[Order, int], float | None], float | None, str]] = [
    (1, {("AB", 1): 1.0, ("BA", 1): 1.0}, 1.0, ""),
    (1, {("AB", 1): 0.0, ("BA", 1): 0.0}, 0.0, "judged worse than expect.reference"),
    (1, {("AB", 1): 1.0, ("BA", 1): 0.0}, 0.5, NOT_EACH),
    (1, {("AB", 1): 1.0, ("BA", 1): TIE}, 0.5, NOT_EACH),
    (1, {("AB", 1): TIE, ("BA", 1): TIE}, 0.5, "judged as good as expect.reference"),
    (1, {("AB", 1): 1.0}, None, "not judged"),
    (1, {("AB", 1): 1.0, ("BA", 1): None}, None, "not judged"),
    (2, {("AB", 1): 1.0, ("BA", 1): 1.0, ("AB", 2): 0.0, ("BA", 2): 0.0}, 0.5, NOT_EACH),
    (2, {("AB", 1): 1.0, ("BA", 1): None, ("AB", 2): 0.0, ("BA", 2): 0.0}, 0.0, "judged worse than expect.reference"),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "given", "value", "why"), SCALES)
def test_a_number_of_the_scale_is_a_share_of_it(
    keys: dict[str, Any], given: Mapping[tuple[Order, int], float | None], value: float | None, why: str
) -> None:
    result = judged(definition(**keys), given)
    assert (None if result.faulty else result.value, result.detail) == (value, why)


@pytest.mark.parametrize(("asks", "given", "value", "why"), COMPARED)
def test_two_orders_decide_only_where_they_agree(
    asks: int, given: Mapping[tuple[Order, int], float | None], value: float | None, why: str
) -> None:
    result = judged(JudgeCheck.model_validate({**AGAINST, "asks": asks}), given)
    assert (None if result.faulty else result.value, result.detail) == (value, why)


REFUSED = [
    ("format:\n  - {check: judge, model: 'served:j', rubric: r}", "says nothing of form", 3),
    ("content:\n  - {check: judge, model: 'served:j', rubric: r, scale: [5, 1]}", "two whole numbers", 3),
    ("content:\n  - {check: judge, model: 'served:j', rubric: r, scale: [1, 500]}", "at most 100 apart", 3),
    ("content:\n  - {check: judge, model: 'served:j', rubric: r, against: reference}", "expected expect.KEY", 3),
    (
        "content:\n  - {check: judge, model: 'served:j', rubric: r, against: expect.a, scale: [1, 5]}",
        "take `scale` out",
        3,
    ),
    ("content:\n  - {check: judge, model: 'served:j', rubric: r, asks: 0}", "at least 1", 3),
    ("content:\n  - {check: judge, model: 'served:j'}", "`rubric` is missing", 3),
    ("content:\n  - {check: judge, model: 'served:j', rubric: ' '}", "a `rubric` to judge by", 3),
]


@pytest.mark.parametrize(("text", "message", "line"), REFUSED)
def test_a_definition_that_cannot_be_is_refused_with_its_line(
    tmp_path: Path, text: str, message: str, line: int
) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(f"name: t\n{text}\n")
    with pytest.raises(InputError, match=message) as refused:
        validate(Task, load_mapping(file))
    assert refused.value.line == line


def answer(candidate: str, input_id: str, text: str = "PRICE 1", repeat: int = 1, **keys: Any) -> Answer:
    return invented(candidate, "t", input_id, repeat, text, key=f"{candidate}/{input_id}/{repeat}", **keys)


def said(
    task: Task, answers: list[Answer], value: float | None = 0.5, identity: str = "j1", time: float = 1.0
) -> list[GivenVerdict]:
    """A judge that says the same of each answer."""
    return [
        GivenVerdict(
            key=key,
            task=task.name,
            check_hash=one.check_hash,
            answer_key=one.answer.key,
            answer_sha256=one.answer_sha256,
            candidate=one.answer.candidate,
            judge=one.definition.model,
            judge_identity=identity,
            ask_order=order,
            ask=ask,
            text="VERDICT",
            value=value,
            time=time,
        )
        for one in to_judge(task, INPUTS, answers)
        for key, order, ask in one.keys(identity)
    ]


def board_of(task: Task, answers: list[Answer], book: VerdictBook) -> Leaderboard:
    scorer = Scorer(task, INPUTS, verdicts=book)
    scores = [found for one in answers if (found := scorer.score(one)) is not None]
    return build_leaderboard(task, INPUTS, answers, singles(scores), "a", candidates={"a": "base", "b": "base"})


def everyone() -> list[Answer]:
    return [answer(name, item.id, f"PRICE {name} {item.id}") for item in INPUTS for name in ("a", "b")]


def test_the_same_answer_to_the_same_input_is_judged_once_input_by_input() -> None:
    both = task(JUDGE, AGAINST)
    answers = [answer(name, item.id, "PRICE", repeat) for name in ("a", "b") for item in INPUTS for repeat in (1, 2)]
    asked = list(to_judge(both, INPUTS, answers))
    assert len(asked) == 2 * len(INPUTS), "each check once an input, whoever answered, and however often"
    assert [one.answer.input_id for one in asked] == [item.id for item in INPUTS for _ in range(2)]
    assert [len(list(one.keys("j"))) for one in asked[:2]] == [1, 2]
    book = book_of(said(both, answers, 1.0))
    board = board_of(both, answers, book)
    assert [row.content_score for row in board.rows] == [1.0, 1.0] and board.complete


def test_a_fault_of_the_model_scores_0_and_is_not_judged() -> None:
    one = task(JUDGE)
    answers = [*everyone(), answer("a", "i0", "", repeat=2, fault="empty")]
    assert all(asked.answer.fault is None for asked in to_judge(one, INPUTS, answers))
    board = build_of(one, answers, said(one, answers, 1.0))
    assert board.row("a").content_score == pytest.approx((0.5 + 3) / 4)


def build_of(task: Task, answers: list[Answer], verdicts: list[GivenVerdict]) -> Leaderboard:
    return board_of(task, answers, book_of(verdicts))


def test_what_is_not_judged_is_unknown_and_counted_and_never_0() -> None:
    """A judge that went away half-way: what it said counts, the rest is left out of scores and comparisons, and gates cannot
    tell."""
    one = task(JUDGE, {"check": "contains_any", "values": ["PRICE"]})
    answers = everyone()
    verdicts = said(one, answers, 1.0)
    board = build_of(one, answers, [each for each in verdicts if each.answer_key.split("/")[1] in ("i0", "i1")])
    for row in board.rows:
        assert (row.unjudged, row.content_score, row.format_score) == (2, 1.0, 1.0)
        assert [cell.content is None for cell in row.inputs] == [False, False, True, True]
        judge, plain = row.checks[1:]
        assert (judge.mean, judge.faulty, plain.mean) == (1.0, 2, 1.0)
        assert not row.reasons, "nothing was lost"
    assert not board.complete
    assert any("2 of 4 answers not judged" in note for note in board.notes)
    assert not any("could not be done" in note for note in board.notes)
    assert set(scores_of_board(board)["b"].means("content")) == {"i0", "i1"}
    gate = fail_under(board, "b", 0.9, "content")
    assert (gate.outcome, gate.missing) == ("cannot_tell", 2)
    assert fail_under(board, "b", 0.9, "format").outcome == "met"
    held = no_worse_than(board, "b", "a", "content")
    assert held.outcome == "cannot_tell" and held.missing == 4


def test_where_no_answer_to_an_input_is_judged_a_known_fault_counts_for_nobody_either() -> None:
    """Else the candidate of whom one answer is known to be empty would stand at 0 beside one of whom nothing is known."""
    one = task(JUDGE)
    answers = [*everyone()[:-2], answer("a", "i3", "", fault="empty"), answer("b", "i3")]
    board = build_of(one, answers, [])
    assert {row.content_score for row in board.rows} == {None}
    some = [each for each in said(one, answers, 1.0) if each.answer_key.split("/")[1] != "i3"]
    assert board_of(one, answers, book_of(some)).row("a").content_score == 1.0
    whole = build_of(one, answers, said(one, answers, 1.0))
    assert (whole.row("a").content_score, whole.row("b").content_score) == (0.75, 1.0)


def test_a_changed_rubric_scale_reference_input_or_judge_makes_verdicts_not_count() -> None:
    first = task(JUDGE)
    answers = everyone()
    book = book_of(said(first, answers, 1.0))
    assert build_of(first, answers, said(first, answers, 1.0)).row("a").unjudged == 0
    for other in (
        {"rubric": "Is it short?"},
        {"scale": [0, 5]},
        {"model": "served:k"},
        {"against": "expect.reference"},
    ):
        assert board_of(task({**JUDGE, **other}), answers, book).row("a").unjudged == 4, other
    for same in ({"weight": 2.0}, {"partial": False}, {"id": "named"}, {"message": "poor"}, {"asks": 3}):
        assert board_of(task({**JUDGE, **same}), answers, book).row("a").unjudged == 0, same
    checks = [check_hash(definition(**keys)) for keys in ({}, {"rubric": "x"}, {"scale": [0, 5]}, {"model": "k"})]
    assert len(set(checks)) == len(checks)


def test_of_two_judges_behind_one_name_the_one_that_spoke_last_counts() -> None:
    one = task(JUDGE)
    answers = everyone()
    old = said(one, answers, 0.0, "old", time=1.0)
    new = said(one, answers[:2], 1.0, "new", time=2.0)
    book = book_of([*new, *old])
    assert book.of_others == len(old)
    board = board_of(one, answers, book)
    assert (board.row("a").content_score, board.row("a").unjudged) == (1.0, 3)


def test_an_input_without_the_reference_is_unknown_with_why() -> None:
    one = task(AGAINST)
    bare = [GoldenInput(id="i0", input="note")]
    found = Scorer(one, bare).score(answer("a", "i0"))
    assert found is not None and found.faulty == (1,) and found.details[1] == "the golden input has no expect.reference"
    assert not list(to_judge(one, bare, [answer("a", "i0")]))


def test_a_torn_line_is_dropped_a_readable_verdict_takes_its_place_and_one_can_be_withdrawn(tmp_path: Path) -> None:
    file = tmp_path / "verdicts.jsonl"
    one, other, *_ = said(task(JUDGE), everyone(), 0.5)
    append_verdict(file, replace(one, value=None))
    with file.open("a") as torn:
        torn.write('{"key": "half')
    append_verdict(file, one)
    append_verdict(file, replace(one, value=None))
    append_verdict(file, other)
    assert read_verdicts(file) == [one, other]
    append_verdict(file, replace(other, withdrawn=True))
    assert read_verdicts(file) == [one]
