"""Every code that the fleet stores has words for people."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from core.reasons import Reason
from core.store.fleet_changes import ChangeKind, ChangeState
from core.store.fleet_reasons import ChangeReasonCode, FleetRefusalCode
from core.wording.fleet import CHANGE_WORDS, FLEET_REFUSAL_WORDS, KINDS, STATES, change_reason_words, phase_words
from core.wording.jobs import reason_words

VALUES: dict[str, Any] = {
    "alias": "judge",
    "kind": "promote",
    "author": "anna@box, console",
    "at": 1_700_000_000.0,
    "version": 3,
    "task": "vault-judge",
    "outcome": "cannot_tell",
    "source": "judge-4b:latest",
    "message": "no model server answers at http://box:11434",
    "digest": "ab" * 32,
    "wanted": "cd" * 32,
}


def test_every_code_has_words_and_no_words_are_left_over() -> None:
    assert set(FLEET_REFUSAL_WORDS) == set(get_args(FleetRefusalCode))
    assert set(CHANGE_WORDS) == set(get_args(ChangeReasonCode))
    assert set(KINDS) == set(get_args(ChangeKind)) and set(STATES) == set(get_args(ChangeState))


@pytest.mark.parametrize("code", FLEET_REFUSAL_WORDS)
def test_a_refusal_is_a_sentence(code: str) -> None:
    said = reason_words(Reason(code, VALUES))
    assert said.endswith(".") and code not in said and "{" not in said and "None" not in said
    nobody = reason_words(Reason(code, {**VALUES, "author": None, "at": None, "outcome": None}))
    assert "None" not in nobody


@pytest.mark.parametrize("code", CHANGE_WORDS)
def test_how_a_change_ended_is_told_in_a_line(code: str) -> None:
    said = change_reason_words(Reason(code, VALUES))
    assert code not in said and "None" not in said
    assert change_reason_words(Reason(code, {**VALUES, "after_restart": True})).startswith(said)


def test_what_another_version_stored_is_shown_as_it_is() -> None:
    assert change_reason_words(Reason("of_a_later_version", {})) == "of_a_later_version"
    assert phase_words("of_a_later_version") == "of a later version"
