"""When a request that failed is made again: a pure policy, so that the waiting can be done by whoever can be stopped in it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from core.serving.errors import ServerError


@dataclass(frozen=True)
class RetryPolicy:
    """`attempts` requests in all. The pauses between them double from `first_seconds` up to `longest_seconds`, each made
    longer or shorter by up to `jitter` of itself, so that clients that failed together do not come back together.

    A server that says how long to wait (`Retry-After`) is waited for that long at least, if it asks for no more than
    `patience_seconds`; else the request is given up at once.
    """

    attempts: int = 6
    first_seconds: float = 1.0
    longest_seconds: float = 60.0
    jitter: float = 0.25
    patience_seconds: float = 600.0


def pause_before_retry(
    error: ServerError, attempt: int, source: random.Random, policy: RetryPolicy | None = None
) -> float | None:
    """Seconds to wait before the next request, after `attempt` of them (from 1) have failed; None: there is to be none.

    `source` is seeded by the caller, so that a run can be told again.
    """
    policy = policy or RetryPolicy()
    if not error.is_transient or attempt >= policy.attempts:
        return None
    usual = min(policy.first_seconds * 2.0 ** (attempt - 1), policy.longest_seconds)
    pause = usual * (1 + policy.jitter * (2 * source.random() - 1))
    asked = error.retry_after_seconds
    if asked is None:
        return pause
    return None if asked > policy.patience_seconds else max(pause, asked)
