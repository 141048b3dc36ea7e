"""LoRA on weights that HQQ quantised, with the real small model: it learns as on plain weights, and what it makes is plain."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open

from core.bakeoff.answers import read_answers
from core.config.recipe import Recipe
from core.config.task import Task
from core.files import read_json
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec
from core.jobfile.merge import MergeSpec
from core.jobfile.train import TrainSpec
from tests.train.conftest import CHECKOUT, Workshop, events

pytestmark = pytest.mark.train


def tensors(folder: Path) -> set[str]:
    names: set[str] = set()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as opened:
            names.update(opened.keys())
    return names


def test_a_quantised_base_teaches_the_same_and_the_merged_model_answers(
    workshop: Workshop, task: Task, recipe: Recipe
) -> None:
    changes = {"epochs": 5.0, "dropout": 0.0, "neftune": None, "lr": 3e-3, "save_steps": None, "dtype": "bf16"}
    plain = Recipe.model_validate({**recipe.model_dump(), **changes})
    methods = {
        1: plain,
        2: Recipe.model_validate({**plain.model_dump(), "method": "qlora-hqq", "hqq": {"bits": 4, "group_size": 64}}),
        3: Recipe.model_validate(
            {**plain.model_dump(), "method": "qlora-hqq", "hqq": {"bits": 8}, "lora_dtype": "bf16"}
        ),
    }
    losses = {}
    for number, chosen in methods.items():
        run = workshop.submit(
            number, TrainSpec(task=task, model=workshop.model, recipe=chosen, train=workshop.greetings())
        )
        assert workshop.finish(run) == 0, run.attempt(1).log.read_text()
        losses[number] = [event["loss"] for event in events(run, 1, "step")]
    for curve in losses.values():
        assert curve[-1] < 0.25 * curve[0]
    # 8 bits are nearly the weights themselves; 4 bits start higher and come down as far.
    assert losses[3][0] == pytest.approx(losses[1][0], rel=0.05)
    assert losses[2][0] > losses[1][0]
    assert losses[2][-1] < losses[1][-1] + 0.25
    told = [event for event in events(workshop.home.run_dir(2), 1, "progress") if event["unit"] == "bytes"]
    assert told and all(event["done"] <= event["total"] for event in told)

    run = workshop.submit(4, MergeSpec(adapter="job:2", model=workshop.model, dtype="fp32"))
    assert workshop.finish(run) == 0, run.attempt(1).log.read_text()
    (merged,) = read_json(run.result)["artefacts"]
    (base,) = [path for path in (workshop.home.cache / "dequantised").iterdir() if path.is_dir()]
    assert tensors(workshop.home.artefacts / merged["sha256"] / "merged") == tensors(base)

    spec = BakeoffSpec(
        task=task,
        golden=workshop.golden("Ines", "Jonas"),
        candidates=[
            CandidateSpec(name="base", form="base", model=workshop.model),
            CandidateSpec(name="merged", form="merged", model=workshop.model, ref="job:4"),
        ],
        repeats=1,
    )
    run = workshop.submit(5, spec)
    assert workshop.finish(run) == 0, run.attempt(1).log.read_text()
    texts = {(answer.candidate, answer.input_id): answer.text for answer in read_answers(run.answers)}
    assert texts["merged", "g1"].startswith("Good morning, Ines.")
    assert texts["merged", "g2"].startswith("Good morning, ")  # four-bit lessons: it may call Jonas Jonathan
    assert not any(texts["base", item].startswith("Good morning, ") for item in ("g1", "g2"))


MEASURE = """
import re, sys
from pathlib import Path
import torch
from core.config.project import shipped
from core.config.recipe import HqqOptions
from core.home import Home
from jobs import models
models.prepare_libraries()
from jobs.quantised import load_quantised
def own():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
home, most = Home(Path(sys.argv[1])), 0
base = models.locate(shipped().model("SmolLM2-135M"), home)
size = sum(file.stat().st_size for file in models.safetensors_folder(base, home).glob("*.safetensors"))
def look(done, total):
    global most
    most = max(most, own())
before = own()
load_quantised(base, home, torch.device("cpu"), torch.bfloat16, HqqOptions(), look)
print(size, most - before)
"""


def test_the_host_never_holds_the_model_that_is_quantised(workshop: Workshop) -> None:
    """538 MB of fp32 on the disk become 60 MB of 4-bit weights and 57 MB of embeddings; beside them one tensor at work."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(workshop.home.root)],
        capture_output=True,
        text=True,
        check=True,
        cwd=CHECKOUT,
    )
    size, grown = (int(number) for number in done.stdout.split()[-2:])
    assert size > 500e6
    assert grown < 0.6 * size
