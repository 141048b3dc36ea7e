"""`json_schema`: the answer is one JSON document that a schema accepts; what stands at its pointers is captured.

Drafts 4 to 2020-12 are known by the schema's `$schema` (2020-12 without one). References lead to places of the schema itself
and nowhere else: nothing is read from a file or fetched. Patterns are those of Python, searched under the check's time limit,
which bounds the whole check.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)

from core.checks.base import BaseDefinition, Captures, CheckFault, CheckResult
from core.checks.json_text import BY_DEFAULT, FORGIVEN, Forgiven, NotJsonError, read_document
from core.checks.pointers import Pointer, as_text, found_at
from core.errors import KeyedError

MAX_CAPTURED = 10_000
"""Values under one name: no answer that anybody reads has more."""


def _forgiven(value: object) -> object:
    if isinstance(value, bool):
        return value
    if isinstance(value, list | tuple) and value and all(part in FORGIVEN for part in value):
        return tuple(value)
    raise ValueError(f"expected true, false, or a list of these: {', '.join(FORGIVEN)}")


class JsonSchemaCheck(BaseDefinition):
    """`schema` is the schema itself; with `file` it is what that file held when the task was read.

    `capture` names what stands at JSON pointers, in which `*` means every item or value. `forgive`: `true` is a fence around
    the whole answer and a byte order mark; a list may name `comments` too.
    """

    check: Literal["json_schema"]
    schema_: dict[str, Any] | bool = Field(alias="schema")
    file: str | None = Field(default=None, min_length=1)
    capture: dict[str, Pointer] = Field(default={})
    forgive: Annotated[bool | tuple[Forgiven, ...], BeforeValidator(_forgiven)] = True

    @model_serializer(mode="wrap")
    def _under_the_name_that_is_written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        document: dict[str, Any] = write(self)
        return {"schema" if key == "schema_" else key: value for key, value in document.items()}

    @field_validator("schema_")
    @classmethod
    def _is_a_schema(cls, schema: dict[str, Any] | bool) -> dict[str, Any] | bool:
        from core.checks.schemas import schema_fault

        fault = schema_fault(schema)
        if fault is not None:
            raise KeyedError(fault.message, key=fault.path)
        return schema

    @field_validator("capture")
    @classmethod
    def _has_names(cls, capture: dict[str, str]) -> dict[str, str]:
        for name in capture:
            if not name.isidentifier():
                raise ValueError(f"`{name}` is no name: letters, digits and `_`, no digit first")
        return capture

    @property
    def forgiven(self) -> frozenset[Forgiven]:
        if isinstance(self.forgive, bool):
            return BY_DEFAULT if self.forgive else frozenset()
        return frozenset(self.forgive)

    def is_unbounded(self, text: str, expect: Mapping[str, Any]) -> bool:
        """What has been looked at already the library finds out by itself, without a clock."""
        return '"unevaluated' in json.dumps(self.schema_)

    def group_names(self) -> tuple[str, ...]:
        return tuple(self.capture)


def score_json_schema(
    definition: JsonSchemaCheck, text: str, expect: Mapping[str, Any], captures: Captures, timeout: float
) -> CheckResult:
    """1 when the answer is one JSON document and the schema accepts it.

    Partial: where the schema requires keys of an object, the share of those that are there and valid; of a list, that of its
    valid items. All that is wrong elsewhere counts as one more of them, so that no answer with a fault has the full share.
    Values are captured from a document that the schema does not accept, too.
    """
    from core.checks.schemas import validate_document

    try:
        document = read_document(text, definition.forgiven)
    except NotJsonError as fault:
        return CheckResult(0.0, str(fault))
    found = {name: _captured(document, pointer) for name, pointer in definition.capture.items()}
    captured = {name: values for name, values in found.items() if values}
    findings = validate_document(definition.schema_, document, timeout)
    if not findings.detail:
        return CheckResult(1.0, "", captured)
    return CheckResult(findings.share if definition.partial else 0.0, findings.detail, captured)


def _captured(document: Any, pointer: str) -> list[str]:
    values: list[str] = []
    for value in found_at(document, pointer):
        if len(values) == MAX_CAPTURED:
            raise CheckFault(f"more than {MAX_CAPTURED:,} values stand at {pointer}")
        values.append(as_text(value))
    return values
