"""How a candidate is asked, as it is written behind its model: `NAME@think=on@few_shot=3`.

An `@` stands in paths and in tags of servers too: only `@KEY=` begins a variant.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from core.config.project import Project
from core.config.task import Sampling
from core.config.validation import check, nearest
from core.config.yaml import Marked, found, parse_scalar, read_text
from core.errors import InputError
from core.format import data_size
from core.jobfile.bakeoff import OutputFormat, Variant
from core.submission.output_formats import require_grammar, require_schema

KEYS = ("think", "few_shot", "system", "format", *Sampling.model_fields)
"""In the order of the canonical spelling."""
ALSO_CALLED = {
    **Sampling.also_called,
    "thinking": "think",
    "shots": "few_shot",
    "examples": "few_shot",
    "prompt": "system",
    "system_prompt": "system",
    "schema": "format",
    "grammar": "format",
    "json": "format",
    "output": "format",
}
_BEGIN = re.compile(r"@(?=[A-Za-z_][A-Za-z0-9_-]*=)")
LONGEST_FILE_BYTES = 4 * 2**20
"""Of a system text, schema or grammar: about a million tokens, more than any model reads."""
# Enough room for whatever stands beside the one value that is checked.
_ROOM = {"context_length": 10**9, "max_new_tokens": 1}


def split_reference(reference: str) -> tuple[str, str]:
    """The model of a reference and its variant, as they are written; the variant is empty without one."""
    begin = _BEGIN.search(reference)
    return (reference, "") if begin is None else (reference[: begin.start()], reference[begin.end() :])


def split_path(reference: str, is_there: Callable[[str], bool]) -> tuple[str, str]:
    """As `split_reference`, for a path: what looks like a variant belongs to the path where a file or folder is called so."""
    begins = [(found.start(), found.end()) for found in _BEGIN.finditer(reference)]
    if is_there(reference):
        return reference, ""
    for start, end in reversed(begins):
        if is_there(reference[:start]):
            return reference[:start], reference[end:]
    return split_reference(reference)


def read_variant(written: str, project: Project) -> Variant:
    """What is written behind the model, without its first `@`. Files are read, relative to the project's folder.

    Raises `InputError` for a key that is unknown or doubled, a value that the key does not take, and a file that is not there
    or does not hold what it should.
    """
    given: dict[str, str] = {}
    for part in _BEGIN.split(written) if written else ():
        key, _, value = part.partition("=")
        if key not in KEYS:
            last = next(reversed(given), "")
            longer = f"{given.get(last, '')}@{part}"
            if last not in ("system", "format") or not project.resolve(longer).exists():
                raise _unknown(key)
            given[last] = longer  # a file with an @ and an = in its name
            continue
        if key in given:
            raise InputError(f"`{key}` is given twice", code="doubled_key", key=f"@{part}", remedy="keep one of them")
        given[key] = value
    fields: dict[str, Any] = {"sampling": {}}
    spelt = []
    for key in KEYS:
        if key in given and (said := _take(key, given[key].strip(), project, fields)):
            spelt.append(f"{key}={said}")
    return Variant(written="@".join(spelt), **fields)


def _take(key: str, text: str, project: Project, fields: dict[str, Any]) -> str:
    """Write one key into the fields of a variant; its value in the canonical spelling, empty where nothing is changed by it."""
    match key:
        case "think":
            fields["think"] = _on_or_off(text)
            return text
        case "few_shot":
            fields["few_shot"] = count = _count(text)
            return str(count) if count else ""
        case "system":
            file, shown = _file(key, text, project)
            fields |= {"system": _content(file), "system_file": str(file)}
            return shown
        case "format":
            output, shown = _output(text, project)
            fields["output"] = output
            return shown
    value = _sampling(key, text)
    fields["sampling"][key] = value
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def _unknown(key: str) -> InputError:
    meant = ALSO_CALLED.get(key.lower()) or nearest(key.replace("-", "_"), KEYS)
    return InputError(
        f"unknown key `{key}` of a variant",
        code="unknown_key",
        key=f"@{key}=",
        remedy=f"did you mean `{meant}`?" if meant else f"known: {', '.join(KEYS)}",
    )


def _wrong(key: str, text: str, message: str, remedy: str | None = None) -> InputError:
    return InputError(message, code="wrong_value", key=f"@{key}={text}", remedy=remedy)


def _on_or_off(text: str) -> Literal["on", "off"]:
    if text == "on":
        return "on"
    if text == "off":
        return "off"
    meant = {"true": "on", "yes": "on", "1": "on", "false": "off", "no": "off", "0": "off"}
    near = meant.get(text.lower()) or nearest(text, ("on", "off"))
    raise _wrong(
        "think", text, f"expected `on` or `off`, found {found(text)}", f"did you mean `{near}`?" if near else None
    )


def _count(text: str) -> int:
    value = parse_scalar(text)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        message = f"expected a number of examples, found {found(value)}"
        raise _wrong(
            "few_shot", text, message, "write how many of the task's examples stand before the input: few_shot=3"
        )
    return value


def _sampling(key: str, text: str) -> int | float:
    """A field of the task's sampling, under the rules that it has there."""
    value = parse_scalar(text)
    if value is None:
        raise _wrong(key, text, "expected a number, found nothing")
    made, problems = check(Sampling, Marked(Path(), {**_ROOM, key: value}, {}))
    if made is None:
        raise _wrong(key, text, problems[0].message, problems[0].remedy)
    taken: int | float = getattr(made, key)
    return taken


def _file(key: str, text: str, project: Project) -> tuple[Path, str]:
    """A file that a variant names, and how it is shown: by its place in the project where it is there."""
    if not text:
        raise _wrong(key, text, "expected the name of a file, found nothing")
    file = project.resolve(text)
    shown = str(file.relative_to(project.root)) if file.is_relative_to(project.root) else text
    return file, shown


def _content(file: Path) -> str:
    """The text of a file that a variant names: it goes into the job file, so that what is written later changes nothing."""
    with contextlib.suppress(OSError):  # what is wrong with it is told by the reading
        if file.stat().st_size > LONGEST_FILE_BYTES:
            size = data_size(file.stat().st_size)
            raise InputError(
                f"a text of {size} is longer than any model reads",
                code="too_long",
                file=file,
                remedy="name another file",
            )
    return read_text(file)


def _output(text: str, project: Project) -> tuple[OutputFormat, str]:
    if text == "json":
        return OutputFormat(kind="json"), text
    suffix = Path(text).suffix.lower()
    if suffix not in {".json", ".gbnf"}:
        near = nearest(text, ("json",))
        message = f"expected `json`, a schema (FILE.json) or a grammar (FILE.gbnf), found {found(text)}"
        raise _wrong("format", text, message, f"did you mean `{near}`?" if near else None)
    file, shown = _file("format", text, project)
    content = _content(file)
    if suffix == ".json":
        require_schema(content, file)
        return OutputFormat(kind="schema", text=content, file=str(file)), shown
    require_grammar(content, file)
    return OutputFormat(kind="grammar", text=content, file=str(file)), shown
