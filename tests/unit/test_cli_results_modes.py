"""`bakehouse results` says first why candidates lost: failure modes of their answers, each with an answer that shows it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.commands import called
from tests.support.stored_modes import BASE, TUNED, WORDY, home_with_modes

Show = Callable[..., str]
LOOPED, GREETED, CUT, INPUTS = 5, 8, 2, 13
"""How many answers of `WORDY` say the same over and over, how many greet, how many of `BASE` are cut, of how many."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return home_with_modes(tmp_path_factory.mktemp("modes"))[0].root


@pytest.fixture
def shown(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Show:
    monkeypatch.setenv("BAKEHOUSE_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "100")

    def show(*arguments: str) -> str:
        code, out, _ = called(capsys, ["results", "1", *arguments])
        assert code == 0
        return out

    return show


def test_failure_modes_stand_right_below_the_ranking_each_with_an_answer(shown: Show) -> None:
    text = shown()
    ranking, why, compared = (
        text.index("candidate "),
        text.index("why answers fail"),
        text.index(f"against {BASE}  part"),
    )
    assert ranking < why < compared < text.index("lost points")
    block = text[why:compared]
    assert f"{TUNED}: no failure mode seen" in block
    assert re.search(
        rf"instructions repeated \d+ of {INPUTS}, \d+ % \[\d+, \d+\]\n      [\w-]+ #1: “You grade notes\.", block
    )
    assert re.search(rf"preamble {GREETED} of {INPUTS}, \d+ % \[\d+, \d+\], p 0\.0\d+\n      [\w-]+ #1: “Sure!", block)
    assert f"p: McNemar's, over inputs, against {BASE}" in block
    assert max(map(len, block.splitlines())) <= 100


def test_the_document_has_counts_intervals_and_excerpts(shown: Show) -> None:
    rows = json.loads(shown("--json"))["leaderboard"]["rows"]
    by_name = {row["name"]: row["modes"] for row in rows}
    assert by_name[TUNED] == []
    first = by_name[WORDY][0]
    assert (first["code"], first["count"], first["of"], first["inputs"]) == ("preamble", GREETED, INPUTS, GREETED)
    assert first["interval"]["low"] < GREETED / INPUTS < first["interval"]["high"] and first["excerpt"].startswith(
        "Sure!"
    )
    assert first["p_to_incumbent"] < 0.01 and by_name[BASE][0]["p_to_incumbent"] is None


def test_every_answer_of_a_failure_mode_is_listed(shown: Show) -> None:
    found = json.loads(shown("--modes", "--json", "--candidate", WORDY))["modes"]
    counts = {one["code"]: (one["count"], len(one["answers"])) for one in found}
    assert counts == {"preamble": (GREETED, GREETED), "repetition": (LOOPED, LOOPED)}
    assert all(one["excerpt"].startswith("Sure!") for one in found[0]["answers"])
    text = shown("--modes", "--input", "batch-of-three")
    assert f"── {BASE} · cut at the limit: {CUT} of {INPUTS} answers\n   batch-of-three #1: “The note" in text
    assert "very-short" not in text


def test_a_result_of_before_failure_modes_says_how_to_find_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old, job_id = home_with_modes(tmp_path, rescored=False)
    monkeypatch.setenv("BAKEHOUSE_HOME", str(old.root))
    which = ["results", str(job_id)]
    board = called(capsys, which)[1]
    assert "looked for: rescore with the current checks\n  `bakehouse results 1 --rescore`" in board
    listed = called(capsys, [*which, "--modes"])[1]
    assert f"{BASE}: scored before failure modes were looked for" in listed and "no failure mode" not in listed
    document = json.loads(called(capsys, [*which, "--modes", "--json"])[1])
    assert document["modes"] == [] and [one["candidate"] for one in document["not_looked_for"]] == [TUNED, WORDY, BASE]
    assert "instructions repeated" in called(capsys, [*which, "--rescore"])[1]
