"""What a candidate cannot be asked, told before its bake-off is queued as far as it is known then."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from core.config.validation import nearest
from core.errors import BakehouseError, InputError, NotFoundError
from core.jobfile.bakeoff import IN_PROCESS, CandidateSpec, ServerUnderTest
from core.jobfile.servers import login_of, opened
from core.serving.answering import Capabilities
from core.serving.errors import ServerError
from core.serving.servers import model_names

MOST_SERVERS_AT_ONCE = 8


Ask = Callable[[CandidateSpec], Capabilities | BakehouseError]
"""`capabilities_of`, or one that remembers what it was told."""


def refuse_impossible(candidates: Sequence[CandidateSpec], remarks: list[str], ask: Ask) -> None:
    """Raise `InputError` or `NotFoundError` for what can't be: a model that its server has not, a grammar at Ollama, a thinking
    model that is none. Servers are asked; one that does not answer is a remark, and the job asks it again.
    """
    for candidate in candidates:
        refuse_format(candidate)
    groups: dict[tuple[str, str], list[CandidateSpec]] = {}
    for candidate in candidates:
        if candidate.server is not None and candidate.served_model is not None:
            groups.setdefault((candidate.server.url, candidate.served_model), []).append(candidate)
    if not groups:
        return
    with ThreadPoolExecutor(MOST_SERVERS_AT_ONCE) as pool:
        answers = list(pool.map(lambda group: ask(group[0]), groups.values()))
    for group, answer in zip(groups.values(), answers, strict=True):
        if isinstance(answer, BakehouseError):
            if isinstance(answer, NotFoundError):
                raise answer
            server = group[0].server
            assert server is not None  # it was grouped by it
            remarks.append(f"{server.name} was not asked what it can do: {answer.message}; the job asks it")
            continue
        for candidate in group:
            refuse_unable(candidate, answer)


def refuse_format(candidate: CandidateSpec) -> None:
    """What is known of a form without asking anybody. Raises `InputError`."""
    output = candidate.variant.output
    if output is None:
        return
    if candidate.form in IN_PROCESS:
        raise InputError(
            "a model that the job loads itself is not held to a format",
            code="no_format",
            key=candidate.name,
            remedy="serve it (Ollama, llama-server, vLLM), and name it as served:TAG or SERVER:MODEL",
        )
    if output.kind == "grammar" and candidate.server is not None and candidate.server.api == "ollama":
        raise InputError(
            "Ollama takes no grammar",
            code="no_format",
            key=candidate.name,
            remedy="write a JSON schema (@format=FILE.json), or serve the model with llama-server",
        )


def capabilities_of(candidate: CandidateSpec) -> Capabilities | BakehouseError:
    """What the server says that this model can be asked for, or why that is not known; NotFoundError where it has no such
    model."""
    assert candidate.server is not None and candidate.served_model is not None  # only such are asked
    try:
        with contextlib.closing(opened(candidate.server, candidate.served_model)) as model:
            model.identity()
            return model.capabilities()
    except ServerError as error:
        if error.code != "model_not_found":
            return error
        near = _nearest_model(candidate.server, candidate.served_model)
        remedy = f"did you mean `{near}`?" if near else error.remedy
        return NotFoundError(error.message, code=error.code, key=candidate.name, remedy=remedy)
    except InputError as error:  # a key that is not set here may be where the runner was started
        return error


def _nearest_model(server: ServerUnderTest, wanted: str) -> str | None:
    try:
        return nearest(wanted, model_names(server, login=login_of(server)))
    except BakehouseError:
        return None


def refuse_unable(candidate: CandidateSpec, able: Capabilities) -> None:
    """What the server says it does not do. Raises `InputError`."""
    variant, name = candidate.variant, candidate.name
    if variant.think == "on" and able.thinking is False:
        raise InputError(
            "the model cannot think, says its server", code="no_thinking", key=name, remedy="leave think out"
        )
    if variant.output is not None and variant.output.kind not in able.formats:
        raise InputError(
            f"its server cannot hold an answer to a {variant.output.kind}",
            code="no_format",
            key=name,
            remedy=f"it takes {', '.join(sorted(able.formats))}" if able.formats else "leave format out",
        )
