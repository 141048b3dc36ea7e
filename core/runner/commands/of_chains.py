"""What a command about one job means for a chain: it is asked of the chain's own jobs, one by one."""

from __future__ import annotations

from core.runner.commands.base import QueueCommand, RefusedError
from core.store.chains import Chain
from core.store.job_reasons import refusal
from core.store.jobs import JobRow


def jobs_of_chain(command: QueueCommand, chain: Chain) -> list[JobRow]:
    """The jobs of a chain that a command is asked of, in the order in which it is.

    What was there before the chain is left alone. What ends or holds jobs begins with the last, so that no link starts
    meanwhile because the one before it has gone. Raises `RefusedError` where no job is left.
    """
    jobs = [link.job for link in chain.own if command.offered_for(link.job)]
    if not jobs:
        raise RefusedError(refusal("nothing_in_chain", command=command.name, chain=chain.id))
    return jobs[::-1] if command.from_the_end else jobs
