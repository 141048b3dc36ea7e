"""The job `parity`: whether a model gets the prompts of training, by a llama-server of the job's own or a server that runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from core.config.model import ModelEntry
from core.config.task import Task
from core.data.examples import Message
from core.data.render import ChatTokenizer, encode_prompt
from core.data.shots import TrainedShots, shots_in
from core.data.template import fold_system
from core.data.template_proof import TemplateProof, prove
from core.errors import BakehouseError, GateError
from core.files import write_json
from core.home import Home
from core.jobfile.bakeoff import ExampleTurn
from core.jobfile.parity import ParitySpec
from core.jobfile.references import parse_reference
from core.jobfile.servers import opened
from core.jobfile.spec import InputFile, JobFile
from core.models.gguf import GgufHeader, check_servable
from core.models.llama_cpp import missing
from core.parity.comparison import ParityCase
from core.parity.conversations import COUNTED, ProbeConversation, probe_conversations
from core.parity.gate import (
    ParityReport,
    PromptServer,
    answer_findings,
    compare_prompts,
    count_findings,
    few_shot_findings,
    file_findings,
    other_policy,
    switch_findings,
    window_findings,
)
from core.reasons import Reason
from core.serving.answering import Question, Reply, ServedFile, ServedIdentity, ServedModel
from core.serving.errors import ServerError
from core.wording.parity import case_words, finding_words, remedy_words
from jobs import models
from jobs.context import JobContext
from jobs.gguf import gguf_file, weights_of
from jobs.inputs import read_golden
from jobs.llama_server import LlamaServer
from jobs.manifest import extend_manifest, start_manifest

LONGEST_ANSWER = 2000
"""Letters of the answer that a deployment keeps in its result."""


class AskedServer(PromptServer, Protocol):
    """A server that renders prompts, answers one, and tells of its file."""

    def served_file(self) -> ServedFile: ...

    def ask(self, question: Question, stopped: Callable[[], bool]) -> Reply: ...


class ServedPromptModel(ServedModel, PromptServer, Protocol):
    """A model of a running server that shows the prompts it makes."""

    def served_file(self) -> ServedFile: ...


@dataclass(frozen=True)
class Checked:
    """Who served: the file or the model's name there, the digest of the weights, the server's version, and the training or
    merge that the file is made from (`made_from`). None: unknown."""

    file: Path | None
    served: str
    weights: str | None
    version: str | None
    made_from: int | None = None


def run(context: JobContext, spec: ParitySpec) -> None:
    start_manifest(context)
    if spec.server is not None and spec.served_model is not None:
        with contextlib.closing(opened(spec.server, spec.served_model)) as model:
            checked, report = check_served(context, spec.task, spec.golden, spec.model, model)
    else:
        checked, report = _of_file(context, spec)
    conclude(context, spec, checked, report)


def _of_file(context: JobContext, spec: ParitySpec) -> tuple[Checked, ParityReport]:
    """A llama-server of the job has the file."""
    assert spec.source is not None and spec.program is not None  # the spec was validated
    context.phase("finding the file", spec.source)
    file, noted = gguf_file(context, spec.source)
    program = Path(spec.program)
    if not program.is_file():
        raise missing("llama-server")
    tokenizer = tokenizer_of(context, spec.model)
    context.phase("starting llama-server", file.name)
    weights = weights_of(file, noted, context.home, context.check_stop)
    log = context.attempt.path / "llama-server.log"
    server = LlamaServer(
        spec.model.name, file, program, log, weights=weights, on_gpu=False, check_stop=context.check_stop
    )
    extend_manifest(context, server={"path": str(program), "version": server.version}, weights=weights)
    try:
        server.load(spec.task.sampling.context_length)
        header, shots = check_servable(file, file.name), shots_of(context, spec.source)
        report = check(context, spec.task, spec.golden, tokenizer, server, header, shots)
    finally:
        server.close()
    return Checked(file, file.name, weights, server.version, made_from(context.home, spec.source)), report


def check_served(
    context: JobContext, task: Task, golden: InputFile, base: ModelEntry, model: ServedPromptModel
) -> tuple[Checked, ParityReport]:
    """A server that runs has the model; what was in its memory before is so afterwards. Of its file is known what it tells.

    `base` is the model that was trained. Raises ServerError, also where the model is another one afterwards.
    """
    tokenizer = tokenizer_of(context, base)
    context.phase("asking the server", model.name)
    identity = model.identity()
    extend_manifest(context, server=asdict(identity), weights=identity.weights)
    model.load(task.sampling.context_length)
    try:
        # A server may have written the file anew: then nothing is known of it here.
        shots = shots_in(context.artefacts.lineage_of_file(identity.weights))
        report = check(context, task, golden, tokenizer, model, None, shots)
    finally:
        try:
            model.unload()
        except ServerError as error:
            context.warn("not_unloaded", f"{model.name} may still be in memory: {error.message}")
    require_unchanged(model, identity)
    return Checked(None, model.name, identity.weights, identity.version), report


def require_unchanged(model: ServedModel, identity: ServedIdentity) -> None:
    """Raises ServerError where a model is not what it was when its check began."""
    changed = model.identity().changed_from(identity)
    if changed:
        message = f"{model.name} changed while it was checked ({', '.join(changed)})"
        raise ServerError(
            message, code="server_refused", remedy="see who replaces it or restarts its server, and retry"
        )


def tokenizer_of(context: JobContext, model: ModelEntry) -> Any:
    """The tokenizer of the model that was trained, with its template."""
    context.phase("loading the tokenizer", model.name)
    models.prepare_libraries()
    return models.load_tokenizer(models.locate(model, context.home), context.home)


def check(
    context: JobContext,
    task: Task,
    golden_file: InputFile,
    tokenizer: ChatTokenizer,
    server: AskedServer,
    header: GgufHeader | None = None,
    shots: TrainedShots | None = None,
    examples: Sequence[Sequence[ExampleTurn]] = (),
) -> ParityReport:
    """Every probe conversation, what is known of the file, and real answers, from a server that has loaded.

    `header` is that of its file, for a server that tells none of it; `shots` is how many examples training put in front of its
    prompts (`shots_of`), `examples` are those that requests have to send. Raises ServerError."""
    golden = read_golden(golden_file)
    proof = prove(tokenizer, task.thinking, task.system_role)
    context.phase("comparing prompts")
    probes = probe_conversations(task, golden, proof, 0 if shots is None else shots.count, _messages(examples))

    def tell(done: int, total: int) -> None:
        context.check_stop()
        context.progress(done, total, "prompts")

    cases = compare_prompts(tokenizer, server, probes, task.thinking, task.system_role, tell)
    other = other_policy(tokenizer, server, probes[:1], task.thinking, task.system_role)
    for case in (*cases, *other):
        context.say(case_words(case.to_json()))
    file = server.served_file()
    if file.keys is None and header is not None:
        file = replace(file, keys=header.keys, template=header.chat_template)
    findings = file_findings(file, proof, encode_prompt(tokenizer, proof.end))
    findings += switch_findings(other)
    findings += few_shot_findings(shots)
    findings += window_findings(cases, task.sampling.context_length)
    context.phase("asking for one answer")
    of_answers, reply = _of_answers(context, task, server, probes, cases, proof)
    return ParityReport(cases, (*findings, *of_answers), reply)


def ask_once(
    context: JobContext,
    task: Task,
    golden_file: InputFile,
    tokenizer: ChatTokenizer,
    server: AskedServer,
    report: ParityReport,
    examples: Sequence[Sequence[ExampleTurn]] = (),
) -> ParityReport:
    """A report with one more real answer, of a server that has what passed it. Raises ServerError."""
    proof = prove(tokenizer, task.thinking, task.system_role)
    probes = probe_conversations(task, read_golden(golden_file), proof, examples=_messages(examples))
    found, reply = _of_answers(context, task, server, probes, report.cases, proof)
    return ParityReport(report.cases, (*report.findings, *found), reply)


def _messages(examples: Sequence[Sequence[ExampleTurn]]) -> list[list[Message]]:
    return [[Message(turn.role, turn.content) for turn in example] for example in examples]


def _of_answers(
    context: JobContext,
    task: Task,
    server: AskedServer,
    probes: Sequence[ProbeConversation],
    cases: Sequence[ParityCase],
    proof: TemplateProof,
) -> tuple[list[Reason], Reply | None]:
    """One whole answer to the last conversation, and what it says; of a server that tells no tokens also the counts of awkward
    prompts, which show another tokenizer or a lost token.

    A count is compared with the served render: whether that is the trained one has been told.
    """
    asked = {case.name: case for case in cases if case.was_rendered and _fits(case, task)}
    last = next((probe for probe in reversed(probes) if probe.name in asked), None)
    if last is None:
        return [], None

    def reply_to(probe: ProbeConversation, most: int) -> tuple[Question, Reply]:
        question = _question(task, probe, most)
        return question, server.ask(question, stopped=lambda: context.stop_reason() is not None)

    question, reply = reply_to(last, task.sampling.max_new_tokens)
    found = answer_findings(question, reply, len(asked[last.name].served.tokens), proof)
    if not found and server.tokenize("") is None:
        for probe in probes:
            if probe.name in COUNTED and probe.name in asked and not found:
                context.check_stop()
                found = count_findings(reply_to(probe, 1)[1], len(asked[probe.name].served.tokens))
    return found, reply


def _fits(case: ParityCase, task: Task) -> bool:
    return max(len(case.trained.tokens), len(case.served.tokens)) < task.sampling.context_length


def _question(task: Task, probe: ProbeConversation, most: int) -> Question:
    messages = fold_system(probe.messages) if task.system_role == "user" else probe.messages
    sampling = task.sampling
    return Question(
        messages=tuple((message.role, message.content) for message in messages),
        seed=0,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        repeat_penalty=sampling.repeat_penalty,
        max_new_tokens=most,
        context_length=sampling.context_length,
        think=task.thinking == "on",
    )


def shots_of(context: JobContext, source: str) -> TrainedShots | None:
    """The answered examples that training put in front of its prompts, by a GGUF file's lineage (`job:12/gguf`, a path)."""
    return shots_in(context.artefacts.lineage_of(source, "gguf", Path(source).parent))


def made_from(home: Home, source: str | None) -> int | None:
    """The training or merge that a GGUF file is made from (`job:12/gguf`), by the job files of this home; None where no job of
    it is."""
    while (job := parse_reference(source)) is not None:
        try:
            spec = JobFile.load(home.run_dir(job.job_id)).spec
        except BakehouseError:
            return None
        if spec.kind in ("merge", "train"):
            return job.job_id
        source = spec.columns.source
    return None


def conclude(context: JobContext, spec: ParitySpec, checked: Checked, report: ParityReport) -> None:
    """Leave what was found, and end as done or refused."""
    settle(context, checked, report)
    summary = {
        "model": spec.model.name,
        "source": spec.served,
        "weights": checked.weights,
        "server": checked.version,
        "prompts": sum(case.same for case in report.cases),
    }
    context.finish(passed_words(report), summary=summary)


def settle(context: JobContext, checked: Checked, report: ParityReport) -> None:
    """Leave what was found. GateError for prompts or an answer that are not those of training."""
    leave(context, checked, report)
    refuse(checked, report)


def leave(context: JobContext, checked: Checked, report: ParityReport) -> None:
    """Leave what was found in `parity.json` and in the log."""
    place = {"served": checked.served} if checked.file is None else {"file": str(checked.file)}
    facts = {"weights": checked.weights, "server": checked.version, "made_from": checked.made_from}
    document = {"schema": 1, **place, **facts, **report.to_json()}
    write_json(context.run.parity, document)
    for reason in report.findings:
        context.say(finding_words(reason))


def refuse(checked: Checked, report: ParityReport) -> None:
    """GateError where something that was found may not be served."""
    if report.passed:
        return
    first = report.refused[0]
    raise GateError(
        f"the served model does not get the prompts that it was trained on: {finding_words(first)}",
        code=first.code,
        file=checked.file,
        key=None if checked.file is not None else checked.served,
        remedy=remedy_words(first, checked.made_from),
    )


def require_answer(report: ParityReport) -> str:
    """The real answer of a report that passed. GateError where nothing came: such a model does not serve."""
    reply = report.reply
    if reply is None or not reply.text.strip():
        thought = ", though it thought" if reply is not None and reply.thinking and reply.thinking.strip() else ""
        raise GateError(
            f"the model answered a question of its task with nothing{thought}"
            if reply is not None
            else "no prompt of the task leaves room for an answer in its context",
            code="no_answer",
            remedy="see what the file answers in a bake-off, or raise the task's context_length and max_new_tokens",
        )
    return reply.text


def passed_words(report: ParityReport) -> str:
    """A report that passed, in a line."""
    same = sum(case.same for case in report.cases)
    told = [finding_words(reason) for reason in report.told]
    return "; ".join([f"{same} prompts are the trained ones, token by token", *told])
