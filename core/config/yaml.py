"""YAML as a person means it: the 1.2 core rules, a line for every key, doubled keys refused.

PyYAML follows YAML 1.1, where `off` and `No` are booleans, `5e-5` is text and `2026-01-05` a date. Its
parser and composer are used, its resolver is replaced.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from core.config.yaml_faults import syntax_fault
from core.errors import InputError
from core.failures import leads_nowhere

KeyPath = tuple[str | int, ...]

DEPTH_LIMIT = 100
NODE_LIMIT = 100_000  # with aliases expanded: a file that grows past this is an attack or a mistake

_TAG = "tag:yaml.org,2002:"
# The 1.2 core schema, https://yaml.org/spec/1.2.2/#103-core-schema
_CORE: list[tuple[str, str, list[str]]] = [
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    (
        "float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        list("-+0123456789."),
    ),
]

# Blanks to a reader, letters to YAML: no-break and other Unicode spaces, and what has no width at all.
UNSEEN = frozenset(
    "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u202f\u205f\u2060\u3000\ufeff"
)

# The edge of a word in a pattern, which is a backspace between double quotes. Who means one writes \x08.
_BACKSPACE = re.compile(r"(?<!\\)(?:\\\\)*\\b")
# The ends of lines that YAML 1.2 counts, as libyaml does with two more of Unicode's.
_LINE_ENDS = re.compile("\r\n|[\r\n\x85\u2028\u2029]")


# libyaml's parser is about ten times as fast as the Python one; both end in the same composer rules.
class _CoreLoader(getattr(yaml, "CBaseLoader", yaml.BaseLoader)):  # type: ignore[misc]
    pass


for _kind, _pattern, _first in _CORE:
    _CoreLoader.add_implicit_resolver(_TAG + _kind, re.compile(_pattern), _first)


@dataclass(frozen=True)
class Marked:
    """A parsed document with the line of every key and item in it."""

    file: Path
    data: Any
    lines: dict[KeyPath, int] = field(repr=False)

    def line(self, path: KeyPath) -> int | None:
        """The line (from 1) of the key or list item at `path`; of the nearest one around it when it is not there."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path)

    def error(
        self, message: str, path: KeyPath = (), *, code: str = "wrong_value", remedy: str | None = None
    ) -> InputError:
        """An error at `path` of this document."""
        key = key_text(path) or None
        return InputError(message, code=code, file=self.file, line=self.line(path), key=key, remedy=remedy)


def key_text(path: KeyPath) -> str:
    """`("format", 1, "pattern")` as a person writes it: `format[1].pattern`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def read_text(file: Path) -> str:
    """The text of a file a person wrote; an InputError when it is missing, a folder, unreadable or not UTF-8."""
    try:
        if file.is_fifo():  # opening one would wait for its writer, and its text comes a single time
            raise InputError("this is a pipe, a file was expected", code="not_a_file", file=file)
        if file.is_char_device() or file.is_block_device() or file.is_socket():  # a device may never end
            raise InputError("this is a device, a file was expected", code="not_a_file", file=file)
        content = file.read_bytes()
    except FileNotFoundError:
        raise InputError("there is no such file", code="missing_file", file=file) from None
    except IsADirectoryError:
        raise InputError("this is a folder, a file was expected", code="not_a_file", file=file) from None
    except OSError as problem:
        raise InputError(f"cannot be read: {problem.strerror}", code="unreadable_file", file=file) from problem
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        message = f"not UTF-8: byte 0x{content[problem.start]:02x}"
        remedy = "save the file as UTF-8"
        raise InputError(message, code="not_utf8", file=file, line=line, remedy=remedy) from None


def load_marked(file: Path) -> Marked:
    """Read a YAML file; an InputError with its line when it is no YAML, empty, or has a doubled key."""
    return parse_marked(read_text(file), file)


def parse_marked(text: str, file: Path) -> Marked:
    """`load_marked` of a text that stands in no file yet; `file` is what its errors name."""
    node = _compose(file, text)
    if node is None or (isinstance(node, yaml.ScalarNode) and node.value == "" and node.tag == _TAG + "null"):
        raise InputError("the file is empty", code="empty_file", file=file)
    reader = _Reader(file, text)
    return Marked(file, reader.read(node, ()), reader.lines)


def is_there(file: Path) -> bool:
    """Whether there is a file to read, for files that may be missing.

    What stands in its place without being one (a link to a disk that is not mounted, a folder, a pipe) is not missing: what
    somebody wrote would silently count for nothing. Raises `InputError`.
    """
    if file.is_file():
        return True
    target = leads_nowhere(file)
    if target is None and not file.exists():
        return False
    raise InputError(
        "not a regular file" if target is None else f"this is a link to {target}, and nothing is there",
        code="not_a_file",
        file=file,
        remedy="put the file there, or remove what stands in its place",
    )


def load_mapping(file: Path) -> Marked:
    """`load_marked` of a file that must hold a mapping of keys."""
    document = load_marked(file)
    if not isinstance(document.data, dict):
        message = f"expected a mapping (`key: value` lines), found {found(document.data)}"
        raise document.error(message, code="not_a_mapping")
    return document


def parse_scalar(text: str) -> Any:
    """One value under the same rules, for `--set lr=5e-5`: `5e-5` is a number, `off` a string. Never raises.

    A number of more digits than Python reads is no number.
    """
    loader = _CoreLoader("")
    try:
        return _scalar(loader.resolve(yaml.ScalarNode, text, (True, False)), text)
    except ValueError:
        return text
    finally:
        loader.dispose()


def found(value: Any) -> str:
    """A value as an error message shows it: with its kind, and short."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        short = value if len(value) <= 60 else value[:57] + "…"
        return f"the text {short!r}"
    return "a list" if isinstance(value, list | tuple) else "a mapping of keys"


def _compose(file: Path, text: str) -> yaml.Node | None:
    try:
        _refuse_depth(file, text)
        loader = _CoreLoader(text)
        try:
            node: yaml.Node | None = loader.get_single_node()
            return node
        finally:
            loader.dispose()
    except yaml.YAMLError as problem:
        raise syntax_fault(file, text, problem) from None


def _refuse_depth(file: Path, text: str) -> None:
    """The composer recurses in C: a file nested ten thousands deep would end the process."""
    depth = 0
    for event in yaml.parse(text, Loader=_CoreLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH_LIMIT:
                line = event.start_mark.line + 1 if event.start_mark else None
                raise InputError(f"nested more than {DEPTH_LIMIT} deep", code="yaml_syntax", file=file, line=line)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Reader:
    """Turns nodes into values, noting lines."""

    def __init__(self, file: Path, text: str) -> None:
        self.file = file
        self.text = text
        self.file_lines: list[str] | None = None
        self.lines: dict[KeyPath, int] = {}
        self.nodes = 0
        self.open: set[int] = set()

    def read(self, node: yaml.Node, path: KeyPath) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        self.nodes += 1
        if self.nodes > NODE_LIMIT:
            raise self.error(node, f"more than {NODE_LIMIT:,} values once its aliases are expanded")
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node)
        if id(node) in self.open:
            raise self.error(node, "an alias that contains itself")
        self.open.add(id(node))
        value = self.mapping(node, path) if isinstance(node, yaml.MappingNode) else self.sequence(node, path)
        self.open.discard(id(node))
        return value

    def scalar(self, node: yaml.ScalarNode) -> Any:
        if not node.style and node.value[:1] in UNSEEN:
            raise self.unseen(node, node.value[0], "in front of the value", "put the value into quotes if it is meant")
        if node.style == '"' and "\b" in node.value and _BACKSPACE.search(self.written(node)):
            remedy = "write patterns between single quotes, where a backslash is a backslash (and a backspace as \\x08)"
            raise self.error(node, "\\b between double quotes is a backspace, no edge of a word", remedy=remedy)
        if not node.style and (line := self.lost_item(node)):
            message = (
                f"a list item with another indent: it would be text of the value of line {node.start_mark.line + 1}"
            )
            raise InputError(
                message,
                code="yaml_syntax",
                file=self.file,
                line=line,
                remedy="give all items of a list one indent; text of several lines needs '|' and an indent",
            )
        try:
            return _scalar(node.tag, node.value)
        except (KeyError, ValueError):
            raise self.error(node, f"the tag {node.tag.replace(_TAG, '!!')} is not supported here") from None

    def written(self, node: yaml.Node) -> str:
        """The lines of the file in which a value stands."""
        if self.file_lines is None:
            self.file_lines = _LINE_ENDS.split(self.text)
        return "\n".join(self.file_lines[node.start_mark.line : node.end_mark.line + 1])

    def lost_item(self, node: yaml.ScalarNode) -> int | None:
        """The line (from 1) of what looks like a list item and goes on with a plain value, as YAML reads it."""
        first, last = node.start_mark.line, node.end_mark.line
        if last == first or " - " not in node.value:
            return None
        lines = self.written(node).split("\n")[1:]
        return next((first + 2 + index for index, line in enumerate(lines) if line.lstrip().startswith("- ")), None)

    def sequence(self, node: yaml.Node, path: KeyPath) -> list[Any]:
        if node.tag != _TAG + "seq":
            raise self.error(node, f"the tag {node.tag.replace(_TAG, '!!')} is not supported here")
        return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        """Keys are text always: every mapping in these files is keyed by names."""
        if node.tag != _TAG + "map":
            raise self.error(node, f"the tag {node.tag.replace(_TAG, '!!')} is not supported here")
        values: dict[str, Any] = {}
        merged: list[tuple[yaml.ScalarNode, yaml.Node]] = []
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.error(key_node, "a key must be a word", remedy="put text that begins with [ or { in quotes")
            key = key_node.value
            if _is_merge(key_node):
                merged += self.merged(value_node)
                continue
            unseen = None if key_node.style else next((sign for sign in (key[:1], key[-1:]) if sign in UNSEEN), None)
            if unseen:
                where = "in the indent" if unseen == key[0] else "behind the key"
                raise self.unseen(key_node, unseen, where, "write ordinary spaces")
            line = key_node.start_mark.line + 1
            if key in values:
                first = self.lines[(*path, key)]
                message = f"the key stands twice, in lines {first} and {line}"
                where = key_text((*path, key))
                raise InputError(
                    message, code="doubled_key", file=self.file, line=line, key=where, remedy="keep one of them"
                )
            self.lines[(*path, key)] = line
            values[key] = self.read(value_node, (*path, key))
        for key_node, value_node in merged:
            key = key_node.value
            if key not in values:
                self.lines[(*path, key)] = key_node.start_mark.line + 1
                values[key] = self.read(value_node, (*path, key))
        return values

    def merged(self, node: yaml.Node, depth: int = 0) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        """The pairs that a merge key brings, those that win first: https://yaml.org/type/merge.html"""
        for part in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(part, yaml.MappingNode):
                remedy = "name a mapping that has an anchor: `<<: *base`"
                raise self.error(node, "`<<` takes a mapping, or a list of mappings", remedy=remedy)
            if depth > DEPTH_LIMIT:
                raise self.error(node, "an alias that contains itself")
            plain = [(key, value) for key, value in part.value if isinstance(key, yaml.ScalarNode)]
            yield from (pair for pair in plain if not _is_merge(pair[0]))
            for key, value in plain:
                if _is_merge(key):
                    yield from self.merged(value, depth + 1)

    def unseen(self, node: yaml.Node, sign: str, where: str, remedy: str) -> InputError:
        name = unicodedata.name(sign, "a blank").lower()
        return self.error(node, f"{name} (U+{ord(sign):04X}) {where}", remedy=remedy)

    def error(self, node: yaml.Node, message: str, remedy: str | None = None) -> InputError:
        line = node.start_mark.line + 1
        return InputError(message, code="yaml_syntax", file=self.file, line=line, remedy=remedy)


def _is_merge(key: yaml.Node) -> bool:
    """True of a `<<` that is not quoted."""
    return isinstance(key, yaml.ScalarNode) and not key.style and key.value == "<<"


def _scalar(tag: str, text: str) -> Any:
    match tag.removeprefix(_TAG):
        case "str" | "!":
            return text
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return int(text, 8 if text.startswith("0o") else 16 if text.startswith("0x") else 10)
        case "float":
            plain = text.lower()
            return float(plain.replace(".inf", "inf").replace(".nan", "nan"))
    raise KeyError(tag)
