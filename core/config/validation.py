"""From a document to a model: every pydantic error becomes an InputError with file, line, key, expected and found."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from core.config.base import Loaded, Written
from core.config.yaml import KeyPath, Marked, found, key_text
from core.errors import InputError, KeyedError

M = TypeVar("M", bound=Written)

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "`true` or `false`",
    "bool_parsing": "`true` or `false`",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "dict_type": "a mapping of keys",
    "mapping_type": "a mapping of keys",
    "model_type": "a mapping of keys",
    "model_attributes_type": "a mapping of keys",
    "none_required": "nothing",
}


def validate(model: type[M], document: Marked, at: KeyPath = (), given: dict[str, Any] | None = None) -> M:
    """The model made from the value at `at` of the document, with `given` for keys that the file does not say.

    Raises the first of its problems, by line; when there are more, the error says how many.
    """
    made, wrong = check(model, document, at, given)
    if made is not None:
        return made
    first = wrong[0]
    if len(wrong) > 1:
        more = f"{len(wrong) - 1} more in this file: `bakehouse config check` lists them"
        first.remedy = f"{first.remedy}; {more}" if first.remedy else more
    raise first


def check(
    model: type[M], document: Marked, at: KeyPath = (), given: dict[str, Any] | None = None
) -> tuple[M | None, list[InputError]]:
    """The model and no problem, or no model and all problems, by line."""
    data = _at(document.data, at)
    if isinstance(data, dict) and given:
        data = given | data
    try:
        made = model.model_validate(data)
    except ValidationError as error:
        wrong = _problems(model, document, at, data, error)
    else:
        if isinstance(made, Loaded):
            made.from_file(document.file)
        return made, []
    return None, sorted(wrong, key=lambda problem: problem.line or 0)


def _at(data: Any, path: KeyPath) -> Any:
    for part in path:
        data = data[part]
    return data


def _problems(
    model: type[BaseModel], document: Marked, at: KeyPath, data: Any, error: ValidationError
) -> list[InputError]:
    details = error.errors(include_url=False)
    wrong: list[InputError] = []
    alternatives: dict[KeyPath, tuple[list[str], Any]] = {}  # the branches of a union fail one by one, at one place
    meant: set[KeyPath] = set()
    for detail in details:
        if detail["type"] == "extra_forbidden":
            problem, suggested = _unknown_key(model, document, at, data, tuple(detail["loc"]))
            wrong.append(problem)
            meant.update(suggested)
    for detail in details:
        path = (*at, *_path_in(data, tuple(detail["loc"]), keep_last=detail["type"] == "missing"))
        match detail["type"]:
            case "extra_forbidden":
                continue
            case "missing" if path in meant:
                continue  # the unknown key that was meant to be this one is reported already
            case "missing" | "union_tag_not_found":
                wrong.append(_missing_key(document, path, detail))
            case "value_error" | "assertion_error":
                wrong.append(_own_words(document, path, detail))
            case "union_tag_invalid":
                tag = detail["ctx"]["discriminator"].strip("'")
                alternatives[(*path, tag)] = ([_expected(detail)], detail["ctx"]["tag"])
            case _:
                expected, _ = alternatives.setdefault(path, ([], detail["input"]))
                words = _expected(detail)
                if words not in expected:
                    expected.append(words)
    for path, (expected, value) in alternatives.items():
        bounds = [words.removeprefix("a number of ").removeprefix("a number ") for words in expected]
        if len(expected) == 1 and (bounds != expected or expected[0].startswith("a multiple")):
            message = f"must be {bounds[0]}"
        else:
            message = f"expected {' or '.join(expected)}, found {found(value)}"
        wrong.append(document.error(message, path, remedy=_meant_value(expected, value)))
    return wrong


def _path_in(data: Any, location: tuple[int | str, ...], *, keep_last: bool) -> KeyPath:
    """pydantic's location without the names of union branches, which are no keys of the document."""
    path: list[int | str] = []
    for number, part in enumerate(location):
        last = number == len(location) - 1
        if part in data if isinstance(data, dict) else isinstance(data, list) and isinstance(part, int):
            data = data[part]
        elif not (last and keep_last):
            continue
        path.append(part)
    return tuple(path)


def _missing_key(document: Marked, path: KeyPath, detail: Any) -> InputError:
    if detail["type"] == "union_tag_not_found":
        path = (*path, detail["ctx"]["discriminator"].strip("'"))
    return document.error(f"the key `{path[-1]}` is missing", path, code="missing_key")


def _own_words(document: Marked, path: KeyPath, detail: Any) -> InputError:
    """A validator's message; it may name the key inside the part it looked at."""
    cause = detail.get("ctx", {}).get("error")
    remedy = None
    if isinstance(cause, KeyedError):
        path = (*path, *_dotted(cause.key)) if cause.key else path
        remedy = cause.remedy
    return document.error(str(cause) if cause else detail["msg"], path, remedy=remedy)


def _dotted(key: str | KeyPath) -> KeyPath:
    if isinstance(key, tuple):
        return key
    return tuple(int(part) if part.isdigit() else part for part in key.split("."))


def _expected(detail: Any) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    match kind:
        case "literal_error":
            return _choices(context["expected"])
        case "union_tag_invalid":
            return _choices(context["expected_tags"])
        case "greater_than":
            return f"a number above {context['gt']:g}"
        case "greater_than_equal":
            return f"a number of at least {context['ge']:g}"
        case "less_than":
            return f"a number below {context['lt']:g}"
        case "less_than_equal":
            return f"a number of at most {context['le']:g}"
        case "multiple_of":
            return f"a multiple of {context['multiple_of']}"
        case "string_too_short" | "too_short":
            return "something" if context["min_length"] == 1 else f"at least {context['min_length']}"
        case "string_too_long" | "too_long":
            return f"at most {context['max_length']}" + (" characters" if kind == "string_too_long" else "")
        case "string_pattern_mismatch":
            return _pattern(context["pattern"])
    return _EXPECTED.get(kind) or f"something else ({detail['msg']})"


def _pattern(pattern: str) -> str:
    if pattern.startswith("^[A-Za-z0-9]"):
        return "a name of letters, digits, `-`, `_` and `.` that begins with a letter or digit"
    if pattern.startswith(r"^\S"):
        return "one line of text without blanks around it"
    if pattern.startswith("^[0-9a-f]"):
        return "a SHA-256 in 64 hexadecimal digits"
    if "/" in pattern:
        return "OWNER/NAME as on the hub"
    return f"text like {pattern}"


def _choices(expected: str) -> str:
    """pydantic's `'off' or 'on'` and `'a', 'b'` as `off` or `on`."""
    *others, last = [word.strip(" '") for word in expected.replace(" or ", ", ").split(", ")]
    return f"{', '.join(f'`{word}`' for word in others)} or `{last}`" if others else f"`{last}`"


def _meant_value(expected: list[str], value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    choices = [word for words in expected for word in words.split("`")[1::2]]
    near = nearest(value, choices)
    return f"did you mean `{near}`?" if near else None


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that a mistyped word comes nearest to; None when none is near."""
    by_lower = {choice.lower(): choice for choice in choices}
    longer = [choice for choice in by_lower if len(word) >= 3 and choice.startswith(word.lower())]
    if len(longer) == 1:
        return by_lower[longer[0]]
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[near[0]] if near else None


def _unknown_key(
    model: type[BaseModel], document: Marked, at: KeyPath, data: Any, location: tuple[int | str, ...]
) -> tuple[InputError, list[KeyPath]]:
    """The error, and the paths of the keys that it suggests."""
    path = (*at, *_path_in(data, location, keep_last=True))
    key = str(path[-1])
    models = _models_at(model, location[:-1])
    known = [field.alias or name for found_model in models for name, field in found_model.model_fields.items()]
    renamed = {old: new for found_model in models for old, new in getattr(found_model, "also_called", {}).items()}
    meant = renamed.get(key) or nearest(key, known)
    if meant:
        remedy = f"did you mean `{meant}`?"
    elif deeper := next((where for where in _nested_keys(model) if where[-1] == key and len(where) > 1), None):
        remedy = f"it belongs under `{key_text(deeper[:-1])}`"
    elif len(path) > len(at) + 1 and key in model.model_fields:
        remedy = "it belongs at the top level: look at the indent"
    else:
        remedy = f"known here: {', '.join(sorted(known))}"
    problem = document.error(f"unknown key `{key}`", path, code="unknown_key", remedy=remedy)
    return problem, [(*path[:-1], meant)] if meant else []


def _models_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[type[BaseModel]]:
    """The models that may stand at a location of pydantic's: fields, list items and tags of unions are followed."""
    models = [model]
    for part in location:
        if isinstance(part, int):
            continue
        tagged = [candidate for candidate in models if part in _tags(candidate)] if len(models) > 1 else []
        fields = [candidate.model_fields[part] for candidate in models if part in candidate.model_fields]
        if tagged:
            models = tagged
        elif fields:
            models = [inner for field in fields for inner in _models_in((field.annotation, *field.metadata))]
    return models


def _tags(model: type[BaseModel]) -> set[Any]:
    return {value for field in model.model_fields.values() for value in get_args(field.annotation)} | {model.__name__}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, tuple):
        for part in annotation:
            yield from _models_in(part)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is not None:
        for part in get_args(annotation):
            yield from _models_in(part)


def _nested_keys(model: type[BaseModel], above: KeyPath = ()) -> Iterator[KeyPath]:
    """Every key of a model and of the mappings directly in it (not of the items of its lists)."""
    for name, field in model.model_fields.items():
        yield (*above, name)
        if get_origin(field.annotation) is list:
            continue
        for inner in _models_in(field.annotation):
            if issubclass(inner, Written):
                yield from _nested_keys(inner, (*above, name))
