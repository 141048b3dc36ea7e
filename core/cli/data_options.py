"""The options by which commands read data files that do not speak for themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from core.cli.output import say
from core.data.turns import ReadOptions

F = TypeVar("F", bound=Callable[..., Any])
_COLUMNS = ("prompt", "completion", "system", "messages")


def reading_options(function: F) -> F:
    """The options by which a file is read that does not speak for itself; `options_of` makes `ReadOptions` of them."""
    function = click.option("--encoding", help="Of a text that is not UTF-8: cp1252, utf-16, …")(function)
    function = click.option(
        "--ignore",
        multiple=True,
        metavar="KEY",
        help="Leave out a key that would be refused (tools, tool_calls, …); may be repeated.",
    )(function)
    helps = {
        "prompt": "The column or key that holds the prompt.",
        "completion": "The one that holds the answer.",
        "system": "The one that holds the system message.",
        "messages": "The one that holds a list of messages.",
    }
    for name in reversed(_COLUMNS):
        function = click.option(f"--{name}-column", metavar="NAME", help=helps[name])(function)
    return function


def options_of(given: dict[str, Any]) -> ReadOptions:
    """The options of a command that has `reading_options`, taken out of its arguments."""
    columns = {f"{name}_column": given.pop(f"{name}_column") for name in _COLUMNS}
    options = ReadOptions(ignore=frozenset(given.pop("ignore")), encoding=given.pop("encoding"), **columns)
    if options.messages_column and (options.prompt_column or options.completion_column):
        raise click.UsageError("--messages-column stands for a whole conversation: no prompt or completion beside it")
    return options


def tell_waiting(path: Path) -> None:
    say(f"waiting for data from {path} …", error=True)
