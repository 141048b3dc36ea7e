"""`check_project` finds what is wrong across files, each with its line, and stops at nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.authoring.lint import check_project, check_settings_file
from core.authoring.task_rows import task_rows
from core.config.project import Project
from core.errors import InputError

TASK = """\
golden: golden/t.yaml
data: {train: data/t.jsonl}
format:
  - {check: regex, pattern: '(?P<verdict>PASS|FAIL)'}
content:
  - {check: captured_equals, name: verdict}
"""
LONG = "a long enough text that stands in the training data as well as here"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    root = tmp_path / "project"
    for place in ("configs/tasks", "configs/recipes", "golden", "data"):
        (root / place).mkdir(parents=True)
    (root / "bakehouse.yaml").write_text("id: p\n")
    (root / "configs/tasks/t.yaml").write_text(TASK)
    (root / "golden/t.yaml").write_text("- {id: a, input: x, expect: {verdict: PASS}}\n")
    (root / "data/t.jsonl").write_text('{"prompt": "p", "completion": "PASS"}\n')
    return root


def problems(folder: Path) -> list[tuple[str, int | None, str]]:
    found = check_project(Project.find(folder))
    return [(Path(str(one.file)).relative_to(folder).as_posix(), one.line, one.code) for one in found]


def test_a_sound_project_has_no_problem(folder: Path) -> None:
    assert problems(folder) == []


def test_an_expectation_that_a_check_asks_for_is_missed_in_the_golden_file(folder: Path) -> None:
    (folder / "golden/t.yaml").write_text("- {id: a, input: x, expect: {verdict: PASS}}\n- {id: b, input: y}\n")
    assert problems(folder) == [("golden/t.yaml", 2, "missing_expect")]


def test_a_golden_input_in_the_training_data_is_a_leak_with_the_datas_line(folder: Path) -> None:
    (folder / "golden/t.yaml").write_text(f"- {{id: a, input: '{LONG}', expect: {{verdict: PASS}}}}\n")
    (folder / "data/t.jsonl").write_text(
        '{"prompt": "p", "completion": "PASS"}\n' + f'{{"prompt": "Note: {LONG}!", "completion": "PASS"}}\n'
    )
    assert problems(folder) == [("data/t.jsonl", 2, "leak")]


def test_thoughts_of_a_task_that_does_not_think_are_named_before_there_is_a_tokenizer(folder: Path) -> None:
    lines = ["PASS", r"<think>\nhm\n</think>\n\nPASS", r"hm</think>PASS"]
    (folder / "data/t.jsonl").write_text(
        "".join(f'{{"prompt": "{text[:3]}", "completion": "{text}"}}\n' for text in lines)
    )
    assert problems(folder) == [("data/t.jsonl", 2, "thoughts_while_off")]
    (found,) = check_project(Project.find(folder))
    assert found.message.endswith("lines 2, 3") and "thinking: on" in str(found.remedy)
    (folder / "configs/tasks/t.yaml").write_text(f"{TASK}thinking: on\n")
    assert problems(folder) == []


def test_a_line_that_is_no_json_is_named(folder: Path) -> None:
    (folder / "data/t.jsonl").write_text('{"prompt": "p", "completion": "PASS"}\n{"prompt": \n')
    assert problems(folder) == [("data/t.jsonl", 2, "not_json")]


def test_files_that_the_task_names_and_that_are_missing_are_reported_in_the_task(folder: Path) -> None:
    (folder / "golden/t.yaml").unlink()
    (folder / "data/t.jsonl").unlink()
    assert problems(folder) == [
        ("configs/tasks/t.yaml", 1, "missing_file"),
        ("configs/tasks/t.yaml", 2, "missing_file"),
    ]


def test_a_task_with_golden_inputs_needs_a_check(folder: Path) -> None:
    (folder / "configs/tasks/t.yaml").write_text("golden: golden/t.yaml\n")
    assert problems(folder) == [("configs/tasks/t.yaml", 1, "no_checks")]


def test_a_task_only_to_train_on_needs_none(folder: Path) -> None:
    (folder / "configs/tasks/t.yaml").write_text("data: {train: data/t.jsonl}\n")
    assert problems(folder) == []


def test_every_broken_file_is_reported_and_not_only_the_first(folder: Path) -> None:
    (folder / "configs/tasks/b.yaml").write_text("a: [\n")
    (folder / "configs/tasks/c.yaml").write_text("repeats: 0\nsytem: x\n")
    (folder / "configs/tasks/d.yml").write_text("repeats: 3\n")
    (folder / "configs/recipes/r.yaml").write_text("method: lora\nlr: five\n")
    (folder / "configs/models.yaml").write_text("A: {hub: a/b}\nB: {path: none}\nC: text\nD: {hub: x}\n")
    found = problems(folder)
    assert found[:2] == [("configs/models.yaml", 2, "missing_file"), ("configs/models.yaml", 3, "wrong_value")]
    assert ("configs/models.yaml", 4, "wrong_value") in found
    assert ("configs/recipes/r.yaml", 2, "wrong_value") in found
    assert ("configs/recipes/r.yaml", 1, "missing_key") in found
    assert ("configs/tasks/b.yaml", 2, "yaml_syntax") in found
    assert [code for file, _, code in found if file == "configs/tasks/c.yaml"] == ["wrong_value", "unknown_key"]
    assert ("configs/tasks/d.yml", None, "unknown_file") in found


def test_an_interpreter_that_is_not_there_is_reported(folder: Path) -> None:
    (folder / "bakehouse.yaml").write_text("id: p\njobs: {python: venv/bin/python}\n")
    assert problems(folder) == [("bakehouse.yaml", 2, "missing_file")]
    (said,) = check_project(Project.find(folder))
    assert str(said).startswith(f"{folder}/bakehouse.yaml:2: jobs.python: there is no interpreter {folder}/venv/bin/")


def test_an_interpreter_is_reported_in_the_settings_that_name_it(folder: Path, tmp_path: Path) -> None:
    settings = tmp_path / "config/bakehouse/settings.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text("# mine\njobs: {python: /no/python}\n")
    (said,) = check_project(Project.find(folder))
    assert (said.file, said.line) == (str(settings), 2)


def test_one_missing_key_is_one_problem_that_names_the_inputs(folder: Path) -> None:
    inputs = [f"- {{id: a{number}, input: x, expect: {{verdikt: PASS}}}}\n" for number in range(8)]
    (folder / "golden/t.yaml").write_text("".join(inputs))
    (said,) = check_project(Project.find(folder))
    assert said.line == 1
    assert said.message == (
        "`a0`, `a1`, `a2`, `a3`, `a4`, `a5` and 2 more have no `verdict`, which the check `verdict equals expect` asks for"
    )
    assert said.remedy == "did you mean `verdikt`, which no check asks for?"


@pytest.mark.parametrize(("inputs", "sources", "warned"), [(1, 1, True), (5, 5, True), (6, 6, False), (9, 3, True)])
def test_golden_sets_that_can_prove_nothing_are_warned_of(
    folder: Path, inputs: int, sources: int, warned: bool
) -> None:
    lines = [
        f"- {{id: a{number}, input: x, source: s{number % sources}, expect: {{verdict: PASS}}}}\n"
        for number in range(inputs)
    ]
    (folder / "golden/t.yaml").write_text("".join(lines))
    project = Project.find(folder)
    assert check_project(project) == []
    assert [one.code for row in task_rows(project, own=True) for one in row.warnings] == ["few_golden_inputs"] * warned


def test_everything_wrong_in_the_projects_own_file_is_listed(folder: Path) -> None:
    (folder / "bakehouse.yaml").write_text("id: p\nqueue: {on_restart: never}\ncolour: red\n")
    with pytest.raises(InputError) as caught:
        Project.find(folder)
    found = check_settings_file(caught.value)
    assert [(one.line, one.key) for one in found] == [(2, "queue.on_restart"), (3, "colour")]
    assert not any("more in this file" in str(one) for one in found)
