"""What a candidate cannot be asked, told before its bake-off is queued as far as it is known then."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import BakehouseError, InputError, NotFoundError
from core.jobfile.bakeoff import IN_PROCESS, CandidateSpec
from core.serving.answering import Capabilities
from core.submission.asked_servers import Ask, Asked, ask_servers, served_facts, served_place


def refuse_impossible(candidates: Sequence[CandidateSpec], remarks: list[str], ask: Ask = served_facts) -> Asked:
    """Raise `InputError` or `NotFoundError` for what can't be: a model that its server has not, a grammar at Ollama, a thinking
    model that is none. Servers are asked, and what they said is returned; one that does not answer is a remark, and the job
    asks it again.
    """
    for candidate in candidates:
        refuse_format(candidate)
    asked = ask_servers(candidates, ask)
    silent: dict[str, str] = {}
    for candidate in candidates:
        place = served_place(candidate)
        answer = None if place is None else asked[place]
        if isinstance(answer, NotFoundError):
            raise answer
        if isinstance(answer, BakehouseError):
            assert candidate.server is not None  # it has a place
            if candidate.server.served_dir is None:
                silent.setdefault(candidate.server.name, answer.message)
            else:
                remedy = f" ({answer.remedy})" if answer.remedy else ""
                silent.setdefault(str(candidate.served_model), f"{answer.message}{remedy}")
        elif answer is not None:
            refuse_unable(candidate, answer.capabilities)
    remarks += [
        f"{server} was not asked what it can do: {message}; the job asks it" for server, message in silent.items()
    ]
    return asked


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
