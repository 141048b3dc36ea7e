"""What servers have now: they are asked side by side, and none is waited for longer than a few seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import Literal

from core.errors import BakehouseError
from core.jobfile.bakeoff import CandidateSpec
from core.jobfile.servers import opened
from core.serving.answering import ServedIdentity
from core.serving.side_by_side import ask_side_by_side

SERVER_SECONDS = 5.0
MOST_AT_A_TIME = 8

NotTold = Literal["gone", "no_answer", "no_key"]
"""Why a server told no identity: it has no such model any more, it did not answer in time or not as such a server does, or the
variable with its key is not set here."""
Told = ServedIdentity | NotTold
ServedModelKey = tuple[str, str, str]
"""(name of the server, its URL, the model)"""
Ask = Callable[[CandidateSpec], Told]
NO_SERVER_ASKED: Mapping[ServedModelKey, Told] = {}


def served_model(candidate: CandidateSpec) -> ServedModelKey:
    """Which model of which server answers for a served candidate: the same one for all its variants."""
    assert candidate.server is not None and candidate.served_model is not None  # the spec was validated
    return candidate.server.name, candidate.server.url, candidate.served_model


def ask_server(candidate: CandidateSpec) -> Told:
    """What the server of a served candidate says that it has now."""
    assert candidate.server is not None and candidate.served_model is not None  # the spec was validated
    brief = {"silence_seconds": SERVER_SECONDS, "answer_seconds": SERVER_SECONDS}
    try:
        with closing(opened(candidate.server.model_copy(update=brief), candidate.served_model)) as model:
            return model.identity()
    except BakehouseError as error:
        if error.code == "model_not_found":
            return "gone"
        return "no_key" if error.code == "key_missing" else "no_answer"


def ask_servers(
    candidates: Iterable[CandidateSpec], ask: Ask = ask_server, seconds: float = SERVER_SECONDS
) -> dict[ServedModelKey, Told]:
    """What answers for each served candidate now; other candidates are passed over.

    A model of a server is asked for once, however many candidates it is. `seconds` is the limit for all of them together: who
    has not told by then counts as `no_answer`. What `ask` raises is raised here. No thread is waited for behind that limit, by
    the caller or at the end of the process.
    """
    models = {served_model(one): one for one in candidates if one.form == "served"}
    found = ask_side_by_side(
        models,
        ask,
        seconds=seconds,
        server_of=lambda model: model[1],
        is_away=lambda _: False,
        most_at_once=MOST_AT_A_TIME,
    )
    return {key: found.get(key, "no_answer") for key in models}
