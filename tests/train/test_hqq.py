"""LoRA on weights that HQQ quantised: bf16 adapters learn on them, and the host never holds the model that is quantised."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from core.config.recipe import Recipe
from core.config.task import Task
from core.files import read_json
from core.jobfile.train import TrainSpec
from tests.support.workshop import CHECKOUT, Workshop, losses

pytestmark = pytest.mark.train


def test_bf16_adapters_learn_on_quantised_weights_as_on_plain_ones(
    tinyshop: Workshop, task: Task, recipe: Recipe
) -> None:
    """On the tiny model, for a CPU may be slow in bf16; the real small one learns on quantised weights in fp32."""
    changes = {"epochs": 5.0, "dropout": 0.0, "neftune": None, "lr": 0.02, "schedule": "constant", "dtype": "bf16"}
    plain = {**recipe.model_dump(), **changes, "save_steps": None}
    methods: list[dict[str, Any]] = [
        {},
        {"lora_dtype": "bf16", "method": "qlora-hqq", "hqq": {"bits": 8}},
        {"lora_dtype": "bf16", "method": "qlora-hqq", "hqq": {"bits": 4, "group_size": 64}},
    ]
    curves = []
    for number, method in enumerate(methods, start=1):
        chosen = Recipe.model_validate({**plain, **method})
        run = tinyshop.submit(
            number, TrainSpec(task=task, model=tinyshop.model, recipe=chosen, train=tinyshop.greetings())
        )
        assert tinyshop.finish(run) == 0, run.attempt(1).log.read_text()
        assert read_json(run.attempt(1).manifest)["dtype"] == "bfloat16"
        curves.append([loss for loss, _, _ in losses(run, 1).values()])
    assert all(curve[-1] < 0.5 * curve[0] for curve in curves), curves
    assert curves[1][0] == pytest.approx(curves[0][0], rel=0.05)


MEASURE = """
import re, sys
from pathlib import Path
from core.config.project import shipped
from core.config.recipe import HqqOptions
from core.home import Home
from jobs import models
models.prepare_libraries()
import torch
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
load_quantised(base, home, models.choose_device(), torch.bfloat16, HqqOptions(), look)
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
