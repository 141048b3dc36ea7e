"""What is made of a training that was left out of its experiment: nothing, and that is no failure."""

from __future__ import annotations

from core.files import read_json
from core.jobfile.references import parse_reference
from jobs.context import JobContext


def passes_on_censored(context: JobContext, reference: str | None) -> bool:
    """End the job with nothing made where what it takes was left out; True when that is so.

    A chain behind such a training ends as done, and waits for nobody. The summary has its `censored`, as the training's has.
    """
    job = parse_reference(reference)
    result = None if job is None else read_json(context.home.run_dir(job.job_id).result)
    censored = None if result is None else result["summary"].get("censored")
    if job is None or not censored:
        return False
    context.finish(
        f"left out: job {job.job_id} was left out by its trials", summary={"source": reference, "censored": censored}
    )
    return True
