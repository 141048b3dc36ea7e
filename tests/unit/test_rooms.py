"""The rooms of the project: no file and no room imports itself by way of others, and a name stands for one thing.

import-linter holds the order of the rooms (pyproject.toml). This file also looks at single files, and into the functions
where something is imported late, which are as much of a circle for whoever reads them.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("core", "jobs", "tui")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


@cache
def trees() -> dict[str, ast.Module]:
    """The syntax trees of all files: not made where this file is only collected."""
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}


def imported(node: ast.AST) -> Iterator[str]:
    """The names of modules that a file imports when it runs; what only a type checker reads is left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.level == 0 and child.module:
            for alias in child.names:
                whole = f"{child.module}.{alias.name}"
                yield whole if whole in FILES else child.module
        elif isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in child.orelse:
                yield from imported(ast.Module([other], []))
        else:
            yield from imported(child)


@cache
def imports() -> dict[str, set[str]]:
    return {name: {other for other in imported(tree) if other in FILES} - {name} for name, tree in trees().items()}


def room_of(module: str) -> str:
    """`core.gpu.sources.nvml` stands in the room `core.gpu`, `tui.app` in a room of its own."""
    return ".".join(module.split(".")[:2])


def way_back(graph: Mapping[str, set[str]], start: str) -> list[str]:
    """A shortest way from a node back to itself; empty when there is none."""
    ways, seen = [[start]], {start}
    for way in ways:
        for following in sorted(graph.get(way[-1], ())):
            if following == start:
                return [*way, start]
            if following not in seen:
                seen.add(following)
                ways.append([*way, following])
    return []


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """A shortest circle; empty when there is none."""
    return min((found for node in sorted(graph) if (found := way_back(graph, node))), key=len, default=[])


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}) == ["a", "b", "c", "a"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_imports_are_read_where_they_stand() -> None:
    text = "if TYPE_CHECKING:\n    import core.a\nelse:\n    import core.b\ndef f():\n    from core.home import Home\n"
    assert set(imported(ast.parse(text))) == {"core.b", "core.home"}


def test_no_file_imports_itself_by_way_of_others() -> None:
    found = circle(imports())
    assert not found, "a circle of files: " + " → ".join(found)


def test_no_room_imports_itself_by_way_of_others() -> None:
    rooms: dict[str, set[str]] = defaultdict(set)
    for name, others in imports().items():
        rooms[room_of(name)] |= {room_of(other) for other in others if room_of(other) != room_of(name)}
    # A package's own file (`core/__init__.py`) is above nothing: it is read with whatever stands in it.
    for package in PACKAGES:
        rooms.pop(package, None)
    found = circle(rooms)
    assert not found, "a circle of rooms: " + " → ".join(found)


def classes(tree: ast.Module) -> Iterator[str]:
    """The classes of a file and the classes inside those, `Outer.Inner`."""

    def within(node: ast.AST, prefix: str) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                yield prefix + child.name
                yield from within(child, f"{prefix}{child.name}.")

    yield from within(tree, "")


def test_one_name_one_thing() -> None:
    """No two classes have the same name, so that a name in a text or a search finds one thing."""
    homes: dict[str, list[str]] = defaultdict(list)
    for module, tree in trees().items():
        for name in classes(tree):
            homes[name].append(module)
    twice = [f"{name}: {', '.join(modules)}" for name, modules in sorted(homes.items()) if len(modules) > 1]
    assert not twice, "names that stand for more than one thing:\n" + "\n".join(twice)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_is_above_400_lines(package: str) -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in sorted((ROOT / package).rglob("*.py"))
        if (lines := path.read_text(encoding="utf-8").count("\n")) > 400
    }
    assert not long
