"""The job `bakeoff`: every candidate answers every golden input of every task, then stored answers are scored.

An answer is on the disk as soon as it is there. A retry goes on with what is missing.
"""

from jobs.bakeoff.job import run

__all__ = ["run"]
