"""The job `parity`: whether a GGUF file, once a llama-server has it, gets the prompts that its model was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.data.render import ChatTokenizer, encode_prompt, render_prompt
from core.data.template_proof import prove
from core.errors import GateError
from core.files import write_json
from core.jobfile.parity import ParitySpec
from core.models.gguf import check_servable
from core.models.llama_cpp import missing
from core.parity.conversations import probe_conversations
from core.parity.gate import (
    ParityReport,
    answer_findings,
    compare_prompts,
    file_findings,
    other_policy,
    switch_findings,
)
from core.serving.answering import Question
from core.wording.parity import case_words, finding_words, remedy_words
from jobs import models
from jobs.context import JobContext
from jobs.gguf import gguf_file, weights_of
from jobs.inputs import read_golden
from jobs.llama_server import LlamaServer
from jobs.manifest import extend_manifest, start_manifest


def run(context: JobContext, spec: ParitySpec) -> None:
    context.phase("finding the file", spec.source)
    start_manifest(context)
    file, noted = gguf_file(context, spec.source)
    program = Path(spec.program)
    if not program.is_file():
        raise missing("llama-server")

    context.phase("loading the tokenizer", spec.model.name)
    models.prepare_libraries()
    tokenizer: Any = models.load_tokenizer(models.locate(spec.model, context.home), context.home)

    context.phase("starting llama-server", file.name)
    weights = weights_of(file, noted, context.home, context.check_stop)
    log = context.attempt.path / "llama-server.log"
    server = LlamaServer(
        spec.model.name, file, program, log, weights=weights, on_gpu=False, check_stop=context.check_stop
    )
    extend_manifest(context, server={"path": str(program), "version": server.version}, weights=weights)
    try:
        server.load(spec.task.sampling.context_length)
        report = check(context, spec, tokenizer, server)
    finally:
        server.close()
    conclude(context, spec, file, weights, server.version, report)


def check(context: JobContext, spec: ParitySpec, tokenizer: ChatTokenizer, server: LlamaServer) -> ParityReport:
    """Every probe conversation and one real answer, from a server that has loaded. Raises ServerError."""
    task, golden = spec.task, read_golden(spec.golden)
    proof = prove(tokenizer, task.thinking, task.system_role)
    context.phase("comparing prompts")
    probes = probe_conversations(task, golden, proof)

    def tell(done: int, total: int) -> None:
        context.check_stop()
        context.progress(done, total, "prompts")

    cases = compare_prompts(tokenizer, server, probes, task.thinking, task.system_role, tell)
    for case in cases:
        context.say(case_words(case.to_json()))
    other = other_policy(tokenizer, server, probes[:1], task.thinking, task.system_role)
    for case in other:
        context.say(case_words(case.to_json()))
    header = check_servable(server.file, server.file.name)
    findings = file_findings(header.keys, header.chat_template, proof.end, encode_prompt(tokenizer, proof.end))
    findings += switch_findings(other)

    context.phase("asking for one answer")
    asked = probes[-1].messages
    question = Question(
        messages=tuple((message.role, message.content) for message in asked),
        seed=0,
        temperature=task.sampling.temperature,
        top_p=task.sampling.top_p,
        top_k=task.sampling.top_k,
        repeat_penalty=task.sampling.repeat_penalty,
        max_new_tokens=task.sampling.max_new_tokens,
        context_length=task.sampling.context_length,
        think=task.thinking == "on",
    )
    prompt = encode_prompt(tokenizer, render_prompt(tokenizer, asked, task.thinking, system_role=task.system_role))
    reply = server.ask(question, stopped=lambda: context.stop_reason() is not None)
    findings += answer_findings(question, reply, len(prompt), proof)
    return ParityReport(cases, tuple(findings))


def conclude(
    context: JobContext, spec: ParitySpec, file: Path, weights: str, version: str, report: ParityReport
) -> None:
    """Leave what was found, and end as done or refused."""
    document = {"schema": 1, "file": str(file), "weights": weights, "server": version, **report.to_json()}
    write_json(context.run.parity, document)
    for reason in report.findings:
        context.say(finding_words(reason))
    if not report.passed:
        first = report.refused[0]
        raise GateError(
            f"the served model does not get the prompts that it was trained on: {finding_words(first)}",
            code=first.code,
            file=file,
            remedy=remedy_words(first),
        )
    same = len(report.cases)
    told = [finding_words(reason) for reason in report.findings]
    message = "; ".join([f"{same} prompts are the trained ones, token by token", *told])
    summary = {"model": spec.model.name, "source": spec.source, "weights": weights, "server": version, "prompts": same}
    context.finish(message, summary=summary)
