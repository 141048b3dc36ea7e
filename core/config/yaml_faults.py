"""What is wrong with a text that is no YAML: one line, at the place of the mistake and not where the parser gave up."""

from __future__ import annotations

from pathlib import Path

import yaml

from core.errors import InputError

REMEDIES = {
    "hexdecimal": "write paths and patterns between single quotes, where a backslash is a backslash",
    "a tab in the indent": "indent with spaces, not with tabs",
    "mapping values are not allowed": "put a value that contains ': ' between quotes",
    "unknown escape character": "write patterns between single quotes, where a backslash is a backslash",
    "a quote that begins here": "close it, and double a quote inside quotes ('')",
    "could not find expected ':'": "a key needs ': ' behind it, and text of several lines needs '|' and an indent",
    "did not find expected key": "look at the indent, and double a quote inside quotes ('')",
    "cannot start any token": "put a value that begins with '@', '%' or a backtick between quotes",
    "while scanning an alias": "put a value that begins with '*' between quotes",
    "while scanning an anchor": "put a value that begins with '&' between quotes",
    "expected a single document": "one file holds one document: take out the '---' between them",
}


def syntax_fault(file: Path, text: str, problem: yaml.YAMLError) -> InputError:
    """The error that a person sees for what the parser said."""
    if isinstance(problem, yaml.MarkedYAMLError):
        return _marked(file, text, problem)
    if isinstance(problem, yaml.reader.ReaderError):
        line = text.count("\n", 0, problem.position) + 1 if problem.position <= len(text) else None
        message = f"not valid YAML: a control character (0x{ord(_character(problem)):02x})"
        return InputError(message, code="yaml_syntax", file=file, line=line)
    return InputError(f"not valid YAML: {problem}", code="yaml_syntax", file=file)


def _marked(file: Path, text: str, problem: yaml.MarkedYAMLError) -> InputError:
    mark = problem.problem_mark or problem.context_mark
    words = " ".join(part for part in (problem.context, problem.problem) if part)
    if "found duplicate anchor" in words or "undefined alias" in words:
        words = problem.problem or words
    if "maximum nesting depth" in words:  # libyaml's own limit, which PyYAML has since 6.0.4
        words = "nested too deep"
    line = None if mark is None else mark.line + 1
    opened = problem.context_mark
    if mark is not None and (tab := _tab_in_indent(text, mark.line)):
        words, line = "a tab in the indent", tab
    elif mark is not None and (quote := _open_quote(text, problem)) is not None:
        words = f"a quote that begins here is not closed in its line (the file stops making sense in line {line})"
        line = quote
    elif opened is not None and mark is not None and opened.line != mark.line:
        words += f" (it began in line {opened.line + 1})"
    remedy = next((hint for sign, hint in REMEDIES.items() if sign in words), None)
    return InputError(f"not valid YAML: {words}", code="yaml_syntax", file=file, line=line, remedy=remedy)


def _tab_in_indent(text: str, near: int) -> int | None:
    """The line (from 1) of a tab that indents: line `near` (from 0), where parsing failed, is looked at."""
    lines = text.splitlines()
    line = lines[near] if near < len(lines) else ""
    return near + 1 if "\t" in line[: len(line) - len(line.lstrip())] else None


def _open_quote(text: str, problem: yaml.MarkedYAMLError) -> int | None:
    """The line (from 1) of the quote that was not closed, when that is why parsing failed.

    Such a text runs on to the end of the file, or to the next quote, which then closes it: what stands behind that one
    is where the parser stumbles.
    """
    mark, opened = problem.problem_mark, problem.context_mark
    if opened is not None and "quoted scalar" in (problem.context or "") and "end of stream" in (problem.problem or ""):
        return int(opened.line) + 1
    found = None
    try:
        for token in yaml.scan(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader)):
            start, end = token.start_mark, token.end_mark
            if mark is not None and (start.line, start.column) >= (mark.line, mark.column):
                break
            if isinstance(token, yaml.ScalarToken) and token.style in ("'", '"') and start.line < end.line:
                found = start.line + 1 if mark is not None and end.line == mark.line else None
    except yaml.YAMLError:
        return found
    return found


def _character(problem: yaml.reader.ReaderError) -> str:
    character = problem.character
    return character if isinstance(character, str) else chr(character)
