"""`python`: a function of the project's folder scores the answer, in a process of its own with limits.

The function is given the text, the golden input's `expect` and what the format checks captured, and by parameters of these
names the input (`asked`, `conversation`); it returns `True` or `False`, a share from 0 to 1, or one of these with words:
`(0.5, "two of four steps")`. Each answer is scored by a fresh copy
of the loaded file, so that nothing is carried from one to the next. The code is part of the definition: it is read with the
task, and a job runs what the file said when the job was submitted.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from core.checks.base import AskedInput, BaseDefinition, Captures, CheckFault, CheckResult
from core.checks.function_reads import GIVEN_BY_PLACE, INPUT_PARAMETERS, FunctionReads, function_reads
from core.checks.isolated import outcome_of, printed
from core.isolation.worker import WorkerSpec
from core.syntax_tree import parsed

_SIZE = re.compile(r"(\d+)\s*(MB|GB)", re.IGNORECASE)
LEAST_BYTES, MOST_BYTES = 16_000_000, 64_000_000_000


def _size(value: object) -> object:
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError("expected a size such as 256MB or 2GB")
    size = int(found[1][:12]) * (10**6 if found[2].upper() == "MB" else 10**9)
    if not LEAST_BYTES <= size <= MOST_BYTES:
        raise ValueError(f"expected {LEAST_BYTES // 10**6}MB to {MOST_BYTES // 10**9}GB")
    return value


class PythonCheck(BaseDefinition):
    """`timeout` in seconds of computing for one answer; waiting may take three times as long. `memory` beyond what the loaded
    file has. `code` is what the file holds; nobody writes it."""

    ISOLATED: ClassVar[bool] = True

    check: Literal["python"]
    file: str = Field(min_length=1)
    function: str = Field(default="score", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    timeout: float = Field(default=2.0, gt=0, le=60, allow_inf_nan=False)
    memory: Annotated[str, BeforeValidator(_size)] = "256MB"
    code: str = ""
    # A share is what such a function is written for.
    partial: bool = True

    def default_id(self) -> str:
        """ "python: plan.score": the file and its function."""
        return f"python: {self.file.rpartition('/')[2].removesuffix('.py')}.{self.function}"

    def read_names(self) -> tuple[str, ...] | None:
        return None

    @property
    def function_reads(self) -> FunctionReads:
        return function_reads(self.code, self.function)

    @property
    def reads_input(self) -> bool:
        return bool(self.function_reads.inputs)

    def expect_keys(self) -> tuple[str, ...]:
        return self.function_reads.keys

    def read_of(self, expect: Mapping[str, Any]) -> dict[str, Any]:
        return dict(expect)

    @property
    def memory_bytes(self) -> int:
        found = _SIZE.fullmatch(self.memory.strip())
        assert found is not None  # it was validated
        return int(found[1]) * (10**6 if found[2].upper() == "MB" else 10**9)


def score_python(
    definition: PythonCheck,
    text: str,
    expect: Mapping[str, Any],
    captures: Captures,
    timeout: float,
    asked: AskedInput | None = None,
) -> CheckResult:
    """What the function returns; without `partial`, a share below 1 is 0. A function that raises, hangs, crashes or returns
    something else makes the check faulty, with what it printed."""
    if not definition.code:
        raise CheckFault(f"{definition.file} was not read with the task")
    worker = WorkerSpec(
        "core.checks.isolated_work:prepare_python",
        {"code": definition.code, "file": definition.file, "function": definition.function},
        fork=True,
        memory=definition.memory_bytes,
    )
    name = f"{definition.function} of {definition.file}"
    work: dict[str, Any] = {
        "text": text,
        "expect": dict(expect),
        "captures": {group: list(found) for group, found in captures.items()},
        "input": _input(definition, asked, name),
    }
    found, output = outcome_of(worker, work, definition.timeout, name)
    fault = _fault(found, definition, name)
    if fault is not None:
        raise CheckFault(f"{fault}{printed(output)}")
    value = float(found["value"])
    if value == 1:
        return CheckResult(1.0)
    why = str(found.get("why") or "") or f"{name} says no"
    return CheckResult(value if definition.partial else 0.0, why)


def _input(definition: PythonCheck, asked: AskedInput | None, name: str) -> dict[str, Any]:
    """What the function is given of the input, by the names of its parameters."""
    wanted = definition.function_reads.inputs
    if not wanted:
        return {}
    if asked is None:
        raise CheckFault(f"{name} reads the input, and that of this answer is not known")
    turns = [{"role": role, "content": content} for role, content in asked.turns]
    given = dict(zip(INPUT_PARAMETERS, (asked.text, turns), strict=True))
    return {parameter: given[parameter] for parameter in wanted}


def _fault(found: Any, definition: PythonCheck, name: str) -> str | None:
    match found:
        case {"value": float() | int(), "why": str()} if 0 <= found["value"] <= 1:
            return None
        case {"memory": True}:
            return f"{name} needs more than {definition.memory}"
        case {"wrong": wrong}:
            return f"{name} returned {wrong}, and not a truth value or a share from 0 to 1, with or without words"
        case {"loading": raised}:
            return f"{definition.file} cannot be loaded: {_said(raised)}"
        case {"raised": raised}:
            return f"{name} raised {_said(raised)}"
    return f"{name} gave no result"


def _said(raised: Any) -> str:
    words = f"{raised.get('type')}: {raised.get('message')}".removesuffix(": ")
    return words if raised.get("line") is None else f"{words} (line {raised['line']})"


def code_fault(code: str, function: str) -> tuple[int | None, str] | None:
    """What can be seen to be wrong with a file without running it, with its line; None where nothing can."""
    try:
        tree = parsed(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return getattr(error, "lineno", None), f"no Python: {getattr(error, 'msg', None) or error}"
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    made = next((node for node in reversed(found) if node.name == function), None)
    if made is None:
        others = ", ".join(f"`{node.name}`" for node in found if isinstance(node, ast.FunctionDef))
        return None, f"there is no function `{function}`" + (f"; there are {others}" if others else "")
    if not isinstance(made, ast.FunctionDef):
        return made.lineno, f"`{function}` is no plain function"
    given = made.args
    places = [*given.posonlyargs, *given.args]
    required = len(places) - len(given.defaults)
    wanted = places[GIVEN_BY_PLACE:required]
    wanted += [one for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True) if default is None]
    strange = [one.arg for one in wanted if one.arg not in INPUT_PARAMETERS or one in given.posonlyargs]
    if strange or (len(places) < GIVEN_BY_PLACE and given.vararg is None):
        more = ", and the input where it has a parameter `asked` (its text) or `conversation` (its messages)"
        return made.lineno, f"`{function}` is called with three values: text, expect, captures{more}"
    return None


def imported_names(code: str) -> list[tuple[int, str, bool]]:
    """The modules that a file imports wherever it does, with their lines; the flag tells a relative import."""
    found: list[tuple[int, str, bool]] = []
    for node in ast.walk(parsed(code)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name.partition(".")[0], False) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.lineno, (node.module or "").partition(".")[0], node.level > 0))
    return found
