"""Checks for drift with real runners and jobs, against the stand-in of Ollama: what is behind the alias changes under it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from core.cli.main import exit_code
from core.config.project import Project
from core.files import read_lines
from core.jobfile.servers import named_server, opened
from core.served.control import stop as served_stop
from core.serving.ollama import Ollama
from core.store.database import transaction
from core.store.drift import DriftCheck, drift_checks
from core.store.fleet import (
    FleetTask,
    Target,
    assign_task,
    insert_alias,
    insert_version,
    set_current,
    set_observed,
)
from core.store.fleet_changes import notes
from tests.support.ollama_standin import OllamaStandin
from tests.support.projects import write_files
from tests.support.queueing import Queue, kill
from tests.support.served_alias import ALIAS, CANDIDATE, Counter, counter, serving
from tests.support.waiting import wait_until

__all__ = ["counter", "serving"]

INPUTS = 6
TASK = """\
system: Judge.
repeats: 1
margin: 0.1
sampling: {temperature: 0.7, max_new_tokens: 20, context_length: 512}
golden: golden/judge.yaml
format:
  - {check: regex, pattern: "^verdict: "}
"""
RIGHT, WRONG = "verdict: yes", "no idea"
Answers = Callable[[str, Mapping[str, Any]], str]


def always(text: str) -> Answers:
    return lambda prompt, options: text


def write_project(root: Path) -> None:
    golden = "".join(f"- {{id: g{number}, input: Text {number}.}}\n" for number in range(INPUTS))
    write_files(root, {"bakehouse.yaml": "id: vault\n", "configs/tasks/judge.yaml": TASK, "golden/judge.yaml": golden})


def checked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    """`bakehouse fleet drift`, followed to its end: its exit code, and what its newest check found."""
    try:
        code = exit_code(["fleet", "drift", *words, "--wait", "--json"])
    except SystemExit as leave:
        code = int(leave.code or 0)
    (asked,) = json.loads(capsys.readouterr().out)["checks"]
    assert asked["job"]["state"] == "done", asked
    summary: dict[str, Any] = asked["job"]["result"]["summary"]
    return code, summary


class Served:
    """A project whose task `judge` is served by an Ollama, under an alias that a bake-off has measured."""

    def __init__(self, queue: Queue, folder: Path, server: OllamaStandin) -> None:
        self.queue, self.server, self.root = queue, server, folder / "project"
        write_project(self.root)
        self.serves(always(RIGHT))
        project = Project.find(self.root)
        alias_now = opened(named_server(project.settings, "ollama"), ALIAS)
        with contextlib.closing(alias_now) as model, Ollama(server.url) as ollama:
            identity = model.identity()
            digest = ollama.tags()[0].digest
        with queue.database() as connection, transaction(connection):
            alias = insert_alias(connection, server="ollama", url=server.url, name=ALIAS, name_key=f"{ALIAS}:latest")
            target = Target(
                ALIAS,
                digest,
                weights=identity.weights,
                template=identity.template,
                server_version=identity.version,
            )
            version = insert_version(connection, alias.id, target, "adopted")
            set_current(connection, alias.id, version.id)
            assign_task(connection, FleetTask(project.id, str(self.root), "judge", alias.id, 1.0, "tester"))
            set_observed(connection, alias.id, at=1.0, digest=digest, server_version=identity.version, error=None)
        self.alias_id, self.version_id, self.digest = alias.id, version.id, digest

    def serves(self, answers: Answers, blob: str = "sha256:" + "1" * 64) -> None:
        """The alias is a model of these weights, which answers so, from now on."""
        with_answers = {"generates": answers}
        self.server.add_model(ALIAS, blob=blob, load_seconds=0.05, **with_answers)

    def check(self, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
        """`bakehouse fleet drift`, followed to its end."""
        found = checked(capsys, *words)
        assert self.server.listed() == [], "the model is in memory only as long as it is asked"
        return found

    def measure(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A bake-off of the alias as it is."""
        with pytest.raises(SystemExit, match="0"):
            exit_code(["bakeoff", "judge", f"served:{ALIAS}", "--wait", "--json"])
        capsys.readouterr()

    def checks(self) -> list[DriftCheck]:
        with self.queue.database() as connection:
            return drift_checks(connection, self.version_id, "vault", "judge")

    def asked(self, *, greedy: bool) -> int:
        """How many answers were asked for, without warm-ups and loads."""
        options = [(one.body or {}).get("options") or {} for one in self.server.requests if one.path == "/api/chat"]
        asked = [one for one in options if one.get("num_predict", 0) > 4]
        return sum((one.get("temperature") == 0) is greedy for one in asked)


@pytest.fixture
def served(machine: Path, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("BAKEHOUSE_HOME", str(queue.home.root))
    with OllamaStandin("0.24.0", token_seconds=0.0) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        made = Served(queue, machine, server)
        monkeypatch.chdir(made.root)
        yield made


def test_a_loss_is_told_when_it_is_there_and_not_when_chance_or_a_new_server_looks_like_one(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    served.measure(capsys)
    code, found = served.check(capsys, "judge")
    assert (code, found["outcome"], found["asked_all"]) == (0, "baseline_taken", False)

    served.server.version = "0.31.0"  # type: ignore[assignment]
    code, found = served.check(capsys, "judge")
    assert (code, found["outcome"], found["changed"]) == (0, "same", ["version"])

    # Another model, whose first run of all inputs is bad by chance.
    seeds: set[int] = set()

    def at_first(prompt: str, options: Mapping[str, Any]) -> str:
        if options.get("temperature") == 0:
            return "verdict: maybe"
        if len(seeds) < INPUTS and options.get("num_predict", 0) > 4:
            seeds.add(options["seed"])
        return WRONG if options["seed"] in seeds else RIGHT

    served.serves(at_first, "sha256:" + "2" * 64)
    code, found = served.check(capsys, "judge")
    assert (code, found["outcome"], found["changed"]) == (0, "differs_no_loss", ["weights", "version"])
    assert found["first"]["parts"]["format"]["is_loss"] and not found["second"]["parts"]["format"]["is_loss"]

    served.serves(always(WRONG), "sha256:" + "3" * 64)
    code, found = served.check(capsys, "judge")
    assert (code, found["outcome"], found["lost"]) == (3, "loss", ["format"])
    with served.queue.database() as connection:
        told = [note.reason for note in notes(connection, served.alias_id) if note.reason.code.startswith("drift_")]
    assert [one.code for one in told][::-1] == [
        "drift_baseline_taken",
        "drift_same",
        "drift_differs_no_loss",
        "drift_loss",
    ]
    assert (told[0].values["before"], told[0].values["now"], told[0].values["inputs"]) == (1.0, 0.0, INPUTS)


def test_a_killed_check_goes_on_with_the_answers_that_it_has(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    served.measure(capsys)
    stand, before = threading.Event(), served.asked(greedy=False)

    def stands_still(prompt: str, options: Mapping[str, Any]) -> str:
        if options.get("temperature") != 0 and served.asked(greedy=False) >= before + 4:
            stand.wait(120)
        return RIGHT

    served.serves(stands_still)
    assert exit_code(["fleet", "drift", "judge", "--full", "--json"]) == 0
    job = json.loads(capsys.readouterr().out)["checks"][0]["job"]["id"]
    answers = served.queue.home.run_dir(job).path / "drift-answers.jsonl"
    wait_until(lambda: served.asked(greedy=False) >= before + 4, what="the golden set being asked")
    wait_until(lambda: len(list(read_lines(answers))) >= 5 + 3, what="what was answered on the disk")
    kill(served.queue.process(job))
    served.queue.wait_for(job, "failed", "lost", "interrupted")
    stand.set()
    asked = served.asked(greedy=True), served.asked(greedy=False)
    served.queue.ask("retry", job)
    served.queue.wait_for(job, "done")
    assert served.asked(greedy=True) == asked[0], "the smoke set is not asked again"
    assert served.asked(greedy=False) - asked[1] == INPUTS - 3
    (check,) = served.checks()
    assert check.outcome == "baseline_taken" and check.summary["first"]["parts"]["format"]["inputs"] == INPUTS
    wait_until(lambda: served.server.listed() == [], what="the model out of the memory, as it was before")


def test_the_runner_has_it_checked_by_itself_once_for_each_reason(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAKEHOUSE_DRIFT_SETTLE_SECONDS", "0")
    served.queue.start_runner()
    wait_until(lambda: [one.outcome for one in served.checks()] == ["baseline_taken"], what="a first check")
    assert served.checks()[0].job.id and "runner" in served.queue.history(served.checks()[0].job.id)[0].author
    served.server.version = "0.31.0"  # type: ignore[assignment]
    with served.queue.database() as connection, transaction(connection):
        set_observed(connection, served.alias_id, at=2.0, digest=served.digest, server_version="0.31.0", error=None)
    wait_until(lambda: [one.outcome for one in served.checks()] == ["same", "baseline_taken"], what="a second check")


def test_a_served_model_of_llama_server_is_checked_as_well_and_what_nobody_measured_is_unknown(
    serving: Counter, machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = machine / "project"
    write_project(root)
    monkeypatch.setenv("BAKEHOUSE_HOME", str(serving.home.root))
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    with serving.connection as connection, transaction(connection):
        assign_task(connection, FleetTask("vault", str(root), "judge", 1, 1.0, "tester"))
    code, found = checked(capsys, "--stale")
    assert (code, found["outcome"], found["changed"]) == (0, "baseline_taken", [])
    assert checked(capsys, "judge")[1]["outcome"] == "same"
    served_stop(serving.home, ALIAS)
    serving.serve(ALIAS, CANDIDATE, port=serving.port)
    code, found = checked(capsys, "judge")
    assert (code, found["outcome"], found["changed"]) == (0, "differs_unknown", ["weights"])
    assert len(found["smoke"]["differing"]) == 5 and not found["asked_all"]
    with serving.connection as connection:
        assert notes(connection, 1)[0].reason.code == "drift_differs_unknown"
    assert serving.answers() == CANDIDATE
