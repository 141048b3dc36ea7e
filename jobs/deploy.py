"""The job `deploy`: a GGUF file serves, once it was proved that its prompts are those of training."""

from __future__ import annotations

from core.errors import BakehouseError
from core.jobfile.deploy import DeploySpec
from jobs.context import JobContext
from jobs.manifest import start_manifest


def run(context: JobContext, spec: DeploySpec) -> None:
    start_manifest(context)
    raise BakehouseError(f"a deployment to {spec.to} cannot be made yet", code="not_possible")
