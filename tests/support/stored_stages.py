"""A home with a bake-off over the stages of an adapter, of invented answers and without any process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from core.authoring.scaffold import new_project
from core.config.project import shipped
from core.home import Home
from core.jobfile.bakeoff import CandidateSpec, Stage
from tests.support.stored import fresh
from tests.support.stored_tasks import INPUTS, REPEATS, bakeoff, trained

MODEL = "SmolLM2-135M"
STAGES: Mapping[str, tuple[Stage, float]] = {
    f"{MODEL} base": (Stage(kind="base"), 0.25),
    f"{MODEL} tuned": (Stage(kind="adapter"), 0.95),
    f"{MODEL} tuned, merged": (Stage(kind="merged"), 0.95),
    f"{MODEL} tuned, f16": (Stage(kind="gguf", format="F16"), 0.95),
    f"{MODEL} tuned, Q8_0": (Stage(kind="gguf", format="Q8_0"), 0.93),
    f"{MODEL} tuned, Q4_K_M": (Stage(kind="gguf", format="Q4_K_M"), 0.4),
    f"{MODEL} tuned, LoRA on Q8_0": (Stage(kind="lora", format="Q8_0"), 0.93),
}
"""Each stage with the chance that it gets a line of an answer right: the smallest file loses what was learnt."""


def home_with_stages(folder: Path) -> tuple[Home, int]:
    """The home, and the bake-off of one task over the stages of job 1."""
    home, connection = fresh(folder)
    project = folder / "project"
    new_project(project)
    training = trained(home, connection, project, 16)
    model = shipped().model(MODEL)
    made = []
    for number, (name, (stage, _)) in enumerate(STAGES.items(), training + 1):
        if stage.kind == "base":
            made.append(CandidateSpec(name=name, form="base", model=model, stage=stage))
        elif stage.kind == "lora":
            lora = f"job:{number}/lora"
            made.append(CandidateSpec(name=name, form="gguf", ref="job:90/gguf", lora=lora, stage=stage))
        elif stage.kind == "adapter":
            made.append(
                CandidateSpec(name=name, form="adapter", model=model, ref=f"job:{training}/adapter", stage=stage)
            )
        else:
            ref = f"job:{number}/{stage.kind}"
            made.append(CandidateSpec(name=name, form=stage.kind, model=model, ref=ref, stage=stage))
    quality = {name: {"judge": chance} for name, (_, chance) in STAGES.items()}
    job_id = bakeoff(home, connection, project, made, ("judge",), quality, INPUTS, REPEATS)
    connection.close()
    return home, job_id
