"""Six tiny models with random weights whose order is known before any is asked or trained, and two tasks for them.

*Before training.* Layers are random and weak, so what follows a token is decided by its embedding and the head. In each model
the head's row of one word of `BEFORE` points along the embedding of the token that ends a prompt: that word is its answer.

*After training.* All are taught `TAUGHT`, and none can say so. In each model the head's row of that word is 0.9 times the row
of one word of `REACHED`, and heads are frozen: whatever raises the taught word raises the other one by more (a token whose row
lies within the hull of the others' is never the likeliest: Demeter et al. 2020, arXiv 2005.02433). The cross-entropy is least
where the reached word is the likeliest of all (with N other tokens at e⁰: e^z = 9 N), so that is the answer learnt.

*Scores.* Each golden input of a task accepts a list of words, so a word passes a known number of the twelve. In the task `kept`
the words of `REACHED` pass in the order of those of `BEFORE`, in the task `turned` in the opposite one.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.config.project import Project, load_project
from core.experiment_submission.plan import plan_experiment
from core.experiment_submission.queueing import QueuedExperiment, submit_experiment
from core.experiments.shown import ShownExperiment, shown_experiment
from core.home import Home
from core.store.database import open_database
from tests.support.forked_queue import ForkedQueue
from tests.support.projects import write_files
from tests.support.tokenizers import byte_level

MODELS = ("ash", "birch", "cedar", "elm", "fir", "oak")
BEFORE = ("baguette", "ciabatta", "focaccia", "pretzel", "brioche", "naan")
REACHED = ("injera", "lavash", "bagel", "crumpet", "muffin", "scone")
TAUGHT = "panettone"
WORDS = (*BEFORE, *REACHED, TAUGHT)
INPUTS = 12
PASS_BEFORE = (1, 3, 5, 7, 9, 11)
"""Of the inputs, by model."""
PASS_AFTER = {"kept": (2, 4, 6, 8, 10, 12), "turned": (12, 10, 8, 6, 4, 2)}
TASKS = tuple(PASS_AFTER)
RECIPE = {
    "method": "lora",
    "rank": 4,
    "alpha": 16,
    "targets": ["down_proj"],
    "max_length": 96,
    "epochs": 1,
    "steps": 16,
    "batch_size": 4,
    "lr": 3e-2,
    "schedule": "constant",
    "dtype": "fp32",
    "save_steps": None,
}
HIDDEN = 64
CLOSE_BELOW = 0.9
"""The row of the taught word, in that of the word that is reached."""


def tokenizer() -> Any:
    """A small one in which each word is one token."""
    return byte_level(added=WORDS)


def rigged_model(folder: Path, number: int) -> Path:
    """Write the model of that place in `MODELS`: it says `BEFORE[number]`, and `REACHED[number]` once it was taught."""
    import torch

    from jobs import models

    models.prepare_libraries()
    from transformers import AutoModelForCausalLM, LlamaConfig

    words = tokenizer()
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=HIDDEN,
        intermediate_size=128,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
        eos_token_id=words.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(number)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        embeddings, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        embeddings.normal_()
        # Three directions at right angles: the end of a prompt, any word, and where training leads.
        prompt, word, lesson = torch.linalg.qr(torch.randn(HIDDEN, 3))[0].T
        long = HIDDEN**0.5
        embeddings[last_of_prompt(words)] = long * prompt
        for one in WORDS:
            own = torch.randn(HIDDEN)
            embeddings[token_of(words, one)] = long * word + 0.1 * own
        head.normal_(std=0.01)
        head[token_of(words, BEFORE[number])] = prompt
        head[words.eos_token_id] = word
        head[token_of(words, REACHED[number])] = 2 * lesson
        head[token_of(words, TAUGHT)] = CLOSE_BELOW * 2 * lesson
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def last_of_prompt(words: Any) -> int:
    asked = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    text = words.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    return int(words(text, add_special_tokens=False)["input_ids"][-1])


def token_of(words: Any, word: str) -> int:
    (token,) = words(word, add_special_tokens=False)["input_ids"]
    return int(token)


def passing(task: str) -> dict[str, int]:
    """How many of the golden inputs each word passes."""
    return {**dict(zip(BEFORE, PASS_BEFORE, strict=True)), **dict(zip(REACHED, PASS_AFTER[task], strict=True))}


def tournament_files(folders: Iterable[tuple[str, Path]], recipe: dict[str, Any]) -> dict[str, str]:
    """The files of a project with these models by name, this recipe and both tasks."""
    files = {
        "bakehouse.yaml": "id: tiny-tournament\n",
        "configs/models.yaml": json.dumps({name: {"path": str(folder)} for name, folder in folders}),
        "configs/recipes/short.yaml": json.dumps(recipe),
    }
    for task in TASKS:
        accepted = passing(task)
        inputs = [
            {
                "id": f"g{place:02}",
                "input": f"Customer {place} of the day asks.",
                "expect": {"breads": [word for word, count in accepted.items() if count > place] or ["none"]},
            }
            for place in range(INPUTS)
        ]
        files[f"golden/{task}.yaml"] = json.dumps(inputs)
        lessons = [{"prompt": f"Order {number}, please.", "completion": TAUGHT} for number in range(16)]
        files[f"data/{task}.jsonl"] = "".join(json.dumps(one) + "\n" for one in lessons)
        files[f"configs/tasks/{task}.yaml"] = json.dumps(
            {
                "system": "Name a bread.",
                "golden": f"golden/{task}.yaml",
                "data": {"train": f"data/{task}.jsonl"},
                "repeats": 1,
                "sampling": {"temperature": 0, "max_new_tokens": 3, "context_length": 128},
                "content": [{"check": "contains_any", "id": "bread", "values": "expect.breads"}],
            }
        )
    return files


@dataclass
class TinyTournament:
    """A home and a project with the models, and the queue that works there."""

    home: Home
    root: Path
    queue: ForkedQueue

    @property
    def project(self) -> Project:
        return load_project(self.root)

    def run(self, **said: Any) -> QueuedExperiment:
        """Write the experiment, where something is said of it, and queue what is missing: `bakehouse experiment run night`."""
        file = self.root / "configs/experiments/night.yaml"
        if said:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps({"recipe": "short", **said}))
        project = self.project
        plan = plan_experiment(self.home, project, project.experiment("night"))
        return submit_experiment(self.home, project, plan, author="tester")

    def shown(self) -> ShownExperiment:
        with contextlib.closing(open_database(self.home)) as connection:
            return shown_experiment(self.home, connection, self.project, "night")


@contextlib.contextmanager
def tiny_tournament(folder: Path, names: Iterable[str] = MODELS, **recipe: Any) -> Iterator[TinyTournament]:
    """All of it below `folder`; no runner is started, and what runs at the end is ended."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        patch.setenv("BAKEHOUSE_HOME", str(folder / "home"))
        patch.setenv("BAKEHOUSE_GPU_SOURCE", "none")
        patch.setenv("OLLAMA_HOST", "http://127.0.0.1:1")
        patch.setattr("core.submission.enqueue.ensure_runner", lambda home: None)
        made = [(name, rigged_model(folder / "models" / name, MODELS.index(name))) for name in names]
        root = write_files(folder / "project", tournament_files(made, {**RECIPE, **recipe}))
        home = Home(folder / "home").create()
        queue = ForkedQueue(home)
        try:
            yield TinyTournament(home, root, queue)
        finally:
            queue.close()
