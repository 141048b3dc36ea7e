"""A challenge in the morning: how far each task is, what a switch would gain, and what the gate says of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import InputError
from core.fleet.challenge import ChallengedTask, challenged_tasks
from core.fleet.gate import Condition, Gate, GateOutcome
from core.store.chains import get_chain
from core.store.challenges import list_challenges
from core.store.database import transaction
from core.submission.challenge import WantedChallenge, plan_challenge, submit_challenge
from core.wording.challenge import gain_words, headline, promote_command, table_row, way_words, why_lines
from core.wording.promotion import condition_words
from tests.support.challenged import NEW, OLD, Challenged, challenged_home
from tests.support.commands import called

NOT_MEASURED = Condition("measured", "cannot_tell", {"why": "no_bakeoff"})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Challenged]:
    made = challenged_home(tmp_path, monkeypatch)
    made.set_version("judge", size_bytes=4_700_000_000)
    submit_challenge(made.home, made.project, plan_challenge(made.home, made.project, WantedChallenge(NEW)), author="a")
    yield made
    made.connection.close()


def chain_of(home: Challenged, task: str) -> int:
    (known,) = list_challenges(home.connection)
    found = known.task(task)
    assert found is not None and found.chain_id is not None
    return found.chain_id


def gate(task: str, candidate: str, outcome: GateOutcome = "pass") -> Gate:
    return Gate(
        outcome, () if outcome == "pass" else (NOT_MEASURED,), task, f"vault-{task}", candidate, OLD, None, 1, True
    )


def asked(home: Challenged, outcome: GateOutcome = "pass") -> tuple[dict[str, ChallengedTask], list[tuple[str, str]]]:
    """The tasks as they stand, and about which the gate was asked."""
    (known,) = list_challenges(home.connection)
    judged: list[tuple[str, str]] = []

    def judge(task: str, candidate: str) -> Gate:
        judged.append((task, candidate))
        return gate(task, candidate, outcome)

    tasks = challenged_tasks(home.home, home.connection, known, judge)
    return {one.task: one for one in tasks}, judged


def test_each_task_says_how_far_it_is_and_the_gate_is_asked_about_what_is_measured_alone(home: Challenged) -> None:
    judge, planner, tidy = (get_chain(home.connection, chain_of(home, one)) for one in ("judge", "planner", "tidy"))
    found, judged = asked(home)
    assert [one.stage for one in found.values()] == ["queued"] * 3 and judged == []
    home.bake_off(judge, {"base": 0, "new": 5, "old": 1})
    home.end(planner.links[0].job.id, "done")
    home.end(planner.links[1].job.id, "failed")
    home.end(tidy.links[0].job.id, "running")
    found, judged = asked(home)
    assert {task: one.stage for task, one in found.items()} == {
        "judge": "done",
        "planner": "stopped",
        "tidy": "running",
    }
    deploy = judge.links[4].job.id
    assert judged == [("judge", f"job:{deploy}")]
    one = found["judge"]
    assert (one.old.model, one.new.model) == (OLD, NEW)
    assert (one.old.score, one.new.score) == (pytest.approx(1 / 6), pytest.approx(5 / 6))
    assert one.difference == pytest.approx(4 / 6) and one.interval is not None
    low, high = one.interval
    assert low < one.difference < high
    assert (one.old.size_bytes, one.new.size_bytes) == (4_700_000_000, 1_200_000)
    assert (one.old.tokens_per_second, one.new.tokens_per_second) == (pytest.approx(20), pytest.approx(50))
    assert promote_command(one) == f"bakehouse fleet promote judge job:{deploy}"
    cells = table_row(one)
    assert cells[:3] == ("judge", "switch", "0.83 → 4.17") and cells[4:] == ("4.7 GB → 1.2 MB", "20 → 50")
    assert gain_words(one).startswith("+3.33 [")
    assert headline(NEW, list(found.values())) == f"{NEW}: 1 of 3 tasks measured, 1 to switch, 1 stopped"
    failed = planner.links[1].job.id
    assert f"bakehouse queue retry {failed}" in way_words(found["planner"])
    assert json.dumps([one.to_json() for one in found.values()])


def test_what_serves_already_is_told_by_its_deployment_and_the_old_model_is_the_one_before(home: Challenged) -> None:
    judge = get_chain(home.connection, chain_of(home, "judge"))
    home.bake_off(judge, {"base": 0, "new": 6, "old": 2})
    home.set_version("judge", deploy_job_id=judge.links[4].job.id, model=NEW)
    found, judged = asked(home)
    one = found["judge"]
    assert (one.stage, one.old.model, one.old.size_bytes, judged) == ("promoted", OLD, 4_700_000_000, [])
    assert promote_command(one) is None and table_row(one)[1] == "serves already"


def test_a_gate_that_cannot_be_asked_and_jobs_that_are_gone_hide_no_other_task(home: Challenged) -> None:
    for task in ("judge", "planner"):
        home.bake_off(get_chain(home.connection, chain_of(home, task)), {"base": 0, "new": 6, "old": 6})
    gone = chain_of(home, "tidy")
    with transaction(home.connection):
        home.connection.execute("DELETE FROM chain_links WHERE chain_id = ?", [gone])
    (known,) = list_challenges(home.connection)

    def judge(task: str, candidate: str) -> Gate:
        if task == "judge":
            raise InputError("no server answers", code="a_test")
        return gate(task, candidate, "cannot_tell")

    found = {one.task: one for one in challenged_tasks(home.home, home.connection, known, judge)}
    assert {task: one.stage for task, one in found.items()} == {"judge": "done", "planner": "done", "tidy": "gone"}
    error = found["judge"].gate_error
    assert error is not None and error.code == "a_test" and found["judge"].difference == 0.0
    assert [table_row(found[task])[1] for task in ("judge", "planner")] == ["gate unknown", "cannot tell"]
    again = plan_challenge(home.home, home.project, WantedChallenge(NEW, tasks=("judge", "tidy")))
    assert [one.task for one in again.tasks] == ["tidy"], "what is gone can be queued again"
    assert why_lines(found["judge"]) == ["the gate cannot be asked: no server answers"]
    (why,) = why_lines(found["planner"])
    assert condition_words(NOT_MEASURED) in why and f"`{promote_command(found['planner'])} --dry-run`" in why


def test_the_command_waits_for_all_chains_and_shows_what_can_be_told_without_a_server(
    home: Challenged, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["challenge", NEW, "--wait", "--project", str(home.project.root)]
    judge, planner, tidy = (get_chain(home.connection, chain_of(home, one)) for one in ("judge", "planner", "tidy"))
    home.bake_off(judge, {"base": 0, "new": 5, "old": 1})
    for link in (*planner.links, *tidy.links):
        home.end(link.job.id, "cancelled")
    code, out, err = called(capsys, words)
    assert code == 1, "a chain did not come to its end"
    assert f"{NEW}: 1 of 3 tasks measured, 2 stopped" in out, err
    assert "judge: the gate cannot be asked" in out and "0.83 → 4.17" in out
    assert f"bakehouse queue retry {planner.links[0].job.id}" in out
    code, out, _ = called(capsys, [*words, "--json"])
    tasks = {one["task"]: one for one in json.loads(out)["challenge"]["tasks"]}
    assert code == 1 and tasks["judge"]["gate"] is None and tasks["judge"]["gate_error"]["message"]
    assert tasks["judge"]["new"]["score"] == pytest.approx(5 / 6) and tasks["tidy"]["stage"] == "stopped"
