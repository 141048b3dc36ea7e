"""What every written object shares: strict, frozen models that refuse unknown keys and know the file they came from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PrivateAttr,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationInfo,
    WrapSerializer,
    model_validator,
)

from core.home import Home
from core.own_paths import MARK, located, stored

# Names become file names, database keys and words on a command line.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=100)]
NonEmpty = Annotated[str, StringConstraints(min_length=1)]


def _number_as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


# An id that a person may well write as a bare number: `id: 7` is the text "7".
Label = Annotated[str, StringConstraints(pattern=r"^\S(.*\S)?$", max_length=200), BeforeValidator(_number_as_text)]


def reading(home: Home, former: str | None = None) -> dict[str, Any]:
    """The context of pydantic in which `OwnPath` fields of a stored document become paths."""
    return {"located_in": home, "former": former}


def writing(home: Home, former: str | None = None) -> dict[str, Any]:
    """The context of pydantic in which `OwnPath` fields are written as they are stored.

    With `former` they are written as before schema 5: absolute, in the home as it lay then.
    """
    return {"stored_in": home, "former": former}


def _read(value: Any, info: ValidationInfo) -> Any:
    known = info.context or {}
    home = known.get("located_in")
    return located(home, value, known["former"]) if home is not None and isinstance(value, str) else value


def _write(value: str, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> Any:
    known = info.context or {}
    if (home := known.get("stored_in")) is not None:
        value = stored(home, value)
        if known["former"] is not None and value.startswith(MARK):
            value = f"{known['former']}/{value.removeprefix(MARK)}"
    return handler(value)


OwnPath = Annotated[str, BeforeValidator(_read), WrapSerializer(_write, return_type=str)]
"""A path that may lie below the home: absolute in memory, and stored as `stored` says. What is no path stays as it is."""


class Written(BaseModel):
    """A part of a file that a person writes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    # What people used to other tools write instead: suggested when such a key turns up.
    also_called: ClassVar[dict[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _nothing_behind_a_key(cls, data: Any) -> Any:
        """`format:` with only comments below it is as good as no `format:`. A required key stays, for its error."""
        if not isinstance(data, dict):
            return data
        optional = {name for name, field in cls.model_fields.items() if not field.is_required()}
        return {key: value for key, value in data.items() if value is not None or key not in optional}


class Loaded(Written):
    """A whole object of a project. Its file is no part of its value: read back from a job file it is equal."""

    _file: Path | None = PrivateAttr(default=None)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def from_file(self, file: Path) -> None:
        """Note where this object was read."""
        self._file = file

    @property
    def file(self) -> Path | None:
        """The file this object was read from; None when it came from a job file or from code."""
        return self._file
