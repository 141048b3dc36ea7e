"""The order of things in a bake-off: model by model over all tasks, then the scores."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from core.config.golden import GoldenInput
from core.errors import InputError
from core.files import write_atomic
from core.format import of_five
from core.jobfile.bakeoff import IN_PROCESS, BakeoffSpec
from jobs.bakeoff.in_process import answer_in_process
from jobs.bakeoff.record import AnswerRecord, Tally
from jobs.context import JobContext
from jobs.inputs import read_golden
from jobs.manifest import extend_manifest, start_manifest

Inputs = Mapping[str, tuple[GoldenInput, ...]]
"""The golden inputs by task."""


def run(context: JobContext, spec: BakeoffSpec) -> None:
    started = time.monotonic()
    context.phase("reading the golden inputs", ", ".join(task.golden.source for task in spec.tasks))
    start_manifest(context)
    inputs: dict[str, tuple[GoldenInput, ...]] = {}
    for under_test in spec.tasks:
        inputs[under_test.name] = tuple(read_golden(under_test.golden))
        if not inputs[under_test.name]:
            raise InputError("there are no golden inputs", code="empty_golden", file=under_test.golden.source)
    extend_manifest(context, seed=spec.seed)
    per_candidate = sum(len(inputs[task.name]) * task.repeats for task in spec.tasks)
    record = AnswerRecord(context, spec)
    tally = Tally(context, len(spec.candidates) * per_candidate)
    loaded_here = [candidate for candidate in spec.candidates if candidate.form in IN_PROCESS]
    if loaded_here:
        answer_in_process(context, spec, loaded_here, inputs, record, tally)
    context.phase("scoring")
    _score(context, spec, inputs, record, time.monotonic() - started)


def _score(context: JobContext, spec: BakeoffSpec, inputs: Inputs, record: AnswerRecord, seconds: float) -> None:
    """Score all stored answers and leave the result."""
    from core.bakeoff.leaderboard import build_leaderboard
    from core.bakeoff.result import result_message, result_summary
    from core.bakeoff.scoring import score_answers

    lines, boards = [], {}
    for under_test in spec.tasks:
        task = under_test.task
        answers = [answer for answer in record.answers if answer.task == task.name]
        scores = score_answers(task, inputs[task.name], answers, spec.pattern_timeout_seconds)
        lines += [json.dumps(one.to_json(), ensure_ascii=False) for one in scores]
        boards[task.name] = board = build_leaderboard(
            task,
            inputs[task.name],
            answers,
            scores,
            spec.incumbent,
            candidates=spec.forms,
            repeats=under_test.repeats,
        )
        for row in board.rows:
            of_task = f"{task.name}, " if len(spec.tasks) > 1 else ""
            format_score, content_score = of_five(row.format_score), of_five(row.content_score)
            context.say(f"{of_task}{row.name}: format {format_score}, content {content_score}")
    # Whole before result.json is there: whoever sees that finds every score.
    write_atomic(context.run.scores, "".join(f"{line}\n" for line in lines))
    summary = result_summary(boards, {candidate.name: candidate.ref for candidate in spec.candidates})
    context.finish(result_message(boards), summary={**summary, "seconds": seconds})
