"""`bakehouse data`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.cli.common import find_project, json_option, project_option
from core.cli.data_options import options_of, reading_options, tell_waiting
from core.cli.output import json_text, print_json, say, say_block
from core.errors import BakehouseError, InputError
from core.format import share
from core.text import one_line

if TYPE_CHECKING:
    from core.data.inspection import Inspection
    from core.data.reading import DataFile

SAMPLE_CHARACTERS = 160


@click.group()
def data() -> None:
    """Look at a data file of any usual form, or bring it to the form that is trained on.

    Formats: JSON lines, a JSON array, CSV, TSV, Parquet, each also in gzip. Forms: messages, prompt and completion, ShareGPT,
    Alpaca (input, history), question and answer under the usual names, TRL's forms (of a preference what was chosen), Gemini's
    contents. An assistant turn with weight 0 is context and never learnt.
    """


@data.command(epilog="Example: bakehouse data inspect chats.json.gz")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--model", help="Count tokens, too, with this model's tokenizer and template.")
@reading_options
@project_option
@json_option
def inspect(file: Path, model: str | None, project: Path | None, as_json: bool, **given: Any) -> None:
    """What FILE is and what would be learnt from it. FILE may be a pipe, or `-`.

    Exits with 2 when there are records that cannot be used, or none at all.
    """
    from core.data.inspection import inspect as figures
    from core.data.reading import open_data

    read = open_data(file, options_of(given), tell_waiting)
    found = figures(read)
    tokens = None if model is None else tokens_of(read, model, project)
    if as_json:
        print_json({"data": found.to_json(), **({} if tokens is None else {"tokens": tokens})})
    else:
        for line in inspection_lines(found, tokens):
            say(line)
    sys.exit(2 if found.bad or not found.records else 0)


@data.command(epilog="Example: bakehouse data convert faq.csv --prompt-column Frage --completion-column Antwort")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Where to (`-`: stdout), else beside FILE: NAME.converted.jsonl.",
)
@click.option("--skip-bad", is_flag=True, help="Leave out what cannot be used, and say how much that is.")
@reading_options
@json_option
def convert(file: Path, output: Path | None, skip_bad: bool, as_json: bool, **given: Any) -> None:
    """Write FILE as JSON lines that can be trained on: whole or not at all, and never over a file that is there."""
    from core.data.conversion import beside, converted, write_new
    from core.data.inspection import inspect as figures
    from core.data.reading import open_data

    options = options_of(given)
    read = open_data(file, options, tell_waiting)
    if output is None:
        if not read.source.regular:
            raise InputError(
                "a pipe has no folder to write beside", code="no_output", remedy="name a file with `-o FILE`"
            )
        output = beside(file)
    text, left_out = converted(read, skip_bad=skip_bad)
    to_stdout = str(output) == "-"
    if to_stdout and as_json:
        raise click.UsageError("--json and `-o -` both want stdout")
    if to_stdout:
        for line in text.removesuffix("\n").split("\n"):
            say_block(json_text(json.loads(line)))  # letters that a terminal obeys are escapes in it
    else:
        write_new(output, text)
    found = figures(read)
    if as_json:
        print_json({"written": str(output), "left_out": left_out, "data": found.to_json()})
        return
    from core.wording.data import counted_keys, form_words, learnt_words, units, warning_words

    where = "stdout" if to_stdout else output
    say(f"written  {where}: {units(found, found.usable)} of {form_words(found)}", error=to_stdout)
    say(f"learnt   {learnt_words(found)}", error=to_stdout)
    if left_out:
        which = numbers(found.bad, [problem.number for problem in read.problems])
        say(f"left out {units(found, left_out)} that cannot be used: {which}", error=to_stdout)
    if found.ignored:
        say(f"ignored  {counted_keys(found.ignored)}", error=to_stdout)
    for warning in warning_words(found):
        say(f"warning  {warning}", error=to_stdout)


def tokens_of(data: DataFile, model: str, project: Path | None) -> dict[str, Any]:
    """Tokens of what can be used, with a model's tokenizer; or why they are unknown."""
    from core.data.conversion import converted
    from core.home import Home
    from core.submission.audit_process import audit_text

    try:
        audit = audit_text(Home.find(), find_project(project), model, converted(data, skip_bad=True)[0])
    except BakehouseError as error:
        return {"model": model, "unknown": error.to_json(), "why": str(error)}
    return {
        "model": audit.model,
        "prompt": {"median": audit.prompt_median, "p90": audit.prompt_p90, "longest": audit.prompt_max},
        "completion": {
            "median": audit.completion_median,
            "p90": audit.completion_p90,
            "longest": audit.completion_max,
        },
        "longest": audit.tokens_max,
        "whole_at": {row.max_length: row.whole / row.total for row in audit.rows},
    }


def token_lines(tokens: dict[str, Any]) -> Iterator[str]:
    """The tokens as text."""
    from core.data.inspection import TextLengths
    from core.wording.data import lengths_words

    if "unknown" in tokens:
        yield f"tokens      unknown: {tokens['why']}"
        return
    for name, key in (("prompts", "prompt"), ("answers", "completion")):
        yield f"{name:<12}{lengths_words(TextLengths(**tokens[key]), 'tokens')} ({tokens['model']})"
    yield f"longest     {tokens['longest']:,} tokens in all; max_length " + ", ".join(
        f"{length:,} holds {share(part)}" for length, part in tokens["whole_at"].items()
    )


def inspection_lines(found: Inspection, tokens: dict[str, Any] | None = None) -> Iterator[str]:
    """An inspection as text."""
    from core.wording.data import file_words, inspection_rows, problem_words, warning_words

    yield file_words(found)
    for label, text in inspection_rows(found):
        yield f"{label:<12}{text}"
    yield from () if tokens is None else token_lines(tokens)
    for warning in warning_words(found):
        yield f"! {warning}"
    for problem in problem_words(found):
        yield f"✗ {problem}"
    if found.samples:
        sample = found.samples[0]
        yield ""
        yield f"{found.unit} {sample.number}:"
        for role, text in sample.messages:
            yield f"  {role:<10}{one_line(text, limit=SAMPLE_CHARACTERS)}"
        yield f"  {'learnt':<10}{one_line(sample.completion, limit=SAMPLE_CHARACTERS)}"
    if not found.own and found.usable:
        yield ""
        yield "next: bakehouse new task NAME --examples FILE, or bakehouse data convert FILE"


def numbers(count: int, first: list[int]) -> str:
    """The first numbers, and how many more there are."""
    named = first[:12]
    more = f" and {count - len(named):,} more" if count > len(named) else ""
    return ", ".join(map(str, named)) + more
