"""Words for a chain: how it stands, and each of its links."""

from __future__ import annotations

from core.format import duration, percent, plural, when
from core.store.chains import Chain, ChainLink
from core.store.jobs import ACTIVE, QUEUED, RETRYABLE

STEP_NAMES = {
    "train": "training",
    "merge": "merge",
    "convert": "conversion",
    "quantize": "quantisation",
    "parity": "parity check",
    "deploy": "deployment",
    "bakeoff": "bake-off",
}


def step_name(link: ChainLink) -> str:
    """`merge`, `parity check`; for a kind without a name of its own that of the kind."""
    return STEP_NAMES.get(link.job.kind, link.job.kind)


def chain_words(chain: Chain, now: float, *, short: bool = False) -> str:
    """`2 of 6 done, merge failed, 4 left`; `short` without what is left."""
    current, total = chain.current, len(chain.links)
    job, name = current.job, step_name(current)
    if chain.done == total:
        ran = sum(link.ran(now) for link in chain.own)
        return f"all {total} done" + (f", ran {duration(ran)}" if ran else "")
    head, left = f"{chain.done} of {total} done", "" if short else f", {total - chain.done} left"
    if job.state in ACTIVE:
        fraction = None if job.progress is None else job.progress.fraction
        how = "" if fraction is None else f" {percent(fraction)}"
        return f"{head}, {name} {job.state}{how}{left}"
    if job.state in RETRYABLE:
        return f"{head}, {name} {job.state}{left}"
    if job.held and job.state in QUEUED:
        return f"{head}, {name} held{left}"
    return f"{head}, {name} next{left}"


def behind_words(chain: Chain) -> str:
    """`3 links wait until job 12 is retried` where a link did not end well; empty otherwise."""
    if chain.state not in RETRYABLE:
        return ""
    behind = len(chain.links) - 1 - chain.links.index(chain.current)
    waits = f"{plural(behind, 'link')} {'waits' if behind == 1 else 'wait'}"
    return f"{waits} until job {chain.current.job.id} is retried" if behind else ""


def retry_words(chain: Chain, now: float) -> str:
    """What a retry of the link that failed does: behind the key that asks for it."""
    job = chain.current.job
    return (
        f"retries job {job.id} with what it was submitted with ({when(job.submitted_at, now)}): its copies of task, recipe and "
        "data. What is done stays."
    )


def again_words(changed: str) -> str:
    """`changed` names what has changed in the project since."""
    return f"changed since, which a retry does not see: {changed}. s ships again with it."
