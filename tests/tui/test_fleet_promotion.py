"""A promotion by keys: evidence, then the question; a gate that does not pass takes a reason, and how it ended is told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from core.config.project import shipped
from core.errors import InputError
from core.fleet.gate import Condition, Gate, GateOutcome
from core.fleet.promotion import Promotion
from core.home import Home
from core.reasons import Reason
from core.runner.commands import RefusedError
from core.store.fleet import Target
from core.store.fleet_changes import FleetChange
from core.store.fleet_reasons import change_reason, fleet_refusal
from tests.support.waiting import PATIENCE_SECONDS
from tests.tui.conftest import Opened, keys_of, seen, text_of
from tests.tui.fleet_scene import alias, change, fleet, version
from tests.tui.scene import NOW
from tests.tui.test_fleet import moment
from tui import fleet_requests
from tui.app import ConsoleApp
from tui.model.fleet_reader import FleetNow
from tui.queries.promotion_candidates import PromotionCandidate
from tui.screens.confirm import Confirm
from tui.screens.new_bakeoff import NewBakeoff
from tui.screens.promotion import PromotionScreen
from tui.theme import DARK

Compare = Callable[..., bool]
TWO = (
    PromotionCandidate("job:61", "judge:qwen3-4b-61  Qwen3-4B", "deployment 61 · training 42"),
    PromotionCandidate("job:58", "judge:qwen3-8b-58  Qwen3-8B", "deployment 58 · training 40"),
)
NOT_WORSE: dict[str, Any] = {
    "part": "format",
    "margin": 0.1,
    "difference": 0.0,
    "low": 0.0,
    "high": 0.0,
    "inputs": 12,
    "clusters": 12,
    "could_differ": 0.22,
    "missing": 0,
    "missing_decides": False,
    "needed": 29,
    "verdict": None,
}


def gate(outcome: GateOutcome) -> Gate:
    conditions = (
        Condition("measured", "pass", {"job": 41}),
        Condition("incumbent_measured", "pass", {"job": 41, "name": "ollama:vault-judge"}),
        Condition("not_worse", outcome, NOT_WORSE),
        Condition("parity", "pass", {"prompts": 24, "job": 60}),
        Condition("no_leak", "pass", {"golden": 12, "examples": 71, "data": "judge.jsonl"}),
        Condition("fresh", "pass", {}),
        Condition("complete", "pass", {"inputs": 12, "repeats": 3}),
    )
    return Gate(outcome, conditions, "judge", "vault-judge", "job:61", "Qwen2.5-7B", 41, 4, same_inputs=True)


def promotion(outcome: GateOutcome) -> Promotion:
    present = version(3, 1)
    target = Target("judge:qwen3-4b-61", "ef" * 32, size_bytes=4_300_000_000, model="Qwen3-4B")
    return Promotion(gate(outcome), target, alias(1, "vault-judge", present), "judge", "vault", "/vault", 1, present)


async def looked_at(pilot: Pilot[None], outcome: GateOutcome = "pass") -> PromotionScreen:
    """The first of two candidates, and what the gate says of it."""
    await pilot.press("1", "u")
    screen = pilot.app.screen
    assert isinstance(screen, PromotionScreen)
    screen.post_message(screen.CandidatesRead(TWO))
    await pilot.pause()
    await pilot.press("enter")
    screen.post_message(screen.EvidenceRead("job:61", promotion(outcome)))
    await pilot.pause()
    return screen


def promoted(monkeypatch: pytest.MonkeyPatch, ends: FleetChange | Exception) -> list[str | None]:
    """What is asked for, and how it ends."""
    asked: list[str | None] = []

    def promote(context: object, given: Promotion, override: str | None) -> FleetChange:
        asked.append(override)
        if isinstance(ends, Exception):
            raise ends
        return ends

    monkeypatch.setattr(fleet_requests, "promote", promote)
    return asked


DONE = change(8, 1, state="done", phase="", ended_at=NOW, to_version=14)


async def test_the_evidence_stands_before_the_question(console: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = promoted(monkeypatch, DONE)
    async with console(moment()) as pilot:
        await pilot.press("1", "u")
        screen = pilot.app.screen
        assert isinstance(screen, PromotionScreen) and "looking for candidates" in text_of(pilot, "#rows")
        screen.post_message(screen.CandidatesRead(TWO))
        await pilot.pause()
        shown = text_of(pilot, "#rows")
        assert "▸ judge:qwen3-4b-61" in shown and "deployment 58 · training 40" in shown
        await pilot.press("j", "enter")
        screen.post_message(screen.EvidenceRead("job:61", promotion("fail")))
        await pilot.pause()
        assert screen.evidence is None and "asking the servers" in text_of(pilot, "#rows"), "of another candidate"
        screen.post_message(screen.EvidenceRead("job:58", promotion("pass")))
        await pilot.pause()
        shown = " ".join(text_of(pilot, "#rows").replace("│", " ").split())
        assert "none seen in 12 inputs; up to 22 % could differ" in shown
        assert "Best of 4, same inputs" in shown and "24 prompts compared by job 60" in shown
        await pilot.press("enter")
        question = pilot.app.screen
        assert isinstance(question, Confirm) and "Version 3 is kept: R brings it back." in question.explanation
        await pilot.press("escape")
        assert not asked, "the safe answer does nothing"
        await pilot.press("enter", "y")
        await seen(pilot, lambda: "vault-judge is the candidate now" in text_of(pilot, "#rows"), "the end")
        assert asked == [None] and "promote" not in keys_of(pilot)


@pytest.mark.parametrize("outcome", ["fail", "cannot_tell"])
async def test_what_does_not_pass_takes_a_reason(
    console: Opened, monkeypatch: pytest.MonkeyPatch, outcome: GateOutcome
) -> None:
    asked = promoted(monkeypatch, DONE)
    async with console(moment()) as pilot:
        screen = await looked_at(pilot, outcome)
        await pilot.press("enter")
        assert screen.is_writing and "Why is it promoted though its gate does not pass?" in text_of(pilot, "#rows")
        assert keys_of(pilot).split() == ["⏎", "go", "on", "esc", "back"], "a letter is one of the reason"
        await pilot.press("enter")
        assert pilot.app.screen is screen and not screen.is_writing, "no reason, no promotion"
        await pilot.press("enter", *"half the size", "enter")
        question = pilot.app.screen
        assert isinstance(question, Confirm) and "because: half the size." in question.explanation
        await pilot.press("y")
        await seen(pilot, lambda: screen.ended, "the end")
        assert asked == ["half the size"]


async def test_of_two_consoles_the_second_is_told_and_a_move_taken_back_says_why(
    console: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fleet_refusal("not_current", alias="vault-judge", version=4, author="ben@box, console", at=NOW)
    promoted(monkeypatch, RefusedError(first))
    async with console(moment()) as pilot:
        screen = await looked_at(pilot)
        await pilot.press("enter", "y")
        await seen(pilot, lambda: "is version 4 by now by ben@box (console)" in text_of(pilot, "#rows"), "the refusal")
        assert "promote" not in keys_of(pilot), "its evidence was about what was current then"
        why: Reason = change_reason("source_gone", source="judge:qwen3-4b-61")
        promoted(monkeypatch, change(9, 1, state="taken_back", phase="", ended_at=NOW, reason=why))
        await pilot.press("r")
        screen.post_message(screen.EvidenceRead("job:61", promotion("pass")))
        await pilot.pause()
        await pilot.press("enter", "y")
        await seen(pilot, lambda: "is not on the server any more" in text_of(pilot, "#rows"), "why it was taken back")
        assert "taken back" in text_of(pilot, "#rows")


async def test_the_end_is_told_though_its_screen_was_left(console: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    may_end, asked = threading.Event(), list[str]()

    def promote(context: object, given: Promotion, override: str | None) -> FleetChange:
        asked.append(given.task)
        may_end.wait(PATIENCE_SECONDS)
        return DONE

    monkeypatch.setattr(fleet_requests, "promote", promote)
    async with console(moment()) as pilot:
        await looked_at(pilot)
        await pilot.press("enter", "y")
        await seen(pilot, lambda: asked and "asking the runner" in text_of(pilot, "#rows"), "the move")
        await pilot.press("escape")
        may_end.set()
        await seen(pilot, lambda: pilot.app._notifications, "the end")
        assert [one.message for one in pilot.app._notifications] == ["Promotion of vault-judge: done"]


async def test_a_task_of_another_project_is_not_judged_by_this_ones_inputs(console: Opened) -> None:
    async with console(moment()) as pilot:
        screen = await looked_at(pilot)
        with pytest.raises(InputError, match="a task of another project"):
            screen._ask("job:61")  # the console's project is the shipped one, the row's is not


async def test_what_serves_is_told_as_it_is_now_and_a_move_that_nobody_ends_is_no_failure(
    console: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    promoted(monkeypatch, change(8, 1, state="open", phase="placing"))
    async with console(moment()) as pilot:
        await looked_at(pilot)
        await pilot.press("enter", "y")
        await seen(pilot, lambda: "is still under way: the runner was stopped" in text_of(pilot, "#rows"), "the move")
        rows = tuple(replace(one, version=version(4, 1, model="Qwen3-4B")) for one in fleet().rows[:1])
        pilot.app.show(moment(FleetNow(rows)))  # type: ignore[attr-defined]
        assert "version 4, Qwen3-4B" in text_of(pilot, "#rows")


async def test_a_candidate_that_was_written_is_baked_off_by_its_full_name(console: Opened) -> None:
    async with console(moment()) as pilot:
        screen = await looked_at(pilot)
        await pilot.press("c", "w", *"judge-4b", "enter")
        screen.post_message(screen.EvidenceRead("judge-4b", promotion("pass")))
        await pilot.pause()
        await pilot.press("b")
        form = pilot.app.screen
        assert isinstance(form, NewBakeoff)
        assert form.begun.candidates == ["ollama:vault-judge", "ollama:judge:qwen3-4b-61"]


@pytest.mark.parametrize("size", [(120, 40), (80, 24)], ids=["120x40", "80x24"])
def test_the_look_of_the_evidence(snap_compare: Compare, tmp_path: Path, size: tuple[int, int]) -> None:
    app = ConsoleApp(Home(tmp_path / "home").create(), shipped, live=False)
    app.theme = DARK.name
    app.context.snapshot = moment()

    async def shown(pilot: Pilot[None]) -> None:
        await looked_at(pilot, "cannot_tell")

    assert snap_compare(app, run_before=shown, terminal_size=size)
