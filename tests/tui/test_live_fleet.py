"""The fleet by keys alone, with a real runner at a stand-in of Ollama: adopted, promoted against its gate, rolled back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.conftest import machine, queue
from tests.support.queueing import Queue
from tests.support.real_fleet import RealFleet, real_fleet
from tests.tui.conftest import keys_of, seen, text_of
from tests.tui.live import opened
from tui.screens.adopt import AdoptScreen
from tui.screens.confirm import Confirm
from tui.screens.fleet_task import FleetTaskScreen
from tui.screens.promotion import PromotionScreen

__all__ = ["machine", "queue"]

pytestmark = pytest.mark.process


@pytest.fixture
def fleet(queue: Queue, machine: Path) -> Iterator[RealFleet]:
    with real_fleet(queue, machine) as made:
        yield made


async def test_a_model_is_adopted_promoted_for_a_reason_and_rolled_back_by_keys(fleet: RealFleet) -> None:
    async with opened(fleet.home) as pilot:
        await pilot.press("1", "A")
        adopt = pilot.app.screen
        assert isinstance(adopt, AdoptScreen)
        await seen(pilot, lambda: len(adopt.models) == 3, "what Ollama has")
        assert "guess" not in text_of(pilot, "#found"), (
            "three are named for one task: which is meant is a person's to say"
        )
        await pilot.press("t", "G", "l")
        for _ in adopt.tasks:  # until it is the one that is meant
            if [adopt.given[one.reference] for one in adopt.wanted] != ["judge"]:
                await pilot.press("l")
        assert [(one.name, adopt.given[one.reference]) for one in adopt.wanted] == [("judge", "judge")]
        await pilot.press("enter")
        await seen(pilot, lambda: isinstance(pilot.app.screen, Confirm), "the offer of a bake-off")
        await pilot.press("escape", "escape")
        await seen(pilot, lambda: "◌ judge" in text_of(pilot, "#fleet"), "the task of the fleet")

        await pilot.press("u")
        promotion = pilot.app.screen
        assert isinstance(promotion, PromotionScreen)
        await seen(pilot, lambda: promotion.candidates == (), "no deployment is a candidate")
        await pilot.press("w", *"judge-4b", "enter")
        await seen(pilot, lambda: promotion.evidence is not None, "the evidence")
        assert promotion.evidence is not None and promotion.evidence.gate.outcome == "cannot_tell"
        assert "no bake-off that is done measured what serves" in " ".join(text_of(pilot, "#rows").split())
        await pilot.press("enter", *"half the size", "enter", "y")
        await seen(pilot, lambda: promotion.ended is not None or promotion.problem, "the end of the promotion")
        assert "judge is the candidate now" in text_of(pilot, "#rows")
        fleet.check("judge")

        await pilot.press("escape")
        await seen(pilot, lambda: "R roll back" in keys_of(pilot), "the way back")
        await pilot.press("R", "y")
        await seen(pilot, lambda: (one := fleet.current("judge")) is not None and one.number == 1, "the former model")
        fleet.settle()
        fleet.check("judge")
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, FleetTaskScreen)
        history = lambda: " ".join(text_of(pilot, "#rows").replace("│", " ").split())  # noqa: E731
        await seen(pilot, lambda: "went back to version 1" in history(), "the history")
        assert "overridden: half the size" in history() and "was taken in as it was" in history()
