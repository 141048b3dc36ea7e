"""What a person writes becomes a model, or one error with file, line, key, what was expected and what was meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.config.base import Loaded
from core.config.model import ModelEntry
from core.config.recipe import Recipe
from core.config.task import Task
from core.config.validation import check, validate
from core.config.yaml import load_mapping
from core.errors import InputError

RECIPE = "method: lora\nrank: 8\nalpha: 16\nmax_length: 512\nepochs: 2\nbatch_size: 1\nlr: 5e-5\n"


@pytest.fixture
def read(tmp_path: Path):
    def read(model: type[Loaded], text: str) -> tuple[Any, list[InputError]]:
        file = tmp_path / "thing.yaml"
        file.write_text(text)
        made, problems = check(model, load_mapping(file), given={"name": "thing"})
        assert all(problem.exit_code == 2 and problem.file == str(file) for problem in problems)
        return made, problems

    return read


@pytest.fixture
def problem(read):
    def problem(model: type[Loaded], text: str) -> InputError:
        made, problems = read(model, text)
        assert made is None
        assert len(problems) == 1, [str(one) for one in problems]
        return problems[0]

    return problem


def test_thinking_off_is_the_word_off_and_5e_5_is_a_number(read) -> None:
    assert read(Task, "thinking: off\n")[0].thinking == "off"
    assert read(Recipe, RECIPE)[0].lr == 5e-5


def test_a_key_with_nothing_behind_it_is_as_good_as_none(read) -> None:
    task, _ = read(Task, "system:\nformat:\n  # - {check: regex, pattern: x}\ndata:\n")
    assert (task.system, task.format, task.data.train) == ("", [], None)


def test_an_unknown_key_is_named_with_its_line_and_the_key_that_was_meant(problem) -> None:
    error = problem(Task, "thinking: off\nsampling:\n  top_k: 5\n  temprature: 0.2\n")
    assert (error.code, error.line, error.key) == ("unknown_key", 4, "sampling.temprature")
    assert "did you mean `temperature`?" in str(error)


@pytest.mark.parametrize(
    ("model", "text", "meant"),
    [
        (Recipe, RECIPE.replace("lr:", "learning_rate:"), "did you mean `lr`?"),
        (Recipe, RECIPE.replace("rank:", "r:"), "did you mean `rank`?"),
        (Recipe, RECIPE + "gradient_checkpointing: true\n", "did you mean `activation_checkpointing`?"),
        (Task, "sampling: {num_ctx: 4096}\n", "did you mean `context_length`?"),
        (Task, "temperature: 0.2\n", "it belongs under `sampling`"),
        (Task, "data: {repeats: 3}\n", "it belongs at the top level"),
        (Task, "format:\n  - {check: heading, levl: 3, level: 3, pattern: x}\n", "did you mean `level`?"),
        (ModelEntry, "hub: a/b\nsizeofit: 3\n", "known here: "),
    ],
)
def test_a_key_of_another_tool_or_place_leads_to_the_one_that_was_meant(problem, model, text: str, meant: str) -> None:
    assert meant in problem(model, text).remedy


@pytest.mark.parametrize(
    ("model", "text", "line", "key", "words"),
    [
        (Task, "thinking: On\n", 1, "thinking", "expected `off` or `on`, found the text 'On'; did you mean `on`?"),
        (Task, "repeats: 0\n", 1, "repeats", "must be at least 1"),
        (Task, "repeats: true\n", 1, "repeats", "expected a whole number, found `true`"),
        (Task, "repeats: '3'\n", 1, "repeats", "expected a whole number, found the text '3'"),
        (
            Task,
            "sampling:\n  max_new_tokens: 2.5\n",
            2,
            "sampling.max_new_tokens",
            "a whole number, found the number 2.5",
        ),
        (Task, "sampling: 3\n", 1, "sampling", "expected a mapping of keys, found the number 3"),
        (Task, "margin: 1\n", 1, "margin", "must be below 1"),
        (Task, "margin: .nan\n", 1, "margin", "expected a finite number"),
        (Task, "system: 3\n", 1, "system", "expected text, found the number 3"),
        (Task, "format: none\n", 1, "format", "expected a list, found the text 'none'"),
        (Task, "format:\n  - {check: tabel}\n", 2, "format[0].check", "did you mean `table`?"),
        (Task, "format:\n  - {level: 3}\n", 2, "format[0].check", "the key `check` is missing"),
        (Task, "format:\n  - {check: regex}\n", 2, "format[0].pattern", "the key `pattern` is missing"),
        (Task, "format:\n  - {check: regex, pattern: '(x'}\n", 2, "format[0].pattern", "missing )"),
        (Recipe, RECIPE.replace("lr: 5e-5\n", ""), 1, "lr", "the key `lr` is missing"),
        (Recipe, RECIPE.replace("5e-5", "2"), 7, "lr", "must be below 1"),
        (Recipe, RECIPE.replace("method: lora", "method: qlora"), 1, "method", "did you mean `qlora-hqq`?"),
        (Recipe, RECIPE + "targets:\n  - q_proj\n  - lm_head\n", 10, "targets[1]", "`lm_head` cannot carry a LoRA"),
        (Recipe, RECIPE + "hqq: {bits: 4}\n", 8, "hqq", "set method: qlora-hqq"),
        (ModelEntry, "hub: Qwen3-4B\n", 1, "hub", "expected OWNER/NAME"),
    ],
)
def test_a_wrong_value_says_where_it_is_and_what_was_expected(problem, model, text, line, key, words) -> None:
    error = problem(model, text)
    assert (error.line, error.key) == (line, key)
    assert words in str(error)


def test_an_answer_longer_than_the_context_is_refused(problem) -> None:
    error = problem(Task, "sampling:\n  context_length: 1024\n  max_new_tokens: 2048\n")
    assert (error.line, error.key) == (3, "sampling.max_new_tokens")


def test_what_is_compared_must_be_captured(problem, read) -> None:
    form = "format:\n  - {check: regex, pattern: '(?P<verdict>yes|no)'}\ncontent:\n"
    assert read(Task, form + "  - {check: captured_equals, name: verdict}\n")[0] is not None
    error = problem(Task, form + "  - {check: captured_equals, name: verdit}\n")
    assert (error.line, error.key) == (4, "content[0].name")
    assert "they capture verdict" in str(error)


def test_two_checks_cannot_have_one_id(problem) -> None:
    error = problem(
        Task, "format:\n  - {check: regex, pattern: x, id: a}\ncontent:\n  - {check: regex, pattern: y, id: a}\n"
    )
    assert (error.line, error.key) == (4, "content[0].id")


@pytest.mark.parametrize(
    ("text", "words"), [("hub: a/b\npath: x\n", "`hub` and `path` are given"), ("family: x\n", "nowhere")]
)
def test_a_model_has_exactly_one_source(problem, text: str, words: str) -> None:
    assert words in problem(ModelEntry, text).message


def test_a_quantised_recipe_has_options_without_saying_so(read) -> None:
    recipe, _ = read(Recipe, RECIPE.replace("lora", "qlora-hqq"))
    assert (recipe.hqq.bits, recipe.hqq.group_size) == (4, 64)


def test_all_problems_of_a_file_are_found_and_sorted_by_line(read) -> None:
    _, problems = read(Task, "margin: 2\nsytem: x\nrepeats: 0\nsampling:\n  top_p: 3\n")
    assert [(one.line, one.key) for one in problems] == [
        (1, "margin"),
        (2, "sytem"),
        (3, "repeats"),
        (5, "sampling.top_p"),
    ]


def test_one_error_stands_for_all_and_says_how_many_more_there_are(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text("margin: 2\nrepeats: 0\nsytem: x\n")
    with pytest.raises(InputError) as caught:
        validate(Task, load_mapping(file), given={"name": "t"})
    assert (caught.value.line, caught.value.key) == (1, "margin")
    assert "2 more in this file" in str(caught.value)


def test_an_object_read_back_from_json_equals_the_one_of_the_file(read) -> None:
    task, _ = read(Task, "format:\n  - {check: table, columns: [A, B], rows: 2}\n")
    again = Task.model_validate_json(task.model_dump_json())
    assert again == task
    assert (task.file is not None, again.file) == (True, None)


def test_nothing_can_be_changed_after_it_was_read(read) -> None:
    task, _ = read(Task, "repeats: 3\n")
    with pytest.raises(ValueError, match="frozen"):
        task.repeats = 4
