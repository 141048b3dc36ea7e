"""The demo's data: answers that keep the task's rules, and golden inputs that the training data does not give away."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ROOT / "configs/data/judge.train.jsonl"
CRITERIA = ["Clarity", "Order", "Detail", "Evidence", "Use"]
NOTE = re.compile(
    r"### (?P<note>\S+) — (?P<verdict>PASS|FAIL) \((?P<score>\d\.\d)/5\)\n"
    r"\| Criterion \| Score \| Reason \|\n"
    r"\|---\|---\|---\|\n"
    r"(?P<rows>(?:\|[^\n]+\|\n){5})\n"
)
SUMMARY = re.compile(r"SUMMARY: (?P<notes>\d+) (?P<word>notes?), (?P<passed>\d+) pass, (?P<failed>\d+) fail")
# Words in a row that two unrelated texts do not share by accident.
SHARED_WORDS = 6
# The longest answers have 2.55 characters a token under SmolLM2's tokenizer.
CHARACTERS_PER_TOKEN = 2.5


def train_rows() -> list[dict[str, str]]:
    return [json.loads(line) for line in TRAIN.read_text(encoding="utf-8").splitlines()]


def golden_rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = yaml.safe_load((ROOT / "golden/judge.yaml").read_text(encoding="utf-8"))
    return rows


def task() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "configs/tasks/judge.yaml").read_text(encoding="utf-8"))
    return loaded


def named_notes(text: str) -> list[str]:
    """Names that the input gives to its notes; a text without one is a single note, `untitled`."""
    return re.findall(r"^note: (\S+)$", text, flags=re.MULTILINE) or ["untitled"]


def words(text: str) -> list[str]:
    return re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())


def runs_of_words(text: str, length: int) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[start : start + length]) for start in range(len(found) - length + 1)}


ROWS = train_rows()
LINES = [pytest.param(row, id=f"line-{number}") for number, row in enumerate(ROWS, start=1)]


@pytest.mark.parametrize("row", LINES)
def test_an_answer_is_headings_with_tables_and_one_summary_and_nothing_else(row: dict[str, str]) -> None:
    rest = NOTE.sub("", row["completion"]).strip("\n")
    assert SUMMARY.fullmatch(rest), rest


@pytest.mark.parametrize("row", LINES)
def test_the_answer_names_the_notes_of_its_input_in_their_order(row: dict[str, str]) -> None:
    assert [match["note"] for match in NOTE.finditer(row["completion"])] == named_notes(row["prompt"])


@pytest.mark.parametrize("row", LINES)
def test_heading_and_verdict_follow_from_the_five_scores(row: dict[str, str]) -> None:
    for match in NOTE.finditer(row["completion"]):
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in match["rows"].splitlines()]
        assert [criterion for criterion, _, _ in cells] == CRITERIA
        scores = [int(score) for _, score, _ in cells]
        assert all(0 <= score <= 5 for score in scores)
        assert all(1 <= len(reason.split()) <= 4 for _, _, reason in cells)
        assert match["score"] == f"{sum(scores) / 5:.1f}"
        assert match["verdict"] == ("PASS" if sum(scores) >= 15 else "FAIL")


@pytest.mark.parametrize("row", LINES)
def test_the_summary_counts_the_verdicts(row: dict[str, str]) -> None:
    verdicts = Counter(match["verdict"] for match in NOTE.finditer(row["completion"]))
    summary = SUMMARY.search(row["completion"])
    assert summary is not None
    assert int(summary["notes"]) == verdicts.total()
    assert summary["word"] == ("note" if verdicts.total() == 1 else "notes")
    assert (int(summary["passed"]), int(summary["failed"])) == (verdicts["PASS"], verdicts["FAIL"])


def test_there_are_enough_examples_and_they_are_not_one_template() -> None:
    assert len(ROWS) >= 48
    assert len({row["prompt"] for row in ROWS}) == len(ROWS)
    sizes = Counter(len(named_notes(row["prompt"])) for row in ROWS)
    assert sizes[2] >= 5 and sizes[3] >= 4
    verdicts = Counter(match["verdict"] for row in ROWS for match in NOTE.finditer(row["completion"]))
    assert 0.4 <= verdicts["PASS"] / verdicts.total() <= 0.6
    seen: Counter[tuple[str, ...]] = Counter()
    for row in ROWS:
        seen.update(runs_of_words(re.sub(r"^[#|].*$|^SUMMARY.*$", "", row["prompt"], flags=re.MULTILINE), SHARED_WORDS))
    assert [run for run, count in seen.items() if count > 1] == []


def test_the_golden_inputs_cover_the_odd_cases() -> None:
    rows = {row["id"]: row for row in golden_rows()}
    assert len(rows) == len(golden_rows()) >= 12
    assert rows["empty"]["input"] == ""
    assert rows["batch-of-three"]["expect"]["notes"] == 3
    assert NOTE.search(rows["own-output"]["input"])
    assert len(words(rows["very-short"]["input"])) <= 3
    assert rows["wrong-format"]["input"].startswith("<?xml")


@pytest.mark.parametrize("row", [pytest.param(row, id=row["id"]) for row in golden_rows()])
def test_what_a_golden_input_expects_agrees_with_its_text(row: dict[str, Any]) -> None:
    expect = row["expect"]
    names = expect["note"] if isinstance(expect["note"], list) else [expect["note"]]
    verdicts = expect["verdict"] if isinstance(expect["verdict"], list) else [expect["verdict"]]
    assert names == named_notes(row["input"])
    assert len(verdicts) == expect["notes"] == len(names)
    assert set(verdicts) <= {"PASS", "FAIL"}


@pytest.mark.parametrize("row", [pytest.param(row, id=row["id"]) for row in golden_rows()])
def test_no_golden_input_leaks_into_the_training_data(row: dict[str, Any]) -> None:
    golden = row["input"]
    # Marks and layout aside, a judge's table always has the same skeleton; its own words must still be new.
    skeleton = re.compile(r"\| (?:Criterion \| Score \| Reason|Clarity|Order|Detail|Evidence|Use) \||SUMMARY:.*")
    own_runs = runs_of_words(skeleton.sub("", golden), SHARED_WORDS)
    names = set(named_notes(golden)) - {"untitled"}
    for example in ROWS:
        prompt = example["prompt"]
        assert prompt != golden
        assert words(prompt) != words(golden)
        assert not names & set(named_notes(prompt))
        shared = own_runs & runs_of_words(skeleton.sub("", prompt), SHARED_WORDS)
        assert not shared, shared


def test_the_longest_answer_fits_twice_into_max_new_tokens() -> None:
    longest = max(len(row["completion"]) for row in ROWS)
    assert task()["sampling"]["max_new_tokens"] >= 2 * longest / CHARACTERS_PER_TOKEN


def test_the_format_part_has_five_checks() -> None:
    # So that a score reads 4.8/5 and each check is one of the five.
    assert len(task()["format"]) == 5
