"""Bake-offs of an experiment: real ones that do without what was not made, and ask nothing that was answered before."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Any

import pytest

from core.config.recipe import Recipe
from core.config.task import Task
from core.files import read_json
from core.home import RunDir
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec, TaskUnderTest
from core.jobfile.train import TrainSpec, TrialChoice, TrialRef
from core.results.load import bakeoff_file
from core.scoring.answers import read_answers
from tests.support.held_job import Hold
from tests.support.workshop import Workshop, events, wait_until

pytestmark = pytest.mark.train

GOLDEN = ("Ines", "Jonas", "Kira")
REPEATS = 2
ASKED = len(GOLDEN) * REPEATS
FIRST, SECOND, FAILED, NEVER, CENSORED = 1, 2, 3, 4, 5


@pytest.fixture(scope="module")
def shop(tinyshop: Workshop, task: Task, recipe: Recipe) -> Workshop:
    """Two trainings that made an adapter, one that failed, one that has not begun, one that lost its race."""

    def spec(**changes: Any) -> TrainSpec:
        choice = changes.pop("choice", None)
        own = recipe.model_copy(update={"steps": 3, "eval_fraction": 0.25, **changes})
        return TrainSpec(task=task, model=tinyshop.model, recipe=own, train=tinyshop.greetings(), choice=choice)

    runs = {job: tinyshop.submit(job, spec(lr=5e-3 * job)) for job in (FIRST, SECOND)}
    for run in runs.values():
        assert tinyshop.finish(run) == 0, run.attempt(1).log.read_text()
    failed = tinyshop.submit(FAILED, spec(max_length=16))
    assert tinyshop.finish(failed) == 3, "its examples do not fit"
    tinyshop.submit(NEVER, spec())
    trials = [TrialRef(arm=str(job), job=job, lr=1e-3) for job in runs]
    reached = {job: read_json(run.result)["summary"]["held_out"]["loss"] for job, run in runs.items()}
    loser = max(reached, key=lambda job: reached[job])
    censored = tinyshop.submit(CENSORED, spec(choice=TrialChoice(arm=str(loser), trials=trials, keep=1)))
    assert tinyshop.finish(censored) == 0
    assert "censored" in read_json(censored.result)["summary"]
    return tinyshop


def candidate(shop: Workshop, job: int | None) -> CandidateSpec:
    if job is None:
        return CandidateSpec(name="untrained", form="base", model=shop.model)
    return CandidateSpec(name=f"arm {job}", form="adapter", model=shop.model, ref=f"job:{job}/adapter")


def bakeoff(
    shop: Workshop, task: Task, number: int, jobs: Sequence[int | None], takes_over: Sequence[int] = ()
) -> RunDir:
    spec = BakeoffSpec(
        tasks=[TaskUnderTest(task=task, golden=shop.golden(*GOLDEN), repeats=REPEATS)],
        candidates=[candidate(shop, job) for job in jobs],
        incumbent=candidate(shop, jobs[0]).name,
        lacking_left_out=True,
        takes_over=list(takes_over),
    )
    assert spec.needs == () and spec.needs_ended == tuple(sorted({*(job for job in jobs if job), *takes_over}))
    return shop.submit(number, spec)


def rows(run: RunDir) -> dict[str, Any]:
    return {row["name"]: row for row in read_json(run.result)["summary"]["candidates"]}


def loads(run: RunDir, attempt: int = 1) -> list[str]:
    return [one["detail"] for one in events(run, attempt, "phase") if one["name"] == "loading the model"]


def test_a_bakeoff_leaves_out_what_was_not_made_and_compares_the_rest(shop: Workshop, task: Task) -> None:
    run = bakeoff(shop, task, 20, [FAILED, None, FIRST, NEVER, CENSORED])
    assert shop.finish(run) == 0, run.attempt(1).log.read_text()
    told = read_json(run.result)["summary"]
    censored = read_json(shop.home.run_dir(CENSORED).result)["summary"]["censored"]
    assert told["left_out"] == [
        {"candidate": "arm 3", "job": FAILED, "state": "failed"},
        {"candidate": "arm 4", "job": NEVER, "state": "not_started"},
        {"candidate": "arm 5", "job": CENSORED, "state": "censored", "censored": censored},
    ]
    assert {name: row["missing"] for name, row in rows(run).items()} == {"untrained": 0, "arm 1": 0}
    _, compared = bakeoff_file(shop.home, 20)
    assert list(compared.forms) == ["untrained", "arm 1"], "whoever reads it later reads the same"
    assert compared.incumbent is None and compared.against == "untrained"


def test_a_bakeoff_of_nothing_says_which_jobs_would_help(shop: Workshop, task: Task) -> None:
    run = bakeoff(shop, task, 21, [FAILED, NEVER])
    assert shop.finish(run) == 1
    error = read_json(run.attempt(1).error_json)
    assert error["code"] == "no_candidate" and "3, 4" in error["remedy"]
    assert not run.result.exists() and not loads(run)


def test_a_retry_looks_again_and_asks_what_has_been_made_meanwhile(shop: Workshop, task: Task) -> None:
    result, aside = shop.home.run_dir(SECOND).result, shop.home.run_dir(SECOND).path / "aside"
    result.rename(aside)
    run = bakeoff(shop, task, 22, [None, SECOND])
    process = shop.start(run, hold=Hold("progress", "done", 2))
    wait_until(lambda: any(one["done"] >= 2 for one in events(run, 1, "progress")), process)
    process.send_signal(signal.SIGKILL)
    shop.ended(process)
    assert [one["state"] for one in read_json(run.left_out)] == ["not_ended"]

    aside.rename(result)
    assert shop.finish(run, 2) == 0, run.attempt(2).log.read_text()
    told = read_json(run.result)["summary"]
    assert "left_out" not in told and read_json(run.left_out) == []
    assert {name: row["answers"] for name, row in rows(run).items()} == {"untrained": ASKED, "arm 2": ASKED}


def test_the_next_bakeoff_asks_only_what_the_ones_before_have_not(shop: Workshop, task: Task) -> None:
    first = bakeoff(shop, task, 30, [None, FIRST])
    assert shop.finish(first) == 0, first.attempt(1).log.read_text()
    # Under another order and beside another candidate: by its key an answer is known again.
    second = bakeoff(shop, task, 31, [FIRST, SECOND, None], takes_over=[30, 999])
    assert shop.finish(second) == 0, second.attempt(1).log.read_text()
    texts = {(one.candidate, one.key): (one.text, one.time) for one in read_answers(second.answers)}
    before = {(one.candidate, one.key): (one.text, one.time) for one in read_answers(first.answers)}
    assert len(texts) == 3 * ASKED and before.items() <= texts.items()
    asked = [line for line in second.attempt(1).log.read_text().splitlines() if " answers, up to " in line]
    assert len(asked) == 1 and asked[0].startswith(f"greet: {ASKED} answers, ")

    third = bakeoff(shop, task, 32, [None, FIRST, SECOND], takes_over=[30, 31])
    assert shop.finish(third) == 0, third.attempt(1).log.read_text()
    assert not loads(third), "all of it is there: nothing is loaded"
    assert rows(third) == rows(second)
