"""Queueing a stress test of the GPU."""

from __future__ import annotations

from core.config.project import Project
from core.errors import InputError
from core.home import Home
from core.jobfile.stress import LEAST_MINUTES, MOST_MINUTES, StressSpec
from core.store.jobs import JobRow
from core.submission.enqueue import store


def submit_stress(home: Home, project: Project, minutes: float, *, author: str) -> JobRow:
    """Queue a stress test of the GPU, or of the CPU where there is none. Raises `InputError` for a time that cannot be."""
    if not LEAST_MINUTES <= minutes <= MOST_MINUTES:
        raise InputError(
            f"A stress test takes {LEAST_MINUTES:g} to {MOST_MINUTES:g} minutes, not {minutes:g}.", code="bad_minutes"
        )
    return store(home, project, StressSpec(minutes=minutes), author=author)
