"""When a check for drift is due, what it is told, how it is asked for, and what is noted of what it found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from core.aliases.drift_due import DriftDue, drift_states
from core.bakeoff.result import result_summary
from core.cli.main import exit_code
from core.config.project import Project, shipped
from core.drift.smoke import smoke_file
from core.errors import InputError
from core.files import write_json
from core.home import Home
from core.jobfile.deploy import DeploySpec
from core.jobfile.drift import DriftSpec
from core.jobfile.served_as import ServedAs
from core.jobfile.spec import InputFile, JobFile
from core.reasons import Reason
from core.results.load import load_bakeoff
from core.runner.drift_notes import drift_note, note_drift
from core.runner.drift_starter import DriftStarter
from core.store.database import open_database, transaction
from core.store.fleet import (
    FleetTask,
    Target,
    assign_task,
    get_alias,
    insert_alias,
    insert_version,
    set_current,
    set_observed,
)
from core.store.fleet_changes import notes
from core.store.results import import_measured
from core.submission.drift import alias_candidate, submit_drift
from core.wording.drift import OUTCOMES, drift_words, due_words, note_words
from tests.support.clock import FakeClock
from tests.support.stored import path_to, step
from tests.support.stored_tasks import SERVED, home_with_tasks, stored, task_named

URL = "http://127.0.0.1:11434"
MODEL = Target(source="qwen3:8b", digest="d1", weights="sha256:1", server_version="0.30.8", model="qwen3-8b")


class Fleet:
    """A home whose bake-off measured the model that serves the task `judge` under the alias `vault-judge`."""

    def __init__(self, folder: Path) -> None:
        self.home, self.bakeoff = home_with_tasks(folder)
        self.root = folder / "project"
        self.project = Project.find(self.root)
        self.connection = open_database(self.home)
        boards = load_bakeoff(self.home, self.connection, self.bakeoff).leaderboards()
        with transaction(self.connection):
            import_measured(self.connection, self.bakeoff, self.home.run_dir(self.bakeoff))
            self.connection.execute(
                "UPDATE jobs SET result = ? WHERE id = ?",
                [json.dumps({"summary": result_summary(boards, {})}), self.bakeoff],
            )
            alias = insert_alias(
                self.connection, server="ollama", url=URL, name="vault-judge", name_key="vault-judge:latest"
            )
            version = insert_version(self.connection, alias.id, MODEL, "adopted")
            set_current(self.connection, alias.id, version.id)
            self.assign("judge", alias.id)
        self.alias_id, self.version = alias.id, version
        self.observed()

    def assign(self, task: str, alias_id: int) -> None:
        assign_task(
            self.connection, FleetTask(self.project.id, str(self.root), task, alias_id, since=1.0, author="tester")
        )

    def observed(self, digest: str = "d1", version: str = "0.30.8", error: str | None = None) -> None:
        with transaction(self.connection):
            set_observed(self.connection, self.alias_id, at=2.0, digest=digest, server_version=version, error=error)

    def state(self) -> DriftDue:
        (found,) = [one for one in drift_states(self.connection) if one.task.task == "judge"]
        return found

    def codes(self) -> list[str]:
        return [reason.code for reason in self.state().reasons]

    def submit(self, **more: Any) -> DriftSpec:
        """A check of the task; what it is told."""
        (asked,) = submit_drift(self.home, [self.state()], author="tester", **more)
        assert asked.job is not None, asked.error
        self.job_id = asked.job.id
        spec = JobFile.load(self.home.run_dir(asked.job.id)).spec
        assert isinstance(spec, DriftSpec)
        return spec

    def end(self, outcome: str | None) -> None:
        """The last check ends with an outcome, or fails."""
        state = "failed" if outcome is None else "done"
        for one in path_to(self.connection, state):  # type: ignore[arg-type]
            step(self.connection, self.job_id, one)
        if outcome is not None:
            with transaction(self.connection):
                self.connection.execute(
                    "UPDATE jobs SET result = ? WHERE id = ?",
                    [json.dumps({"summary": summary(outcome)}), self.job_id],
                )


def summary(outcome: str, **more: Any) -> dict[str, Any]:
    return {
        "outcome": outcome,
        "task": "judge",
        "alias": "vault-judge",
        "alias_id": 1,
        "version": 1,
        "version_id": 1,
        "changed": [],
        "prompts": {"checked": False, "why": "no_lineage"},
        "smoke": {"same": ["a"], "differing": [], "unknown": {}},
        "first": None,
        "second": None,
        "lost": [],
        "margin": 0.05,
        **more,
    }


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr("core.submission.enqueue.ensure_runner", lambda home: None)
    monkeypatch.setattr("core.submission.enqueue.require", lambda *args, **more: None)  # it asks an interpreter
    monkeypatch.setattr("core.cli.fleet_drift.warn_of_launcher", lambda home: None)
    made = Fleet(tmp_path)
    monkeypatch.setenv("BAKEHOUSE_HOME", str(made.home.root))
    with closing(made.connection):
        yield made


def test_a_check_is_due_until_one_that_saw_the_same_is_done(fleet: Fleet) -> None:
    assert fleet.codes() == ["no_baseline"]
    fleet.submit()
    pending = fleet.state().pending
    assert pending is not None and pending.job.id == fleet.job_id and not fleet.state().starts_by_itself
    fleet.end("baseline_taken")
    assert fleet.codes() == []
    fleet.observed(version="0.31.0")
    (reason,) = fleet.state().reasons
    assert (
        reason == Reason("server_version_differs", {"before": "0.30.8", "now": "0.31.0"})
        and fleet.state().starts_by_itself
    )
    fleet.submit()
    fleet.end("same")
    assert fleet.codes() == []
    fleet.observed(digest="d2", version="0.31.0")
    assert fleet.codes() == ["digest_differs", "server_version_differs"]


def test_what_failed_once_is_due_and_does_not_start_again_by_itself_which_is_told(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fleet.state().starts_by_itself
    fleet.submit()
    fleet.end(None)
    assert fleet.codes() == ["no_baseline"] and not fleet.state().starts_by_itself
    assert exit_code(["fleet", "drift"]) == 0
    assert f"job {fleet.job_id} ended without a result (failed)" in capsys.readouterr().out
    fleet.observed(version="0.31.0")
    assert fleet.state().starts_by_itself
    fleet.observed(error="server_down")
    assert not fleet.state().starts_by_itself


def test_it_is_held_to_the_bake_off_that_measured_this_very_model(fleet: Fleet) -> None:
    spec = fleet.submit(full=True)
    assert spec.verdict is not None and (spec.verdict.bakeoff, spec.verdict.candidate) == (fleet.bakeoff, SERVED)
    assert set(spec.verdict.scores) == {"format", "content"} and len(spec.verdict.scores["format"]) == 12
    assert spec.under_test.repeats == 3 and spec.asked.served_model == "vault-judge"
    assert (spec.not_checked, spec.model, spec.full, spec.due) == ("no_lineage", None, True, ["no_baseline"])
    assert spec.gpu_use.mode == "serving" and spec.gpu_use.asked == {URL: ("vault-judge",)}


def test_prompts_are_compared_where_the_deployment_tells_the_model_and_its_files_are_here(fleet: Fleet) -> None:
    model = shipped().model("SmolLM2-135M")
    assert model.wheel is not None
    spec = DeploySpec(
        source="job:1/gguf",
        to="llama-server",
        name="vault-judge",
        program="/nowhere/llama-server",
        model=model,
        served=ServedAs(task=task_named("judge")),
        golden=InputFile(path="/nowhere.json", sha256="0" * 64, source="golden.yaml"),
    )
    deployed = stored(fleet.home, fleet.connection, fleet.root, spec)
    fleet.connection.execute("UPDATE alias_versions SET deploy_job_id = ?", [deployed])
    told = fleet.submit()
    assert (told.model, told.not_checked, told.packages) == (None, "no_model_files", ())
    fleet.end(None)
    file = fleet.home.models / model.name / Path(model.wheel.member).name
    file.parent.mkdir(parents=True)
    with file.open("wb") as whole:
        whole.truncate(model.wheel.size_bytes)
    told = fleet.submit()
    assert (told.model, told.not_checked, told.packages) == (model, None, ("transformers",))


def test_without_one_the_golden_inputs_are_those_of_the_project(fleet: Fleet) -> None:
    with transaction(fleet.connection):
        other = insert_version(fleet.connection, fleet.alias_id, Target("x", "d9", weights="sha256:9"), "found")
        set_current(fleet.connection, fleet.alias_id, other.id)
    spec = fleet.submit()
    assert spec.verdict is None and spec.under_test.task.name == "judge" and spec.version.number == 2


def test_the_next_check_is_held_to_answers_that_were_accepted(fleet: Fleet) -> None:
    answers = [{"input_id": "a", "prompt_sha256": "p", "text": "t", "thinking": None, "finish": "stop", "tokens": 3}]
    held_to = []
    for outcome in ("baseline_taken", "loss", "differs_no_loss", "same", "same"):
        spec = fleet.submit()
        held_to.append(spec.baseline_job)
        assert (spec.baseline is None) == (spec.baseline_job is None)
        write_json(smoke_file(fleet.home.run_dir(fleet.job_id)), {"schema": 1, "identity": {}, "answers": answers})
        fleet.end(outcome)
    first = fleet.job_id - 4
    assert held_to == [None, first, first, first + 2, first + 2]


def test_an_alias_of_another_address_is_not_asked(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"which is http://127.0.0.1:9 now"):
        alias_candidate(fleet.home, fleet.project, get_alias(fleet.connection, fleet.alias_id))


def test_the_command_lists_queues_and_says_what_it_cannot(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> tuple[int, dict[str, Any]]:
        code = exit_code(["fleet", "drift", *words, "--json"])
        out = capsys.readouterr().out
        return code, json.loads(out)

    code, found = run()
    assert code == 0 and [one["code"] for one in found["drift"][0]["due"]] == ["no_baseline"]
    code, found = run("--stale")
    assert code == 0 and [one["new"] for one in found["checks"]] == [True]
    code, found = run("judge")
    assert code == 0 and [one["new"] for one in found["checks"]] == [False], "the one in the queue stands for it"
    assert [one["task"] for one in run("judge", "vault-judge")[1]["checks"]] == ["judge"], "by the alias, too"
    assert run("judge", "--full")[1]["checks"][0]["new"]
    assert run("planner")[0] == 4 and run("judge", "--all")[0] == 2 and run("--wait")[0] == 2
    assert exit_code(["fleet", "drift"]) == 0
    assert "judge  vault-judge version 1 · due: no check for drift yet" in capsys.readouterr().out


def test_two_that_ask_at_once_get_one_check(fleet: Fleet) -> None:
    seen = fleet.state()  # by both, before either has asked
    (first,) = submit_drift(fleet.home, [seen], author="one")
    (second,) = submit_drift(fleet.home, [seen], author="other")
    assert first.job is not None and second.job is not None
    assert (first.is_new, second.is_new, first.job.id) == (True, False, second.job.id)


def test_a_timer_leaves_a_stopped_runner_stopped(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.home.runner_stopped.touch()
    assert exit_code(["fleet", "drift", "--all", "--by", "timer"]) == 0
    assert "Nothing is checked" in capsys.readouterr().err and fleet.state().pending is None
    assert fleet.home.runner_stopped.exists()


def test_a_stop_that_comes_while_a_timer_queues_is_not_lifted(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.submission.enqueue.ensure_runner", lambda home: home.runner_stopped.unlink())
    fleet.home.runner_stopped.touch()
    fleet.submit(by_person=False)
    assert fleet.home.runner_stopped.exists() and fleet.state().pending is not None


def test_one_that_cannot_be_queued_keeps_no_other(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    with transaction(fleet.connection):
        fleet.assign("no-such-task", fleet.alias_id)
    with pytest.raises(SystemExit, match="4"):
        exit_code(["fleet", "drift", "--all"])
    assert "no-such-task" in capsys.readouterr().err and fleet.state().pending is not None


def test_a_result_leaves_a_note_of_its_alias(fleet: Fleet) -> None:
    lost = {"parts": {"content": {"before": 0.9, "now": 0.5, "inputs": 12}}}
    with transaction(fleet.connection):
        note_drift(fleet.connection, 7, {"summary": summary("loss", first=lost, lost=["content"])})
        note_drift(fleet.connection, 8, {"summary": summary("loss", alias_id=99)})
    (note,) = notes(fleet.connection, fleet.alias_id)
    assert (note.task, note.reason.code) == ("judge", "drift_loss")
    words = note_words(note.reason)
    assert words is not None and "content 4.50/5 → 2.50/5 over 12 inputs" in words and "job 7" in words


def test_what_another_version_overtook_counts_for_none(fleet: Fleet) -> None:
    fleet.submit()
    with transaction(fleet.connection):
        other = insert_version(fleet.connection, fleet.alias_id, Target("x", "d9", weights="sha256:9"), "promoted")
        set_current(fleet.connection, fleet.alias_id, other.id)
    fleet.end("loss")
    with transaction(fleet.connection):
        note_drift(fleet.connection, fleet.job_id, {"summary": summary("loss")})
        set_current(fleet.connection, fleet.alias_id, fleet.version.id)
    assert [one.reason.code for one in notes(fleet.connection, fleet.alias_id)] == ["drift_overtaken"]
    assert fleet.codes() == ["no_baseline"] and fleet.state().starts_by_itself


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_has_words(outcome: str) -> None:
    found = {"parts": {"format": {"before": 1.0, "now": 0.9, "inputs": 12, "no_worse": False, "low": -0.3}}}
    words = drift_words(summary(outcome, first=found, second=found, changed=["version"]))
    assert words and "None" not in words and "server version" in words and outcome not in words.split("; ")
    assert note_words(drift_note(1, summary(outcome))) and due_words("digest_differs") != "digest_differs"


class StartedProcesses:
    """Takes the place of the processes that the runner would start."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commands: list[list[str]] = []
        self.code: int | None = None
        self.refused = False
        monkeypatch.setattr("core.runner.drift_starter.subprocess.Popen", self)

    def __call__(self, command: list[str], **more: Any) -> StartedProcesses:
        if self.refused:
            raise OSError("no process can be started")
        self.commands.append(command)
        return self

    def poll(self) -> int | None:
        return self.code


def test_the_runner_starts_one_process_for_each_reason_once_it_has_lasted(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BAKEHOUSE_DRIFT_SETTLE_SECONDS")
    clock, processes = FakeClock(), StartedProcesses(monkeypatch)
    starter = DriftStarter(fleet.home, "auto", clock)

    def passes(seconds: float) -> int:
        for _ in range(int(seconds / 5)):
            clock.pass_time(5)
            starter.tick(fleet.connection)
        return len(processes.commands)

    assert starter.tick(fleet.connection), "the runner stays for it"
    assert passes(25) == 0
    processes.refused = True
    with pytest.raises(OSError, match="no process"):
        passes(20)
    processes.refused = False
    assert passes(20) == 1 and processes.commands[0][-5:] == ["fleet", "drift", "--stale", "--by", "runner"]
    assert starter.tick(fleet.connection), "and while its process runs"
    processes.code = 0
    assert passes(300) == 1, "once a reason"
    assert not starter.tick(fleet.connection)
    fleet.observed(version="0.31.0")
    assert passes(20) == 1
    fleet.observed()
    assert passes(300) == 1, "gone again before it had lasted"
    fleet.observed(version="0.31.0")
    assert passes(60) == 2

    off = DriftStarter(Home(fleet.home.root), "off", clock)
    for _ in range(20):
        clock.pass_time(10)
        assert not off.tick(fleet.connection)
    assert len(processes.commands) == 2
