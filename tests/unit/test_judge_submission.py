"""Judges before a bake-off is queued: who is meant, who is kin of whom, and what need not be asked again."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from core.config.model import ModelEntry
from core.errors import BakehouseError, InputError, NotFoundError
from core.jobfile.bakeoff import CandidateSpec, ServerUnderTest
from core.jobfile.kin import families_in, kin_of
from core.scoring.verdicts import read_verdicts
from core.serving.answering import Capabilities, ServedIdentity
from core.serving.errors import ServerError
from core.store.database import open_database, transaction
from core.store.verdicts import JudgeVerdict, insert_verdicts
from core.submission.asked_servers import ServedFacts
from core.submission.bakeoff import CheckedBakeoff, check_bakeoff, golden_task
from core.submission.judges import asked_hashes
from core.submission.judging import submit_judging
from tests.support.kitchen import CHECK, Kitchen, kitchen
from tests.support.stored import add_job, step_to

__all__ = ["kitchen"]


def judged_by(model: str) -> str:
    return CHECK + f"content:\n  - {{check: judge, model: '{model}', rubric: Is it true?}}\n"


def checked(kitchen: Kitchen, model: str, answer: Any = None, *candidates: str) -> tuple[CheckedBakeoff, list[str]]:
    kitchen.task("bread", more=judged_by(model))
    remarks: list[str] = []
    facts = ServedFacts(ServedIdentity(api="ollama", model="m", weights="w"), Capabilities())
    with contextlib.closing(open_database(kitchen.home)) as connection:
        found = check_bakeoff(
            kitchen.home,
            connection,
            kitchen.project,
            kitchen.wanted(*(candidates or ("plain",))),
            remarks,
            lambda candidate: facts if answer is None else answer,
        )
    return found, remarks


def test_the_judge_is_a_served_model_that_the_job_asks_beside_its_candidates(kitchen: Kitchen) -> None:
    found, remarks = checked(kitchen, "served:grader")
    (judge,) = found.judges
    assert (judge.name, judge.form, judge.served_model) == ("served:grader", "served", "grader")
    spec = found.keep(kitchen.home, kitchen.project)
    assert spec.judges == [judge] and spec.earlier_verdicts is None
    assert spec.gpu_use.mode == "serving" and spec.gpu_use.loads_models
    assert [*spec.gpu_use.asked.values()] == [("grader",)], "the runner knows what the job leaves in Ollama's memory"
    (told,) = [remark for remark in remarks if "grader" in remark]
    assert "up to 6 verdicts, how long is not known" in told


def test_how_long_a_judge_takes_is_told_from_what_it_took(kitchen: Kitchen) -> None:
    job = kitchen.submit(kitchen.wanted("plain"))
    kitchen.end(job)
    took = {"judge": "served:grader", "verdicts": 10, "seconds": 25.0}
    with contextlib.closing(open_database(kitchen.home)) as connection, transaction(connection):
        result = json.dumps({"summary": {"judges": [took, {"judge": "x", "verdicts": 0, "seconds": 3.0}]}})
        connection.execute("UPDATE jobs SET result = ? WHERE id = ?", [result, job.id])
    _, remarks = checked(kitchen, "served:grader")
    assert any("up to 6 verdicts, about 15 s" in remark for remark in remarks)


@pytest.mark.parametrize("model", ["plain", "job:3", "../models/plain"])
def test_a_judge_that_no_server_has_is_refused_with_its_check(kitchen: Kitchen, model: str) -> None:
    with pytest.raises(InputError, match="is no served model") as refused:
        checked(kitchen, model)
    assert Path(str(refused.value.file)).name == "bread.yaml"
    assert "judge: " in refused.value.message and "served:NAME" in str(refused.value.remedy)


def test_a_judge_that_its_server_does_not_have_is_refused_and_one_that_is_silent_is_a_remark(kitchen: Kitchen) -> None:
    missing = NotFoundError("there is no model grader", code="model_not_found")
    with pytest.raises(NotFoundError, match="no model grader"):
        checked(kitchen, "served:grader", missing)
    _, remarks = checked(kitchen, "served:grader", ServerError("nobody listens", code="server_down"))
    assert any("what it does not judge is left out" in remark for remark in remarks)


def test_a_judge_that_is_a_candidate_by_name_or_by_its_weights_is_warned_of(kitchen: Kitchen) -> None:
    _, remarks = checked(kitchen, "served:grader", None, "served:grader", "plain")
    assert any("the judge served:grader is a candidate (grader)" in remark for remark in remarks)
    _, remarks = checked(kitchen, "served:grader", None, "served:other-tag", "plain")
    assert any("is a candidate (other-tag)" in remark for remark in remarks), (
        "its server tells the same weights of both"
    )


SERVER = ServerUnderTest(name="s", api="openai", url="http://x")


def served(model: str) -> CandidateSpec:
    return CandidateSpec(name=f"s:{model}", form="served", server=SERVER, served_model=model)


FAMILIES = [
    ("qwen3:4b", {"qwen"}),
    ("SmolLM2-135M-Instruct", {"smollm"}),
    ("TinyLlama-1.1B", {"llama"}),
    ("Mixtral-8x7B", {"mistral"}),
    ("phi4-mini", {"phi"}),
    ("dolphin-2", set()),
    ("DeepSeek-R1-Distill-Qwen-7B", {"deepseek", "qwen"}),
    ("vault-judge", set()),
]


@pytest.mark.parametrize(("name", "families"), FAMILIES)
def test_families_are_told_by_the_names_that_their_makers_gave(name: str, families: set[str]) -> None:
    assert families_in(served(name)) == families


def test_kin_are_those_of_one_family_and_not_those_of_no_known_one() -> None:
    tuned = CandidateSpec(
        name="mine tuned", form="adapter", ref="job:1/adapter", model=ModelEntry(name="mine", hub="Qwen/Qwen3-4B")
    )
    kin = kin_of(served("qwen3:8b"), [served("qwen3:8b"), tuned, served("gemma3:4b"), served("house-model")])
    assert (kin.itself, kin.family) == (("s:qwen3:8b",), ("mine tuned",))
    assert kin_of(served("house-model"), [served("other-house-model")]).family == ()


def test_what_any_bakeoff_of_the_home_was_told_is_handed_to_the_job(kitchen: Kitchen) -> None:
    found, _ = checked(kitchen, "served:grader")
    task, inputs = found.tasks[0].task, found.tasks[0].golden.inputs
    hashes = sorted(asked_hashes(task, inputs))
    assert len(hashes) == len(inputs)

    def told(key: str, check_hash: str, value: float | None) -> JudgeVerdict:
        return JudgeVerdict(
            key, None, None, "bread", check_hash, "a", "s", "c", "served:grader", "i", "", 1, "t", value, 1.0
        )

    with contextlib.closing(open_database(kitchen.home)) as connection, transaction(connection):
        known = [told("known", hashes[0], 1.0)] * 2
        insert_verdicts(connection, [*known, told("unread", hashes[1], None), told("other", "x", 1.0)])
    found, _ = checked(kitchen, "served:grader")
    kept = found.keep(kitchen.home, kitchen.project).earlier_verdicts
    assert kept is not None
    assert [(one.key, one.value) for one in read_verdicts(Path(kept.path))] == [("known", 1.0)]
    given = [golden_task(kitchen.project, "bread")]
    with contextlib.closing(open_database(kitchen.home)) as connection:
        found = check_bakeoff(
            kitchen.home, connection, kitchen.project, kitchen.wanted("plain", "other"), [], None, given=given
        )
    assert (found.judges, found.verdicts) == ((), ()), "drafts are judged by nobody"


def test_a_judging_needs_a_judge_and_something_to_judge(kitchen: Kitchen) -> None:
    job = kitchen.submit(kitchen.wanted("plain"))
    with pytest.raises(BakehouseError) as refused:
        submit_judging(kitchen.home, job.id, author="tester", remarks=[], ask=None)
    assert refused.value.code == "not_done"
    kitchen.end(job)
    with contextlib.closing(open_database(kitchen.home)) as connection:
        asks = add_job(connection, kind="judging", settings={"bakeoff": job.id})
        with pytest.raises(InputError, match=f"job {asks} asks the judges of bake-off {job.id} already"):
            submit_judging(kitchen.home, job.id, author="tester", remarks=[], ask=None)
        step_to(connection, asks, "failed")
    with pytest.raises(InputError) as refused:
        submit_judging(kitchen.home, job.id, author="tester", remarks=[], ask=None)
    assert refused.value.code == "no_judge" and "--rescore" in str(refused.value.remedy)
