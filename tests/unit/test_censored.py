"""A training that its experiment left out: done, with nothing made. Whoever looks for what a training made passes it over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import pytest

from core.config.project import shipped
from core.diagnosis.diagnosis import diagnose
from core.errors import BakehouseError
from core.experiments.choice import Censored, Chosen, Trial, to_json
from core.files import write_json
from core.fleet.challengers import challengers
from core.jobfile.as_done import spec_as_done
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec, TaskUnderTest
from core.jobfile.lacking import Lack, LackingCandidate, note_lacking
from core.jobfile.spec import InputFile, JobFile
from core.jobfile.train import TrainSpec, TrialChoice, TrialRef
from core.store.database import transaction
from core.store.experiments import StoredArm, StoredRun, put_arms, put_experiment, put_run
from core.store.job_reasons import job_reason
from core.store.jobs import JobRow, change_state, get_job
from core.store.results import import_result
from core.submission.candidates import parse_candidate
from core.submission.incumbent import made_like
from core.submission.meant_gguf import meant_gguf
from core.submission.ship import submit_ship
from core.submission.stages import submit_stages
from core.submission.wanted_ship import WantedShip
from core.submission.wanted_stages import WantedStages
from core.vram.calibration import measured
from core.wording.diagnosis import headline
from core.wording.jobs import outcome_words
from core.wording.lacking import lacking_words
from core.wording.runs import label
from tests.support.job_files import job_file, put_job
from tests.support.kiln import Kiln, kiln
from tui import actions

__all__ = ["kiln"]

MESSAGE = "left out by its trials: place 3 of 3, and 2 go on"
CENSORED = to_json(Censored(3, 3, 2, (Trial("b", 1, 1e-4, 0.9, 0.3),)))
CHOICE = TrialChoice(arm="b", trials=[TrialRef(arm="b", job=1, lr=1e-4)], keep=2)


@dataclass
class LeftOut:
    """Beside the kiln's training one that was left out, and the merge and the file that were to be made of it."""

    kiln: Kiln
    train: int
    quantize: int

    def row(self, job: int) -> JobRow:
        return get_job(self.kiln.connection, job)


def ended(kiln: Kiln, job: int, summary: dict[str, Any], message: str = MESSAGE) -> None:
    run = kiln.home.run_dir(job)
    row = get_job(kiln.connection, job)
    write_json(run.result, {"schema": 1, "kind": row.kind, "message": message, "artefacts": [], "summary": summary})
    kiln.end(job, "running")
    with transaction(kiln.connection):
        import_result(kiln.connection, job, run)
        change_state(kiln.connection, job, "done", job_reason("done", message=message), "runner")


@pytest.fixture
def left_out(kiln: Kiln) -> LeftOut:
    project = shipped()
    spec = JobFile.load(kiln.home.run_dir(kiln.train)).spec
    assert isinstance(spec, TrainSpec)
    trial = kiln.train
    own = spec.model_copy(
        update={"choice": CHOICE.model_copy(update={"trials": [TrialRef(arm="b", job=trial, lr=1e-4)]})}
    )
    train, run = put_job(kiln.home, kiln.connection, project, own)
    write_json(run.choice, CENSORED)
    ended(kiln, train, {"task": "judge", "model": "m", "censored": CENSORED})
    made = kiln.export(f"job:{kiln.train}").queued
    quantize = made[-1].id
    ended(kiln, quantize, {"source": "job:2/gguf", "censored": CENSORED})
    return LeftOut(kiln, train, quantize)


def test_every_submission_refuses_it_and_says_that_no_retry_helps(left_out: LeftOut) -> None:
    kiln, job = left_out.kiln, f"job:{left_out.train}"
    project = shipped()
    asks: list[Any] = [
        lambda: parse_candidate(kiln.home, kiln.connection, project, job),
        lambda: kiln.export(job),
        lambda: submit_stages(kiln.home, project, WantedStages(left_out.train), author="tester"),
        lambda: submit_ship(kiln.home, project, WantedShip(training=left_out.train), author="tester"),
        lambda: meant_gguf(kiln.home, kiln.connection, project, f"job:{left_out.quantize}"),
    ]
    for ask in asks:
        with pytest.raises(BakehouseError) as refused:
            ask()
        assert refused.value.code == "censored" and "retry" not in str(refused.value)


def test_the_console_offers_nothing_that_needs_what_it_would_have_made(left_out: LeftOut) -> None:
    whole, row, file = left_out.row(left_out.kiln.train), left_out.row(left_out.train), left_out.row(left_out.quantize)
    offers = (actions.can_bake_off, actions.can_export, actions.can_compare_stages, actions.can_ship)
    assert [offer(whole) for offer in offers] == [True] * 4
    assert [offer(row) for offer in offers] == [False] * 4
    assert not actions.makes_gguf(file)


def test_it_is_shown_as_what_it_is_and_not_as_a_failure(left_out: LeftOut) -> None:
    row = left_out.row(left_out.train)
    assert (row.state, row.is_censored, row.makes_nothing) == ("done", True, True)
    assert outcome_words(row) == MESSAGE
    said = headline(diagnose(left_out.kiln.home, left_out.kiln.connection, left_out.train))
    assert said == f"Job {left_out.train}, a training run, made nothing: {MESSAGE}."


def test_no_forecast_is_corrected_by_a_run_that_never_ran(left_out: LeftOut) -> None:
    assert measured(left_out.kiln.connection, left_out.kiln.home, None, "cpu") == []


def test_a_training_is_read_with_the_rate_that_it_chose(left_out: LeftOut) -> None:
    run = left_out.kiln.home.run_dir(left_out.train)
    spec = spec_as_done(run)
    assert isinstance(spec, TrainSpec) and spec.recipe == shipped().recipe("demo"), "one that was left out chose none"
    write_json(run.choice, to_json(Chosen(3e-4, ())))
    spec = spec_as_done(run)
    assert isinstance(spec, TrainSpec) and spec.recipe.lr == 3e-4
    assert label("lr", spec.settings["lr"]) == "lr by trials", "a row of the queue is written before the choice"


def test_a_bakeoff_is_read_without_the_candidates_that_it_did_without(left_out: LeftOut) -> None:
    kiln = left_out.kiln
    data = InputFile(path="/x", sha256="0" * 64, source="/x")
    candidates = [CandidateSpec(name=name, form="base", model=kiln.model) for name in ("one", "two")]
    task = TaskUnderTest(task=shipped().task("judge"), golden=data, repeats=1)
    spec = BakeoffSpec(tasks=[task], candidates=candidates, incumbent="two", lacking_left_out=True)
    _, run = put_job(kiln.home, kiln.connection, shipped(), spec)
    assert spec_as_done(run) == spec
    note_lacking(run, [LackingCandidate("two", None, "no_model")])
    found = spec_as_done(run)
    assert isinstance(found, BakeoffSpec) and (list(found.forms), found.against) == (["one"], "one")


def test_what_an_experiment_tries_is_neither_a_challenger_nor_how_its_task_is_trained(kiln: Kiln) -> None:
    """A trial of twenty steps is the newest training of the task; a challenge is trained as before all the same."""
    home, connection, project = kiln.home, kiln.connection, shipped()
    spec = JobFile.load(home.run_dir(kiln.train)).spec
    assert isinstance(spec, TrainSpec)
    connection.execute("UPDATE jobs SET project_id = ?, task = 'judge' WHERE id = ?", [project.id, kiln.train])
    own = spec.recipe.model_copy(update={"rank": 3})
    job_file(home, spec.model_copy(update={"recipe": own}), kiln.train).save(home.run_dir(kiln.train))
    trial, _ = put_job(
        home, connection, project, spec.model_copy(update={"recipe": own.model_copy(update={"steps": 20})})
    )
    waiting, _ = put_job(home, connection, project, spec)
    assert made_like(home, connection, project, "judge", None).recipe.steps is None
    key = (project.id, "judge")
    assert challengers(connection, {key: None})[key].job_id == waiting
    kiln.end(trial, "done")
    assert made_like(home, connection, project, "judge", None).recipe.steps == 20, "as a training by itself it counts"

    with transaction(connection):
        made = put_experiment(
            connection, name="e", project_id=project.id, kind="experiment", definition={}, author="anna"
        )
        put_arms(connection, made, [StoredArm("a1", "small", 1, {})])
        put_run(connection, made, StoredRun("judge", "a1", "trial", 0, 1e-4, trial))
        put_run(connection, made, StoredRun("judge", "a1", "final", 0, None, waiting))
    found = made_like(home, connection, project, "judge", None)
    assert (found.recipe.rank, found.recipe.steps, found.source) == (3, None, "task")
    assert challengers(connection, {key: None}) == {}


@pytest.mark.parametrize("state", get_args(Lack))
def test_every_lack_has_words_that_name_the_candidate_and_its_job(state: Lack) -> None:
    job = None if state in ("no_model", "bad_model") else 12
    said = lacking_words([LackingCandidate("judge r8", job, state)])
    assert said.startswith("Left out: judge r8 (") and ("job 12" in said) is (job is not None)


def test_of_many_that_lack_the_first_are_named_and_none_is_nothing_to_say() -> None:
    many = [LackingCandidate(f"arm {number}", number, "failed") for number in range(1, 9)]
    said = lacking_words(many)
    assert "arm 5 (job 5 failed)" in said and "arm 6" not in said and said.endswith("and 3 others.")
    assert lacking_words([]) == ""
