"""The check `python`: what its definition says, and what is refused of its file before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from core.authoring.lint import check_task
from core.checks import PythonCheck, build, check_hash
from core.checks.function_reads import FunctionReads
from core.checks.isolated import CheckKilledError, Kills
from core.config.project import load_project
from core.config.task import Task
from core.marking.expectations import expectation
from core.scoring.scorer import plan_all

CODE = "def score(text, expect, captures):\n    return True\n"
READ = (("asked",), ("a", "b"), True)


def definition(**keys: Any) -> PythonCheck:
    return PythonCheck.model_validate({"check": "python", "file": "checks/plan.py", "code": CODE, **keys})


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"memory": "256"}, "256MB or 2GB"),
        ({"memory": "1MB"}, "16MB to 64GB"),
        ({"memory": 256}, "256MB or 2GB"),
        ({"timeout": 0}, "greater than 0"),
        ({"timeout": 600}, "less than or equal to 60"),
        ({"function": "a.b"}, "pattern"),
    ],
)
def test_limits_that_are_none_are_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        definition(**keys)


def test_its_name_is_that_of_the_file_and_the_function() -> None:
    assert definition().default_id() == "python: plan.score"
    assert definition(memory="2 GB").memory_bytes == 2 * 10**9


@pytest.mark.parametrize(
    ("code", "line", "said"),
    [
        ("def score(text, expect, captures)\n    return True\n", 1, "no Python"),
        ("x = 1\ndef rate(text, expect, captures): return 1\n", None, "there is no function `score`; there are `rate`"),
        ("x = 1\n\ndef score(text): return 1\n", 3, "called with three values"),
        ("def score(text, expect, captures, *, strict): return 1\n", 1, "called with three values"),
        ("def score(text, expect, captures, question): return 1\n", 1, "where it has a parameter `asked`"),
        ("def score(text, expect, captures, asked, /): return 1\n", 1, "where it has a parameter `asked`"),
        ("async def score(text, expect, captures): return 1\n", 1, "no plain function"),
        ("import json\n\nfrom shared import helper\n" + CODE, 3, "a check is one file"),
        ("def score(text, expect, captures):\n    from . import shared\n", 2, "a check is one file"),
    ],
)
def test_what_is_wrong_with_the_file_is_said_at_its_line(
    code: str, line: int | None, said: str, tmp_path: Path
) -> None:
    file = project(tmp_path, code)
    (tmp_path / "checks/shared.py").write_text("def helper(): ...\n")
    (problem,) = check_task(load_project(tmp_path), file)
    assert (Path(problem.file or "").name, problem.line) == ("plan.py", line)
    assert said in problem.message


@pytest.mark.parametrize(
    "head",
    [
        "def score(*values):",
        "def score(text, expect, captures, strict=False):",
        "def score(text, expect, /, captures):",
        "def score(text, expect, captures, asked):",
        "def score(text, expect, captures, conversation, strict=False, *, asked):",
    ],
)
def test_any_function_that_takes_three_values_will_do(head: str, tmp_path: Path) -> None:
    file = project(tmp_path, f"import statistics\n\n\n{head}\n    return 1\n")
    assert check_task(load_project(tmp_path), file) == []


def test_the_code_is_part_of_the_task_and_of_its_hash_and_nobody_writes_it(tmp_path: Path) -> None:
    file = project(tmp_path, CODE)
    (first,) = load_project(tmp_path).task("plan").format
    assert isinstance(first, PythonCheck) and first.code == CODE
    (tmp_path / "checks/plan.py").write_text(CODE.replace("True", "False"))
    (second,) = load_project(tmp_path).task("plan").format
    assert check_hash(first) != check_hash(second)
    task = load_project(tmp_path).task("plan")
    (tmp_path / "checks/plan.py").unlink()
    assert Task.model_validate_json(task.model_dump_json()) == task, "a job reads no file of the project"
    (tmp_path / "checks/plan.py").write_text(CODE)
    file.write_text("format:\n  - {check: python, file: checks/plan.py, code: ''}\n")
    (problem,) = check_task(load_project(tmp_path), file)
    assert "exactly one may be" in problem.message


def test_all_that_an_input_expects_decides_what_it_says(tmp_path: Path) -> None:
    project(tmp_path, CODE)
    (tmp_path / "golden.yaml").write_text(
        "- {id: a, input: x, expect: {n: 1}}\n- {id: b, input: x, expect: {n: 2}}\n- {id: c, input: x, expect: {n: 1}}\n"
    )
    loaded = load_project(tmp_path)
    task = loaded.task("plan").model_copy(update={"golden": "golden.yaml"})
    hashes = {name: plan[0].hash for name, plan in plan_all(task, loaded.golden(task).inputs).items()}
    assert hashes["a"] == hashes["c"] != hashes["b"]


def test_an_input_that_it_reads_decides_what_it_says_and_one_that_it_does_not_read_does_not(tmp_path: Path) -> None:
    project(tmp_path, CODE)
    (tmp_path / "golden.yaml").write_text(
        "- {id: a, input: x}\n- {id: b, input: y}\n- {id: c, input: x}\n"
        "- {id: d, messages: [{role: system, content: s}, {role: user, content: x}]}\n"
        "- id: e\n  messages:\n    - {role: user, content: z}\n    - {role: assistant, content: z}\n"
        "    - {role: user, content: x}\n"
    )
    before = hashes_of(tmp_path)
    assert len(set(before.values())) == 1
    (tmp_path / "checks/plan.py").write_text(CODE.replace("captures)", "captures, asked)"))
    now = hashes_of(tmp_path)
    assert now["a"] == now["c"] == now["d"], "a system message is not of the input"
    assert len({before["a"], now["a"], now["b"], now["e"]}) == 4


def hashes_of(folder: Path) -> dict[str, str]:
    loaded = load_project(folder)
    task = loaded.task("plan").model_copy(update={"golden": "golden.yaml"})
    return {name: plan[0].hash for name, plan in plan_all(task, loaded.golden(task).inputs).items()}


@pytest.mark.parametrize(
    ("code", "inputs", "keys", "expects"),
    [
        ("def score(text, expect, captures): return True", (), (), False),
        ("def score(text, expect, captures): return expect['a'] and expect['b'] + expect['a']", (), ("a", "b"), True),
        ("def score(text, e, captures, asked): return e['a'] and other(e)\ndef other(e): return e['b']", *READ),
        (
            "def score(t, e, c, *, asked): return e['a'] or part(e)\ndef part(e): return more(e)\n"
            "def more(e): return e['b']\ndef unused(e): return e['c']",
            *READ,
        ),
        ("def score(t, e, c): return e.get('a') or e['a'] or ('b' in e and e['b']) or e['c']", (), ("c",), True),
        ("def score(t, e, c): return len(e) or c['d']", (), (), True),
        ("def score(*values): return 1", (), (), True),
        ("def score(asked, e, c, conversation=()): return e is None", ("conversation",), (), True),
        ("def rate(text, e, c): return e['a']", (), (), True),
        ("def score(", (), (), True),
    ],
)
def test_what_a_function_reads_is_seen_in_its_code(
    code: str, inputs: tuple[str, ...], keys: tuple[str, ...], expects: bool
) -> None:
    made = definition(code=code)
    assert made.function_reads == FunctionReads(inputs, keys, expects)
    assert made.reads_input == bool(inputs) and made.expect_keys() == keys


def test_the_keys_that_it_reads_are_missed_on_an_input_and_asked_for_by_marking(tmp_path: Path) -> None:
    file = project(tmp_path, "def score(text, expect, captures):\n    return expect['steps'] == 3\n")
    (tmp_path / "golden.yaml").write_text("- {id: a, input: x, expect: {steps: 3}}\n- {id: b, input: y}\n")
    file.write_text(file.read_text() + "golden: golden.yaml\n")
    (problem,) = check_task(load_project(tmp_path), file)
    assert "`b` has no `steps`, which the check `python: plan.score` asks for" in problem.message
    found = expectation(load_project(tmp_path).task("plan"), "three steps")
    assert (found.values, found.missing) == ({}, ("steps",))


def test_an_input_that_nobody_knows_is_said_to_be_that() -> None:
    made = definition(code=CODE.replace("captures)", "captures, asked)"))
    result = build(made).score("text", {})
    assert result.faulty
    assert result.detail == "score of checks/plan.py reads the input, and that of this answer is not known"


def test_a_check_that_was_killed_too_often_is_given_up_with_its_reason() -> None:
    kills, one, other = Kills(few=2, most=4), definition(), definition(timeout=3)
    killed = CheckKilledError("score of checks/plan.py crashed (SIGSEGV)")
    for fault, given_up in [(killed, False), (killed, True)]:
        kills.note(one, fault)
        assert (kills.given_up(one) is not None) == given_up
    assert kills.given_up(one) == (
        "not done on these answers any more, for on 2 of 2 score of checks/plan.py crashed (SIGSEGV)"
    )
    for fault in [None] * 10 + [killed] * 3:  # rarely: it goes on for longer
        kills.note(other, fault)
    assert kills.given_up(other) is None
    kills.note(other, killed)
    assert "on 4 of 14" in (kills.given_up(other) or "")


def project(folder: Path, code: str) -> Path:
    (folder / "bakehouse.yaml").write_text("id: probe\n")
    (folder / "checks").mkdir()
    (folder / "checks/plan.py").write_text(code)
    (folder / "configs/tasks").mkdir(parents=True)
    file = folder / "configs/tasks/plan.yaml"
    file.write_text("format:\n  - {check: python, file: checks/plan.py}\n")
    return file
