"""Checks that read what others captured, hashes that scores are stored under, and mistakes in definitions told at load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from core.checks import CheckDefinition, check_hash
from core.checks.base import BaseDefinition
from core.config.golden import GoldenInput
from core.config.task import Task
from core.config.validation import check
from core.config.yaml import load_mapping
from core.scoring.scorer import part_score, plan_checks, score_answer
from tests.support.invented_answers import answer

ONE: TypeAdapter[Any] = TypeAdapter(CheckDefinition)
ROW = {"check": "regex", "id": "rows", "pattern": r"^(?P<score>\S+): (?P<reason>.+)$", "multiline": True}
OTHER = {"check": "regex", "id": "other", "pattern": "(?P<title>x)"}
READING: list[dict[str, Any]] = [
    {"check": "number_range", "name": "score", "max": 5},
    {"check": "words", "of": "reason", "max": 2},
    {"check": "lines", "of": "reason", "max": 1},
    {"check": "characters", "of": "reason", "max": 20},
    {"check": "captured_equals", "name": "score"},
    {"check": "contains_any", "of": "reason", "values": ["here"]},
]


def define(**keys: Any) -> BaseDefinition:
    made = ONE.validate_python(keys)
    assert isinstance(made, BaseDefinition)
    return made


def task(form: list[dict[str, Any]], content: list[dict[str, Any]] | None = None) -> Task:
    return Task.model_validate({"name": "grader", "format": form, "content": content or []})


@pytest.mark.parametrize("reading", READING, ids=lambda keys: keys["check"])
def test_a_check_that_reads_captures_sees_those_of_checks_behind_it_in_either_part(reading: dict[str, Any]) -> None:
    item = GoldenInput(id="one", input="x", expect={"score": ["4", "5"]})
    given = answer("base", "grader", "one", 0, "4: clear enough\n5: to the point here", key="k")
    for made in (task([reading, ROW]), task([ROW], [reading])):
        (found,) = (score for score in score_answer(made, item, given) if score.check_id != "rows")
        assert found.value == (0 if reading["check"] == "words" else 1), found.detail
        assert not found.faulty


@pytest.mark.parametrize("reading", READING, ids=lambda keys: keys["check"])
def test_its_hash_follows_the_checks_that_capture_for_it_and_no_other(reading: dict[str, Any]) -> None:
    item = GoldenInput(id="one", input="x", expect={"score": "4"})

    def digest(*form: dict[str, Any]) -> str:
        return plan_checks(task(list(form), [reading]), item)[-1].hash

    assert digest(ROW) != digest({**ROW, "pattern": ROW["pattern"] + "?"})
    assert digest(ROW) == digest(ROW, OTHER) == digest(OTHER, {**ROW, "weight": 3})


def test_a_part_is_the_mean_of_its_checks_by_weight_with_partial_credit_and_captures() -> None:
    made = task(
        [
            {"check": "section_order", "sections": ["Goal", "Steps", "Risks"], "weight": 3, "partial": True},
            {"check": "each_item", "of": "list", "pattern": r"(?P<hours>\d+) h", "count": 2, "weight": 0.5},
            {"check": "words", "max": 1, "weight": 0, "id": "shown and not counted"},
        ],
        [
            {"check": "number_range", "name": "hours", "max": 3, "weight": 1, "partial": True},
            {"check": "contains_any", "values": ["tea"], "weight": 2},
        ],
    )
    item = GoldenInput(id="one", input="x")
    found = score_answer(
        made, item, answer("base", "grader", "one", 0, "## Goal\n- 2 h\n- 9 h\n## Risks\ntea", key="k")
    )
    values = {score.check_id: score.value for score in found}
    assert part_score(made, "format", values) == pytest.approx((3 * 2 / 3 + 0.5 * 1) / 3.5)
    assert part_score(made, "content", values) == pytest.approx((1 * 0.5 + 2 * 1) / 3)


PINNED = {
    "4e5ed5147a75b2798e2fa8cece06969eae46617e125ad29ab423e84c86f4b900": {
        "check": "heading",
        "level": 3,
        "pattern": "a",
    },
    "83abb6eda55de298d76a221acf35b2e38c6d9cc622ccf80bb23596061eee1ca1": {
        "check": "table",
        "rows": 5,
        "columns": ["A"],
    },
    "14daf800069421a4e7407a4530c2ba212ef410f71213735bacb3b65234035800": {"check": "regex", "pattern": "a"},
    "4b23c54a14c39d6f97512bbbe59fca48fed387cbf9116b258cd3c10f50fbc55b": {"check": "captured_equals", "name": "x"},
    "971a7fd2c3bb31ecd0622e4694493265b650ba1ffbe179f036c023d67c798464": {"check": "contains_any", "values": ["x"]},
}


@pytest.mark.parametrize(("digest", "keys"), PINNED.items())
def test_a_definition_of_before_forgive_keeps_the_hash_that_its_scores_are_stored_under(
    digest: str, keys: dict[str, Any]
) -> None:
    assert check_hash(define(**keys)) == digest


def test_what_is_forgiven_belongs_to_the_hash_once_it_is_said() -> None:
    plainly = {"check": "heading", "level": 3, "pattern": "a"}
    switches: list[Any] = [True, False, ["setext"], ["setext", "escaped_pipes", "fence"]]
    hashes = {check_hash(define(**plainly)), *(check_hash(define(**plainly, forgive=switch)) for switch in switches)}
    assert len(hashes) == 5
    assert check_hash(define(**plainly, forgive=["setext", "escaped_pipes"])) == check_hash(define(**plainly))


FORM = "format:\n  - {check: regex, pattern: '(?P<score>[0-9])'}\n  - "


@pytest.mark.parametrize(
    ("line", "key", "words"),
    [
        ("{check: words}", "format[1]", "`min`, `max` or both; write for example"),
        ("{check: lines, min: 5, max: 4}", "format[1].min", "at least 5 and at most 4; swap"),
        ("{check: characters, max: -1}", "format[1].max", "a whole number from 0, or expect.KEY"),
        ("{check: words, max: 5, of: scor}", "format[1].of", "no format check captures `scor`; they capture score"),
        ("{check: words, max: 5, of: score, section: A}", "format[1].section", "exclude each other; write two"),
        ("{check: number_range, name: score}", "format[1]", "`min`, `max`, both, or `equals`; write"),
        ("{check: number_range, name: score, min: 5, max: 0}", "format[1].min", "at least 5 and at most 0; swap"),
        ("{check: number_range, name: score, min: .nan}", "format[1].min", "a number, or expect.KEY"),
        ("{check: number_range, name: scores, min: 1}", "format[1].name", "captures `scores`; they capture score"),
        ("{check: number_range, name: score, min: 1, step: 0}", "format[1].step", "above 0"),
        ("{check: section_order, sections: []}", "format[1].sections", "a list of strings, or expect.KEY"),
        ("{check: section_order, sections: [A, B, a]}", "format[1].sections", "“a” stands there twice"),
        ("{check: section_order, sectoins: [A]}", "format[1].sectoins", "did you mean `sections`?"),
        ("{check: section_order, sections: [A], level: 7}", "format[1].level", "at most 6"),
        ("{check: section_order, sections: [A], forgive: [setxt]}", "format[1].forgive", "fence, code, nested, setext"),
        ("{check: table, forgive: [emphasis]}", "format[1].forgive", "no use for `emphasis`: it can forgive fence"),
        ("{check: each_item, of: bullets, unique: true}", "format[1].of", "list, ordered, rows, lines, sections, or a"),
        ("{check: each_item, of: list}", "format[1]", "asks nothing of the items; write `pattern`"),
        ("{check: each_item, of: list, words: [3, 1]}", "format[1].words", "at least 3 and at most 1; swap"),
        ("{check: each_item, of: list, count: [1]}", "format[1].count", "a whole number, expect.KEY or [least, most]"),
        ("{check: each_item, of: list, count: [1, two]}", "format[1].count", "a whole number from 0, or expect.KEY"),
        ("{check: each_item, of: list, words: many}", "format[1].words", "number from 0, expect.KEY or [least, most]"),
        ("{check: each_item, of: list, count: true}", "format[1].count", "number from 0, expect.KEY or [least, most]"),
        ("{check: each_item, of: /a~b, unique: true}", "format[1].of", "`~` is written `~0`"),
        ("{check: table, forgive: nested}", "format[1].forgive", "a list of these: fence, code, nested, escaped_pipes"),
        ("{check: words, max: 1, forgive: []}", "format[1].forgive", "a list of these: fence, code, nested, setext"),
        ("{check: each_item, of: list, pattern: '(x'}", "format[1].pattern", "missing )"),
        ("{check: each_item, of: list, count: 1, level: 2}", "format[1].level", "only sections have a level; take"),
    ],
)
def test_a_mistake_is_one_error_with_its_line_and_what_to_do(tmp_path: Path, line: str, key: str, words: str) -> None:
    file = tmp_path / "grader.yaml"
    file.write_text(f"{FORM}{line}\n")
    made, (problem, *others) = check(Task, load_mapping(file), given={"name": "grader"})
    assert (made, others) == (None, [])
    assert (problem.line, problem.key) == (3, key)
    assert words in str(problem)
