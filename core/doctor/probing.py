"""The probes of `jobs.probe`, run under the interpreter of the jobs, and what their figures mean."""

from __future__ import annotations

from typing import Any

from core.doctor.box import Box
from core.doctor.report import Line


def run_probes(box: Box, python: str) -> dict[str, Any]:
    raise NotImplementedError


def probe_lines(document: dict[str, Any], box: Box) -> list[Line]:
    raise NotImplementedError
