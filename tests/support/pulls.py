"""The run directory of a pull job, as submission would have made it."""

from __future__ import annotations

import sys
import time

from core.config.model import ModelEntry
from core.home import Home, RunDir
from core.jobfile.pull import PullSpec
from core.jobfile.spec import JobFile


def pull_run(home: Home, model: ModelEntry, job_id: int) -> RunDir:
    run = home.create().run_dir(job_id)
    run.path.mkdir()
    JobFile(
        id=job_id,
        title="pull",
        project_id="test",
        project_root=str(home.root),
        home=str(home.root),
        artefacts=str(home.artefacts),
        python=sys.executable,
        author="test",
        submitted_at=time.time(),
        lane="cpu",
        host_memory_bytes=0,
        spec=PullSpec(model=model),
    ).save(run)
    return run
