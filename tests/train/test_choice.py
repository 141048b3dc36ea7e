"""Trainings of an experiment: real ones on a tiny model, which choose by their trials, wherever they are killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.config.recipe import Recipe
from core.config.task import Task
from core.experiments.choice import HeldOut
from core.files import read_json, write_json
from core.home import RunDir
from core.jobfile.convert import ConvertSpec
from core.jobfile.merge import MergeSpec
from core.jobfile.quantize import QuantizeSpec
from core.jobfile.race import RaceSpec, record_of
from core.jobfile.spec import Spec
from core.jobfile.train import TrainSpec, TrialChoice, TrialRef
from tests.support.greetings import GREETINGS
from tests.support.held_job import Hold
from tests.support.standstill import Standstill, kill_group, start_until
from tests.support.workshop import Workshop, events, losses

pytestmark = pytest.mark.train

RATES = {1: 1e-5, 2: 2e-2, 3: 1e-5, 4: 5e-3}
"""By trial: jobs 1 and 2 are of the arm `r4`, 3 of `r1`, 4 of `r2`."""
ARMS = {1: "r4", 2: "r4", 3: "r1", 4: "r2"}
RANKS = {"r4": 4, "r1": 1, "r2": 2}
FAILED = 5
FIRST_FINAL = 10


def refs(*jobs: int) -> list[TrialRef]:
    return [TrialRef(arm=ARMS.get(job, "r4"), job=job, lr=RATES.get(job, 1e-4)) for job in jobs]


class Bench:
    """A home with trials that have ended, in which finals are started under numbers of their own."""

    def __init__(self, shop: Workshop, task: Task, recipe: Recipe) -> None:
        self.shop, self.task = shop, task
        self.plain = recipe.model_copy(update={"dropout": 0.0, "neftune": None, "save_steps": None})
        self.next = FIRST_FINAL

    def spec(self, arm: str, choice: TrialChoice | None = None, **changes: Any) -> TrainSpec:
        recipe = self.plain.model_copy(update={"rank": RANKS[arm], "alpha": 2.0 * RANKS[arm], **changes})
        return TrainSpec(
            task=self.task, model=self.shop.model, recipe=recipe, train=self.shop.greetings(), choice=choice
        )

    def trial(self, job: int) -> RunDir:
        run = self.shop.submit(job, self.spec(ARMS[job], steps=4, lr=RATES[job], eval_fraction=0.25))
        assert self.shop.finish(run) == 0, run.attempt(1).log.read_text()
        return run

    def final(self, choice: TrialChoice) -> RunDir:
        self.next += 1
        return self.shop.submit(self.next, self.spec(choice.arm, choice, steps=3, lr=0.5))

    def made_of(self, spec: Spec) -> RunDir:
        self.next += 1
        return self.shop.submit(self.next, spec)


@pytest.fixture(scope="module")
def bench(tinyshop: Workshop, task: Task, recipe: Recipe) -> Bench:
    made = Bench(tinyshop, task, recipe)
    for job in RATES:
        made.trial(job)
    # A trial that has been tried, and left no result.
    tinyshop.submit(FAILED, made.spec("r4")).attempt(1).path.mkdir()
    return made


def summary(run: RunDir) -> dict[str, Any]:
    found: dict[str, Any] = read_json(run.result)["summary"]
    return found


def held_out(bench: Bench, job: int) -> HeldOut:
    found = HeldOut.of(summary(bench.shop.home.run_dir(job)))
    assert found is not None
    return found


def phases(run: RunDir, attempt: int = 1) -> list[str]:
    return [event["name"] for event in events(run, attempt, "phase")]


def adapter(run: RunDir) -> str:
    (artefact,) = read_json(run.result)["artefacts"]
    return str(artefact["sha256"])


def test_so_many_steps_are_done_over_epochs_that_begin_anew_and_the_schedule_ends_with_them(bench: Bench) -> None:
    """Eight examples, two a step: three steps are less than one epoch, seven are nearly two."""
    run = bench.made_of(bench.spec("r4", steps=7, lr=1e-3, warmup_steps=0, schedule="linear", epochs=0.1))
    assert bench.shop.finish(run) == 0, run.attempt(1).log.read_text()
    rates = [rate for _, (_, _, rate) in sorted(losses(run, 1).items())]
    assert rates == pytest.approx([1e-3 * (1 - step / 7) for step in range(7)])
    assert (summary(run)["steps"], summary(run)["recipe_used"]["steps"]) == (7, 7)
    assert summary(run)["epochs"] == pytest.approx(1.75)


def test_a_summary_says_at_what_its_adapter_has_the_held_out_loss(bench: Bench) -> None:
    run = bench.shop.home.run_dir(2)
    told = summary(run)
    assert told["held_out"]["loss"] == told["best_loss"] == min(one["loss"] for one in events(run, 1, "eval"))
    completions = [text for _, text in GREETINGS]
    pairs = {
        len(one.encode()) + len(other.encode()) for one in completions for other in completions if one is not other
    }
    assert told["held_out"]["examples"] == 2 and told["held_out"]["bytes"] in pairs
    figures = [summary(bench.shop.home.run_dir(job))["held_out"] for job in RATES]
    for same in ("tokens", "bytes", "lines_sha256"):
        assert len({one[same] for one in figures}) == 1, "trials of one seed are held to the same examples"


def test_a_final_takes_the_rate_of_the_lowest_held_out_loss_and_tells_what_it_saw(bench: Bench) -> None:
    one, other = held_out(bench, 1), held_out(bench, 2)
    assert other.loss < one.loss, "the trials differ, or nothing is chosen here"
    run = bench.final(TrialChoice(arm="r4", trials=refs(1, 2, FAILED)))
    assert bench.shop.finish(run) == 0, run.attempt(1).log.read_text()

    told = summary(run)
    assert told["chosen_lr"] == RATES[2] == told["recipe_used"]["lr"] == read_json(run.choice)["lr"]
    assert max(rate for _, _, rate in losses(run, 1).values()) == RATES[2], "and it was trained with that"
    assert [(trial["job"], trial["loss"]) for trial in told["choice"]["trials"]] == [
        (1, one.loss),
        (2, other.loss),
        (FAILED, None),
    ]
    (artefact,) = read_json(run.result)["artefacts"]
    assert artefact["lineage"]["recipe"]["lr"] == RATES[2]


AROUND_THE_CHOICE = (
    Hold("phase", "name", "choosing by trials"),
    Standstill("os.rename", "*/.choice.json.*"),
    Hold("phase", "name", "reading the data"),
    Hold("step", "step", 2),
)


def test_a_final_that_is_killed_before_and_after_its_choice_chooses_the_same_and_learns_the_same(
    bench: Bench, tmp_path: Path
) -> None:
    choice = TrialChoice(arm="r4", trials=refs(1, 2))
    straight = bench.final(choice)
    assert bench.shop.finish(straight) == 0, straight.attempt(1).log.read_text()

    run = bench.final(choice)
    for attempt, point in enumerate(AROUND_THE_CHOICE, start=1):
        kill_group(bench.shop, start_until(bench.shop, run, attempt, point))
        assert run.choice.exists() is (attempt > 2), "made whole, or not at all"
    assert read_json(run.choice) == read_json(straight.choice)

    # The other trial turns out to be better after all: what has been chosen stays.
    result = bench.shop.home.run_dir(1).result
    before = read_json(result)
    better = {**before["summary"]["held_out"], "loss": 1e-6}
    write_json(result, {**before, "summary": {**before["summary"], "held_out": better}})
    try:
        last = len(AROUND_THE_CHOICE) + 1
        assert bench.shop.finish(run, last) == 0, run.attempt(last).log.read_text()
        assert summary(run)["chosen_lr"] == RATES[2] and summary(run)["choice"] == summary(straight)["choice"]
        assert adapter(run) == adapter(straight)

        # So it does for another seed of the same arm, also where the first final was killed before it could choose.
        untold = bench.final(choice)
        sibling = bench.final(choice.model_copy(update={"siblings": [int(untold.path.name), int(run.path.name)]}))
        assert bench.shop.finish(sibling) == 0, sibling.attempt(1).log.read_text()
        assert read_json(sibling.choice) == read_json(run.choice)
        alone = bench.final(choice)
        assert bench.shop.finish(alone) == 0 and summary(alone)["chosen_lr"] == RATES[1]
    finally:
        write_json(result, before)


def test_a_final_without_a_trial_to_choose_by_is_refused_and_chooses_once_there_is_one(bench: Bench) -> None:
    run = bench.final(TrialChoice(arm="r4", trials=refs(FAILED)))
    assert bench.shop.finish(run) == 3
    assert read_json(run.attempt(1).error_json)["code"] == "no_trial" and not run.choice.exists()
    assert "loading the tokenizer" not in phases(run)

    trial = bench.shop.home.run_dir(FAILED)
    write_json(trial.result, read_json(bench.shop.home.run_dir(1).result))
    try:
        assert bench.shop.finish(run, 2) == 0, run.attempt(2).log.read_text()
        assert summary(run)["chosen_lr"] == 1e-4
    finally:
        trial.result.unlink()


def test_an_arm_that_lost_its_race_loads_nothing_makes_nothing_and_is_no_failure(bench: Bench) -> None:
    race = refs(1, 2, 3, 4)
    bits = {job: held_out(bench, job).bits_per_byte for job in RATES}
    best = {"r4": min(bits[1], bits[2]), "r1": bits[3], "r2": bits[4]}
    order = sorted(best, key=lambda arm: best[arm])
    finals = {arm: bench.final(TrialChoice(arm=arm, trials=race, keep=2)) for arm in RANKS}
    for arm, run in finals.items():
        assert bench.shop.finish(run) == 0, run.attempt(1).log.read_text()
        assert ("censored" in summary(run)) is (arm == order[-1])
        if arm != order[-1]:
            assert summary(run)["choice"]["rank"] == order.index(arm) + 1 and summary(run)["choice"]["of"] == 3

    out = finals[order[-1]]
    assert read_json(out.result)["artefacts"] == [] and phases(out) == ["choosing by trials"]
    stopped = summary(out)
    assert (stopped["censored"]["rank"], stopped["censored"]["of"], stopped["censored"]["keep"]) == (3, 3, 2)
    assert (stopped["task"], stopped["model"]) == ("greet", bench.shop.model.name)

    # So it does where one job has put the arms in order, wherever that was killed, and whatever the trials are by then.
    bench.next += 1
    told = RaceSpec(experiment="e", task="greet", arms={arm: arm for arm in RANKS}, trials=race, keep=2)
    placed = bench.shop.submit(bench.next, told)
    points = (Hold("phase", "name", "reading the trials"), Standstill("os.rename", "*/.race.json.*"))
    for attempt, point in enumerate(points, start=1):
        kill_group(bench.shop, start_until(bench.shop, placed, attempt, point))
        assert not record_of(placed).exists(), "made whole, or not at all"
    kill_group(bench.shop, start_until(bench.shop, placed, 3, Standstill("os.rename", "*/.result.json.*")))
    on_record = record_of(placed).read_bytes()
    for job in RATES:
        write_json(
            bench.shop.home.run_dir(job).result.with_name("aside.json"), read_json(bench.shop.home.run_dir(job).result)
        )
        bench.shop.home.run_dir(job).result.unlink()
    try:
        assert bench.shop.finish(placed, 4) == 0, placed.attempt(4).log.read_text()
        assert record_of(placed).read_bytes() == on_record
        assert [place["arm"] for place in summary(placed)["places"]] == order
        for arm, run in finals.items():
            own = [trial for trial in race if trial.arm == arm]
            one = bench.final(TrialChoice(arm=arm, trials=own, keep=2, race=int(placed.path.name)))
            assert bench.shop.finish(one) == 0, one.attempt(1).log.read_text()
            assert read_json(one.choice) == read_json(run.choice)
    finally:
        for job in RATES:
            aside = bench.shop.home.run_dir(job).result.with_name("aside.json")
            aside.replace(bench.shop.home.run_dir(job).result)

    # What stands behind it in its chain ends as well, with nothing made.
    model = bench.shop.model
    for spec in (
        MergeSpec(adapter=f"job:{out.path.name}/adapter", model=model, dtype="fp32"),
        ConvertSpec(model=model, source="job:{}/merged", format="f16", converter=__file__),
        QuantizeSpec(source="job:{}/gguf", program=__file__, model=model, tuned=True),
    ):
        place = {"source": spec.source.format(bench.next)} if isinstance(spec, ConvertSpec | QuantizeSpec) else {}
        behind = bench.made_of(spec.model_copy(update=place))
        assert bench.shop.finish(behind) == 0, behind.attempt(1).log.read_text()
        assert read_json(behind.result)["artefacts"] == []
        assert summary(behind)["censored"] == stopped["censored"], "and says why, down the chain"
