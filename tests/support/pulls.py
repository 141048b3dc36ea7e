"""The run directory of a pull job, as submission would have made it."""

from __future__ import annotations

import time

from core.config.model import ModelEntry
from core.home import Home, RunDir
from core.jobfile.pull import PullSpec
from tests.support.job_files import job_file


def pull_run(home: Home, model: ModelEntry, job_id: int) -> RunDir:
    run = home.create().run_dir(job_id)
    run.path.mkdir()
    job_file(home, PullSpec(model=model), job_id, lane="cpu", submitted_at=time.time()).save(run)
    return run
