"""The job `judging`: the judges of an ended bake-off asked for what they have not said, and its answers scored again."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from core.checks.judge import NOT_JUDGED
from core.errors import BakehouseError
from core.format import plural
from core.jobfile.judging import JudgingSpec
from core.scoring.answers import read_answers
from core.scoring.to_judge import judge_checks
from core.scoring.verdicts import book_of, read_verdicts
from jobs.bakeoff.judges import JudgedTask, VerdictRecord, ask_judges
from jobs.bakeoff.scoring import scored_boards, summary_of
from jobs.context import JobContext
from jobs.inputs import read_golden
from jobs.manifest import start_manifest


def run(context: JobContext, spec: JudgingSpec) -> None:
    from core.bakeoff.result import result_message

    started = time.monotonic()
    context.phase("reading the answers", f"bake-off {spec.bakeoff}")
    start_manifest(context)
    answers = read_answers(Path(spec.answers.path))
    inputs = {one.name: tuple(read_golden(one.golden)) for one in spec.tasks}
    own, earlier = (
        [] if one is None else read_verdicts(Path(one.path)) for one in (spec.verdicts, spec.earlier_verdicts)
    )
    record = VerdictRecord(context.run.verdicts, [*earlier, *own])
    tasks = [
        JudgedTask(one.task, inputs[one.name], tuple(answer for answer in answers if answer.task == one.name))
        for one in spec.tasks
    ]
    costs = ask_judges(context, spec.judges, tasks, record, spec.concurrency)
    if not record.verdicts:
        raise BakehouseError(
            f"no judge said anything of bake-off {spec.bakeoff}",
            code="not_judged",
            remedy="see the log for why, mend the server and retry",
        )
    # Of a judge that said nothing now the bake-off keeps what it has.
    spoke = {one.judge for one in record.verdicts}
    book = book_of([*record.verdicts, *(one for one in own if one.judge not in spoke)])
    boards = scored_boards(
        context,
        spec.tasks,
        spec.candidates,
        spec.incumbent,
        inputs,
        answers,
        book,
        spec.curtailed,
        spec.pattern_timeout_seconds,
    )
    checks = {one.name: one.task.scored_by() for one in spec.tasks}
    many = len(spec.tasks) > 1
    changes = [
        {"kind": "judged", "check": name, "task": one.name if many else ""}
        for one in spec.tasks
        for name, _ in judge_checks(one.task)
    ]
    message = result_message(boards)
    open_ = sum(row.unjudged for board in boards.values() for row in board.rows)
    left = f"; {open_} {NOT_JUDGED}" if open_ else ""
    came = Counter(one.judge for one in record.verdicts)
    said = ", ".join(f"{plural(count, 'verdict')} of {judge}" for judge, count in came.items())
    scored = {
        "bakeoff": spec.bakeoff,
        "scoring": spec.scoring,
        "author": context.job.author,
        "message": message,
        "checks": {"tasks": checks} if many else next(iter(checks.values())),
        "changes": changes,
        "summary": summary_of(boards, spec.candidates, costs),
    }
    context.finish(f"{said}{left}", summary={"rescoring": scored, "seconds": time.monotonic() - started})
