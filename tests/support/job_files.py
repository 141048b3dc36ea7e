"""A job file as submission writes one, for tests that need no submission."""

from __future__ import annotations

import sys
from typing import Any

from core.home import Home
from core.jobfile.spec import JobFile, Spec


def job_file(home: Home, spec: Spec, job_id: int = 1, **values: Any) -> JobFile:
    """That of a job which runs with this interpreter and is told `spec`; `values` are whatever matters to the test."""
    common = {
        "title": spec.title,
        "project_id": "test",
        "project_root": str(home.root),
        "artefacts": str(home.artefacts),
        "python": sys.executable,
        "author": "tester",
        "submitted_at": 1.0,
        "lane": "gpu",
        "host_memory_bytes": 0,
    }
    return JobFile(id=job_id, home=str(home.root), spec=spec, **{**common, **values})
