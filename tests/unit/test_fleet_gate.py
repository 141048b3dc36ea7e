"""The gate of a promotion: pass, fail or cannot tell, by what is on record of this very model as it serves now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.cli.fleet_promote import bakeoff_command
from core.errors import BakehouseError, InputError, NotFoundError
from core.fleet.gate import Condition, joined
from core.wording.promotion import gate_title
from tests.support.promotable import Promotable, digest, gate_lines, identity, of, ready, the
from tests.support.promotable_sixty import ALL, HALF, N, made

__all__ = ["made"]


def said(made: Promotable, candidate: str = "new") -> str:
    gate = made.gate(candidate)
    return "\n".join([gate_title(gate), *gate_lines(gate)])


def test_all_conditions_hold_and_the_evidence_is_told(made: Promotable) -> None:
    found = made.promotion(ready(made, HALF, ALL))
    gate = found.gate
    assert gate.outcome == "pass" and gate.incumbent == "old" and gate.alias == "vault"
    assert {one.code: one.outcome for one in gate.conditions} == dict.fromkeys(
        ("measured", "incumbent_measured", "not_worse", "parity", "no_leak", "fresh", "complete"), "pass"
    )
    assert (found.target.digest, found.target.source, found.target.bakeoff_job_id) == (
        digest(made.has["new"]),
        "new",
        gate.bakeoff_job,
    )
    assert found.arguments(None)["expected_version"] == found.alias.version_id is not None
    assert (gate.best_of, gate.same_inputs) == (1, True)
    assert gate.to_json()["conditions"][0]["values"]["job"] == gate.bakeoff_job


@pytest.mark.parametrize("by", ["new", "NEW:latest", "ollama:new", "job"])
def test_a_candidate_is_named_in_each_way(made: Promotable, by: str) -> None:
    ready(made, HALF, ALL)
    job = made.connection.execute("SELECT max(id) FROM jobs WHERE kind = 'deploy'").fetchone()[0]
    made.has["NEW"] = made.has["new"]
    assert made.gate(f"job:{job}" if by == "job" else by).outcome == "pass"


def test_one_that_fails_fails_all_and_one_that_cannot_tell_is_no_pass() -> None:
    def all_of(*outcomes: str) -> str:
        return joined(Condition("fresh", one, {}) for one in outcomes)  # type: ignore[arg-type]

    assert all_of("pass", "pass", "not_asked") == "pass"
    assert all_of("pass", "cannot_tell", "pass") == "cannot_tell"
    assert all_of("cannot_tell", "fail", "pass") == "fail"


# --- no worse ------------------------------------------------------------------------------------------------------


def test_a_worse_one_fails(made: Promotable) -> None:
    gate = made.gate(ready(made, ALL, HALF))
    assert (gate.outcome, the(gate, "not_worse").outcome) == ("fail", "fail")
    assert "worse by more than 0.25 of 5" in said(made)


@pytest.mark.parametrize(("n", "outcome"), [(12, "cannot_tell"), (58, "cannot_tell"), (59, "pass")])
def test_no_difference_at_all(made: Promotable, n: int, outcome: str) -> None:
    made.task("judge", n)
    gate = made.gate(ready(made, [5] * n, [5] * n))
    found = the(gate, "not_worse")
    assert found.outcome == outcome
    if n == 12:
        assert "none seen in 12 inputs; up to 22 % could differ; about 59 inputs would tell" in said(made)


def test_the_inputs_to_confirm_by_decide_alone(made: Promotable) -> None:
    """Chosen by full marks on twenty inputs, and no better on the forty that are kept."""
    made.task("judge", N, range(20, N))
    gate = made.gate(ready(made, [3] * N, [5] * 20 + [3] * 40))
    found = the(gate, "not_worse")
    assert (found.outcome, found.values["inputs"], found.values["needed"]) == ("cannot_tell", 40, 59)
    assert gate.same_inputs is False and "kept to confirm by" in said(made)


def test_the_best_of_several_on_the_same_inputs_says_so(made: Promotable) -> None:
    for name in ("new", "other", "third"):
        made.deployed(name, made.trained())
    made.serves("vault", "old", "judge")
    made.baked_off({"old": HALF, "new": ALL, "other": HALF, "third": HALF})
    gate = made.gate("new")
    assert (gate.outcome, gate.best_of, gate.same_inputs) == ("pass", 3, True)
    assert "Best of 3, same inputs" in said(made)
    # Beside the base that it was trained from, which nobody would promote in its place, it is no choice; beside another it is.
    for model, best_of in (("small", 1), ("other", 2)):
        made.baked_off({"old": HALF, "new": ALL, "untrained": HALF}, base=("untrained", model))
        assert made.gate("new").best_of == best_of


def test_missing_answers_are_never_assumed(made: Promotable) -> None:
    gate = made.gate(ready(made, HALF, [*ALL[:-1], None]))
    assert (gate.outcome, the(gate, "complete").outcome) == ("cannot_tell", "cannot_tell")
    assert the(gate, "not_worse").outcome == "pass", "whatever the one missing answer was"
    many = [*ALL[:40], *[None] * 20]
    made.baked_off({"old": [5] * N, "new": many})
    found = the(made.gate("new"), "not_worse")
    assert (found.outcome, found.values["missing"]) == ("cannot_tell", 20)


def test_a_first_promotion_has_nothing_to_be_worse_than(made: Promotable) -> None:
    made.deployed("new", made.trained())
    made.baked_off({"new": HALF})
    found = made.promotion("new", alias="vault")
    assert found.gate.outcome == "pass" and found.gate.incumbent is None and found.alias.id == 0
    assert {the(found.gate, code).outcome for code in ("incumbent_measured", "not_worse")} == {"not_asked"}
    with pytest.raises(InputError, match="has no alias") as error:
        made.promotion("new")
    assert error.value.code == "no_alias" and "--as" in (error.value.remedy or "")


# --- which bake-off ------------------------------------------------------------------------------------------------


def test_without_a_bake_off_nothing_is_known(made: Promotable) -> None:
    made.deployed("new", made.trained())
    made.serves("vault", "old", "judge")
    for state in ("failed", "cancelled"):
        made.baked_off({"old": HALF, "new": ALL}, state=state)
    made.baked_off({"old": HALF, "new": ALL}, variant="@think=on")
    gate = made.gate("new")
    assert gate.outcome == "cannot_tell" and gate.bakeoff_job is None
    assert the(gate, "measured").values["why"] == "no_bakeoff"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"version": "0.25.1"}, ["version"]),
        ({"template": "8f" * 32}, ["template"]),
        ({"parameters": {"stop": ["x"]}}, ["parameters"]),
    ],
)
def test_what_serves_has_changed_since(made: Promotable, change: dict[str, object], what: list[str]) -> None:
    ready(made, HALF, ALL)
    before = made.has["new"]
    made.has["new"] = replace(before, **change)  # type: ignore[arg-type]
    gate = made.gate("new")
    assert gate.outcome == "cannot_tell"
    assert (the(gate, "measured").values["why"], the(gate, "measured").values["what"]) == ("changed", what)
    if what != ["parameters"]:
        assert the(gate, "parity").outcome == "cannot_tell", "the prompts may be others, too"
    made.baked_off({"old": HALF, "new": ALL})
    assert the(made.gate("new"), "measured").outcome == "pass"


def test_another_model_under_the_same_name_is_not_the_one_that_was_measured(made: Promotable) -> None:
    ready(made, HALF, ALL)
    made.has["new"] = identity("something else")
    gate = made.gate("new")
    assert the(gate, "measured").values["why"] == "no_bakeoff"
    assert the(gate, "no_leak").values["why"] == "unknown_lineage"


def test_what_the_server_does_not_tell_is_unknown(made: Promotable) -> None:
    ready(made, HALF, ALL)
    made.has["new"] = replace(made.has["new"], template=None)
    assert the(made.gate("new"), "measured").values["why"] == "unknown"
    made.silent = True
    gate = made.gate("new")
    assert gate.outcome == "cannot_tell" and the(gate, "measured").values["why"] == "no_answer"
    assert bakeoff_command(made.promotion("new")) is None, "a bake-off could not ask it either"


def test_the_incumbent_is_what_the_alias_is_now(made: Promotable) -> None:
    ready(made, HALF, ALL)
    made.serves("vault", "third", "judge")
    gate = made.gate("new")
    found = the(gate, "incumbent_measured")
    assert (gate.outcome, found.outcome, found.values["why"]) == ("cannot_tell", "cannot_tell", "not_in_it")
    assert bakeoff_command(made.promotion("new")) == "bakehouse bakeoff judge ollama:vault ollama:new --wait"
    made.baked_off({"third": HALF, "new": ALL})
    assert made.gate("new").outcome == "pass" and bakeoff_command(made.promotion("new")) is None
    made.has["vault"] = replace(made.has["vault"], version="0.25.1")
    assert the(made.gate("new"), "incumbent_measured").values["what"] == ["version"]


def test_the_newest_that_has_both_counts(made: Promotable) -> None:
    ready(made, HALF, ALL)
    newest = made.baked_off({"old": ALL, "new": HALF})
    gate = made.gate("new")
    assert (gate.bakeoff_job, gate.outcome) == (newest, "fail"), "not the one that looks better"
    made.baked_off({"new": ALL})
    assert made.gate("new").bakeoff_job == newest, "one without the incumbent says nothing"


def test_a_model_that_changed_while_it_was_asked_was_not_measured(made: Promotable) -> None:
    job = made.baked_off({"old": HALF, "new": ALL}) if made.has.update(new=identity("new"), old=identity("old")) else 0
    made.deployed("new", made.trained())
    made.serves("vault", "old", "judge")
    job = job or made.baked_off({"old": HALF, "new": ALL})
    with made.connection:
        made.connection.execute(
            "UPDATE answers SET document = json_set(document, '$.identity', 'x') "
            "WHERE job_id = ? AND candidate = 'new' AND input_id = 'g3'",
            [job],
        )
    assert the(made.gate("new"), "measured").values["why"] == "mixed"


# --- prompts, leaks, freshness -------------------------------------------------------------------------------------


def test_the_newest_check_of_the_prompts_counts(made: Promotable) -> None:
    ready(made, HALF, ALL)
    failed = made.checked("new", passed=False)
    found = the(made.gate("new"), "parity")
    assert (found.outcome, found.values["job"], found.values["finding"]) == ("fail", failed, "template_differs")
    passed = made.checked("new", passed=True)
    assert the(made.gate("new"), "parity").values["job"] == passed
    made.checked("old", passed=False)
    assert the(made.gate("new"), "parity").outcome == "pass", "it is about another model"


def test_prompts_that_nobody_compared_are_unknown(made: Promotable) -> None:
    made.serves("vault", "old", "judge")
    made.has["new"] = identity("new")
    made.baked_off({"old": HALF, "new": ALL})
    gate = made.gate("new")
    assert the(gate, "parity").values["why"] == "not_checked"
    assert the(gate, "no_leak").values["why"] == "unknown_lineage"
    assert gate.outcome == "cannot_tell"


def test_a_deployment_that_somebody_let_through_is_no_pass(made: Promotable) -> None:
    made.deployed("new", made.trained(), passed=False, findings=[{"code": "lost_bos", "values": {}}])
    made.serves("vault", "old", "judge")
    made.baked_off({"old": HALF, "new": ALL})
    found = the(made.gate("new"), "parity")
    assert (found.outcome, found.values["finding"]) == ("fail", "lost_bos")


def test_golden_inputs_in_the_training_data_are_held_against_the_golden_set_of_now(made: Promotable) -> None:
    learnt = "A text that everybody knew before, long enough to be told apart."
    made.deployed("new", made.trained(data=["Another note.", learnt]))
    made.serves("vault", "old", "judge")
    made.baked_off({"old": HALF, "new": ALL})
    assert the(made.gate("new"), "no_leak").outcome == "pass"
    made.golden(N, g7=learnt)
    gate = made.gate("new")
    found = the(gate, "no_leak")
    assert (gate.outcome, found.outcome, found.values["inputs"]) == ("fail", "fail", ["g7"])
    assert the(gate, "fresh").values["what"] == ["golden"]
    assert "golden inputs are in its training data (g7;" in said(made)


def test_a_base_model_as_it_came_has_learnt_nothing_here(made: Promotable) -> None:
    made.deployed("new")
    made.serves("vault", "old", "judge")
    made.baked_off({"old": HALF, "new": ALL})
    assert the(made.gate("new"), "no_leak").values["why"] == "not_trained"


def test_training_data_that_are_gone_prove_nothing(made: Promotable, tmp_path: Path) -> None:
    ready(made, HALF, ALL)
    for file in tmp_path.glob("data-*.jsonl"):
        file.unlink()
    found = the(made.gate("new"), "no_leak")
    assert (found.outcome, found.values["why"]) == ("cannot_tell", "data_gone")


@pytest.mark.parametrize(
    ("told", "what"), [({"margin": 0.2}, "margin"), ({"system": "Else."}, "system"), ({"thinking": "on"}, "thinking")]
)
def test_a_task_that_changed_since_has_not_been_measured(made: Promotable, told: dict[str, object], what: str) -> None:
    ready(made, HALF, ALL)
    made.task("judge", N, **told)
    gate = made.gate("new")
    assert (gate.outcome, the(gate, "fresh").values["what"]) == ("cannot_tell", [what])


# --- other tasks ---------------------------------------------------------------------------------------------------


def test_every_other_task_of_the_alias_has_to_hold(made: Promotable) -> None:
    made.task("planner", N)
    made.deployed("new", made.trained())
    made.serves("vault", "old", "judge", "planner")
    made.baked_off({"old": HALF, "new": ALL})
    found = the(made.gate("new"), "other_task")
    assert (found.outcome, found.values["task"], found.values["why"]) == ("cannot_tell", "planner", "not_measured")
    made.baked_off({"old": ALL, "new": HALF}, task="planner")
    gate = made.gate("new")
    assert (gate.outcome, the(gate, "other_task").outcome) == ("fail", "fail")
    assert "planner: format: worse by more than" in said(made)
    made.baked_off({"old": HALF, "new": ALL}, task="planner")
    assert made.gate("new").outcome == "pass"
    made.task("planner", N, system="Else.")
    assert the(made.gate("new"), "other_task").values["condition"] == "fresh"


# --- what cannot be asked ------------------------------------------------------------------------------------------


def test_what_cannot_be_promoted_is_refused_with_what_to_do(made: Promotable) -> None:
    training = made.trained()
    made.deployed("new", training)
    made.serves("vault", "old", "judge")
    refused: dict[str, type[BakehouseError]] = {
        "nothing-of-that-name": NotFoundError,
        "job:9999": NotFoundError,
        f"job:{training}": InputError,
        "ollama:": InputError,
        "llama-server:note": InputError,
        "  ": InputError,
        "old": InputError,
    }
    codes = {}
    for name, kind in refused.items():
        with pytest.raises(kind) as error:
            made.promotion(name)
        assert error.value.remedy or error.value.code in ("bad_candidate", "job_not_found"), name
        codes[name] = error.value.code
    assert codes["old"] == "already_current" and codes["llama-server:note"] == "other_server"
    with pytest.raises(InputError) as other:
        made.promotion("new", alias="another")
    assert other.value.code == "other_alias"
    with pytest.raises(NotFoundError):
        made.promotion("new", task="no-such-task")


def test_a_name_that_somebody_uses_already_is_adopted_first(made: Promotable) -> None:
    made.deployed("new", made.trained())
    made.has["vault"] = identity("somebody's")
    with pytest.raises(InputError) as error:
        made.promotion("new", alias="vault")
    assert error.value.code == "not_adopted"


def test_every_part_is_judged_by_itself(made: Promotable) -> None:
    made.task("judge", N, content=[{"check": "contains_any", "id": "right", "values": ["FIVE"]}])
    gate = made.gate(ready(made, HALF, ALL))
    assert [(one.values["part"], one.outcome) for one in of(gate, "not_worse")] == [
        ("format", "pass"),
        ("content", "pass"),
    ]
