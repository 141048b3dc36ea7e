"""Each check against its table of answers as models really write them (`tests.check_cases` prints the tables)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import get_args

import pytest

from core.checks import REGISTRY
from tests.check_cases import TABLES, Case, cases, main
from tests.support.hostile_functions import HOSTILE
from tests.support.judge_replies import CHOICES, NUMBERS

FEWEST = 20
BESIDE_A_TEXT = set(TABLES)
"""Checks of which a table of texts says nothing: the one runs a file of the project, the other asks a model."""


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.check}-{case.what}")
def test_a_check_says_of_a_hard_answer_what_a_reader_says(case: Case) -> None:
    assert not case.wrong()


def test_every_check_has_at_least_twenty_different_ones() -> None:
    # A row that is counted stands for three cases, which differ in what is asked behind the colon.
    different = {(case.check, case.what.rpartition(": ")[0] or case.what, case.text) for case in cases()}
    counted = Counter(check for check, _, _ in different)
    known = {get_args(kind.model_fields["check"].annotation)[0] for kind in REGISTRY} - BESIDE_A_TEXT
    assert {check: counted[check] for check in known if counted[check] < FEWEST} == {}


def test_the_tables_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table"]) == 0
    out = capsys.readouterr().out
    assert "table\nexpected    got  partial" in out and "0 of which a check says something else" in out


def test_replies_and_functions_have_tables_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert min(len(HOSTILE), len(NUMBERS), len(CHOICES) + len(NUMBERS)) >= FEWEST
    assert main(["judge"]) == 0
    out = capsys.readouterr().out
    assert f"{len(CHOICES) + len(NUMBERS)} cases, 0 of which" in out and "0.5 · 0.5 · A or B · VERDICT: TIE" in out


def test_a_case_that_is_wrong_is_told() -> None:
    right = next(case for case in cases() if case.check == "table" and case.partial == 0.5)
    assert not right.wrong()
    assert "value 0.0, not 1" in replace(right, value=1).wrong()
    assert "partial 0.5, not 0.25" in replace(right, partial=0.25).wrong()
    assert "without 'no table'" in replace(right, detail="no table").wrong()
    assert "faulty False, not True" in replace(right, faulty=True).wrong()
    assert "captures {}, not {'x': ['1']}" in replace(right, captures={"x": ["1"]}).wrong()
