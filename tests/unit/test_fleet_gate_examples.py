"""The gate of a promotion where requests have to send examples: nearly every prompt of the training had as many in front."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.cli.fleet_promote import bakeoff_command
from core.wording.promotion import condition_words
from tests.support.promotable import Promotable, promotable, the
from tests.support.promotable_sixty import ALL, HALF, N

SENT = ("What is first?", "What is second?")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Promotable]:
    """Requests send two examples to `new`, and none to `old`, which serves."""
    found = promotable(tmp_path, monkeypatch, N)
    found.deployed("new", found.trained(), sent=SENT)
    found.serves("vault", "old", "judge")
    yield found
    found.connection.close()


def test_a_candidate_is_measured_with_the_examples_that_its_requests_send(made: Promotable) -> None:
    job = made.baked_off({"old": HALF, "new": ALL}, shots={"new": 2}, shown=SENT)
    gate = made.gate("new")
    assert (gate.outcome, gate.bakeoff_job) == ("pass", job)
    found = the(gate, "measured")
    assert (found.values["name"], found.values["examples"]) == ("new@few_shot=2", 2)
    assert condition_words(found).endswith("asked with the 2 examples that requests send (@few_shot=2)")
    assert "example" not in condition_words(the(gate, "incumbent_measured"))


@pytest.mark.parametrize(
    ("shots", "shown"),
    [({}, ()), ({"new": 1}, SENT), ({"new": 2}, SENT[::-1]), ({"new": 2}, ("Another?", SENT[0]))],
    ids=["without", "with one", "in another order", "with others"],
)
def test_a_candidate_that_was_asked_otherwise_was_not_measured(
    made: Promotable, shots: dict[str, int], shown: tuple[str, ...]
) -> None:
    made.baked_off({"old": HALF, "new": ALL}, shots=shots, shown=shown)
    gate = made.gate("new")
    assert (gate.outcome, gate.bakeoff_job) == ("cannot_tell", None)
    assert "(@few_shot=2)" in condition_words(the(gate, "measured"))
    assert bakeoff_command(made.promotion("new")) == "bakehouse bakeoff judge ollama:vault ollama:new@few_shot=2 --wait"


def test_one_whose_requests_send_none_is_not_taken_with_examples(made: Promotable) -> None:
    made.deployed("plain", made.trained())
    made.baked_off({"old": HALF, "plain": ALL}, shots={"plain": 2}, shown=SENT)
    assert made.gate("plain").bakeoff_job is None
    made.baked_off({"old": HALF, "plain": ALL}, shots={"old": 2}, shown=SENT)
    assert the(made.gate("plain"), "incumbent_measured").values["why"] == "not_in_it"


def test_the_incumbent_is_asked_with_as_many_as_its_requests_send(made: Promotable) -> None:
    """The task's data can be others than when it was deployed: a bake-off shows the same examples to all."""
    former = ("What was first?", *SENT[:1], "What was third?")
    made.deployed("old", made.trained(), sent=former)
    made.baked_off({"old": HALF, "new": ALL}, shots={"new": 2}, shown=SENT)
    found = the(made.gate("new"), "incumbent_measured")
    assert found.values["why"] == "not_in_it" and "the 3 examples" in condition_words(found)
    made.baked_off({"old": HALF, "new": ALL}, shots={"new": 2, "old": 3}, shown=(*SENT, "Which is new?"))
    gate = made.gate("new")
    found = the(gate, "incumbent_measured")
    assert (gate.outcome, found.values["name"]) == ("pass", "old@few_shot=3")
    assert "3 examples" in condition_words(found) and "not with the same" in condition_words(found)


def test_other_tasks_are_asked_as_the_task_says(made: Promotable) -> None:
    """What requests for one task have to send says nothing of another."""
    made.task("planner", N)
    made.serves("vault", "old", "judge", "planner")
    made.baked_off({"old": HALF, "new": ALL}, shots={"new": 2}, shown=SENT)
    made.baked_off({"old": HALF, "new": ALL}, task="planner", shots={"new": 2}, shown=SENT)
    assert the(made.gate("new"), "other_task").outcome == "cannot_tell"
    made.baked_off({"old": HALF, "new": ALL}, task="planner")
    assert made.gate("new").outcome == "pass"
