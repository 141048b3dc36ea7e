"""What servers have now: they are asked side by side, and none for longer than a few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime
from contextlib import closing

from core.errors import BakehouseError
from core.jobfile.bakeoff import CandidateSpec
from core.jobfile.servers import opened
from core.serving.answering import ServedIdentity

SERVER_SECONDS = 5.0
MOST_AT_A_TIME = 8

IdentityOf = Callable[[CandidateSpec], ServedIdentity | None]
"""What answers for a candidate now; None where its server does not tell."""


def ask_server(candidate: CandidateSpec) -> ServedIdentity | None:
    """What the server of a served candidate says that it has now; None where it says nothing."""
    assert candidate.server is not None and candidate.served_model is not None  # the spec was validated
    brief = {"silence_seconds": SERVER_SECONDS, "answer_seconds": SERVER_SECONDS}
    try:
        with closing(opened(candidate.server.model_copy(update=brief), candidate.served_model)) as model:
            return model.identity()
    except BakehouseError:
        return None


def identities_now(
    candidates: Iterable[CandidateSpec], identity_of: IdentityOf, seconds: float = SERVER_SECONDS
) -> dict[str, ServedIdentity | None]:
    """What answers for each served candidate now, by its name; None where its server has not told after so many seconds.

    A model of a server is asked for once, however many candidates it is.
    """
    models: dict[tuple[str, str, str], list[CandidateSpec]] = {}
    for one in candidates:
        assert one.server is not None and one.served_model is not None  # a served candidate
        models.setdefault((one.server.name, one.server.url, one.served_model), []).append(one)
    found: dict[str, ServedIdentity | None] = {}
    if not models:
        return found
    until = time.monotonic() + seconds
    pool = ThreadPoolExecutor(max_workers=min(MOST_AT_A_TIME, len(models)))
    try:
        asked = [(group, pool.submit(identity_of, group[0])) for group in models.values()]
        for group, answer in asked:
            try:
                identity = answer.result(timeout=max(0.0, until - time.monotonic()))
            except NotInTime:
                identity = None
            found |= {one.name: identity for one in group}
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return found
