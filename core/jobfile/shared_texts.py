"""The YAML of many job files that have most of what they say in common, key by key, each key turned into text once.

Most of the time that the trainings of a large experiment took to be queued went into writing the same task, model and recipe
out over and over.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import yaml
from pydantic import BaseModel, RootModel

Path = tuple[str, ...]
"""The keys above one."""
_PLAIN = (str, int, float, bool, type(None))


class SharedTexts:
    """The texts of one submission. `context` is the one of pydantic in which all of its job files are written.

    What is written is what one `yaml.dump` of the whole document would write, byte by byte.
    """

    def __init__(self, context: Mapping[str, Any]) -> None:
        self._context = dict(context)
        self._texts: dict[tuple[Any, ...], tuple[Any, str]] = {}

    def of(self, model: BaseModel, above: Path = (), leave_out: Collection[str] = ()) -> str:
        """The keys of a model, as deep as they stand below those that are `above`."""
        names = [name for name in type(model).model_fields if name not in leave_out]
        return "".join(self._text(model, name, getattr(model, name), above) for name in names)

    def _text(self, model: BaseModel, name: str, value: Any, above: Path) -> str:
        plain = type(value) in _PLAIN or (type(value) is list and all(type(one) in _PLAIN for one in value))
        known_by = repr(value) if plain else id(value)
        return self._once((type(model), above, name, known_by), value, lambda: self._written(model, name, value, above))

    def _once(self, place: tuple[Any, ...], value: Any, write: Callable[[], str]) -> str:
        """What is no plain value is known by its identity, and kept, so that the identity stays its own."""
        if place not in self._texts:
            self._texts[place] = value, write()
        return self._texts[place][1]

    def _written(self, model: BaseModel, name: str, value: Any, above: Path) -> str:
        if _is_keys(value) and (below := self.of(value, (*above, name))):
            return f"{'  ' * len(above)}{name}:\n{below}"
        if isinstance(value, list) and value and all(map(_is_keys, value)):
            items = [self._item(one, (*above, name)) for one in value]
            if all(items):
                return f"{'  ' * len(above)}{name}:\n{''.join(items)}"
        document = model.model_dump(mode="json", include={name}, context=self._context)
        for key in reversed(above):
            document = {key: document}
        text = _as_yaml(document)
        for _ in above:
            text = text.partition("\n")[2]
        return text

    def _item(self, item: BaseModel, above: Path) -> str:
        """An item of a list: its keys, the first of them behind a dash."""
        text = self._once((above, id(item)), item, lambda: self.of(item, above))
        return text and f"{'  ' * (len(above) - 1)}- {text[2 * len(above) :]}"


def _is_keys(value: Any) -> bool:
    """Whether a value is written as its fields, one by one."""
    return (
        isinstance(value, BaseModel)
        and not isinstance(value, RootModel)
        and not type(value).__pydantic_decorators__.model_serializers
    )


def _as_yaml(document: dict[str, Any]) -> str:
    # libyaml's emitter where PyYAML has it.
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(document, Dumper=dumper, allow_unicode=True, sort_keys=False, width=120)
    return text
