"""An ended bake-off that is extended: the next one has the union, and begins with the answers that there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError
from core.jobfile.bakeoff import BakeoffSpec
from core.scoring.answers import Answer, append_answer, read_answers
from core.store.jobs import JobRow
from tests.support.kitchen import GOLDEN, LEARNT, Kitchen, kitchen
from tests.support.stored_bakeoff import stored_answers

__all__ = ["kitchen"]


def ended(kitchen: Kitchen, *candidates: str, **more: Any) -> JobRow:
    """A bake-off that is done, with four answers of which the server failed to give one."""
    job = kitchen.submit(kitchen.wanted(*candidates, **more))
    for number, answer in enumerate(stored_answers()):
        failed = {"fault": "server", "problem": "gone"} if number == 3 else {}
        append_answer(kitchen.home.run_dir(job.id).answers, Answer(**{**answer.to_json(), **failed}))
    kitchen.end(job)
    return job


def extend(kitchen: Kitchen, job: JobRow, *candidates: str, tasks: tuple[str, ...] = (), **more: Any) -> BakeoffSpec:
    remarks = more.pop("remarks", [])
    return kitchen.spec(kitchen.submit(kitchen.wanted(*candidates, tasks=tasks, extend=job.id, **more), remarks))


def test_nothing_given_asks_again_only_what_is_missing(kitchen: Kitchen) -> None:
    job = ended(
        kitchen, "plain", "plain@few_shot=2", repeats=3, concurrency=4, curtail=True, incumbent="plain@few_shot=2"
    )
    former, spec = kitchen.spec(job), extend(kitchen, job)
    assert spec.extends == job.id
    same = {"tasks", "candidates", "incumbent", "seed", "concurrency", "curtail"}
    assert spec.model_dump(include=same) == former.model_dump(include=same)
    assert spec.earlier is not None
    kept = read_answers(Path(spec.earlier.path))
    assert [answer.key for answer in kept] == ["base/sofa", "base/tent", "tuned/sofa"], "what failed is asked again"
    assert Path(spec.earlier.path).is_relative_to(kitchen.home.inputs)


def test_tasks_models_inputs_and_repeats_are_added(kitchen: Kitchen) -> None:
    job = ended(kitchen, "plain")
    kitchen.task("bread", golden=[*GOLDEN, "And rye?"], learnt=LEARNT)
    spec = extend(kitchen, job, "other", "plain@think=on", tasks=("jam",), repeats=5)
    assert [task.name for task in spec.tasks] == ["bread", "jam"]
    assert [task.repeats for task in spec.tasks] == [5, 5]
    assert [one.name for one in spec.candidates] == ["plain base", "other base", "plain base @think=on"]
    assert "And rye?" in Path(spec.tasks[0].golden.path).read_text()


def test_what_is_there_already_is_not_there_twice(kitchen: Kitchen) -> None:
    job = ended(kitchen, "plain", "other")
    spec = extend(kitchen, job, "plain", "other@top_k=3", tasks=("bread",), incumbent="plain")
    assert [one.name for one in spec.candidates] == ["plain base", "other base", "other base @top_k=3"]
    assert [task.name for task in spec.tasks] == ["bread"]
    assert spec.incumbent == "plain base"


def test_a_new_model_of_a_former_name_gets_another_one(kitchen: Kitchen) -> None:
    job = ended(kitchen, "../models/other")
    (kitchen.root.parent / "elsewhere").mkdir()
    (kitchen.root.parent / "models/plain").rename(kitchen.root.parent / "elsewhere/other")
    spec = extend(kitchen, job, "../elsewhere/other", incumbent="../elsewhere/other")
    assert [one.name for one in spec.candidates] == ["other", "other (../elsewhere/other)"]
    assert spec.incumbent == "other (../elsewhere/other)"


def test_examples_stay_those_that_were_shown(kitchen: Kitchen) -> None:
    job = ended(kitchen, "plain@few_shot=2")
    former = kitchen.spec(job).tasks[0].examples
    kitchen.task("bread", learnt=[{"prompt": f"Other {number}", "completion": "Yes"} for number in range(9)])
    assert extend(kitchen, job).tasks[0].examples == former
    more = extend(kitchen, job, "plain@few_shot=5").tasks[0].examples
    assert more[:2] == former
    assert all(one[0].content.startswith("Other") for one in more[2:])
    remarks: list[str] = []
    kitchen.task("bread", golden=[*GOLDEN, former[0][0].content], learnt=LEARNT)
    others = extend(kitchen, job, remarks=remarks).tasks[0].examples
    assert former[0] not in others
    assert "others are shown now" in remarks[0]


def test_an_extension_of_an_extension_keeps_what_the_first_was_handed(kitchen: Kitchen) -> None:
    job = ended(kitchen, "plain")
    second = kitchen.submit(kitchen.wanted(tasks=(), extend=job.id))
    kitchen.end(second, "failed")
    earlier = extend(kitchen, second).earlier
    assert earlier is not None
    assert len(read_answers(Path(earlier.path))) == 3


@pytest.mark.parametrize(
    ("state", "code"), [("waiting", "not_ended"), ("running", "not_ended"), ("stopping", "not_ended"), ("failed", None)]
)
def test_one_that_has_not_ended_is_not_extended(kitchen: Kitchen, state: str, code: str | None) -> None:
    job = kitchen.submit(kitchen.wanted("plain"))
    kitchen.end(job, state)
    if code is None:
        assert extend(kitchen, job).extends == job.id
        return
    with pytest.raises(InputError) as caught:
        extend(kitchen, job)
    assert caught.value.code == code
    assert f"bakehouse queue cancel {job.id}" in str(caught.value)


def test_what_cannot_be_extended(kitchen: Kitchen) -> None:
    job = ended(kitchen, "plain", repeats=3)
    with pytest.raises(InputError, match="takes none away"):
        extend(kitchen, job, repeats=2)
    with pytest.raises(InputError, match="not among the candidates") as caught:
        extend(kitchen, job, incumbent="nobody")
    assert "plain base" in str(caught.value)
    kitchen.write("bakehouse.yaml", "id: elsewhere\n")
    with pytest.raises(InputError) as other:
        extend(kitchen, job)
    assert other.value.code == "other_project"
