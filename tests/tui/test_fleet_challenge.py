"""A challenge in the morning: which tasks to switch, what it gains, one key each; and the stage of those still on their way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from core.config.project import shipped
from core.errors import InputError
from core.fleet.challenge import ChallengedTask, Side
from core.home import Home
from core.progress import Progress
from core.store.challenges import Challenge, ChallengeTask
from core.store.jobs import State
from core.submission.challenge import ChallengePlan, LeftOut, WantedChallenge
from tests.tui.conftest import Opened, keys_of, seen, text_of
from tests.tui.fleet_scene import fleet
from tests.tui.scene import NOW
from tests.tui.test_chain import failed
from tests.tui.test_fleet import moment
from tests.tui.test_fleet_promotion import gate
from tui.app import ConsoleApp
from tui.screens.chain import ChainScreen
from tui.screens.challenge import ChallengeScreen, StandingChallenge
from tui.screens.promotion import PromotionScreen
from tui.screens.start_challenge import AskChallenge, ChallengeAsked
from tui.theme import DARK

Compare = Callable[..., bool]


def standing() -> StandingChallenge:
    """One to switch, one that nobody can tell of, one whose chain failed, one that was switched."""
    alias = fleet().rows[0].alias
    told = [
        ChallengeTask(name, 3, place, 0.5) for place, name in enumerate(("judge", "planner", "quizzer", "spacer"), 1)
    ]
    old, new = Side("Qwen2.5-7B", 0.42, 8_500_000_000, None, 41.0), Side("Qwen3-4B", 0.98, 4_300_000_000, None, 88.0)
    judge = ChallengedTask(
        told[0], alias, failed(), "done", "job:61", 41, old, new, "format", 0.56, (0.5, 0.62), gate("pass")
    )
    return StandingChallenge(
        Challenge(1, "Qwen3-4B", "vault", "anna@gpubox, console", NOW - 40_000, tuple(told)),
        (
            judge,
            replace(
                judge, told=told[1], candidate="job:62", gate=gate("cannot_tell"), difference=0.0, interval=(-0.1, 0.1)
            ),
            ChallengedTask(told[2], alias, failed(), "stopped"),
            replace(judge, told=told[3], stage="promoted", gate=None),
        ),
    )


async def opened(pilot: Pilot[None]) -> ChallengeScreen:
    await pilot.press("1", "C")
    screen = pilot.app.screen
    assert isinstance(screen, ChallengeScreen)
    screen.post_message(screen.ChallengesRead((standing(),)))
    await pilot.pause()
    return screen


async def test_one_key_leads_from_the_table_to_the_evidence(console: Opened) -> None:
    async with console(moment(chains=(failed(),))) as pilot:
        screen = await opened(pilot)
        shown = text_of(pilot, "#rows")
        assert "Qwen3-4B: 3 of 4 tasks measured, 1 to switch, 1 switched, 1 stopped" in shown
        (judge,) = (line for line in shown.splitlines() if "▸ judge" in line)
        for figure in ("switch", "2.10 → 4.90", "+2.80 [+2.50, +3.10]", "8.5 GB → 4.3 GB", "41 → 88"):
            assert figure in judge
        assert "cannot tell" in shown and "quizzer: " in shown and "could gain 2.50/5" in shown
        why = " ".join(shown.replace("│", " ").split())
        assert "up to 22 % could differ" in why and "fleet promote planner job:62 --dry-run" in why
        await pilot.press("u")
        promotion = pilot.app.screen
        assert isinstance(promotion, PromotionScreen)
        assert (promotion.row.task, promotion.reference, promotion.is_choosing) == ("judge", "job:61", False)
        await pilot.press("escape", "j", "j")
        assert screen.chosen is not None and screen.chosen.task == "spacer", "the measured ones stand together"
        assert "u promote" not in keys_of(pilot), "it serves already"
        await pilot.press("j", "enter")
        assert isinstance(pilot.app.screen, ChainScreen)


async def test_a_new_challenge_shows_what_would_be_queued_first(
    console: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with console(moment()) as pilot:
        screen = await opened(pilot)
        await pilot.press("n")
        dialog = pilot.app.screen
        assert isinstance(dialog, AskChallenge)
        dialog.post_message(dialog.ModelsRead(("Qwen3-4B", "SmolLM2-135M"), ("lora-bf16",)))
        await pilot.pause()
        asked: list[ChallengeAsked] = []
        left = LeftOut("note", InputError("no training is on record", code="no_recipe"))
        plan = ChallengePlan(WantedChallenge("SmolLM2-135M"), (), (left,), None)

        def planned(wanted: ChallengeAsked) -> ChallengeScreen.ChallengePlanned:
            asked.append(wanted)
            return screen.ChallengePlanned(plan)

        monkeypatch.setattr(screen, "_plan", planned)
        await pilot.press("l", "j", "l", "enter")
        await seen(pilot, lambda: screen.plan, "the plan")
        await pilot.pause()
        assert [one.command for one in asked] == ["bakehouse challenge SmolLM2-135M --recipe lora-bf16"]
        shown = text_of(pilot, "#rows")
        assert "note is left out: no training is on record" in shown and "queue them" not in keys_of(pilot)
        await pilot.press("escape")
        assert pilot.app.screen is screen and "to switch" in text_of(pilot, "#rows"), "back to what there is"


async def test_it_is_read_again_for_another_state_and_not_for_each_step_of_a_training(
    console: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with console(moment(chains=(failed(),))) as pilot:
        screen = await opened(pilot)
        read: list[str] = []
        monkeypatch.setattr(screen, "action_read", lambda: read.append("again"))
        monkeypatch.setattr(screen.context, "live", True)
        states: list[tuple[State, float]] = [("running", 0.1), ("running", 0.4), ("done", 1.0)]
        for state, far in states:
            chain = failed()
            links = tuple(
                replace(link, job=replace(link.job, state=state, progress=Progress(done=int(100 * far), total=100)))
                for link in chain.links
            )
            screen.show(moment(chains=(replace(chain, links=links),)))
            await pilot.pause()
            if far == 0.4:
                assert "40 %" in text_of(pilot, "#rows"), "how far a training is stands there without a look"
        assert len(read) == 2


async def test_why_nothing_was_queued_stays_and_the_selected_task_is_in_sight(console: Opened) -> None:
    async with console(moment(), size=(80, 16)) as pilot:
        screen = await opened(pilot)
        screen.post_message(screen.ChallengePlanned(None, "the model is unknown"))
        screen.post_message(screen.ChallengesRead((standing(),)))
        await pilot.pause()
        assert "the model is unknown" in text_of(pilot, "#rows")
        await pilot.press("j", "j", "j")
        assert "▸ quizzer" in text_of(pilot, "#rows")
        await pilot.press("k", "k", "k")
        assert "▸ judge" in text_of(pilot, "#rows") and "gain [95" in text_of(pilot, "#rows")


@pytest.mark.parametrize("size", [(120, 40), (80, 24)], ids=["120x40", "80x24"])
def test_the_look_of_a_challenge(snap_compare: Compare, tmp_path: Path, size: tuple[int, int]) -> None:
    app = ConsoleApp(Home(tmp_path / "home").create(), shipped, live=False)
    app.theme = DARK.name
    app.context.snapshot = moment()

    async def shown(pilot: Pilot[None]) -> None:
        await opened(pilot)

    assert snap_compare(app, run_before=shown, terminal_size=size)
