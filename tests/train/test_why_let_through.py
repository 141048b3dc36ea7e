"""`why` on real runs that no gate looked at: a training, a GGUF file with a mistake in its header, llama-server's bake-off.

The eight mistakes of a served template and its tokenizer, each named from what the jobs left.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.config.model import ModelEntry
from core.config.recipe import Recipe
from core.config.task import Task
from core.diagnosis.diagnosis import Diagnosis, diagnose
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec, TaskUnderTest
from core.jobfile.convert import ConvertSpec
from core.jobfile.merge import MergeSpec
from core.jobfile.spec import Spec
from core.jobfile.train import TrainSpec
from core.own_paths import read_result
from core.scoring.answers import read_answers
from core.scoring.scorer import score_answers
from core.store.database import open_database, transaction
from core.store.results import import_answers
from core.wording.diagnosis import headline
from jobs.inputs import read_golden
from tests.support.chat_templates import DROPS_SYSTEM
from tests.support.check_scores import insert_check_scores
from tests.support.gguf_header import ADD_BOS, rewritten
from tests.support.job_files import add_job_of
from tests.support.llama_cpp import convertible_model, llama_cpp
from tests.support.stored import step_to
from tests.support.tokenizers import CHATML, qwen3_template
from tests.support.workshop import Workshop

pytestmark = pytest.mark.train

END = "<gh_stars>"
"""A token that llama.cpp knows as an end by its number alone."""
BEGIN = "<repo_name>"
"""What begins a text, where the template writes it."""
TRAINED = BEGIN + qwen3_template().replace("<|im_end|>", END)


@dataclass
class Chain:
    """A training, its merge and its GGUF file as jobs of a home with a database; bake-offs are added to it."""

    shop: Workshop
    connection: sqlite3.Connection
    task: Task
    training: int = 0
    converted: int = 0
    file: Path = Path()

    def run(self, spec: Spec) -> int:
        job_id = add_job_of(self.connection, spec, needs=spec.needs)
        run = self.shop.submit(job_id, spec)
        assert self.shop.finish(run) == 0, run.attempt(1).log.read_text()
        step_to(self.connection, job_id, "done")
        return job_id

    def bake_off(self) -> int:
        golden = self.shop.golden("Ines", "Jonas", "Klara", "Luis")
        model = self.shop.model
        candidates = [
            CandidateSpec(name="tuned", form="adapter", model=model, ref=f"job:{self.training}/adapter"),
            CandidateSpec(name="file", form="gguf", ref=f"job:{self.converted}/gguf"),
        ]
        spec = BakeoffSpec(
            tasks=[TaskUnderTest(task=self.task, golden=golden, repeats=1)],
            candidates=candidates,
            llama_server=str(llama_cpp().require("llama-server")),
        )
        job_id = self.run(spec)
        run = self.shop.home.run_dir(job_id)
        scores = score_answers(self.task, read_golden(golden), read_answers(run.answers))
        with transaction(self.connection):
            import_answers(self.connection, job_id, run)
            insert_check_scores(self.connection, job_id, (score.to_json() for score in scores))
        return job_id

    def why(self) -> Diagnosis:
        """Of a bake-off on what the file is now; the queue forgets it afterwards."""
        job_id = self.bake_off()
        found = diagnose(self.shop.home, self.connection, job_id)
        with transaction(self.connection):
            self.connection.execute("DELETE FROM jobs WHERE id = ?", [job_id])
        return found


@pytest.fixture(scope="module")
def entry(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelEntry:
    """Random weights, a real tokenizer, Qwen3's template with an end of its own."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tiny") / "model"
    convertible_model(model_cache, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template, tokenizer.bos_token, tokenizer.eos_token = TRAINED, BEGIN, END
    tokenizer.save_pretrained(folder)
    for name in ("config.json", "generation_config.json"):
        if (folder / name).exists():
            document = json.loads((folder / name).read_text())
            (folder / name).write_text(json.dumps({**document, "eos_token_id": tokenizer.eos_token_id}))
    return ModelEntry(name="tiny", path=str(folder))


@pytest.fixture(scope="module")
def chain(entry: ModelEntry, task: Task, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    shop = Workshop(Home(tmp_path_factory.mktemp("home")).create(), entry, forked=True)
    short = task.model_copy(update={"sampling": task.sampling.model_copy(update={"max_new_tokens": 8})})
    with closing(open_database(shop.home)) as connection:
        made = Chain(shop, connection, short)
        lasting = recipe.model_copy(update={"lr": 3e-2, "epochs": 4.0})
        made.training = made.run(TrainSpec(task=short, model=entry, recipe=lasting, train=shop.greetings()))
        merged = made.run(MergeSpec(adapter=f"job:{made.training}/adapter", model=entry, dtype="fp32", task="greet"))
        converter = str(llama_cpp().require("converter"))
        spec = ConvertSpec(model=entry, source=f"job:{merged}/merged", format="q8_0", converter=converter, task="greet")
        made.converted = made.run(spec)
        made.file = Path((read_result(shop.home.run_dir(made.converted)) or {})["summary"]["path"])
        yield made
    shop.close()


def test_a_file_without_a_mistake_is_left_alone(chain: Chain) -> None:
    found = chain.why()
    assert {cause.code for cause in found.causes} <= {"loss_not_fallen", "too_few_steps", "no_gain"}, headline(found)


def template(text: str) -> tuple[str, ...]:
    return ("--chat-template", text)


# By the mistake: what is changed in the file's header, and the code by which it has to be named.
MISTAKES: dict[str, tuple[tuple[str, ...], str]] = {
    "missing template": (("--remove-metadata", "tokenizer.chat_template"), "file_without_template"),
    "ChatML where Qwen3's belongs": (template(BEGIN + CHATML.replace("<|im_end|>", END)), "thinking_differs"),
    "a lost stop token": (("--special-token", "eos", "<|im_end|>"), "stop_token_lost"),
    "doubled BOS": (template(BEGIN + TRAINED), "doubled_bos"),
    # The server takes one away that its own tokenizer puts in front, and puts another in front here.
    "another BOS in front": (("--special-token", "bos", "<reponame>", ADD_BOS), "added_bos"),
    "thinking rendered differently": (template(TRAINED.replace("enable_thinking is false", "false")), "thinking_differs"),
    "a trailing newline": (template(TRAINED + "{{ '\\n' if add_generation_prompt }}"), "trailing_whitespace"),
    "marks of training": (template("{% generation %}{% endgeneration %}" + TRAINED), "training_marks"),
    "the system prompt dropped": (template(BEGIN + DROPS_SYSTEM.replace("<|im_end|>", END)), "system_dropped"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_named_from_a_run_in_which_it_was_let_through(
    chain: Chain, mistake: str, tmp_path: Path
) -> None:
    changes, code = MISTAKES[mistake]
    kept = shutil.copy(chain.file, tmp_path / "kept.gguf")
    try:
        rewritten(kept, chain.file, *changes)
        found = chain.why()
    finally:
        shutil.copy(kept, chain.file)
    named = {cause.code: cause for cause in found.causes}
    assert code in named, (mistake, list(named), headline(found))
    assert named[code].job == chain.converted
