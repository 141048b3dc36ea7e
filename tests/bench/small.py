"""The real small model, its data, and one training of it by either side: what the training benchmarks share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.bakeoff.ranking import build_leaderboard
from core.config.project import shipped
from core.config.recipe import Recipe
from core.data.examples import load_examples
from core.data.render import FittedExample, fit_all
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec
from core.jobfile.train import TrainSpec
from core.own_paths import read_result
from core.scoring.answers import read_answers
from core.scoring.scorer import score_answers
from tests.support.small_model import cache_root, home_with, small_model
from tests.support.workshop import CHECKOUT, Workshop, events

THREADS = len(os.sched_getaffinity(0))
TASK = "judge"


@dataclass(frozen=True)
class Trained:
    """One training: its loop's seconds and tokens, losses, most bytes resident, and where the adapter is."""

    seconds: float
    tokens: float
    first_loss: float
    last_loss: float
    peak_bytes: int
    adapter: Path

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds


class Bench:
    """A home of its own beside the tests' cache of the pulled model."""

    def __init__(self, root: Path) -> None:
        cache = Home(cache_root()).cache
        if not (cache / "models" / "SmolLM2-135M").is_dir():
            raise SystemExit("the small model is not there: run `make test TESTS=tests/train/test_bakeoff.py` once")
        self.root = root
        self.workshop = Workshop(home_with(cache, root), small_model())
        self.task = shipped().task(TASK)
        self.number = 0

    def load(self) -> tuple[Any, Path, list[str]]:
        """(tokenizer, folder of the model as safetensors, lines of the task's training data)."""
        from jobs import models

        models.prepare_libraries()
        base = models.locate(self.workshop.model, self.workshop.home)
        folder = models.safetensors_folder(base, self.workshop.home)
        path = shipped().resolve(self.task.data.train or "", self.task)
        return models.load_tokenizer(base, self.workshop.home), folder, path.read_text().splitlines()

    def fitted(self, tokenizer: Any, lines: Sequence[str], max_length: int) -> tuple[FittedExample, ...]:
        path = self.root / "lines.jsonl"
        path.write_text("\n".join(lines) + "\n")
        examples, _ = load_examples(path, self.task)
        return fit_all(tokenizer, examples, self.task.thinking, max_length).fitted

    def ours(self, lines: Sequence[str], recipe: Recipe) -> Trained:
        """A job, as a runner starts it."""
        self.number += 1
        data = self.workshop.input_file(f"train-{self.number}.jsonl", "\n".join(lines) + "\n")
        spec = TrainSpec(task=self.task, model=self.workshop.model, recipe=recipe, train=data)
        run = self.workshop.submit(self.number, spec)
        if self.workshop.start(run).wait() != 0:
            raise SystemExit(run.attempt(1).log.read_text())
        result = read_result(run) or {}
        steps = events(run, 1, "step")
        began = next(event["time"] for event in events(run, 1, "phase") if event["name"] == "training")
        return Trained(
            seconds=steps[-1]["time"] - began,
            tokens=sum(step["tokens"] for step in steps),
            first_loss=steps[0]["loss"],
            last_loss=steps[-1]["loss"],
            peak_bytes=result["summary"]["peak_memory_bytes"],
            adapter=Path(result["artefacts"][0]["path"]),
        )

    def golden(self, adapters: dict[str, Path], max_new_tokens: int) -> dict[str, tuple[float, float]]:
        """(format, content) out of 5 on the task's golden inputs, each asked once."""
        self.number += 1
        inputs = shipped().golden(self.task).inputs
        documents = json.dumps([item.model_dump(mode="json") for item in inputs])
        limited = self.task.sampling.model_copy(update={"max_new_tokens": max_new_tokens})
        task = self.task.model_copy(update={"sampling": limited})
        candidates = [
            CandidateSpec(name=name, form="adapter", model=self.workshop.model, path=str(path))
            for name, path in adapters.items()
        ]
        golden = self.workshop.input_file(f"golden-{self.number}.json", documents)
        run = self.workshop.submit(self.number, BakeoffSpec(task=task, golden=golden, candidates=candidates, repeats=1))
        if self.workshop.start(run).wait() != 0:
            raise SystemExit(run.attempt(1).log.read_text())
        answers = read_answers(run.answers)
        board = build_leaderboard(task, inputs, answers, score_answers(task, inputs, answers))
        return {row.name: (5 * (row.format_score or 0.0), 5 * (row.content_score or 0.0)) for row in board.rows}

    def bare(self, folder: Path, fitted: Sequence[FittedExample], recipe: Recipe) -> Trained:
        """The script with TRL alone."""
        self.number += 1
        output = self.root / f"bare-{self.number}"
        output.mkdir()
        examples = [
            {
                "input_ids": [*item.prompt_ids, *item.completion_ids],
                "labels": [-100] * len(item.prompt_ids) + list(item.completion_ids),
            }
            for item in fitted
        ]
        (output / "examples.json").write_text(json.dumps(examples))
        request = {
            "model": str(folder),
            "examples": str(output / "examples.json"),
            "output": str(output / "adapter"),
            "threads": THREADS,
            "recipe": recipe.model_dump(mode="json"),
        }
        (output / "request.json").write_text(json.dumps(request))
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.bare", str(output / "request.json")],
            capture_output=True,
            text=True,
            cwd=CHECKOUT,
        )
        if done.returncode:
            raise SystemExit(done.stderr)
        return Trained(**json.loads(done.stdout.splitlines()[-1]), adapter=output / "adapter")
