"""Candidates told apart: which of them would be asked the same, and which one an incumbent's name means."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from core.config.task import Task
from core.errors import BakehouseError, InputError
from core.files import sha256_json
from core.jobfile.bakeoff import CandidateSpec
from core.submission.asked_servers import Asked, ServedFacts, served_place
from core.submission.candidates import apart_from_name, who_answers
from core.submission.extension import Extended


def refuse_doubles(candidates: Sequence[CandidateSpec], tasks: Sequence[Task], asked: Asked) -> None:
    """Two candidates that would be asked the same would be told apart by chance alone. `asked` is what the servers said: one
    model can have two tags. Raises `InputError`."""
    seen: dict[str, CandidateSpec] = {}
    for candidate in candidates:
        same = sha256_json([_who(candidate, asked), [_how(candidate, task) for task in tasks]])
        if (first := seen.setdefault(same, candidate)) is not candidate:
            two_tags = first.served_model != candidate.served_model
            raise InputError(
                f"`{first.name}` and `{candidate.name}` would be asked the same"
                + (", and are one model by two names, says their server" if two_tags else ""),
                code="doubled_candidate",
                key="candidates",
                remedy="leave one of them out",
            )


def _who(candidate: CandidateSpec, asked: Asked) -> list[object]:
    """Who answers; of a served model by its weights where the server tells them, which are the same under another tag."""
    place = served_place(candidate)
    facts = None if place is None else asked.get(place)
    if place is None or not isinstance(facts, ServedFacts) or facts.identity.weights is None:
        return who_answers(candidate)
    identity = facts.identity
    return [identity.api, place[0], identity.weights, identity.template, dict(identity.parameters)]


def _how(candidate: CandidateSpec, task: Task) -> list[object]:
    variant = candidate.variant
    return [
        variant.think or task.thinking,
        variant.few_shot,
        task.system if variant.system is None else variant.system,
        None if variant.output is None else [variant.output.kind, variant.output.text],
        variant.applied(task.sampling).model_dump(),
    ]


def name_of(
    incumbent: str | None,
    references: Sequence[str],
    specs: Sequence[CandidateSpec],
    before: Extended | None,
    parse: Callable[[str], CandidateSpec],
) -> str | None:
    """The shown name of the candidate that a reference means, however it is spelt."""
    if incumbent is None:
        return None
    former = [] if before is None else before.spec.candidates
    for reference, spec in zip([*references, *(one.name for one in former)], [*specs, *former], strict=True):
        if incumbent in {reference, spec.name}:
            return spec.name
    with contextlib.suppress(BakehouseError):  # what is no candidate at all is none of these
        same = apart_from_name(parse(incumbent))
        for spec in (*specs, *former):
            if apart_from_name(spec) == same:
                return spec.name
    raise InputError(
        f"the incumbent `{incumbent}` is not among the candidates",
        code="no_incumbent",
        remedy=f"name one of {', '.join([*references, *(one.name for one in former)])}",
    )
