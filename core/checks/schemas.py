"""JSON Schema by the library `jsonschema` within a time limit: whether a schema is one, and what it finds in a document."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from core.checks.base import CheckFault, in_short
from core.checks.patterns import Stopwatch, check_pattern, compile_pattern, search
from core.checks.pointers import pointer_to

if TYPE_CHECKING:
    from jsonschema import FormatChecker, ValidationError

Path = tuple[str | int, ...]
Schema = dict[str, Any] | bool

NEWEST = "https://json-schema.org/draft/2020-12/schema"
DRAFTS = {
    "http://json-schema.org/draft-04/schema": "Draft4Validator",
    "http://json-schema.org/draft-06/schema": "Draft6Validator",
    "http://json-schema.org/draft-07/schema": "Draft7Validator",
    "https://json-schema.org/draft/2019-09/schema": "Draft201909Validator",
    NEWEST: "Draft202012Validator",
}
FORMATS = ("date", "date-time", "time", "email", "ipv4", "ipv6", "uuid")
"""The formats that are looked at; any other says nothing, as the standard has it."""
MAX_SHOWN = 40
_SIZES = {
    "minItems": ("at least", "items"),
    "maxItems": ("at most", "items"),
    "minLength": ("at least", "characters"),
    "maxLength": ("at most", "characters"),
    "minProperties": ("at least", "keys"),
    "maxProperties": ("at most", "keys"),
}
_BOUNDS = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "above", "exclusiveMaximum": "below"}
_watch: ContextVar[Stopwatch] = ContextVar("_watch")


@dataclass(frozen=True)
class SchemaFault:
    """What is wrong with a schema, and where in it."""

    path: Path
    message: str


@dataclass(frozen=True)
class SchemaFindings:
    """`detail` is the fault nearest to the top, in words that are the same for the same fault; empty where all is well.
    `share` is that of the partial score, from 0 to 1."""

    detail: str
    share: float


def schema_fault(schema: Schema) -> SchemaFault | None:
    """The first fault of a schema: an unknown draft, a wrong keyword, a pattern that can't be compiled, a reference that leads
    out of the schema or nowhere. None where it is well."""
    from jsonschema.exceptions import SchemaError

    if isinstance(schema, bool):
        return None
    try:
        json.dumps(schema, allow_nan=False)
        name = _draft(schema)
        _validator_class(name).check_schema(schema)
        return _inner_fault(_resource(schema, name))
    except SchemaError as error:
        place = tuple(error.path)
        return SchemaFault(place, f"no valid schema: {_pointer(place)}: {error.message[:200]}")
    except CheckFault as fault:
        return SchemaFault(("$schema",), str(fault))
    except (TypeError, ValueError) as error:
        return SchemaFault((), f"no JSON: {error}")
    except RecursionError:
        return SchemaFault((), "the schema is nested too deeply")


def validate_document(schema: Schema, document: Any, timeout: float) -> SchemaFindings:
    """What a schema says of a document. Raises CheckFault when that takes longer than `timeout` seconds."""
    from referencing.exceptions import Unresolvable

    watch = Stopwatch(timeout, "the schema")
    token = _watch.set(watch)
    try:
        return _findings(schema, document, watch)
    except RecursionError:
        raise CheckFault("the schema refers to itself without end") from None
    except Unresolvable as error:
        raise CheckFault(f"the schema refers to what it does not hold: {str(error)[:MAX_SHOWN]}") from None
    finally:
        _watch.reset(token)


def _findings(schema: Schema, document: Any, watch: Stopwatch) -> SchemaFindings:
    nearest: ValidationError | None = None
    wrong: set[str | int] = set()
    elsewhere = other = False
    for error in _validator(json.dumps(schema)).iter_errors(document):
        watch.remaining()
        if nearest is None or len(error.absolute_path) < len(nearest.absolute_path):
            nearest = error
        if error.absolute_path:
            wrong.add(error.absolute_path[0])
        elif error.validator != "required":
            elsewhere = True
            other = other or error.validator in ("type", "const", "enum")
    if nearest is None:
        return SchemaFindings("", 1.0)
    return SchemaFindings(_words(nearest), 0.0 if other else _share(schema, document, wrong, elsewhere))


def _share(schema: Schema, document: Any, wrong: set[str | int], elsewhere: bool) -> float:
    required = schema.get("required", []) if isinstance(schema, dict) else []
    if isinstance(document, list) and document:
        parts: list[str | int] = list(range(len(document)))
    elif isinstance(document, dict) and isinstance(required, list) and required:
        parts = list(dict.fromkeys(required))
    else:
        return 0.0
    there = [part for part in parts if isinstance(document, list) or part in document]
    good = sum(part not in wrong for part in there)
    rest = not elsewhere and wrong <= set(parts)
    if rest and good == len(parts):  # the fault is none that has a place: one of `required` in a branch, say
        rest = False
    return (good + rest) / (len(parts) + 1)


def _words(error: ValidationError) -> str:
    """A fault in few words. Places in lists are written `*`: that the third step or the fifth lacks a title is one reason."""
    where = _pointer(tuple("*" if isinstance(part, int) else part for part in error.absolute_path))
    value: Any = error.instance
    limit: Any = error.validator_value
    match error.validator:
        case "required":
            missing = next((name for name in limit if isinstance(value, dict) and name not in value), "a key")
            return f"`{_clip(str(missing))}` is missing" + (f" in {where}" if error.absolute_path else "")
        case "type":
            wanted = " or ".join(limit) if isinstance(limit, list) else str(limit)
            return f"{where} is {_kind(value)}, {wanted} expected"
        case "enum":
            return f"{where} is none of {_clip(', '.join(map(_value, limit)))}"
        case "const":
            return f"{where} is not {_clip(_value(limit))}"
        case "additionalProperties":
            return f"`{_clip(error.message)}` is not wanted" + (f" in {where}" if error.absolute_path else "")
        case str(keyword) if keyword in _SIZES:
            bound, what = _SIZES[keyword]
            return f"{where} has {len(value)} {what}, {bound} {limit} expected"
        case str(keyword) if keyword in _BOUNDS:
            return f"{where} is {_clip(_value(value))}, {_BOUNDS[keyword]} {limit} expected"
        case "pattern":
            return f"{where} does not match its pattern"
        case "format":
            return f"{where} is no {limit}"
        case "uniqueItems":
            return f"{where} has the same item twice"
        case None:
            return f"{where} is not allowed"
    return f"{where} fails `{error.validator}`"


def _pointer(path: Path) -> str:
    return pointer_to(*path) if path else "the document"


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    return "a string" if isinstance(value, str) else "a list" if isinstance(value, list) else _other_kind(value)


def _other_kind(value: Any) -> str:
    return "an object" if isinstance(value, dict) else "a number"


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _clip(text: str) -> str:
    return in_short(text, MAX_SHOWN)


def _draft(schema: Mapping[str, Any]) -> str:
    """The address of the schema's draft. CheckFault for one that is not known."""
    named = str(schema.get("$schema", NEWEST)).removesuffix("#")
    if named not in DRAFTS:
        raise CheckFault(f"no draft of JSON Schema that is known: {named[:80]}")
    return named


def _resource(schema: Mapping[str, Any], draft: str) -> Any:
    from referencing import Resource

    return Resource.from_contents(dict(schema), default_specification=_specification(draft))


def _specification(draft: str) -> Any:
    from referencing.jsonschema import specification_with

    return specification_with(draft)


def _inner_fault(resource: Any) -> SchemaFault | None:
    """Patterns and references, wherever a schema stands in the schema."""
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import SchemaRegistry

    def look(one: Any, resolver: Any) -> SchemaFault | None:
        contents = one.contents
        if not isinstance(contents, Mapping):
            return None
        for pattern in [contents.get("pattern"), *(contents.get("patternProperties") or {})]:
            if isinstance(pattern, str):
                try:
                    compile_pattern(check_pattern(pattern))
                except ValueError as error:
                    return SchemaFault((), f"the pattern {_clip(pattern)!r}: {error}")
        for keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
            reference = contents.get(keyword)
            if isinstance(reference, str):
                try:
                    resolver.lookup(reference)
                except Unresolvable:
                    message = f"the reference {_clip(reference)} leads to nothing in the schema"
                    return SchemaFault((), f"{message}: other schemas are not read")
        for inner in one.subresources():
            if fault := look(inner, resolver.in_subresource(inner)):
                return fault
        return None

    registry: SchemaRegistry = _registry()
    return look(resource, registry.resolver_with_root(resource))


def _registry() -> Any:
    """The schemas of the drafts themselves; nothing else can be referred to, and nothing is fetched."""
    from referencing.jsonschema import EMPTY_REGISTRY

    return EMPTY_REGISTRY


@lru_cache(maxsize=32)
def _validator(schema_json: str) -> Any:
    schema = json.loads(schema_json)
    draft = _draft(schema) if isinstance(schema, dict) else NEWEST
    return _bounded_class(draft)(schema, registry=_registry(), format_checker=_formats())


def _validator_class(draft: str) -> Any:
    import jsonschema

    return getattr(jsonschema, DRAFTS[draft])


@lru_cache(maxsize=len(DRAFTS))
def _bounded_class(draft: str) -> Any:
    """The validators of a draft, each of which looks at the clock first; those whose time is not bounded by the sizes of schema
    and document are replaced."""
    from jsonschema.validators import extend

    base = _validator_class(draft)
    own: dict[str, Callable[..., Any]] = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
    }
    extended: Any = extend
    return extended(base, {name: _timed(own.get(name, function)) for name, function in base.VALIDATORS.items()})


def _timed(function: Callable[..., Any]) -> Callable[..., Any]:
    def timed(validator: Any, limit: Any, instance: Any, schema: Any) -> Iterator[Any]:
        _watch.get().remaining()
        yield from function(validator, limit, instance, schema) or ()

    return timed


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    return compile_pattern(pattern)


def _found(pattern: str, text: str) -> bool:
    return search(_compiled(pattern), text, _watch.get()) is not None


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if validator.is_type(instance, "string") and not _found(pattern, instance):
        yield ValidationError("no match")


def _pattern_properties(validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Any) -> Iterator[Any]:
    if validator.is_type(instance, "object"):
        for pattern, inner in patterns.items():
            for key, value in instance.items():
                if _found(pattern, key):
                    yield from validator.descend(value, inner, path=key, schema_path=pattern)


def _additional_properties(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if not validator.is_type(instance, "object"):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for key, value in instance.items():
        if key in known or any(_found(pattern, key) for pattern in patterns):
            continue
        if isinstance(allowed, Mapping):
            yield from validator.descend(value, allowed, path=key)
        elif not allowed:
            yield ValidationError(key)
            return


def _unique_items(validator: Any, unique: Any, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if unique and validator.is_type(instance, "array") and len({_hashable(item) for item in instance}) < len(instance):
        yield ValidationError("not unique")


def _hashable(value: Any) -> Any:
    """Equal for what JSON Schema calls equal: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, dict):
        return "object", frozenset((key, _hashable(item)) for key, item in value.items())
    if isinstance(value, list):
        return "list", tuple(map(_hashable, value))
    return isinstance(value, bool), value


@lru_cache(maxsize=1)
def _formats() -> FormatChecker:
    from jsonschema import FormatChecker

    checker = FormatChecker(formats=[name for name in FORMATS if name in FormatChecker.checkers])
    checker.checks("date-time", raises=ValueError)(_is_date_time)
    checker.checks("time", raises=ValueError)(_is_time)
    return checker


def _is_date_time(value: object) -> bool:
    """RFC 3339: a date, a `T`, a time and its zone."""
    if not isinstance(value, str):
        return True
    return len(value) > 10 and value[10] in "Tt" and datetime.datetime.fromisoformat(value).tzinfo is not None


def _is_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.time.fromisoformat(value).tzinfo is not None
