"""A finished bake-off between trained models decides which one `bakehouse plan` prefers."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.config.golden import GoldenInput
from core.config.project import shipped
from core.config.task import Task
from core.files import write_json
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec, Variant
from core.jobfile.lacking import LackingCandidate, note_lacking
from core.jobfile.merge import MergeSpec
from core.jobfile.spec import InputFile, Spec
from core.jobfile.train import TrainSpec
from core.results.evidence import verdicts
from core.scoring.answers import Answer
from core.scoring.scorer import score_answers
from core.store.database import transaction
from core.store.results import import_answers
from core.vram.plan import Verdict
from tests.support.check_scores import insert_check_scores
from tests.support.job_files import job_file
from tests.support.stored import add_job, fresh, path_to, step

TASK = Task.model_validate(
    {"name": "prices", "repeats": 1, "format": [{"check": "regex", "id": "line", "pattern": "^PRICE: .+$"}]}
)
GOLDEN = [GoldenInput(id=f"g{number}", input=f"thing {number}") for number in range(12)]
RIGHT, WRONG = "PRICE: 5", "no idea"
FILE = InputFile(path="/x", sha256="0" * 64, source="/x")


class Bench:
    """A home with trainings and bake-offs that are done."""

    def __init__(self, home: Home, connection: sqlite3.Connection, folder: Path) -> None:
        self.home, self.connection, self.folder = home, connection, folder
        write_json(folder / "golden.json", [item.model_dump() for item in GOLDEN])

    def done(self, kind: str, spec: Spec, state: str = "done") -> int:
        job_id = add_job(self.connection, kind=kind)
        for name in path_to(self.connection, state):  # type: ignore[arg-type]
            step(self.connection, job_id, name)
        run = self.home.run_dir(job_id)
        run.path.mkdir(parents=True)
        job_file(self.home, spec, job_id).save(run)
        return job_id

    def trained(self, model: str, recipe: str) -> CandidateSpec:
        project = shipped()
        spec = TrainSpec(task=TASK, model=project.model(model), recipe=project.recipe(recipe), train=FILE)
        job_id = self.done("train", spec)
        name = f"{model} {recipe} {job_id}"
        return CandidateSpec(name=name, form="adapter", model=spec.model, ref=f"job:{job_id}/adapter")

    def merged(self, candidate: CandidateSpec) -> CandidateSpec:
        adapter = (candidate.ref or "").partition("/")[0]
        job_id = self.done("merge", MergeSpec(adapter=adapter, model=candidate.model))
        return candidate.model_copy(update={"form": "merged", "ref": f"job:{job_id}/merged"})

    def bakeoff(
        self,
        *candidates: tuple[CandidateSpec, str],
        state: str = "done",
        answered: int = 12,
        left_out: tuple[CandidateSpec, ...] = (),
    ) -> int:
        """A bake-off in which each candidate gave one answer to every input, and which did without those that are left out."""
        golden = FILE.model_copy(update={"path": str(self.folder / "golden.json")})
        specs = [*left_out, *(spec for spec, _ in candidates)]
        spec = BakeoffSpec(task=TASK, golden=golden, candidates=specs, repeats=1, lacking_left_out=bool(left_out))
        job_id = self.done("bakeoff", spec, state)
        if left_out:
            lacking = [LackingCandidate(one.name, 7, "failed") for one in left_out]
            note_lacking(self.home.run_dir(job_id), lacking)
        answers = [
            Answer.from_json(
                {
                    "key": f"{spec.name}/{item.id}",
                    "candidate": spec.name,
                    "task": TASK.name,
                    "input_id": item.id,
                    "repeat": 0,
                    "seed": 0,
                    "text": text,
                    "thinking": None,
                    "finish": "stop",
                    "fault": None,
                    "prompt_tokens": 9,
                    "completion_tokens": 4,
                    "characters": len(text),
                    "seconds": 1.0,
                    "batch_size": 1,
                    "tokens_per_second": 4.0,
                    "prompt_sha256": "0" * 64,
                    "time": 0.0,
                }
            )
            for spec, text in candidates
            for item in GOLDEN[:answered]
        ]
        run = self.home.run_dir(job_id)
        run.answers.write_text("".join(json.dumps(answer.to_json()) + "\n" for answer in answers))
        with transaction(self.connection):
            import_answers(self.connection, job_id, run)
            insert_check_scores(
                self.connection, job_id, (one.to_json() for one in score_answers(TASK, GOLDEN, answers))
            )
        return job_id

    def verdicts(self) -> list[Verdict]:
        return verdicts(self.connection, self.home)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    home, connection = fresh(tmp_path)
    with contextlib.closing(connection):
        yield Bench(home, connection, tmp_path)


def test_the_winner_is_named_with_the_model_and_the_method_it_beat(bench: Bench) -> None:
    small, large = bench.trained("Qwen3-4B", "lora-bf16"), bench.trained("Qwen3-8B", "qlora-hqq4")
    base = CandidateSpec(name="base", form="base", model=small.model)
    job_id = bench.bakeoff((base, WRONG), (small, WRONG), (bench.merged(large), RIGHT))
    assert bench.verdicts() == [Verdict(job_id, "prices", winner=("Qwen3-8B", "qlora-hqq"), loser=("Qwen3-4B", "lora"))]


def test_the_newest_comes_first(bench: Bench) -> None:
    small, large = bench.trained("Qwen3-4B", "lora-bf16"), bench.trained("Qwen3-8B", "qlora-hqq4")
    older, newer = bench.bakeoff((small, RIGHT), (large, WRONG)), bench.bakeoff((small, WRONG), (large, RIGHT))
    assert [verdict.job_id for verdict in bench.verdicts()] == [newer, older]


NOTHING: dict[str, Callable[[Bench, CandidateSpec, CandidateSpec], object]] = {
    "a tie": lambda bench, small, large: bench.bakeoff((small, RIGHT), (large, RIGHT)),
    "one that still runs": lambda bench, small, large: bench.bakeoff((small, RIGHT), (large, WRONG), state="running"),
    "one with answers missing": lambda bench, small, large: bench.bakeoff((small, RIGHT), (large, WRONG), answered=9),
    "the same model trained twice": lambda bench, small, large: bench.bakeoff(
        (small, RIGHT), (bench.trained("Qwen3-4B", "lora-bf16"), WRONG)
    ),
    "a base that won": lambda bench, small, large: bench.bakeoff(
        (CandidateSpec(name="base", form="base", model=small.model), RIGHT), (small, WRONG), (large, WRONG)
    ),
    "another way of asking one of them": lambda bench, small, large: bench.bakeoff(
        (small, RIGHT), (large.model_copy(update={"variant": Variant(written="few_shot=2", few_shot=2)}), WRONG)
    ),
    "files that were cleaned away": lambda bench, small, large: bench.home.run_dir(
        bench.bakeoff((small, RIGHT), (large, WRONG))
    ).job_file.unlink(),
}


@pytest.mark.parametrize("what", NOTHING)
def test_nothing_is_decided_by(bench: Bench, what: str) -> None:
    small, large = bench.trained("Qwen3-4B", "lora-bf16"), bench.trained("Qwen3-8B", "qlora-hqq4")
    NOTHING[what](bench, small, large)
    assert bench.verdicts() == []


def test_a_candidate_that_was_left_out_has_lost_to_nobody(bench: Bench) -> None:
    small, large = bench.trained("Qwen3-4B", "lora-bf16"), bench.trained("Qwen3-8B", "qlora-hqq4")
    bench.bakeoff((large, RIGHT), left_out=(small,))
    assert bench.verdicts() == []
    other = bench.trained("Qwen3-1.7B", "lora-bf16")
    job_id = bench.bakeoff((large, RIGHT), (other, WRONG), left_out=(small,))
    assert bench.verdicts() == [Verdict(job_id, "prices", ("Qwen3-8B", "qlora-hqq"), ("Qwen3-1.7B", "lora"))]
