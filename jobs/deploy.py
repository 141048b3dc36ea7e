"""The job `deploy`: a GGUF file serves, once it was proved that its prompts are those of training."""

from __future__ import annotations

from core.errors import BakehouseError
from core.jobfile.deploy import DeploySpec
from jobs import deploy_ollama
from jobs.context import JobContext
from jobs.manifest import start_manifest


def run(context: JobContext, spec: DeploySpec) -> None:
    start_manifest(context)
    if spec.to == "ollama":
        deploy_ollama.deploy(context, spec)
    else:
        raise BakehouseError("a served model of llama-server cannot be installed yet", code="not_possible")
