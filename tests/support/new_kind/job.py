"""The job `pack`: an artefact's folder as one tar file."""

from __future__ import annotations

import tarfile
from pathlib import Path

from jobs.context import JobContext
from jobs.manifest import start_manifest
from tests.support.new_kind.spec import PackSpec


def run(context: JobContext, spec: PackSpec) -> None:
    context.phase("finding the artefact", spec.artefact)
    start_manifest(context)
    folder, sha256 = context.artefacts.resolve(spec.artefact, "packed")

    def fill(place: Path) -> None:
        with tarfile.open(place / "packed.tar", "w") as tar:
            for file in sorted(folder.iterdir()):
                tar.add(file, file.name)
                context.progress(1, 1, "files", label=file.name)

    made = context.artefacts.add("packed", {"job": context.job.id, "source_sha256": sha256}, fill)
    context.finish(f"{made.size_bytes} bytes", artefacts=[made], summary={"source_sha256": sha256})
