"""A golden input put at the end of a golden file: what stands there stays byte by byte, comments and layout with it."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from core.authoring.yaml_text import block, flow, flow_value, scalar
from core.config.golden import GoldenInput, GoldenSet, check_golden
from core.errors import InputError
from core.files import fsync_directory

LAYOUT = "write its inputs as a list with one `- id: …` a line, and nothing behind the list"


@dataclass(frozen=True)
class GoldenText:
    """A golden file as it was read: its bytes (empty where there is no file yet), and the inputs in it."""

    path: Path
    root: Path
    content: bytes
    inputs: tuple[GoldenInput, ...]


def read_golden_text(path: Path, root: Path) -> GoldenText:
    """The file as it is now. `root` is what `file:` of its inputs is relative to. InputError where it does not load."""
    path = path.resolve()
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return GoldenText(path, root, b"", ())
    golden, wrong = check_golden(path, root)
    if golden is None:
        if wrong[0].code in {"empty_golden", "empty_file"}:
            return GoldenText(path, root, content, ())
        raise wrong[0]
    return GoldenText(path, root, content, tuple(golden.inputs))


def append_inputs(before: GoldenText, added: Sequence[GoldenInput]) -> GoldenText:
    """Write golden inputs behind those of a file, all or none of them, and read the file again.

    InputError (`changed_meanwhile`) where the file is no longer what was read, and `golden_layout` where its layout takes no
    further input at its end; the file is as it was then.
    """
    with _locked(before):
        for content in _candidates(before, added):
            after = _written(before, content, [*before.inputs, *added])
            if after is not None:
                return after
    raise InputError("its layout takes no input at its end", code="golden_layout", file=before.path, remedy=LAYOUT)


def complete_expectations(before: GoldenText, input_id: str, values: Mapping[str, Any]) -> GoldenText:
    """Write keys into the `expect` of an input that lacks them; everything else stays as it is.

    InputError as `append_inputs`, and (`golden_already`) where a key has a value already.
    """
    place = next((at for at, one in enumerate(before.inputs) if one.id == input_id), None)
    if place is None:
        raise InputError(f"there is no golden input `{input_id}`", code="no_input", file=before.path)
    item = before.inputs[place]
    if there := [key for key in values if key in item.expect]:
        message = f"`{input_id}` expects something under {', '.join(there)} already"
        raise InputError(message, code="golden_already", file=before.path, remedy="change the file by hand")
    wanted = list(before.inputs)
    wanted[place] = item.model_copy(update={"expect": {**item.expect, **values}})
    with _locked(before):
        for content in _completed(before.content, place, values):
            after = _written(before, content, wanted)
            if after is not None:
                return after
    raise InputError(
        f"the layout of `{input_id}` takes no further expectation",
        code="golden_layout",
        file=before.path,
        remedy=LAYOUT,
    )


def take_back(before: GoldenText, after: GoldenText) -> GoldenText:
    """The file as it was before inputs were appended. InputError (`changed_meanwhile`) where somebody has changed it since."""
    with _locked(after):
        if before.content:
            _replace(after.path, before.content)
        else:
            after.path.unlink()
            fsync_directory(after.path.parent)
    return before


@contextmanager
def _locked(read: GoldenText) -> Iterator[None]:
    """One writer of ours at a time, and the file still what was read."""
    folder = read.path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as problem:
        raise InputError(f"cannot be written: {problem.strerror}", code="not_writable", file=read.path) from problem
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        now = read.path.read_bytes() if read.path.exists() else b""
        if now != read.content:
            raise InputError(
                "the golden file was changed by somebody else meanwhile; nothing of it was touched",
                code="changed_meanwhile",
                file=read.path,
                remedy="the file is read again: do it once more",
            )
        yield
    except OSError as problem:
        raise InputError(f"cannot be written: {problem.strerror}", code="not_writable", file=read.path) from problem
    finally:
        os.close(descriptor)


def _candidates(before: GoldenText, added: Sequence[GoldenInput]) -> Iterator[bytes]:
    """The file with the inputs behind it, in the ways in which that may be read as meant; the first that is holds."""
    end = "\r\n" if b"\r\n" in before.content else "\n"
    missing = b"" if before.content.endswith(b"\n") or not before.content else end.encode()
    for indent in _indents(before.content):
        items = [item_text(one, indent) for one in added]
        for gap, between in ((end, "\n"), ("", "\n"), ("", "")):
            text = between.join(items).replace("\n", end)
            yield before.content + missing + (gap if before.content else "").encode() + text.encode()


def _completed(content: bytes, place: int, values: Mapping[str, Any]) -> Iterator[bytes]:
    """The file with further keys in the expectations of the input at a place, in the ways in which its layout may take them."""
    text = content.decode("utf-8")  # with its mark, so that the places are those of the bytes
    node = _composed(content.removeprefix(BOM_UTF8))
    shift = len(text) - len(content.decode("utf-8-sig"))
    if isinstance(node, yaml.MappingNode):
        node = next((value for key, value in node.value if key.value == "inputs"), None)
    item = node.value[place] if isinstance(node, yaml.SequenceNode) and place < len(node.value) else None
    if not isinstance(item, yaml.MappingNode):
        return
    end = "\r\n" if b"\r\n" in content else "\n"

    def inserted(at: int, more: str) -> bytes:
        return (text[: at + shift] + more.replace("\n", end) + text[at + shift :]).encode()

    expect = next((value for key, value in item.value if key.value in ("expect", "expected")), None)
    whole = flow(values)
    pairs = whole[1:-1]
    if isinstance(expect, yaml.MappingNode):
        first = expect.value[0][0].start_mark if expect.value else None
        if expect.flow_style:
            yield inserted(expect.end_mark.index - 1, f", {pairs}" if first else pairs)
        elif first is not None:
            margin = " " * first.column
            yield inserted(first.index, "".join(f"{scalar(k)}: {flow_value(v)}\n{margin}" for k, v in values.items()))
    elif expect is None and item.value:
        first = item.value[0][0].start_mark
        if item.flow_style:
            yield inserted(item.end_mark.index - 1, f", expect: {whole}")
        else:
            behind = item.value[1][0].start_mark if len(item.value) > 1 else None
            if behind is not None:
                yield inserted(behind.index, f"expect: {whole}\n{' ' * first.column}")
            else:
                yield content + f"{' ' * first.column}expect: {whole}{end}".encode()


def _composed(content: bytes) -> yaml.Node | None:
    try:
        node: yaml.Node | None = yaml.compose(content.decode("utf-8-sig"), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, UnicodeDecodeError):
        return None
    return node


def _indents(content: bytes) -> list[int]:
    """Where the dashes of the list stand, told by the file; a new one has them at the margin."""
    node = _composed(content)
    if isinstance(node, yaml.MappingNode):
        node = next((value for key, value in node.value if key.value == "inputs"), None)
        if not isinstance(node, yaml.SequenceNode):
            return [2, 0]
    return [node.start_mark.column] if isinstance(node, yaml.SequenceNode) else [0]


def _written(before: GoldenText, content: bytes, wanted: Sequence[GoldenInput]) -> GoldenText | None:
    """Put the content in the file's place if it loads as what is wanted; else None, and nothing is touched."""
    trial = before.path.with_name(f".{before.path.stem}.{os.getpid()}.tmp.yaml")
    try:
        _write(trial, content, _mode(before.path))
        golden, _ = check_golden(trial, before.root)
        if golden is None or not same_inputs(golden, wanted):
            return None
        trial.replace(before.path)
    finally:
        trial.unlink(missing_ok=True)
    fsync_directory(before.path.parent)
    return GoldenText(before.path, before.root, content, tuple(golden.inputs))


def same_inputs(golden: GoldenSet, wanted: Sequence[GoldenInput]) -> bool:
    """Whether what was read is just what is wanted, each value and its kind: 1 is neither true nor 1.0."""

    def told(inputs: Sequence[GoldenInput]) -> list[str]:
        return [json.dumps(one.model_dump(), sort_keys=True) for one in inputs]

    return told(golden.inputs) == told(wanted)


def _replace(path: Path, content: bytes) -> None:
    trial = path.with_name(f".{path.stem}.{os.getpid()}.tmp.yaml")
    try:
        _write(trial, content, _mode(path))
        trial.replace(path)
    finally:
        trial.unlink(missing_ok=True)
    fsync_directory(path.parent)


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        os.fchmod(file.fileno(), mode)


def _mode(path: Path) -> int:
    """The rights that the file has; of a new one those that an editor would give it."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return 0o644


def item_text(item: GoldenInput, indent: int = 0) -> str:
    """A golden input as a list item of YAML whose dash stands `indent` deep; with its last newline."""
    margin = " " * (indent + 2)
    lines = [f"{' ' * indent}- id: {scalar(item.id)}"]
    if item.input is not None:
        lines.append(f"{margin}input: {block(item.input, indent + 4)}")
    elif item.file is not None:
        lines.append(f"{margin}file: {scalar(item.file)}")
    else:
        lines.append(f"{margin}messages:")
        for turn in item.messages:
            lines += [f"{margin}  - role: {turn.role}", f"{margin}    content: {block(turn.content, indent + 8)}"]
    if item.expect:
        lines += expect_lines(item.expect, margin)
    for name in ("source", "use", "chosen"):
        if (value := getattr(item, name)) is not None:
            lines.append(f"{margin}{name}: {scalar(value)}")
    if item.tags:
        lines.append(f"{margin}tags: [{', '.join(scalar(tag) for tag in item.tags)}]")
    return "\n".join(lines) + "\n"


def expect_lines(expect: dict[str, Any], margin: str = "") -> list[str]:
    """Expectations as lines of YAML: in one line where that is short and of scalars, else a key a line."""
    line = f"{margin}expect: {flow(expect)}"
    texts = any(isinstance(value, str) and "\n" in value for value in expect.values())
    if len(line) <= 110 and not texts:
        return [line]
    depth = len(margin) + 4
    return [f"{margin}expect:", *(f"{margin}  {scalar(key)}: {_value(value, depth)}" for key, value in expect.items())]


def _value(value: Any, depth: int) -> str:
    return block(value, depth) if isinstance(value, str) else flow_value(value)
