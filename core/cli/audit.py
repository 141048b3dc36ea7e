"""`bakehouse audit`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from core.cli.common import find_project, json_option, project_option
from core.cli.output import print_json, say, say_block
from core.config.shipped import PLAIN_RECIPE
from core.data.audit import Audit, LengthRow, ShownExample
from core.errors import InputError
from core.format import share
from core.home import Home
from core.text import printable, visible
from core.wording.data import data_remarks, duplicate_words
from core.wording.texts import fault_remedy, template_words, text_words

SHORTEST_LENGTH = 16
# Above it most of what is read is input; a loss over all tokens would mostly teach to write inputs.
LOPSIDED_RATIO = 5.0
NAMED_AT_MOST = 12
GREEN, PLAIN = "\x1b[32m", "\x1b[0m"
OPENING, CLOSING = "⟦", "⟧"


def lengths_option(ctx: click.Context, option: click.Parameter, value: str | None) -> list[int] | None:
    """`512,1024` as numbers."""
    if value is None:
        return None
    try:
        lengths = [int(word) for word in value.split(",")]
    except ValueError:
        lengths = []
    if not lengths or min(lengths) < SHORTEST_LENGTH:
        message = f"`{value}` is no list of lengths: whole numbers from {SHORTEST_LENGTH}, with commas between"
        raise click.BadParameter(message, ctx, option)
    return lengths


@click.command(
    epilog="Example: bakehouse audit judge --model SmolLM2-135M --recipe demo --show 3; "
    "bakehouse audit --tasks all --model SmolLM2-135M --lengths 1024,2048"
)
@click.argument("task", required=False)
@click.option(
    "--tasks", metavar="all|NAME,…", help="A table of several tasks: lengths, and the share whole at each of --lengths."
)
@click.option("--model", required=True, help="The base model whose tokenizer counts.")
@click.option("--recipe", default=PLAIN_RECIPE, show_default=True, help="How it is to be trained: length, few_shot, …")
@click.option("--max-length", type=click.IntRange(SHORTEST_LENGTH), help="Instead of the recipe's length, in tokens.")
@click.option("--lengths", metavar="N,N,…", callback=lengths_option, help="Compare these, else some around the data.")
@click.option(
    "--show", type=click.IntRange(1), multiple=True, help="Print example N as the model sees it; may be repeated."
)
@project_option
@json_option
def audit(
    task: str | None,
    tasks: str | None,
    model: str,
    recipe: str,
    max_length: int | None,
    lengths: list[int] | None,
    show: tuple[int, ...],
    project: Path | None,
    as_json: bool,
) -> None:
    """What training would make of TASK's data: lengths in tokens, what is cut or skipped, duplicates, leaks.

    Exits with 3 when a training would be refused: golden inputs in the data, texts that would be learnt wrongly, or more
    examples skipped than the recipe allows.
    """
    from core.submission.audit_process import audit as audit_data

    if (task is None) == (tasks is None):
        raise click.UsageError("name one TASK, or several with --tasks")
    if task is None:
        if show:
            raise click.UsageError("--show is for one task")
        from core.cli.audit_table import show_table

        show_table(find_project(project), tasks or "", model, recipe, max_length, lengths, as_json)
    found = audit_data(
        Home.find(),
        find_project(project),
        task,
        model,
        max_length=max_length,
        lengths=lengths,
        show=show,
        recipe=recipe,
    )
    there = {item.index for item in found.shown}
    if absent := [number for number in show if number not in there]:
        raise InputError(
            f"there is no example {absent[0]}: there are {found.row.total}", code="no_such_example", key="show"
        )
    if as_json:
        print_json({"audit": found.to_json()}, data=True)
    else:
        for line in [*figures(found), *warnings(found)]:
            say(line)
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        for item in found.shown:
            say()
            say_block("\n".join(shown_lines(item, colour=colour)))
    sys.exit(3 if found.refused else 0)


def figures(audit: Audit) -> Iterator[str]:
    """What was counted."""
    how = "counted before" if audit.cached else f"{audit.seconds:.1f} s"
    lines = "" if audit.lines == audit.examples else f" of {audit.lines} lines"
    yield f"{audit.task} for {audit.model}, recipe {audit.recipe}: {audit.examples} examples{lines} ({how})"
    yield ""
    yield f"{'tokens':<12}{'median':>8}{'p90':>8}{'max':>8}"
    yield f"{'completion':<12}{audit.completion_median:>8.0f}{audit.completion_p90:>8.0f}{audit.completion_max:>8}"
    yield f"{'prompt':<12}{audit.prompt_median:>8.0f}{audit.prompt_p90:>8.0f}{audit.prompt_max:>8}"
    yield f"input : output {audit.ratio:.1f} : 1; {share(audit.loss_share)} of the tokens are completion and carry the loss"
    yield ""
    yield f"{'max_length':<18}{'whole':>12}{'prompt cut':>14}{'skipped':>14}{'loss tokens':>14}   a right cut would harm"
    for row in audit.rows:
        name = f"{row.max_length}" + (" (training)" if row.max_length == audit.max_length else "")
        parts = "".join(
            f"{count:>{width - 6}}{share(count / row.total):>6}"
            for count, width in ((row.whole, 12), (row.cut, 14), (row.skipped, 14))
        )
        yield f"{name:<18}{parts}{share(row.loss_share):>14}   {right_cut(row)}"
    yield ""
    yield "No completion is ever cut: a prompt that is too long loses the middle of its longest user message; where even that"
    yield "leaves no room, the example is skipped. The last column is what a plain cut at the right, the usual default of"
    yield "trainers, would do instead: take the end of so many answers, with the sign that ends them."
    yield from added(audit)


def right_cut(row: LengthRow) -> str:
    if not row.right_cut:
        return "none"
    lost = f", {row.right_dropped} of them wholly lost" if row.right_dropped else ""
    return f"{row.right_cut} answers ({share(row.right_cut / row.total)}){lost}"


def added(audit: Audit) -> Iterator[str]:
    """What the recipe adds to the data."""
    made = audit.augmented
    if made.few_shot_chosen:
        yield (
            f"few_shot: {made.few_shot_chosen} examples were to get {made.few_shot_count} answered ones in front: "
            f"{made.few_shot_full} got all, {made.few_shot_fewer} fewer, {made.few_shot_none} none (no room)"
        )
    if made.skeletons_asked:
        why = f" ({made.skeletons_why})" if made.skeletons_why else ""
        first = audit.examples + 1
        where = f"; --show {first} is the first" if made.skeletons else ""
        yield f"skeletons: {made.skeletons} of {made.skeletons_asked} bare forms added{why}{where}"


def warnings(audit: Audit) -> Iterator[str]:
    """What a person should know or do."""
    yield ""
    if audit.golden is None:
        yield "! there are no golden inputs yet, so the data was not checked for leaks"
    elif audit.leaks:
        yield f"✗ {len(audit.leaks)} leaks: golden inputs appear in the training data, so training refuses it"
        yield from (f"    {leak}" for leak in audit.leaks[:NAMED_AT_MOST])
        if len(audit.leaks) > NAMED_AT_MOST:
            yield f"    and {len(audit.leaks) - NAMED_AT_MOST} more"
    else:
        yield f"✓ none of the {audit.golden} golden inputs appears in the training data"
    if audit.duplicates:
        yield f"! {duplicate_words(audit.duplicates, some(audit.duplicate_lines))}"
    else:
        yield "✓ no duplicates"
    yield from (f"! {remark}" for remark in data_remarks(audit))
    for finding in audit.texts:
        sign = "✗" if finding.refused else "!"
        yield f"{sign} {text_words(finding)}" + (", so training refuses it" if finding.refused else "")
        if remedy := fault_remedy(finding.reason):
            yield f"    {remedy}"
    yield from (f"! {template_words(note)}" for note in audit.template)
    if audit.skipped_lines:
        refused = audit.refused == "too_many_skipped"
        allowed = f"more than the {share(audit.max_skipped)} of the recipe's max_skipped: training refuses it"
        yield f"{'✗' if refused else '!'} skipped at {audit.max_length}: lines {some(audit.skipped_lines)}" + (
            f"; {allowed}" if refused else ""
        )
    if audit.ratio > LOPSIDED_RATIO:
        yield f"! {audit.ratio:.0f} tokens are read for one that is written: a loss over all of them would mostly teach how"
        yield "  inputs are written. Training takes the loss of completions alone."
    if audit.further_keys:
        keys = [f"{key} ({count})" for key, count in list(audit.further_keys.items())[:NAMED_AT_MOST]]
        more = f" and {len(audit.further_keys) - NAMED_AT_MOST} more" if len(audit.further_keys) > NAMED_AT_MOST else ""
        yield f"! keys that were ignored: {', '.join(keys)}{more}"


def shown_lines(item: ShownExample, *, colour: bool) -> list[str]:
    """An example as the model sees it, under a line that says what it is and how to read it."""
    where = f"line {item.line}" if item.line else "added by the recipe"
    tokens = f"{item.prompt_tokens} + {item.completion_tokens} tokens"
    state = {"whole": "whole", "cut": f"{item.cut_tokens} tokens cut out of the prompt", "skipped": "skipped: too long"}
    shots = f", {item.shots} answered turns in front" if item.shots else ""
    sign = "green" if colour else f"within {OPENING} {CLOSING}"
    head = (
        f"── example {item.index} ({where}), {tokens}, {state[item.state]}{shots}; the loss is on what stands {sign} ──"
    )
    begin, end = (GREEN, PLAIN) if colour else (OPENING, CLOSING)
    text = ""
    for piece in item.pieces:
        if piece.mark:
            text += f"\n{visible(piece.text)}\n"
        elif piece.loss:
            # Each line is coloured by itself: a pager or a cut line cannot leave the rest green.
            lines = visible(piece.text).split("\n") if colour else [visible(piece.text)]
            text += "\n".join(f"{begin}{line}{end}" for line in lines)
        else:
            text += visible(piece.text)
    return [printable(head), *text.split("\n")]


def some(lines: tuple[int, ...]) -> str:
    """The first line numbers, and how many more there are."""
    more = f" and {len(lines) - NAMED_AT_MOST} more" if len(lines) > NAMED_AT_MOST else ""
    return ", ".join(map(str, lines[:NAMED_AT_MOST])) + more
