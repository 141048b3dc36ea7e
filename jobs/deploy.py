"""The job `deploy`: a GGUF file serves, once it was proved that its prompts are those of training."""

from __future__ import annotations

from core.jobfile.deploy import DeploySpec
from jobs import deploy_llama_server, deploy_ollama
from jobs.context import JobContext
from jobs.manifest import start_manifest


def run(context: JobContext, spec: DeploySpec) -> None:
    start_manifest(context)
    target = deploy_ollama if spec.to == "ollama" else deploy_llama_server
    target.deploy(context, spec)
