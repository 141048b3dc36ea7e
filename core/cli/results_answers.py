"""The answers of a bake-off as text: what was asked, what was expected, which checks failed; and two of them compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from core.cli.output import print_json, say, say_block
from core.errors import NotFoundError
from core.results.load import StoredBakeoff, StoredTask
from core.scoring.answers import Answer
from core.scoring.passing import passes, rank
from core.wording.scoring import scoring_words

if TYPE_CHECKING:
    from core.config.golden import GoldenInput
    from core.config.task import Task
    from core.scoring.scorer import Score

MAX_SHOWN = 88


def show_answers(
    job_id: int,
    stored: StoredBakeoff,
    tasks: Sequence[StoredTask],
    input_id: str | None,
    candidate: str | None,
    as_json: bool,
) -> None:
    """The answers, each with what was asked and expected, and the checks that it failed."""
    every = [answer for task in tasks for answer in task.answers]
    check_names(every, input_id=input_id, candidate=candidate)
    documents: list[dict[str, Any]] = []
    scored = scoring_words(stored.scoring)
    if scored and not as_json:
        say(scored)
    for task in tasks:
        inputs = {item.id: item for item in task.inputs}
        own = [one for one in task.answers if input_id in {None, one.input_id} and candidate in {None, one.candidate}]
        own.sort(key=lambda one: (one.candidate, one.input_id, one.repeat))
        scores = scores_by_answer(task.task, inputs, own, task.scores)
        for answer in own:
            if as_json:
                documents.append({**answer.to_json(), "scores": scores.get((answer.candidate, answer.key), [])})
                continue
            of_task = f"{answer.task} · " if len(stored.tasks) > 1 else ""
            fault = f", {answer.fault}" if answer.fault else ""
            problem = f": {answer.problem}" if answer.problem else ""
            say(f"── {answer.candidate} · {of_task}{answer.input_id} · repeat {answer.repeat}{fault}{problem}")
            said = failed_in_words(scores.get((answer.candidate, answer.key), []))
            for line in (*asked_in_words(inputs.get(answer.input_id)), *said):
                say(line, data=True)
            for line in answer.text.splitlines():
                say(f"   │ {line}".rstrip(), data=True)
            say()
    if as_json:
        print_json({"job": job_id, "answers": documents, "scoring": stored.scoring.to_json()}, data=True)


def check_names(every: Sequence[Answer], *, input_id: str | None, candidate: str | None) -> None:
    """Raises `NotFoundError` for an input or a candidate of which there is no answer."""
    for noun, named, known in (
        ("input", input_id, {answer.input_id for answer in every}),
        ("candidate", candidate, {answer.candidate for answer in every}),
    ):
        if named is not None and named not in known:
            raise NotFoundError(
                f"no answers of the {noun} `{named}`",
                code="no_answers",
                remedy=f"there are: {', '.join(sorted(known)) or 'none yet'}",
            )


def show_diff(
    job_id: int,
    tasks: Sequence[StoredTask],
    pair: tuple[str, str],
    input_id: str | None,
    repeat: int | None,
    width: int,
    as_json: bool,
) -> None:
    """Two candidates' answers to one input, with what differs marked; without `repeat` (from 1) the worst of each."""
    from core.cli.results_diff import diff_lines
    from core.results.answer_diff import diff_answers

    having = [task for task in tasks if input_id is None or any(item.id == input_id for item in task.inputs)]
    if len(having) > 1 or input_id is None:
        what = "--input ID" if input_id is None else "--task NAME"
        raise click.UsageError(f"which answers are to be compared? Add {what}")
    every = [answer for task in tasks for answer in task.answers]
    for name in pair:
        check_names(every, input_id=input_id, candidate=name)
    (task,) = having
    inputs = {item.id: item for item in task.inputs}
    sides, heads = [], []
    for name in pair:
        own = [one for one in task.answers if (one.candidate, one.input_id) == (name, input_id)]
        by_answer = scores_by_answer(task.task, inputs, own, task.scores)
        chosen = chosen_repeat(own, by_answer, repeat)
        if chosen is None:
            message = f"{name} has no answer to {input_id}" + ("" if repeat is None else f" in repeat {repeat}")
            raise NotFoundError(message, code="no_answers", remedy=f"its repeats: {len(own) or 'none yet'}")
        sides.append(chosen)
        title = f"{name} · repeat {chosen.repeat} of {len(own)}" + (f", {chosen.fault}" if chosen.fault else "")
        heads.append([title, *(line.strip() for line in failed_in_words(by_answer.get((name, chosen.key), [])))])
    diff = diff_answers(sides[0].text, sides[1].text)
    if as_json:
        rows = [
            {side: None if line is None else [vars(piece) for piece in line] for side, line in vars(row).items()}
            for row in diff.rows
        ]
        of_pair = {letter: one.to_json() for letter, one in zip("ab", sides, strict=True)}
        document = {"job": job_id, "task": task.name, "input_id": input_id, **of_pair, "rows": rows, "cut": diff.cut}
        print_json(document, data=True)
        return
    for line in asked_in_words(inputs.get(input_id)):
        say(line.strip(), data=True)
    say_block("\n".join(diff_lines(diff, (heads[0], heads[1]), width)))


def chosen_repeat(
    own: Sequence[Answer], scores: Mapping[tuple[str, str], list[dict[str, Any]]], repeat: int | None
) -> Answer | None:
    """The answer of a repeat; without one the worst, the first of those alike."""
    if repeat is not None:
        return next((one for one in own if one.repeat == repeat), None)

    def order(one: Answer) -> tuple[tuple[int, float], int]:
        return rank([score["value"] for score in scores.get((one.candidate, one.key), ())]), one.repeat

    return min(own, key=order, default=None)


def scores_by_answer(
    task: Task, inputs: Mapping[str, GoldenInput], answers: Sequence[Answer], scores: Sequence[Score]
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The scores of each answer, by (candidate, key), by the checks of `task` in their order."""
    from core.scoring.scorer import plan_checks

    # A score without a candidate is of whoever gave the answer.
    stored = {(score.candidate, score.answer_key, score.check_hash): score.to_json() for score in scores}
    plans = {name: plan_checks(task, item) for name, item in inputs.items()}
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for answer in answers:
        found[answer.candidate, answer.key] = [
            one
            for check in plans.get(answer.input_id, ())
            for name in (answer.candidate, "")
            if (one := stored.get((name, answer.key, check.hash))) is not None
        ]
    return found


def asked_in_words(item: GoldenInput | None) -> Iterator[str]:
    """The first line of a golden input, and what it expects."""
    if item is None:
        return
    lines = [line for line in item.text().splitlines() if line.strip()]
    more = f"  (and {len(lines) - 1} more line{'' if len(lines) == 2 else 's'})" if len(lines) > 1 else ""
    yield f"   asked    {shorten(lines[0]) if lines else '(nothing)'}{more}"
    if item.expect:
        yield f"   expected {'; '.join(f'{key}: {shorten(str(value))}' for key, value in item.expect.items())}"


def failed_in_words(scores: list[dict[str, Any]]) -> Iterator[str]:
    """The checks that an answer lost points on, with why; or that it passed them all."""
    failed = [score for score in scores if not passes(score["value"])]
    if not scores:
        yield "   checks   not scored"
    elif not failed:
        yield f"   checks   all {len(scores)} passed"
    elif len(failed) == len(scores) and len({score["detail"] for score in failed}) == 1:
        yield f"   checks   all {len(scores)} failed: {failed[0]['detail']}"
    else:
        yield f"   checks   {len(scores) - len(failed)} of {len(scores)} passed"
        for score in failed:
            share = f"{100 * score['value']:.0f} %: " if score["value"] else ""
            yield f"   ✗        {score['check_id']} ({score['part']}): {share}{score['detail']}"


def shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_SHOWN else f"{line[: MAX_SHOWN - 1]}…"
