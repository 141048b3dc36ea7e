"""What was measured of a model whose requests have to send examples: only answers that were asked for with as many."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.fleet.rows import FleetRow, fleet_rows
from core.fleet.sent_examples import shots_of
from core.fleet.verdict_scores import verdict_of
from core.fleet.version_diff import version_diff
from core.jobfile.bakeoff import ExampleTurn, Variant
from core.store.fleet import Target, versions
from tests.support.stored_fleet import PROJECT, TEMPLATE, VERSION, StoredFleet, identity

OLD, NEW = "judge-7b", "judge-4b"
IN_JOB_FILES = "test"
"""The project that the job files of the invented bake-offs name."""
OLD_TARGET = Target(OLD, "d-old", "sha256:" + "0a" * 32, TEMPLATE, VERSION)
NEW_TARGET = Target(NEW, "d-new", "sha256:" + "0b" * 32, TEMPLATE, VERSION)
SENT = tuple(
    (ExampleTurn(role="user", content=one), ExampleTurn(role="assistant", content="PASS"))
    for one in ("First", "Second")
)


@pytest.fixture
def fleet(tmp_path: Path) -> StoredFleet:
    """`vault-judge` is a 4B to which requests send two examples; it was a 7B, to which they sent none."""
    made = StoredFleet(tmp_path)
    made.deployment(NEW, "d-new", "0b" * 32, sent=SENT)
    alias = made.alias("vault-judge")
    made.assign("judge", alias)
    made.becomes(alias, OLD_TARGET)
    made.becomes(alias, NEW_TARGET, "promote", origin="promoted")
    return made


def asked(fleet: StoredFleet, old: int = 0, new: int = 0, think: str = "") -> int:
    """A bake-off of both, each shown so many examples."""
    served, variants = {}, {}
    for name, weights, shots in ((OLD, "0a" * 32, old), (NEW, "0b" * 32, new)):
        written = "@".join(filter(None, [think, f"few_shot={shots}" if shots else ""]))
        shown_name = f"ollama:{name}" + (f" @{written}" if written else "")
        served[shown_name] = identity(name, weights)
        variants[shown_name] = Variant(written=written, few_shot=shots, think="on" if think else None)
    quality = {name: 0.3 if OLD in name else 1.0 for name in served}
    return fleet.bakeoff(served, quality, variants=variants, shown=SENT)


def row_of(fleet: StoredFleet) -> FleetRow:
    (row,) = fleet_rows(fleet.home, fleet.connection, PROJECT)
    return row


def test_a_promoted_model_has_the_scores_of_the_bakeoff_that_asked_it_as_its_requests_do(fleet: StoredFleet) -> None:
    job = asked(fleet, new=2)
    row = row_of(fleet)
    assert row.measured is not None and row.before is not None and row.before.measured is not None
    assert (row.measured.job_id, row.measured.candidate) == (job, f"ollama:{NEW} @few_shot=2")
    assert (row.before.measured.job_id, row.before.measured.candidate) == (job, f"ollama:{OLD}")
    assert row.before.scores["format"] < 0.7 < row.scores["format"] == 1.0
    alias = fleet.alias("vault-judge")
    old, new = versions(fleet.connection, alias.id)
    diff = version_diff(fleet.home, fleet.connection, alias, (old, new), {})
    assert [side.measured[PROJECT, "judge"].candidate for side in (diff.before, diff.after)] == [
        f"ollama:{OLD}",
        f"ollama:{NEW} @few_shot=2",
    ]


def test_a_check_for_drift_is_held_to_it_and_asks_in_the_same_way(fleet: StoredFleet) -> None:
    job = asked(fleet, new=2)
    asked(fleet)  # newer, and of what no client gets
    version = row_of(fleet).version
    assert version is not None
    verdict = verdict_of(fleet.home, fleet.connection, version, IN_JOB_FILES, "judge")
    assert verdict is not None and (verdict.job_id, verdict.candidate.variant.few_shot) == (job, 2)
    assert tuple(map(tuple, verdict.under_test.examples)) == SENT
    assert set(verdict.scores["format"].values()) == {1.0}


@pytest.mark.parametrize(
    ("shots", "think"), [(0, ""), (1, ""), (2, "think=on")], ids=["none", "fewer", "thinking as well"]
)
def test_what_was_asked_otherwise_is_no_measurement_of_it(fleet: StoredFleet, shots: int, think: str) -> None:
    asked(fleet, new=shots, think=think)
    row = row_of(fleet)
    assert (row.scores, row.measured) == ({}, None)


def test_where_requests_send_none_answers_with_examples_do_not_count(fleet: StoredFleet) -> None:
    asked(fleet, old=2, new=2)
    row = row_of(fleet)
    assert row.measured is not None and row.before is not None and row.before.measured is None


def test_how_a_candidate_was_asked_is_read_from_its_name() -> None:
    told = {"m": 0, "hub/m@q8": 0, "m @few_shot=3": 3, "m@few_shot=3": 3, "m @think=on": None}
    assert {name: shots_of(name) for name in told} == told
    assert shots_of("m @think=on@few_shot=3") is None and shots_of("m @few_shot=3@temperature=0.5") is None
