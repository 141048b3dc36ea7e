"""The check `json_schema`: what its definition refuses, with the line; how files of the project become part of a task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from core.authoring.lint import check_task
from core.checks import JsonSchemaCheck, build, check_hash
from core.config.project import load_project
from core.config.task import Task

PLAN: dict[str, Any] = {
    "type": "object",
    "required": ["verdict", "steps"],
    "additionalProperties": False,
    "properties": {
        "verdict": {"enum": ["PASS", "FAIL"]},
        "steps": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/step"}},
    },
    "$defs": {
        "step": {
            "type": "object",
            "required": ["title"],
            "properties": {"title": {"type": "string", "pattern": "^[A-Z]"}, "day": {"format": "date"}},
        }
    },
}
GOOD = {"verdict": "PASS", "steps": [{"title": "Dig", "day": "2026-03-01"}, {"title": "Sow"}]}


def check(schema: Any, **keys: Any) -> JsonSchemaCheck:
    return JsonSchemaCheck.model_validate({"check": "json_schema", "schema": schema, **keys})


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "strin"}, "/type"),
        ({"properties": {"a": {"minimum": "3"}}}, "/properties/a/minimum"),
        ({"$schema": "https://example.org/own"}, "no draft of JSON Schema"),
        ({"properties": {"a": {"pattern": "(a"}}}, "/properties/a/pattern"),
        ({"patternProperties": {"(?:a{1000}){1000}": {}}}, "unfold"),
        ({"properties": {"a": {"$ref": "https://example.org/a.json"}}}, "other schemas are not read"),
        ({"$ref": "file:///etc/hostname"}, "other schemas are not read"),
        ({"allOf": [{"$ref": "#/$defs/none"}]}, "leads to nothing"),
    ],
)
def test_a_schema_that_is_none_is_refused(schema: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        check(schema)


def test_a_definition_is_the_same_when_it_is_read_from_a_job_file() -> None:
    task = Task.model_validate({"name": "t", "format": [check(PLAN, capture={"v": "/verdict"}).model_dump()]})
    again = Task.model_validate_json(task.model_dump_json())
    assert again == task
    assert check_hash(again.format[0]) == check_hash(task.format[0])


def test_what_stands_at_the_pointers_is_captured_even_of_a_document_that_is_refused() -> None:
    made = build(check(PLAN, capture={"verdict": "/verdict", "titles": "/steps/*/title", "first": "/steps/0"}))
    assert made.score(json.dumps(GOOD), {}).captures == {
        "verdict": ["PASS"],
        "titles": ["Dig", "Sow"],
        "first": ['{"title":"Dig","day":"2026-03-01"}'],
    }
    refused = made.score(json.dumps({**GOOD, "verdict": "MAYBE"}), {})
    assert (refused.value, refused.captures["verdict"]) == (0, ["MAYBE"])


def test_the_same_fault_has_the_same_words_wherever_it_stands() -> None:
    made = build(check(PLAN))
    faults = {
        made.score(json.dumps({"verdict": "PASS", "steps": [*[{"title": "A"}] * place, {"title": "low"}]}), {}).detail
        for place in range(3)
    }
    assert faults == {"/steps/*/title does not match its pattern"}


@pytest.mark.parametrize(
    ("schema", "document"),
    [
        ({"additionalProperties": {"pattern": "(x+x+)+y"}}, {"a": "x" * 5_000}),
        ({"patternProperties": {"(x+x+)+y": {}}, "additionalProperties": False}, {"x" * 5_000: 1}),
        (
            {"$defs": {"a": {"anyOf": [{"items": {"$ref": "#/$defs/a"}, "minItems": 9}] * 4}}, "$ref": "#/$defs/a"},
            json.loads("[" * 45 + "]" * 45),
        ),
    ],
)
def test_a_schema_that_would_take_for_ever_ends_with_its_time(schema: Any, document: Any) -> None:
    result = build(check(schema), 0.2).score(json.dumps(document), {})
    assert (result.faulty, result.detail) == (True, "the schema ran longer than 0.2 s")


def test_a_schema_that_refers_to_itself_without_end_is_faulty() -> None:
    result = build(check({"$ref": "#"})).score("{}", {})
    assert (result.faulty, result.detail) == (True, "the schema refers to itself without end")


def project(folder: Path, task: str) -> Path:
    (folder / "bakehouse.yaml").write_text("id: probe\n")
    (folder / "checks").mkdir()
    (folder / "configs/tasks").mkdir(parents=True)
    file = folder / "configs/tasks/plan.yaml"
    file.write_text(task)
    return file


def test_a_schema_of_a_file_is_part_of_the_task_and_of_its_hash(tmp_path: Path) -> None:
    project(tmp_path, "format:\n  - {check: json_schema, file: checks/plan.json}\n")
    schema = tmp_path / "checks/plan.json"
    hashes = []
    for least in (1, 2):
        schema.write_text(json.dumps({"minItems": least}))
        (made,) = load_project(tmp_path).task("plan").format
        assert isinstance(made, JsonSchemaCheck) and made.schema_ == {"minItems": least}
        hashes.append(check_hash(made))
    assert hashes[0] != hashes[1]


def test_what_is_wrong_with_a_file_is_said_at_its_line(tmp_path: Path) -> None:
    checks = ["plan.json", "broken.json", "../out.json", "/etc/hostname", "link.json", "none.json"]
    lines = "".join(
        f"  - {{check: json_schema, file: {name if '/' in name else f'checks/{name}'}}}\n" for name in checks
    )
    file = project(tmp_path, f"format:\n{lines}  - {{check: json_schema, file: checks/plan.json, schema: true}}\n")
    (tmp_path / "checks/plan.json").write_text('{\n "properties": {\n  "a": {"type": "strin"}}}')
    (tmp_path / "checks/broken.json").write_text('{\n "a": 1,\n "a": 2}')
    (tmp_path / "checks/link.json").symlink_to("/etc/hostname")
    found = check_task(load_project(tmp_path), file)
    assert [(Path(one.file or "").name, one.line) for one in found] == [
        ("plan.json", 3),
        ("broken.json", None),
        ("plan.yaml", 4),
        ("plan.yaml", 5),
        ("plan.yaml", 6),
        ("plan.yaml", 7),
        ("plan.yaml", 8),
    ]
    said = [one.message for one in found]
    assert "the key `a` stands twice" in said[1]
    assert "own folder" in said[2] and "own folder" in said[3] and "leads out" in said[4]
    assert "there is no file" in said[5] and "exactly one may be" in said[6]
