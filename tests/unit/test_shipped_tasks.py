"""What every shipped task has: enough inputs, the awkward ones among them, inputs and examples that do not repeat each other,
training data that keeps the form, and room for prompt and answer."""

from __future__ import annotations

import datetime
import itertools
import re
import unicodedata
from functools import cache

import pytest
from rapidfuzz import fuzz

from core.authoring.lint import check_task, task_warnings
from core.checks import build, check_ids
from core.checks.base import AskedInput
from core.config.golden import GoldenInput
from core.config.project import shipped
from core.config.task import Task
from core.data.examples import load_examples

TASKS = shipped().task_names()
TRAINED = [name for name in TASKS if shipped().task(name).data.train is not None]
AWKWARD = {"empty", "format", "long", "language", "instruction", "own-output"}
FEWEST_INPUTS, FEWEST_CONFIRMING, FEWEST_EXAMPLES = 12, 4, 60
LONG_SHARE = 0.6
"""Of the room for a prompt, what a long one fills at least."""
SHARED_WORDS = 6
"""Words in a row that two unrelated texts do not share by accident."""
MOST_ALIKE = 70
"""Of 100 in rapidfuzz's ratio: unrelated prose is below 60, one text with some words swapped above 80."""
SHORTEST_COMPARED = 60
FORM_LINE = re.compile(r"^(?:[#|>{}]|[A-Z]{3,}:|today:|source:|tags:|kind:|Due:)")
"""Lines of a task's own form, which inputs share that hold an answer, and what stands in front of each input."""
TEMPLATE_TOKENS = 30
TOKEN_SPREAD = 1.08
LONGEST_EXAMPLE_TOKENS = 350
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
DATED = re.compile(
    rf"\b({'|'.join(DAYS)})[a-z]*,? (\d{{1,2}})\.? ({'|'.join(MONTHS)})[a-z]*\.?,? (\d{{4}})|"
    rf"\b({'|'.join(DAYS)})[a-z]*,? (\d{{4}})-(\d\d)-(\d\d)"
)


@cache
def golden(name: str) -> tuple[GoldenInput, ...]:
    return tuple(shipped().golden(shipped().task(name)).inputs)


@cache
def examples(name: str) -> tuple[tuple[str, str], ...]:
    """Prompts and completions of the training data."""
    task = shipped().task(name)
    if task.data.train is None:
        return ()
    found, _ = load_examples(shipped().train_file(task), task)
    return tuple((example.last_user, example.completion) for example in found)


def tokens(text: str) -> int:
    """About as many tokens as SmolLM2's tokenizer makes of it: within a few percent for prose, which long texts are."""
    pieces = re.findall(r"\d|[A-Za-z]+|[^\sA-Za-z0-9]|\n", text)
    return sum(-(-len(piece) // 6) if piece.isascii() else 2 for piece in pieces)


def own(text: str) -> str:
    """The text without the lines of a form."""
    return "\n".join(line for line in text.splitlines() if not FORM_LINE.match(line))


def runs(text: str) -> set[tuple[str, ...]]:
    """Words in a row, within a line."""
    found: set[tuple[str, ...]] = set()
    for line in own(text).splitlines():
        words = re.findall(r"\w+", unicodedata.normalize("NFKC", line).casefold())
        found |= {tuple(words[at : at + SHARED_WORDS]) for at in range(len(words) - SHARED_WORDS + 1)}
    return found


def texts(name: str) -> list[tuple[str, str]]:
    """What models are asked, by where it stands: the golden inputs and the prompts of the training data."""
    inputs = [(item.id, item.text()) for item in golden(name)]
    return inputs + [(f"line {line}", prompt) for line, (prompt, _) in enumerate(examples(name), start=1)]


@pytest.mark.parametrize("name", TASKS)
def test_nothing_is_wrong_with_its_files_and_nothing_is_warned_of(name: str) -> None:
    file = shipped().task(name).file
    assert file is not None
    assert [str(one) for one in (*check_task(shipped(), file), *task_warnings(shipped(), file))] == []


@pytest.mark.parametrize("name", TASKS)
def test_there_are_inputs_to_choose_and_to_confirm_by_and_the_awkward_ones(name: str) -> None:
    inputs, task = golden(name), shipped().task(name)
    assert len(inputs) >= FEWEST_INPUTS
    assert sum(item.use == "confirm" for item in inputs) >= FEWEST_CONFIRMING
    assert {tag for item in inputs for tag in item.tags} >= AWKWARD
    assert [item.id for item in inputs if "empty" in item.tags and item.text().strip()] == []
    assert 4 <= len(task.format) <= 8
    assert task.content and task.system.strip() and task.title


@pytest.mark.parametrize("name", TASKS)
def test_each_input_says_what_its_content_checks_ask_for(name: str) -> None:
    task = shipped().task(name)
    asked = {key for check in [*task.format, *task.content] for key in check.expect_keys()}
    assert asked, "the content checks are of the input"
    assert {item.id: sorted(asked - set(item.expect)) for item in golden(name) if asked - set(item.expect)} == {}


@pytest.mark.parametrize("name", TASKS)
def test_prompt_and_answer_fit_into_the_context_and_a_long_input_nearly_fills_it(name: str) -> None:
    task = shipped().task(name)
    room = task.sampling.context_length - task.sampling.max_new_tokens
    for item in golden(name):
        needed = tokens(task.system) + tokens(item.text())
        assert needed * TOKEN_SPREAD + TEMPLATE_TOKENS <= room, item.id
        assert "long" not in item.tags or needed >= LONG_SHARE * room, item.id


@pytest.mark.parametrize("name", TASKS)
def test_no_two_texts_that_a_model_is_asked_are_one_with_words_swapped(name: str) -> None:
    found = [(place, own(text), runs(text)) for place, text in texts(name)]
    whole = [text for _, text in texts(name)]
    assert len(set(whole)) == len(whole)
    for (one, text, words), (other, again, more) in itertools.combinations(found, 2):
        assert not words & more, (one, other)
        if min(len(text), len(again)) >= SHORTEST_COMPARED:
            assert fuzz.ratio(text, again, score_cutoff=MOST_ALIKE) == 0, (one, other)


def isolated(name: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.process] if any(check.ISOLATED for check in shipped().task(name).format) else []


@pytest.mark.parametrize("name", [pytest.param(name, marks=isolated(name)) for name in TRAINED])
def test_every_completion_of_the_training_data_passes_every_format_check(name: str) -> None:
    task = shipped().task(name)
    checks = [(check_id, check) for check_id, check in zip(check_ids(task.format), task.format, strict=True)]
    failed = {}
    for line, (prompt, completion) in enumerate(examples(name), start=1):
        expect, asked = counted(task, completion), AskedInput.of([("user", prompt)])
        for check_id, check in checks:
            result = build(check, 5.0).score(completion, expect, None, asked)
            if result.value < 1:
                failed[line, check_id] = result.detail
    assert failed == {}


def counted(task: Task, completion: str) -> dict[str, int]:
    """What the format checks of `judge` count by: the notes that the answer itself sums up. Other tasks' ask for nothing."""
    keys = {key for check in task.format for key in check.expect_keys()}
    assert keys <= {"notes"}
    found = re.search(r"^SUMMARY: (\d+) notes?", completion, flags=re.MULTILINE)
    return {"notes": int(found[1])} if keys and found else {}


@pytest.mark.parametrize("name", TRAINED)
def test_there_is_enough_to_learn_from_and_a_small_model_can(name: str) -> None:
    task, found = shipped().task(name), examples(name)
    assert len(found) >= FEWEST_EXAMPLES
    lengths = sorted(tokens(prompt) + tokens(completion) for prompt, completion in found)
    assert lengths[int(0.8 * len(lengths))] <= LONGEST_EXAMPLE_TOKENS
    longest = max(tokens(completion) for _, completion in found)
    assert task.sampling.max_new_tokens >= 1.5 * longest


@pytest.mark.parametrize("name", TASKS)
def test_days_of_the_week_are_those_of_their_dates(name: str) -> None:
    answers = [(f"answer {line}", answer) for line, (_, answer) in enumerate(examples(name), start=1)]
    for place, text in [*texts(name), *answers]:
        for match in DATED.finditer(text):
            day, number, month, year, iso_day, iso_year, iso_month, iso_number = match.groups()
            date = (
                datetime.date(int(year), MONTHS.index(month) + 1, int(number))
                if day
                else datetime.date(int(iso_year), int(iso_month), int(iso_number))
            )
            assert DAYS[date.weekday()] == (day or iso_day), (place, match.group())
