"""The judge table of the write-up that Bakehouse began with, as results of a bake-off: what the gate says of its promotion.

Five inputs, marks of five: production (7B) 0 5 3 4 3; tuned 8B 3 3 3, and two answers that nobody could mark; tuned 4B
5 5 5 5 4. The 4B went into production. The margin is that of the shipped judge task.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config.project import shipped
from core.fleet.gate import Gate
from core.wording.promotion import gate_title
from tests.support.promotable import Promotable, Scores, gate_lines, promotable, the

PRODUCTION: Scores = [0, 5, 3, 4, 3]
TUNED_8B: Scores = [3, 3, 3, None, None]
TUNED_4B: Scores = [5, 5, 5, 5, 4]


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Promotable:
    made = promotable(tmp_path, monkeypatch, 5)
    made.task("judge", 5, margin=shipped().task("judge").margin)
    for name in ("tuned-8b", "tuned-4b"):
        made.deployed(name, made.trained())
    made.serves("vault-judge", "judge-7b", "judge")
    made.baked_off({"judge-7b": PRODUCTION, "tuned-8b": TUNED_8B, "tuned-4b": TUNED_4B})
    return made


def told(gate: Gate) -> str:
    text = "\n".join([gate_title(gate), *gate_lines(gate)])
    print(text)
    return text


def test_the_4b_is_far_ahead_and_five_inputs_cannot_tell(table: Promotable) -> None:
    """Ahead by 1.8 of 5. But it is 5 at an input where production has 0, and little ahead elsewhere: of inputs like these as
    many as 45 % may be of a kind that none of the five is, and nothing says that the 4B does not fail there."""
    gate = table.gate("tuned-4b")
    found = the(gate, "not_worse")
    assert (gate.outcome, found.outcome) == ("cannot_tell", "cannot_tell")
    assert found.values["difference"] == pytest.approx(1.8 / 5) and found.values["margin"] == 0.05
    assert found.values["low"] == pytest.approx(-0.28, abs=0.02)
    assert found.values["needed"] == 12
    others = {one.code: one.outcome for one in gate.conditions if one.code != "not_worse"}
    assert set(others.values()) == {"pass"}
    said = told(gate)
    assert "about 12 inputs would tell" in said and "Best of 2, same inputs" in said


def test_the_8b_has_two_answers_that_nobody_marked(table: Promotable) -> None:
    """Over the three that both have it is ahead by 1 in 15; what the two would have been is not assumed."""
    gate = table.gate("tuned-8b")
    found = the(gate, "not_worse")
    assert gate.outcome == "cannot_tell"
    assert (found.values["inputs"], found.values["missing"]) == (3, 2)
    assert found.values["difference"] == pytest.approx((3 - 2 + 0) / 3 / 5)
    assert the(gate, "complete").values["missing"] == 2
    assert "2 answers of tuned-8b missing" in told(gate)


def test_fifteen_inputs_like_these_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = promotable(tmp_path, monkeypatch, 15)
    made.deployed("tuned-4b", made.trained())
    made.serves("vault-judge", "judge-7b", "judge")
    made.baked_off({"judge-7b": [*PRODUCTION] * 3, "tuned-4b": [*TUNED_4B] * 3})
    gate = made.gate("tuned-4b")
    assert gate.outcome == "pass" and "no worse by 0.25 of 5" in told(gate)
