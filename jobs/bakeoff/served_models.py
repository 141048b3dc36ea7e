"""The home's served models beside what a bake-off loads itself: away while it does, back before they are asked.

For a job whose `GpuUse` is `serving`: while it has the lease no runner sends one away or calls one back, and after it, however
it ended, all of them come back.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from core.errors import BakehouseError
from core.gpu_lease.lock import lease_path
from core.home import ServedDir
from core.jobfile.bakeoff import CandidateSpec, ServerUnderTest
from core.jobfile.raw import LEASED_GPU
from core.jobfile.references import parse_reference
from core.jobfile.servers import not_serving
from core.own_paths import read_result
from core.served.away import away_for, call_back, is_gone, send_away
from core.served.control import stop
from core.served.record import read_records
from core.served.state import read_state
from core.serving.errors import ServerError
from jobs.context import JobContext

POLL_SECONDS = 0.1
GO_SECONDS = 120.0
COME_SECONDS = 1800.0
"""How long one may take to end, and to load: as long as a server of others may."""
FAILING_SECONDS = 60.0
"""How long one may fail to come up: the memory that it needs may take a moment to come back."""


def send_served_away(context: JobContext) -> None:
    """Have the home's served models let go of the GPU, where the job has one. Raises ServerError for one that does not.

    Without a GPU they stay: what the job needs of the host's memory was there when it was started.
    """
    leased = os.environ.get(LEASED_GPU)
    if leased is None:
        return
    home, job_id = context.home, context.job.id
    records, _ = read_records(home)
    names = [one.name for one in records if one.on_gpu]
    going = [name for name in names if not is_gone(home, name)]
    for name in names:
        if job_id not in away_for(home.served_dir(name)):
            send_away(home, name, job_id, lease_path(home, leased))
    deadline = time.monotonic() + GO_SECONDS
    for name in names:
        while not is_gone(home, name):
            context.check_stop()
            if time.monotonic() > deadline:
                raise ServerError(f"{name} still runs {GO_SECONDS:g} s after it was sent away", code="server_slow")
            time.sleep(POLL_SECONDS)
    if going:
        context.say(f"stopped for the next model: {', '.join(going)}")


def have_serve(context: JobContext, server: ServerUnderTest) -> None:
    """Call a served model of the home back where this job has sent it away, and wait until it serves.

    Raises ServerError for one that does not: a person stopped it, or it does not come up.
    """
    assert server.served_dir is not None  # of the home
    folder = ServedDir(Path(server.served_dir))
    name, home = folder.path.name, folder.home
    if context.job.id in away_for(folder):
        context.phase("starting the served model", name)
        call_back(home, name, context.job.id)
    started = time.monotonic()
    while (why := not_serving(server)) is not None:
        context.check_stop()
        if time.monotonic() - started > _patience(folder):
            raise why
        time.sleep(POLL_SECONDS)


def stop_measured(context: JobContext, names: Iterable[str]) -> None:
    """End served models that were deployed to be measured. The result is there: one that does not end is told."""
    for name in names:
        try:
            if stop(context.home, name):
                context.say(
                    f"{name} was stopped: its memory is free for others, and `bakehouse served start {name}` starts it"
                )
        except (BakehouseError, OSError) as error:
            context.warn("served_not_stopped", f"{name} serves on: {error}")


def require_deployed(context: JobContext, candidate: CandidateSpec, weights: str | None) -> None:
    """Refuse another model than the one that a candidate's job deployed: somebody has deployed under its name since.

    `weights` is the digest that its server tells now. ServerError.
    """
    made_by = parse_reference(candidate.ref)
    result = None if made_by is None else read_result(context.home.run_dir(made_by.job_id))
    summary = (result or {}).get("summary") or {}
    deployed = summary.get("blob") or summary.get("weights")
    if made_by is None or not deployed or weights is None or weights.endswith(str(deployed)):
        return
    raise ServerError(
        f"{candidate.served_model} is not what job {made_by.job_id} deployed: another model serves under that name now",
        code="server_refused",
        remedy=f"`bakehouse bakeoff` with served:{candidate.served_model} asks what serves now",
    )


def _patience(folder: ServedDir) -> float:
    """How long one that does not serve now is waited for."""
    phase = read_state(folder.home, folder.path.name).phase
    if phase == "failed":
        return FAILING_SECONDS
    # Away without a note: its shim has still to see that it may serve again.
    return COME_SECONDS if phase == "loading" or (phase == "away" and not folder.away.exists()) else 0.0
