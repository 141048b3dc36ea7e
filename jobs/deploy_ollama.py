"""A deployment to an Ollama: sent, made under a staging tag, proved there, and only then copied to the name that serves.

What goes wrong on the way removes the staging tag, and leaves what served as it was.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.errors import BakehouseError, GateError, InputError
from core.files import sha256_file
from core.format import data_size
from core.jobfile.deploy import DeploySpec
from core.jobfile.served_as import ServedAs
from core.jobfile.servers import ollama_of, opened
from core.models.gguf import GgufHeader, check_servable
from core.models.gguf_rewrite import with_text
from core.parity.gate import ParityReport
from core.process.leftovers import temporary_name
from core.serving.errors import ServerError
from core.serving.ollama import Ollama
from core.serving.ollama_prompts import RENDERS, version_number
from core.serving.ollama_store import CreateStatus, StoredModel, create, send_blob
from core.serving.refusals import no_render
from core.serving.replies import template_hash
from core.shipping.choice import Runs, TemplateChoice, choose, ran
from core.shipping.families import Family
from core.shipping.gguf_template import KEY
from core.shipping.installed import InstalledTemplate
from core.shipping.modelfile import parameters_of
from core.wording.shipping import unknown_template_words
from jobs.context import JobContext
from jobs.gguf import MARGIN_BYTES, gguf_file, weights_of
from jobs.hub import require_room
from jobs.manifest import extend_manifest
from jobs.modelfile import look_at_template
from jobs.ollama_tags import alone, clear, clear_stray, put_in_place
from jobs.parity import (
    LONGEST_ANSWER,
    Checked,
    check,
    made_from,
    passed_words,
    require_answer,
    settle,
    shots_of,
    tokenizer_of,
)

SECONDS_BETWEEN_SIGNS = 1.0


@dataclass(frozen=True)
class ToSend:
    """The file that is deployed, what its header says, its digest, and which template an Ollama of `version` is given with it.

    `own` is the file's template as its text, None without one; `origin` says where the sent one is from.
    """

    file: Path
    header: GgufHeader
    digest: str
    version: str
    choice: TemplateChoice
    own: str | None
    origin: dict[str, Any]


def deploy(context: JobContext, spec: DeploySpec) -> None:
    """Have the file serve under the spec's name. Raises InputError, ServerError, GateError, BakehouseError."""
    server, staging, started = spec.server, spec.staging, time.monotonic()
    assert server is not None and staging is not None  # the spec was validated
    context.phase("finding the file", spec.source)
    file, noted = gguf_file(context, spec.source)
    header = check_servable(file, file.name)
    digest = weights_of(file, noted, context.home, context.check_stop)
    tokenizer = tokenizer_of(context, spec.model)
    with (
        contextlib.closing(ollama_of(server)) as ollama,
        alone(context.home, server.url, staging, context.check_stop),
    ):
        context.phase("asking Ollama", server.url)
        sent = to_send(file, header, digest, ollama.version(), spec.served)
        extend_manifest(context, server={"url": server.url, "version": sent.version}, weights=digest)
        for name in clear_stray(context.home, ollama, staging):
            context.say(f"{name}, left by a deployment that was killed, is removed")
        with _no_staging_left(context, ollama, staging):
            staged, runs = _made(context, ollama, sent, staging, spec)
            report, answer = _proved(context, spec, sent, staged, tokenizer)
            context.phase("putting in place", spec.name)
            _require_version(ollama, sent.version)
            placed, rollback = put_in_place(ollama, context.run, staged, spec.name, context.job.id)
    _finish(context, spec, sent, placed, rollback, runs, report, answer, time.monotonic() - started)


def to_send(file: Path, header: GgufHeader, digest: str, version: str, served: ServedAs) -> ToSend:
    """Which template this version of Ollama is given with the file. InputError (`unknown_template`) where none is known that
    would run, ServerError (`no_render`) for a version that shows no prompts."""
    if version_number(version) < RENDERS:
        raise no_render(file.name, f"Ollama {version} does not show them")
    jinja, found = look_at_template(file, header)
    official = served.official
    installed = None if official is None else InstalledTemplate(official.model, official.template, official.stops)
    if jinja is None and header.chat_template is not None and installed is None:
        assert not isinstance(found, Family)  # it is found by the jinja
        raise InputError(unknown_template_words(found), code="unknown_template", file=file)
    choice = choose(version, jinja, found, installed)
    origin: dict[str, Any] = {"from": "file"}
    if official is not None:
        origin = {"from": official.model}
    elif choice.send is not None and isinstance(found, Family):
        origin = {"family": found.name}
    return ToSend(file, header, digest, version, choice, header.chat_template, origin)


@contextlib.contextmanager
def _no_staging_left(context: JobContext, ollama: Ollama, staging: str) -> Iterator[None]:
    """However this ends, the staging tag goes. What serves does not fail by its staying: the next deployment removes it."""
    try:
        yield
    finally:
        try:
            clear(ollama, staging)
        except ServerError as error:
            context.warn(
                "staging_left", f"{staging} may still be there ({error.message}): the next deployment removes it"
            )


def _made(
    context: JobContext, ollama: Ollama, sent: ToSend, staging: str, spec: DeploySpec
) -> tuple[StoredModel, Runs | None]:
    """The model under its staging tag, and which template runs, as far as `show` tells. Raises ServerError, GateError."""
    with _as_it_is_sent(context, sent) as (file, digest):
        context.phase("sending", f"{file.name}, {data_size(file.stat().st_size)}")
        send_blob(ollama, file, digest, sent=_told_now_and_then(context), stopped=_stopped(context))
    context.phase("creating", staging)
    parameters: dict[str, Any] = {**parameters_of(spec.task.sampling)}
    if sent.choice.stops:
        parameters["stop"] = list(sent.choice.stops)

    def say(status: CreateStatus) -> None:
        context.say(status.text)
        if status.done_bytes is not None:
            context.progress(status.done_bytes, status.total_bytes, "bytes", label=status.text)

    made = create(
        ollama,
        staging,
        files={sent.file.name: digest},
        template=sent.choice.send,
        parameters=parameters,
        on_status=say,
        stopped=_stopped(context),
    )
    _require_version(ollama, sent.version)
    _require_parameters(made, parameters)
    runs = ran(made.info.template, sent.choice, sent.choice.in_file(sent.own), made.info.renderer)
    if runs == "renderer":
        context.say(f"Ollama makes the prompts itself ({made.info.renderer}), whatever template is sent")
    elif sent.choice.certain and (runs is None or (runs != sent.choice.runs and not sent.choice.same)):
        raise GateError(
            f"Ollama {sent.version} runs another chat template than the one that was meant for {staging}",
            code="other_template",
            remedy="serve the file with llama-server, or with another version of Ollama",
        )
    return made, runs


@contextlib.contextmanager
def _as_it_is_sent(context: JobContext, sent: ToSend) -> Iterator[tuple[Path, str]]:
    """The file and its digest; where the template in it must not run, or would not as it is, those of a copy with what would,
    for as long as this lasts."""
    wanted = sent.choice.in_file(sent.own)
    if wanted == sent.own:
        yield sent.file, sent.digest
        return
    store = context.artefacts
    store.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    store.sweep()
    require_room(store.root, sent.file.stat().st_size + MARGIN_BYTES)
    folder = store.root / temporary_name("deploy")
    folder.mkdir(mode=0o700)
    try:
        context.phase("copying the file with another template", sent.file.name)
        copy = folder / sent.file.name
        with_text(sent.file, copy, KEY, wanted)
        check_servable(copy, copy.name)
        yield copy, f"sha256:{sha256_file(copy)}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _proved(
    context: JobContext, spec: DeploySpec, sent: ToSend, staged: StoredModel, tokenizer: Any
) -> tuple[ParityReport, str]:
    """What the gate found of the staging tag, and its answer; the server's memory is as before. Raises ServerError,
    GateError."""
    assert spec.server is not None
    with contextlib.closing(opened(spec.server, staged.name)) as model:
        context.phase("loading the model", staged.name)
        identity = model.identity()
        try:
            model.load(spec.task.sampling.context_length)
            header, shots = _header_served(sent), shots_of(context, spec.source)
            report = check(context, spec.task, spec.golden, tokenizer, model, header, shots, spec.served.examples)
        finally:
            try:
                model.unload()
            except ServerError as error:
                context.warn("not_unloaded", f"{model.name} may still be in memory: {error.message}")
        changed = model.identity().changed_from(identity)
    if changed:
        raise _begin_again(f"{staged.name} changed while it was checked ({', '.join(changed)})")
    weights, job = staged.info.blob or sent.digest, made_from(context.home, spec.source)
    settle(context, Checked(sent.file, sent.file.name, weights, sent.version, job), report)
    return report, require_answer(report)


def _header_served(sent: ToSend) -> GgufHeader:
    """The file's header, with the template that was sent in the place of its own where that one runs."""
    if sent.choice.send is None or sent.choice.runs == "jinja":
        return sent.header
    return replace(sent.header, keys={**sent.header.keys, KEY: sent.choice.send})


def _require_version(ollama: Ollama, former: str) -> None:
    """Refuse to go on with another server than the template was chosen for."""
    now = ollama.version()
    if now != former:
        raise _begin_again(f"Ollama was {former} when the template was chosen, and is {now} now")


def _require_parameters(made: StoredModel, sent: dict[str, Any]) -> None:
    """Refuse a model that has not what it was created with. GateError."""
    for name, value in sent.items():
        values, has = value if isinstance(value, list) else [value], made.info.parameters.get(name, ())
        if not all(any(_equal(one, found) for found in has) for one in values):
            raise GateError(
                f"Ollama did not take over the parameter {name} of {made.name}",
                code="parameter_lost",
                remedy="take another version of Ollama, or serve the file with llama-server",
            )


def _equal(sent: object, shown: str) -> bool:
    if isinstance(sent, str):
        return sent == shown
    try:
        return float(shown) == sent
    except ValueError:
        return False


def _begin_again(what: str) -> BakehouseError:
    return BakehouseError(what, code="server_changed", remedy="retry once nobody replaces the server or its models")


def _stopped(context: JobContext) -> Callable[[], bool]:
    return lambda: context.stop_reason() is not None


def _told_now_and_then(context: JobContext) -> Callable[[int, int], None]:
    last = 0.0

    def tell(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done in (0, total) or now - last >= SECONDS_BETWEEN_SIGNS:
            last = now
            context.progress(done, total, "bytes", label="sending")

    return tell


def _finish(
    context: JobContext,
    spec: DeploySpec,
    sent: ToSend,
    placed: StoredModel,
    rollback: str | None,
    runs: Runs | None,
    report: ParityReport,
    answer: str,
    seconds: float,
) -> None:
    kept = f"what was there is kept as {rollback}" if rollback else "nothing was there before"
    message = f"{spec.name} serves in Ollama {sent.version}; {passed_words(report)}; {kept}"
    context.finish(
        message,
        summary={
            "to": spec.to,
            "name": spec.name,
            "url": spec.server.url if spec.server else None,
            "model": spec.model.name,
            "task": spec.task.name,
            "source": spec.source,
            "path": str(sent.file),
            "file_sha256": sent.digest.removeprefix("sha256:"),
            "digest": placed.digest,
            "blob": placed.info.blob,
            # Where neither the one that was sent nor the file's own runs, it is one that Ollama knows for such a file.
            "template": {**sent.origin, "runs": runs or "detected"},
            "template_sha256": template_hash(placed.info.template),
            "server": sent.version,
            "rollback": rollback,
            "prompts": sum(case.same for case in report.cases),
            "answer": answer[:LONGEST_ANSWER],
            "seconds": seconds,
        },
    )
