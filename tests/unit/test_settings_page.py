"""docs/settings.md names every setting, with the default that it has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from core.config.settings import Settings

PAGE = Path(__file__).parents[2] / "docs/settings.md"


def settings(model: type[BaseModel] = Settings, prefix: str = "") -> dict[str, object]:
    """Every key with its default."""
    found: dict[str, object] = {}
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        found |= settings(type(default), f"{name}.") if isinstance(default, BaseModel) else {prefix + name: default}
        for part in get_args(field.annotation):  # a mapping of names
            if isinstance(part, type) and issubclass(part, BaseModel):
                found |= settings(part, f"{prefix}{name}.NAME.")
    return found


ROWS = dict(re.findall(r"^\| `([\w.]+)` \| (.+?) \|", PAGE.read_text("utf-8"), re.MULTILINE))


def test_the_page_names_every_setting_and_no_other() -> None:
    assert set(ROWS) == set(settings())


@pytest.mark.parametrize(
    "key", [key for key, default in settings().items() if isinstance(default, bool | int | float | str)]
)
def test_the_page_has_the_defaults(key: str) -> None:
    default = settings()[key]
    said = ROWS[key].strip("`")
    if isinstance(default, bool | str):
        assert said == str(default).lower()
    else:
        assert float(said) == default
