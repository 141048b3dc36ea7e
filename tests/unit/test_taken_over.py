"""What an extension takes over: counted by what is asked and by whom, and what is left out is named with the reason."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import BakehouseError
from core.jobfile.bakeoff import BakeoffSpec
from core.jobfile.servers import opened
from core.results.load import golden_inputs
from core.scoring.answers import Answer, append_answer, read_answers
from core.scoring.questions import asked_task, cells, question, served_key
from core.store.database import open_database
from core.store.jobs import JobRow
from core.submission.bakeoff import CheckedBakeoff, check_bakeoff
from tests.support.kitchen import CHECK, GOLDEN, LEARNT, Kitchen, kitchen
from tests.support.ollama_standin import OllamaStandin
from tests.support.stored_bakeoff import stored_answers

__all__ = ["kitchen"]


def answered(kitchen: Kitchen, job: JobRow, *, holes: int = 0, identity: str | None = None) -> None:
    """Answer all of a bake-off as its job would, but for the first `holes` answers, and end it."""
    spec, sample = kitchen.spec(job), next(iter(stored_answers())).to_json()
    number = 0
    for candidate in spec.candidates:
        for under_test in spec.tasks:
            asked = asked_task(under_test, tuple(golden_inputs(under_test)), candidate)
            for cell in cells(asked, spec.seed):
                number += 1
                key = f"{candidate.name}/{cell.task}/{cell.item.id}/{cell.repeat}"
                if identity is not None:
                    key = served_key(asked, cell, question(asked, cell, 4096), identity)
                place = {
                    "candidate": candidate.name,
                    "task": cell.task,
                    "input_id": cell.item.id,
                    "repeat": cell.repeat,
                }
                failed = {"fault": "server", "problem": "gone"} if number <= holes else {"fault": None}
                append_answer(
                    kitchen.home.run_dir(job.id).answers,
                    Answer(**{**sample, **place, **failed, "key": key, "identity": identity}),
                )
    kitchen.end(job)


def look(
    kitchen: Kitchen, job: JobRow, *candidates: str, tasks: tuple[str, ...] = (), **more: Any
) -> tuple[CheckedBakeoff, str]:
    """The extension as it would be, and what is remarked."""
    remarks: list[str] = []
    with contextlib.closing(open_database(kitchen.home)) as connection:
        wanted = kitchen.wanted(*candidates, tasks=tasks, extend=job.id, **more)
        checked = check_bakeoff(kitchen.home, connection, kitchen.project, wanted, remarks)
    assert list(checked.taken.remarks) == [one for one in remarks if one in checked.taken.remarks]
    return checked, "\n".join(remarks)


@pytest.fixture
def former(kitchen: Kitchen) -> JobRow:
    """Two candidates on one task, 3 inputs twice: one of the twelve answers is a hole."""
    job = kitchen.submit(kitchen.wanted("plain", "plain@few_shot=2"))
    answered(kitchen, job, holes=1)
    return job


def test_nothing_changed(kitchen: Kitchen, former: JobRow) -> None:
    checked, remarks = look(kitchen, former)
    assert checked.taken.by_candidate == {"plain base": 5, "plain base @few_shot=2": 6}
    assert not checked.taken.is_exact, "the weights are looked at when they are loaded"
    assert not remarks
    kitchen.task("jam", learnt=LEARNT)
    checked, _ = look(kitchen, former, "other", repeats=3, tasks=("jam",))
    assert checked.taken.by_candidate == {"plain base": 5, "plain base @few_shot=2": 6}


def test_inputs_that_have_gone_are_named_and_their_answers_kept(kitchen: Kitchen, former: JobRow) -> None:
    kitchen.task("bread", golden=GOLDEN[:1], learnt=LEARNT)
    checked, remarks = look(kitchen, former)
    assert checked.taken.answers == 3
    assert remarks == (
        f"bread: 2 golden inputs (g1, g2) of bake-off {former.id} are not among the golden inputs any more: "
        "8 stored answers to them are kept, and not counted"
    )
    extension = kitchen.submit(kitchen.wanted(tasks=(), extend=former.id))
    spec = kitchen.spec(extension)
    assert spec.earlier is not None
    kept = {answer.input_id for answer in read_answers(Path(spec.earlier.path))}
    assert kept == {"g0", "g1", "g2"}, "for a set that has them again"
    assert {item.id for item in golden_inputs(spec.tasks[0])} == {"g0"}


def test_one_input_that_has_gone(kitchen: Kitchen, former: JobRow) -> None:
    kitchen.task("bread", golden=GOLDEN[:2], learnt=LEARNT)
    assert "the golden input `g2` of bake-off 1 is not among the golden inputs any more" in look(kitchen, former)[1]


def test_an_input_of_another_text_is_asked_again(kitchen: Kitchen, former: JobRow) -> None:
    kitchen.task("bread", golden=[GOLDEN[0], "Name two flours.", GOLDEN[2], "And rye?"], learnt=LEARNT)
    checked, remarks = look(kitchen, former)
    assert checked.taken.answers == 7
    assert f"the text of the golden input `g1` has changed since bake-off {former.id}: it is asked again" in remarks


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("system: Answer bread.", "system: Answer bread at length.", "`system` is"),
        ("repeats: 2", "repeats: 2\nthinking: on", "`thinking` is"),
        (
            "repeats: 2",
            "repeats: 2\nsampling: {temperature: 0.7, top_k: 3}",
            "`sampling.temperature` and `sampling.top_k` are",
        ),
    ],
)
def test_a_task_that_is_asked_in_another_way(kitchen: Kitchen, former: JobRow, old: str, new: str, part: str) -> None:
    file = kitchen.root / "configs/tasks/bread.yaml"
    file.write_text(file.read_text().replace(old, new))
    checked, remarks = look(kitchen, former)
    assert checked.taken.answers == 0
    assert f"bread: {part} not as in bake-off {former.id}" in remarks


def test_what_a_variant_replaces_changes_nothing(kitchen: Kitchen) -> None:
    kitchen.write("short.txt", "Be brief.")
    job = kitchen.submit(kitchen.wanted("plain", "plain@system=short.txt"))
    answered(kitchen, job)
    file = kitchen.root / "configs/tasks/bread.yaml"
    file.write_text(file.read_text().replace("Answer bread.", "Answer."))
    assert look(kitchen, job)[0].taken.by_candidate == {"plain base": 0, "plain base @system=short.txt": 6}


def test_other_checks_cost_no_answer(kitchen: Kitchen, former: JobRow) -> None:
    kitchen.task("bread", learnt=LEARNT, more=CHECK.replace("[bread]", "[rye]"))
    checked, remarks = look(kitchen, former)
    assert checked.taken.answers == 11
    assert "its checks have changed" in remarks and "scored by the present ones" in remarks


def test_a_system_file_of_another_text_is_another_candidate(kitchen: Kitchen) -> None:
    kitchen.write("p.txt", "First.")
    job = kitchen.submit(kitchen.wanted("plain@system=p.txt"))
    answered(kitchen, job)
    names = ["plain base @system=p.txt"]
    for text in ("Second.", "Third.", "Fourth."):
        kitchen.write("p.txt", text)
        job = kitchen.submit(kitchen.wanted("plain@system=p.txt", tasks=(), extend=job.id))
        kitchen.end(job)
        spec = kitchen.spec(job)
        assert [one.variant.system for one in spec.candidates][-1] == text
        names = [one.name for one in spec.candidates]
    assert len(set(names)) == 4
    assert kitchen.spec(job).candidates[0].variant.system == "First.", (
        "what was asked before is asked with its own text"
    )


def lost(kitchen: Kitchen, job: JobRow) -> BakehouseError:
    with pytest.raises(BakehouseError) as caught:
        look(kitchen, job, "other")
    assert f"bake-off {job.id} has it" in str(caught.value)
    return caught.value


def test_a_task_that_has_gone(kitchen: Kitchen, former: JobRow) -> None:
    (kitchen.root / "configs/tasks/bread.yaml").unlink()
    assert "bread" in str(lost(kitchen, former))


def test_a_model_that_has_gone(kitchen: Kitchen, former: JobRow) -> None:
    shutil.rmtree(kitchen.root.parent / "models/plain")
    assert "models/plain" in str(lost(kitchen, former))


def test_the_copy_of_the_golden_inputs_has_gone(kitchen: Kitchen, former: JobRow) -> None:
    Path(kitchen.spec(former).tasks[0].golden.path).unlink()
    assert look(kitchen, former)[0].taken.answers == 0


@pytest.fixture
def server(kitchen: Kitchen) -> Iterator[OllamaStandin]:
    with OllamaStandin(load_seconds=0.01) as server:
        server.add_model("planner")
        settings = kitchen.root.parent / "config/bakehouse/settings.yaml"
        settings.parent.mkdir(parents=True)
        settings.write_text(f"ollama: {{url: '{server.url}'}}\n")
        yield server


def identity_of(spec: BakeoffSpec) -> str:
    (candidate, *_) = spec.candidates
    assert candidate.server is not None and candidate.served_model is not None
    with contextlib.closing(opened(candidate.server, candidate.served_model)) as model:
        return model.identity().sha256


def test_answers_of_a_served_model_are_known_by_their_keys(kitchen: Kitchen, server: OllamaStandin) -> None:
    job = kitchen.submit(kitchen.wanted("served:planner", "served:planner@top_k=3"))
    answered(kitchen, job, holes=2, identity=identity_of(kitchen.spec(job)))
    checked, remarks = look(kitchen, job)
    assert checked.taken.by_candidate == {"planner": 4, "planner @top_k=3": 6}
    assert checked.taken.is_exact
    assert not remarks
    server.version = "0.99.1"
    checked, remarks = look(kitchen, job)
    assert checked.taken.answers == 0
    assert remarks.startswith(f"planner is not what bake-off {job.id} asked"), "said once, however it is asked"
    assert len(remarks.splitlines()) == 1
    server.down()
    checked, _ = look(kitchen, job)
    assert checked.taken.answers == 10
    assert not checked.taken.is_exact


def test_a_served_model_that_has_gone(kitchen: Kitchen, server: OllamaStandin) -> None:
    job = kitchen.submit(kitchen.wanted("served:planner"))
    answered(kitchen, job)
    server.remove_model("planner")
    assert "has no model `planner`" in str(lost(kitchen, job))
    with pytest.raises(BakehouseError) as caught:
        kitchen.submit(kitchen.wanted("served:nobody"))
    assert "has it" not in str(caught.value)
