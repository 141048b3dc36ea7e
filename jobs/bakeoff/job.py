"""The order of things in a bake-off: model by model over all tasks, then the scores."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from functools import partial

from core.config.golden import GoldenInput
from core.errors import BakehouseError, InputError
from core.jobfile.bakeoff import IN_PROCESS, BakeoffSpec, CandidateSpec
from core.jobfile.servers import ollama_of, opened
from core.scoring.verdicts import NO_VERDICTS, VerdictBook, book_of
from core.serving.errors import ServerError
from core.serving.make_room import make_room
from jobs.bakeoff.earlier import earlier_verdicts
from jobs.bakeoff.judges import JudgeCost, JudgedTask, VerdictRecord, ask_judges
from jobs.bakeoff.left_out import leave_out_lacking
from jobs.bakeoff.record import AnswerRecord, Tally
from jobs.bakeoff.scoring import scored_boards, summary_of
from jobs.bakeoff.served import answer_served
from jobs.bakeoff.served_models import have_serve, require_deployed, send_served_away, stop_measured
from jobs.context import JobContext
from jobs.inputs import read_golden
from jobs.manifest import extend_manifest, start_manifest

Inputs = Mapping[str, tuple[GoldenInput, ...]]
"""The golden inputs by task."""


def run(context: JobContext, spec: BakeoffSpec) -> None:
    from core.bakeoff.result import result_message

    started = time.monotonic()
    left_out = leave_out_lacking(context, spec)
    spec = spec.without({one.candidate for one in left_out})
    inputs, record = ask_candidates(context, spec)
    verdicts, costs = _judged(context, spec, inputs, record)
    boards = scored_boards(
        context,
        spec.tasks,
        spec.candidates,
        spec.incumbent,
        inputs,
        record.answers,
        verdicts,
        {one.name: record.curtailed(one.name) for one in spec.tasks},
        spec.pattern_timeout_seconds,
    )
    summary = {**summary_of(boards, spec.candidates, costs), "seconds": time.monotonic() - started}
    if left_out:
        summary["left_out"] = [one.to_json() for one in left_out]
    context.finish(result_message(boards), summary=summary)
    stop_measured(context, spec.stops)


def ask_candidates(context: JobContext, spec: BakeoffSpec) -> tuple[dict[str, tuple[GoldenInput, ...]], AnswerRecord]:
    """The inputs of each task, and all answers to them: those of earlier attempts, and now the others. Raises BakehouseError
    where no server gave any."""
    context.phase("reading the golden inputs", ", ".join(task.golden.source for task in spec.tasks))
    start_manifest(context)
    inputs: dict[str, tuple[GoldenInput, ...]] = {}
    for under_test in spec.tasks:
        inputs[under_test.name] = tuple(read_golden(under_test.golden))
        if not inputs[under_test.name]:
            raise InputError("there are no golden inputs", code="empty_golden", file=under_test.golden.source)
    extend_manifest(context, seed=spec.seed)
    record = AnswerRecord(context, spec, inputs)
    tally = tally_of(context, spec, inputs)
    refused: list[ServerError] = []
    for candidates in models_in_turn(spec):
        try:
            _answer(context, spec, candidates, inputs, record, tally)
        except ServerError as error:
            # The others are still worth comparing; what this one did not answer is missing from the result, and named there.
            refused.append(error)
            context.warn("not_served", f"{', '.join(one.name for one in candidates)}: {error.message}")
    if all(answer.fault == "server" for answer in record.answers):
        raise refused[0] if refused else nothing_answered(record)
    return inputs, record


def nothing_answered(record: AnswerRecord) -> BakehouseError:
    """Why a bake-off has nothing to compare; its next attempt asks for all of it."""
    problems = [answer.problem for answer in record.answers if answer.problem]
    return BakehouseError(
        f"no candidate gave an answer: {problems[0] if problems else 'none was asked for'}",
        code="not_served",
        remedy="mend the server and retry",
    )


def tally_of(context: JobContext, spec: BakeoffSpec, inputs: Inputs) -> Tally:
    """What is to be answered, and what is loaded once for several candidates: a served model, a base for its adapters."""
    wanted = {task.name: len(inputs[task.name]) * task.repeats for task in spec.tasks}
    loads: dict[tuple[str | None, ...], list[str]] = {}
    for turn in models_in_turn(spec):
        for one in turn:
            own = one.name if one.form == "merged" else one.model.name if one.model and one.form in IN_PROCESS else None
            loads.setdefault((turn[0].name, own), []).append(one.name)
    return Tally(context, {one.name: wanted for one in spec.candidates}, loads.values())


def models_in_turn(spec: BakeoffSpec) -> list[list[CandidateSpec]]:
    """The candidates by who answers for them, each of which is loaded once: all that the job loads itself, each GGUF file, each
    model of a server. The one with the incumbent goes first: what the others are measured against is known then.
    """
    turns: dict[tuple[str | None, ...], list[CandidateSpec]] = {}
    for candidate in spec.candidates:
        match candidate.form:
            case "served":
                assert candidate.server is not None  # the spec was validated
                who: tuple[str | None, ...] = (candidate.server.name, candidate.server.url, candidate.served_model)
            case "gguf":
                who = ("gguf", candidate.ref, candidate.path, candidate.lora)
            case _:
                who = ("in process",)
        turns.setdefault(who, []).append(candidate)
    for turn in turns.values():
        turn.sort(key=lambda candidate: candidate.name != spec.against)
    return sorted(turns.values(), key=lambda turn: turn[0].name != spec.against)


def _answer(
    context: JobContext,
    spec: BakeoffSpec,
    candidates: Sequence[CandidateSpec],
    inputs: Inputs,
    record: AnswerRecord,
    tally: Tally,
) -> None:
    """What is missing of the candidates of one turn. Raises ServerError where a server does not serve them."""
    first, before_load = candidates[0], partial(unload_served_models, context, spec)
    if first.form == "served":
        assert first.server is not None and first.served_model is not None  # the spec was validated
        if first.server.served_dir is not None:
            have_serve(context, first.server)
        with contextlib.closing(opened(first.server, first.served_model)) as model:
            if first.ref is not None:
                require_deployed(context, first, model.identity().weights)
            answer_served(context, spec, candidates, model, inputs, record, tally)
    elif first.form == "gguf":
        from jobs.llama_server import server_for

        with contextlib.closing(server_for(context, spec, first)) as server_of_file:
            answer_served(context, spec, candidates, server_of_file, inputs, record, tally, before_load)
    else:
        # Here, and no earlier, torch is imported: a bake-off of served models does without.
        from jobs.bakeoff.in_process import answer_in_process

        answer_in_process(context, spec, candidates, inputs, record, tally, before_load)


def unload_served_models(context: JobContext, spec: BakeoffSpec) -> None:
    """Servers of this machine share its GPU with what the job loads next; the runner brings their models back afterwards."""
    servers = {one.server.url: one.server for one in spec.asked if one.server is not None}
    for url in spec.gpu_use.asked:
        with ollama_of(servers[url]) as ollama:
            if went := make_room(ollama, stopped=lambda: context.stop_reason() is not None):
                context.say(f"unloaded for the next model: {', '.join(went)}")
        context.check_stop()
    if spec.gpu_use.mode == "serving":
        send_served_away(context)


def _judged(
    context: JobContext, spec: BakeoffSpec, inputs: Inputs, record: AnswerRecord
) -> tuple[VerdictBook, list[JudgeCost]]:
    """What the judges say of the answers: asked once all of these are there, so that each judge is loaded once."""
    if not spec.judges:
        return NO_VERDICTS, []
    verdicts = VerdictRecord(context.run.verdicts, earlier_verdicts(context.home, spec))
    tasks = [
        JudgedTask(one.task, inputs[one.name], tuple(answer for answer in record.answers if answer.task == one.name))
        for one in spec.tasks
    ]
    costs = ask_judges(context, spec.judges, tasks, verdicts, spec.concurrency)
    return book_of(verdicts.verdicts), costs
