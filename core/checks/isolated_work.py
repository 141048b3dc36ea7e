"""What the worker processes do for checks. Only they import this file; the rest of the program names it
(`core.checks.isolated`)."""

from __future__ import annotations

import json
import math
import sys
import types
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter

from core.checks import REGISTRY, CheckDefinition
from core.checks.base import BaseDefinition, CheckFault, in_short

MOST_SAID = 200
"""Characters of what a person's function says or raises."""


def prepare_checks(argument: None) -> Callable[[Any], Any]:
    """Checks of ours, with all they need imported."""
    import jsonschema  # noqa: F401
    import markdown_it  # noqa: F401
    import rapidfuzz  # noqa: F401
    import regex  # noqa: F401

    adapter: TypeAdapter[BaseDefinition] = TypeAdapter(CheckDefinition)

    @lru_cache(maxsize=64)
    def definition_of(written: str) -> BaseDefinition:
        return adapter.validate_json(written)

    def score(work: Any) -> Any:
        try:
            definition = definition_of(json.dumps(work["definition"]))
            scorer = REGISTRY[type(definition)]
            found = scorer(definition, work["text"], work["expect"], work["captures"], work["timeout"])
        except CheckFault as fault:
            return {"fault": str(fault)}
        except MemoryError:
            return {"fault": "the check needs too much memory"}
        return {"value": found.value, "detail": found.detail, "captures": found.captures, "faulty": found.faulty}

    return score


def prepare_python(argument: Any) -> Callable[[Any], Any]:
    """A function of a person's file. What is wrong with the file is the answer to whatever is asked."""
    module = types.ModuleType("bakehouse_check")
    module.__file__ = argument["file"]
    sys.modules[module.__name__] = module
    try:
        exec(compile(argument["code"], argument["file"], "exec", dont_inherit=True), module.__dict__)
        function = module.__dict__[argument["function"]]
    except BaseException as error:  # noqa: BLE001  (it is told to whoever asks)
        failed = {"loading": _raised(error, argument["file"])}
        return lambda work: failed
    file = argument["file"]

    def score(work: Any) -> Any:
        try:
            return _value(function(work["text"], work["expect"], work["captures"], **work["input"]))
        except MemoryError:
            return {"memory": True}
        except BaseException as error:  # noqa: BLE001  (an exit among them: a check has nothing to end)
            return {"raised": _raised(error, file)}

    return score


def _value(returned: Any) -> Any:
    value, why = returned if isinstance(returned, tuple) and len(returned) == 2 else (returned, "")
    if isinstance(value, str | bytes) or not hasattr(value, "__float__"):
        return {"wrong": in_short(repr(returned), MOST_SAID)}
    number = float(value)
    if not (math.isfinite(number) and 0 <= number <= 1):
        return {"wrong": in_short(repr(returned), MOST_SAID)}
    return {"value": number, "why": in_short("" if why is None else str(why), MOST_SAID)}


def _raised(error: BaseException, file: str) -> dict[str, Any]:
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename == file:
        line = error.lineno
    return {"type": type(error).__name__, "message": in_short(str(error), MOST_SAID), "line": line}
