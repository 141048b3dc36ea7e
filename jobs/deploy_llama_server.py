"""A deployment to llama-server: proved by a server of the job's own, then served by one that outlives it (`core.served`)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.data.render import ChatTokenizer
from core.errors import BakehouseError
from core.files import read_json, tail
from core.jobfile.deploy import DeploySpec
from core.jobfile.raw import LEASED_GPU
from core.models.gguf import GgufHeader, check_servable
from core.models.llama_cpp import gpu_devices, missing
from core.parity.gate import ParityReport
from core.served.command import ServerCommand, ServerOptions, served_defaults
from core.served.control import choose_keeper
from core.served.former import Owner
from core.served.install import choose_port, install
from core.served.record import ServedModelRecord
from core.serving.address import ServerAddress
from core.serving.openai_model import OpenAIModel
from core.text import printable
from core.wording.served import note_words
from jobs.context import JobContext
from jobs.gguf import gguf_file, weights_of
from jobs.llama_server import LlamaServer
from jobs.manifest import extend_manifest
from jobs.parity import (
    LONGEST_ANSWER,
    Checked,
    ask_once,
    check,
    made_from,
    passed_words,
    refuse,
    require_answer,
    settle,
    shots_of,
    tokenizer_of,
)

NOT_OF_THE_GPU = ("BAKEHOUSE_", "PYTHONUNBUFFERED", "TOKENIZERS_PARALLELISM")
"""Of what an attempt's environment is given: what has nothing to do with the GPU."""
SHOWN_BYTES = 4000


def deploy(context: JobContext, spec: DeploySpec) -> None:
    """Prove the file, have it serve under `spec.name`, and ask it once at its own address.

    GateError where prompts or an answer are not those of training: what served under the name was not touched then, or is there
    again. `BakehouseError` where it does not come to serve.
    """
    assert spec.program is not None  # the spec was validated
    context.phase("finding the file", spec.source)
    file, noted = gguf_file(context, spec.source)
    program = Path(spec.program)
    if not program.is_file():
        raise missing("llama-server")
    choose_keeper(at_boot=spec.at_boot)
    tokenizer = tokenizer_of(context, spec.model)
    weights = weights_of(file, noted, context.home, context.check_stop)
    header = check_servable(file, file.name)

    checked, report = _proved(context, spec, tokenizer, file, weights, header)
    while True:
        record = _record(context, spec, checked, file, header)
        try:
            _install(context, spec, tokenizer, record, checked, report)
        except BakehouseError as error:
            # Between looking for a free port and taking it somebody else may have got it.
            chosen = error.code == "port_taken" and spec.port is None
            if not chosen or choose_port(context.home, spec.name) == record.port:
                raise
            context.say(f"port {record.port} has been taken meanwhile: another one")
        else:
            return


def _proved(
    context: JobContext, spec: DeploySpec, tokenizer: ChatTokenizer, file: Path, weights: str, header: GgufHeader
) -> tuple[Checked, ParityReport]:
    """By a server that is gone again when this returns. GateError."""
    context.phase("starting llama-server", file.name)
    program, log = Path(str(spec.program)), context.attempt.path / "llama-server.log"
    server = LlamaServer(
        spec.model.name, file, program, log, weights=weights, on_gpu=False, check_stop=context.check_stop
    )
    extend_manifest(context, server={"path": str(program), "version": server.version}, weights=weights)
    with contextlib.closing(server):
        server.load(spec.task.sampling.context_length)
        shots, examples = shots_of(context, spec.source), spec.served.examples
        report = check(context, spec.task, spec.golden, tokenizer, server, header, shots, examples)
    checked = Checked(file, file.name, weights, server.version, made_from(context.home, spec.source))
    settle(context, checked, report)
    require_answer(report)
    return checked, report


def _record(
    context: JobContext, spec: DeploySpec, checked: Checked, file: Path, header: GgufHeader
) -> ServedModelRecord:
    program, length = Path(str(spec.program)), spec.task.sampling.context_length
    port = choose_port(context.home, spec.name, spec.port)
    # The runner gives the GPU to jobs that have a lease on it; the model serves on the same one.
    on_gpu = LEASED_GPU in os.environ and bool(gpu_devices(program))
    command = ServerCommand(
        program,
        file,
        spec.name,
        port,
        length,
        slots=spec.slots,
        on_gpu=on_gpu,
        defaults=served_defaults(spec.task, header.chat_template),
    )
    environment, unset = _environment(context)
    template = header.chat_template
    return ServedModelRecord(
        name=spec.name,
        file=file,
        weights=str(checked.weights),
        task=spec.task.name,
        model=spec.model.name,
        job_id=context.job.id,
        command=tuple(command.words(ServerOptions.of(program))),
        port=port,
        context_length=length,
        slots=spec.slots,
        on_gpu=on_gpu,
        at_boot=spec.at_boot,
        version=checked.version,
        template=None if template is None else hashlib.sha256(template.encode()).hexdigest(),
        environment=environment,
        unset=unset,
        created_at=time.time(),
    )


def _environment(context: JobContext) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """What the runner gave this job for the sake of the GPU, and what it took out: a served model is started by others, too."""
    start: Any = read_json(context.attempt.path / "start.json") or {}
    given = start.get("environment") or {}
    kept = {name: str(value) for name, value in given.items() if not name.startswith(NOT_OF_THE_GPU)}
    return kept, tuple(start.get("unset") or ())


def _install(
    context: JobContext,
    spec: DeploySpec,
    tokenizer: ChatTokenizer,
    record: ServedModelRecord,
    checked: Checked,
    report: ParityReport,
) -> None:
    context.phase("starting to serve", f"{record.name} at {record.url}")

    answers: list[str] = []

    def smoke() -> None:
        context.phase("asking it once", record.url)
        server = OpenAIModel("served", ServerAddress(record.url), record.name, weights=record.weights)
        with contextlib.closing(server):
            found = ask_once(context, spec.task, spec.golden, tokenizer, server, report, spec.served.examples)
        refuse(checked, found)
        answers[:] = [require_answer(found)]

    def tell(phase: str) -> None:
        context.check_stop()

    def failed() -> None:
        """The log goes with a served model that never served."""
        for line in tail(context.home.served_dir(record.name).log, SHOWN_BYTES).decode(errors="replace").splitlines():
            context.say(printable(line))

    began = time.monotonic()
    keeping = install(context.home, record, Owner("job", context.job.id), smoke, tell, failed)
    for note in keeping.notes:
        context.warn(note.code, note_words(note))
    context.finish(
        f"{record.name} serves at {record.url}; {passed_words(report)}",
        summary={
            "to": spec.to,
            "name": record.name,
            "url": record.url,
            "model": record.model,
            "task": record.task,
            "source": spec.source,
            "path": str(record.file),
            "file_sha256": record.weights.removeprefix("sha256:"),
            "weights": record.weights,
            "template_sha256": record.template,
            "server": record.version,
            "on_gpu": record.on_gpu,
            "at_boot": record.at_boot,
            "kept_by": keeping.keeper,
            "prompts": sum(case.same for case in report.cases),
            "answer": answers[0][:LONGEST_ANSWER],
            "seconds": round(time.monotonic() - began, 2),
        },
    )
