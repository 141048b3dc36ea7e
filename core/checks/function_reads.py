"""What a person's function reads, seen in its code without running it: the input, and which keys of `expect`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from core.syntax_tree import parsed

INPUT_PARAMETERS = ("asked", "conversation")
"""Parameters by whose name a function is given the input: its text, and all turns up to it."""
GIVEN_BY_PLACE = 3
"""Text, expect and captures."""


@dataclass(frozen=True)
class FunctionReads:
    """`inputs` are those of `INPUT_PARAMETERS` that it takes. `keys` are read as `expect["KEY"]` and nowhere asked for by
    `expect.get` or `in`; `expects` tells whether it looks at `expect` at all."""

    inputs: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    expects: bool = True


@lru_cache(maxsize=128)
def function_reads(code: str, function: str) -> FunctionReads:
    """What the function of that name in the file reads. A file that cannot be parsed, or lacks it, reads nothing known."""
    try:
        tree = parsed(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return FunctionReads()
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    made = functions.get(function)
    if made is None:
        return FunctionReads()
    places = [*made.args.posonlyargs, *made.args.args]
    inputs = tuple(name for name in INPUT_PARAMETERS if name in by_name(made))
    if len(places) < 2:
        return FunctionReads(inputs)
    expect = places[1].arg
    nodes = [node for one in _with_helpers(made, functions) for node in ast.walk(one)]
    loaded = any(isinstance(node, ast.Name) and node.id == expect for node in ast.walk(made))
    asked_for = set(_asked_for(nodes, expect))
    read = dict.fromkeys(key for node in nodes if (key := _subscript(node, expect)) is not None)
    return FunctionReads(inputs, tuple(key for key in read if key not in asked_for), loaded)


def by_name(function: ast.FunctionDef) -> tuple[str, ...]:
    """The parameters beside the first three that can be given by their names."""
    given = function.args
    behind = [*given.posonlyargs, *given.args][GIVEN_BY_PLACE:]
    return tuple(one.arg for one in [*behind, *given.kwonlyargs] if one not in given.posonlyargs)


def _with_helpers(function: ast.FunctionDef, functions: dict[str, ast.FunctionDef]) -> list[ast.FunctionDef]:
    """The function and those of its file that it names, they name, and so on."""
    found = {function.name: function}
    open_ones = [function]
    while open_ones:
        for node in ast.walk(open_ones.pop()):
            if isinstance(node, ast.Name) and node.id in functions and node.id not in found:
                found[node.id] = functions[node.id]
                open_ones.append(functions[node.id])
    return list(found.values())


def _subscript(node: ast.AST, name: str) -> str | None:
    """KEY of `name["KEY"]`."""
    match node:
        case ast.Subscript(value=ast.Name(id=own), slice=ast.Constant(value=str() as key)) if own == name:
            return key
    return None


def _asked_for(nodes: list[ast.AST], name: str) -> Iterator[str]:
    """The keys of `name.get("KEY")` and `"KEY" in name`."""
    for node in nodes:
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=own), attr="get"), args=[ast.Constant(value=str() as key), *_]
            ) if own == name:
                yield key
            case ast.Compare(
                left=ast.Constant(value=str() as key), ops=[ast.In() | ast.NotIn()], comparators=[ast.Name(id=own)]
            ) if own == name:
                yield key
