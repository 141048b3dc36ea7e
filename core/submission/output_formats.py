"""What an answer is held to while it is generated, looked at before any server is: a JSON schema, a GBNF grammar."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.config.validation import nearest
from core.config.yaml import found
from core.errors import InputError

TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")
# Keywords of JSON Schema 2020-12 by what stands behind them; those of older drafts that servers still read are among them.
_SCHEMAS = frozenset(
    {
        *("items", "additionalProperties", "additionalItems", "unevaluatedProperties", "unevaluatedItems", "contains"),
        *("not", "if", "then", "else", "propertyNames"),
    }
)
_LISTS_OF_SCHEMAS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_NAMED_SCHEMAS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_OTHERS = frozenset(
    {
        *(
            "type",
            "enum",
            "const",
            "$ref",
            "required",
            "pattern",
            "format",
            "minLength",
            "maxLength",
            "minimum",
            "maximum",
        ),
        *("exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems", "uniqueItems", "minContains"),
        *(
            "maxContains",
            "minProperties",
            "maxProperties",
            "dependentRequired",
            "$schema",
            "$id",
            "$anchor",
            "$comment",
        ),
        *(
            "title",
            "description",
            "default",
            "examples",
            "deprecated",
            "readOnly",
            "writeOnly",
            "$dynamicRef",
            "nullable",
        ),
        *("$dynamicAnchor", "$vocabulary", "contentEncoding", "contentMediaType", "contentSchema", "dependencies"),
    }
)
KEYWORDS = _SCHEMAS | _LISTS_OF_SCHEMAS | _NAMED_SCHEMAS | _OTHERS

_GRAMMAR_PART = re.compile(
    r"""(?P<comment>\#[^\n]*)|(?P<text>"(?:[^"\\\n]|\\.)*")|(?P<set>\[(?:[^\]\\\n]|\\.)*\])
    |(?P<token>!?<[^<>\s]+>)|(?P<head>[A-Za-z_][\w-]*)(?=\s*::=)|(?P<name>[A-Za-z_][\w-]*)
    |(?P<count>\{[0-9,\s]*\})|(?P<open>\()|(?P<close>\))|(?P<torn>["\[])""",
    re.VERBOSE,
)


def require_schema(content: str, file: Path) -> None:
    """Raise `InputError` for what is no JSON, and for JSON that no server takes as a schema."""

    def constant(name: str) -> None:
        raise _no_schema(file, f"{name} is not JSON")

    try:
        schema = json.loads(content, parse_constant=constant)
    except json.JSONDecodeError as error:
        raise InputError(f"no JSON: {error.msg}", code="bad_schema", file=file, line=error.lineno) from error
    except RecursionError:
        raise InputError("it is nested too deeply", code="bad_schema", file=file) from None
    if not isinstance(schema, dict):
        message = f"expected a JSON schema, which is an object, found {found(schema)}"
        raise InputError(message, code="bad_schema", file=file, remedy='write {"type": "object", …}')
    if schema and not schema.keys() & KEYWORDS:
        raise InputError(
            f"the object is no JSON schema: `{next(iter(schema))}` and the rest are none of its keywords",
            code="bad_schema",
            file=file,
            remedy='an example of an answer is not enough; write {"type": "object", "properties": {…}}',
        )
    try:
        for place, message in _faults(schema, schema, ()):
            raise _no_schema(file, message, ".".join(place) or None)
    except RecursionError:
        raise InputError("it is nested too deeply", code="bad_schema", file=file) from None


def _no_schema(file: Path, message: str, key: str | None = None) -> InputError:
    return InputError(message, code="bad_schema", file=file, key=key)


def _faults(schema: Any, root: dict[str, Any], place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """What is wrong in a schema, in its order, each with its place."""
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        yield place, f"expected a schema, found {found(schema)}"
        return
    for key, value in schema.items():
        at = (*place, key)
        if key == "type":
            yield from ((at, message) for message in _types(value))
        elif key == "$ref":
            if (message := _reference(value, root)) is not None:
                yield at, message
        elif key in ("enum", "required") and not isinstance(value, list):
            yield at, f"expected a list, found {found(value)}"
        elif key in _LISTS_OF_SCHEMAS or (key == "items" and isinstance(value, list)):
            if not isinstance(value, list) or not value:
                yield at, f"expected a list of schemas, found {found(value)}"
                continue
            for index, one in enumerate(value):
                yield from _faults(one, root, (*at, str(index)))
        elif key in _NAMED_SCHEMAS:
            if not isinstance(value, dict):
                yield at, f"expected schemas by name, found {found(value)}"
                continue
            for name, one in value.items():
                yield from _faults(one, root, (*at, name))
        elif key in _SCHEMAS:
            yield from _faults(value, root, at)


def _types(value: Any) -> Iterator[str]:
    for one in value if isinstance(value, list) else [value]:
        if one not in TYPES:
            near = nearest(one, TYPES) if isinstance(one, str) else None
            yield f"expected a type, found {found(one)}" + (f": did you mean `{near}`?" if near else "")


def _reference(value: Any, root: dict[str, Any]) -> str | None:
    """Why a reference leads nowhere; a server fetches no other document."""
    if not isinstance(value, str):
        return f"expected a reference, found {found(value)}"
    if not value.startswith("#"):
        return f"`{value}` is in another document, which no server fetches"
    target: Any = root
    for step in value[1:].split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        target = target.get(name) if isinstance(target, dict) else None
        if target is None:
            return f"`{value}` leads nowhere"
    return None


def require_grammar(content: str, file: Path) -> None:
    """Raise `InputError` for what is no grammar in GBNF: without a rule `root`, with a torn text or bracket, or a rule that is
    named and not there. What only a server can tell is left to it.
    """
    heads: set[str] = set()
    names: dict[str, int] = {}
    depth, parts = 0, 0
    for part in _GRAMMAR_PART.finditer(content):
        kind, text = str(part.lastgroup), part[0]
        line = content.count("\n", 0, part.start()) + 1
        parts += kind != "comment"
        if kind == "torn":
            what = "text" if text == '"' else "set of signs"
            raise InputError(f"a {what} begins with {text} and does not end", code="bad_grammar", file=file, line=line)
        if kind == "head":
            if depth:
                raise InputError("a bracket before this rule is not closed", code="bad_grammar", file=file, line=line)
            heads.add(text)
        elif kind == "name":
            names.setdefault(text, line)
        depth += (kind == "open") - (kind == "close")
        if depth < 0:
            raise InputError("a bracket is closed that was not opened", code="bad_grammar", file=file, line=line)
    if not parts:
        raise InputError("the grammar is empty", code="bad_grammar", file=file, remedy="write its rules, `root ::= …`")
    if "root" not in heads:
        raise InputError(
            "the grammar has no rule `root`, where an answer begins",
            code="bad_grammar",
            file=file,
            remedy="write `root ::= …`",
        )
    if depth:
        raise InputError("a bracket is not closed", code="bad_grammar", file=file)
    for name, line in names.items():
        if name not in heads:
            near = nearest(name, sorted(heads))
            raise InputError(
                f"the rule `{name}` is not there",
                code="bad_grammar",
                file=file,
                line=line,
                remedy=f"did you mean `{near}`?" if near else f"write `{name} ::= …`",
            )
