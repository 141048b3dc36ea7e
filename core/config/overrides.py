"""A recipe with some of its values changed, as a command line or a form changes them: one reading and one check for both.

What is typed is read as YAML reads a value, so that it means the same in a field, behind an option and in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from core.config.recipe import Recipe
from core.config.validation import validate
from core.config.yaml import Marked, parse_scalar
from core.errors import InputError

_STRICT = ConfigDict(strict=True, allow_inf_nan=False)


def typed_value(key: str, text: str) -> Any:
    """The value of a recipe's key that a person typed. Raises `InputError` with a short sentence that fits beside a field."""
    return checked_value(key, parse_scalar(text.strip()))


def checked_value(key: str, value: Any) -> Any:
    """The value of a recipe's key when the key alone allows it. Raises `InputError`: `Must be at least 1`."""
    try:
        return _adapter(key).validate_python(value)
    except ValidationError as error:
        said = _sentence(error.errors(include_url=False)[0], _is_whole(key))
    raise InputError(said, code="wrong_value", key=key)


def override(recipe: Recipe, overrides: Mapping[str, Any]) -> Recipe:
    """The recipe with other values, checked as a recipe is. Raises `InputError` with the key."""
    if not overrides:
        return recipe
    file = Path(f"recipe {recipe.name}")
    for key, value in overrides.items():
        if key in Recipe.model_fields and _is_number(key) and value is not None:
            try:
                checked_value(key, value)
            except InputError as error:
                error.file = str(file)
                raise
    changed = recipe.model_dump(exclude={"name"}) | with_epochs_asked_for(overrides)
    return validate(Recipe, Marked(file, changed, {}), given={"name": recipe.name})


def with_epochs_asked_for(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The same values; whoever asks for epochs and not for steps takes the recipe's steps out, which would win over them."""
    return {"steps": None, **overrides} if "epochs" in overrides else dict(overrides)


@cache
def _adapter(key: str) -> TypeAdapter[Any]:
    field = Recipe.model_fields[key]
    wanted: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    return TypeAdapter(wanted, config=_STRICT)


def _is_number(key: str) -> bool:
    return Recipe.model_fields[key].annotation in (int, float, int | None, float | None)


def _is_whole(key: str) -> bool:
    return Recipe.model_fields[key].annotation in (int, int | None)


def _sentence(detail: Any, whole: bool) -> str:
    """Why a number cannot be taken, in a few words: whoever reads them has the value before the eyes."""
    context = detail.get("ctx", {})
    match detail["type"]:
        case "greater_than":
            return f"Must be above {context['gt']:,.10g}"
        case "greater_than_equal":
            return f"Must be at least {context['ge']:,.10g}"
        case "less_than":
            return f"Must be below {context['lt']:,.10g}"
        case "less_than_equal":
            return f"Must be at most {context['le']:,.10g}"
        case "finite_number":
            return "Enter a finite number"
        case "literal_error":
            return f"Must be {context['expected']}"
        case "bool_type":
            return "Must be true or false"
        case "list_type":
            return "Must be a list"
    return "Enter a whole number" if whole else "Enter a number"
