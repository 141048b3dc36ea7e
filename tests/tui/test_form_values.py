"""What the form shows belongs to what its fields hold, and what was queued from it is offered again."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.home import Home
from tests.support.waiting import PATIENCE_SECONDS
from tests.tui.conftest import Opened, keys_of, seen, text_of
from tests.tui.test_audit_frame import audit
from tests.tui.test_newrun import choose, form
from tui.queries import background_queries
from tui.queries.audit import AuditAnswer
from tui.queries.background_queries import AuditAnswered
from tui.queries.form_values import FormValues, Remembered, recall, remember
from tui.queries.run_forecast import MemoryOutlook, PlanAnswer, RunQuery
from tui.screens.dashboard import Dashboard
from tui.screens.new_run.memory import WAITING, WRONG
from tui.screens.plan import PlanScreen
from tui.widgets.text_field import TextField


class Held:
    """Forecasts that wait at a gate from the second one on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.real = threading.Event(), background_queries.look
        self.open.set()
        monkeypatch.setattr(background_queries, "look", self.look)

    def look(self, home: Home, catalogue: Any, query: RunQuery, *further: Any) -> MemoryOutlook:
        assert self.open.wait(PATIENCE_SECONDS)
        return self.real(home, catalogue, query, *further)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Any:
    found = Held(monkeypatch)
    yield found
    found.open.set()


@pytest.mark.parametrize(("key", "text"), [("max_length", "900000"), ("batch_size", "64"), ("rank", "4000")])
async def test_a_forecast_for_other_values_is_marked_at_once_and_gone_where_there_is_none(
    console: Opened, held: Held, key: str, text: str
) -> None:
    async with console() as pilot:
        screen = await form(pilot)
        await seen(pilot, lambda: "this run" in text_of(pilot, "#memory"), "the forecast")
        assert "on this GPU up to" in text_of(pilot, "#note-rank") and screen.current is not None
        held.open.clear()
        screen.query_one(f"#{key}", TextField).value = text
        await pilot.pause()
        assert screen.current is None and WAITING in text_of(pilot, "#memory")
        assert "on this GPU up to" not in text_of(pilot, "#note-rank") and "F3" not in keys_of(pilot)
        panel = screen.query_one("#memory")
        assert {role for row in panel.rows for _, role in row.pieces} <= {"dim"}  # type: ignore[attr-defined]
        screen.query_one(f"#{key}", TextField).value = "2x"
        await pilot.pause()
        assert WRONG in text_of(pilot, "#memory") and "this run" not in text_of(pilot, "#memory")
        assert "bakehouse train" not in text_of(pilot, "#command")
        held.open.set()
        screen.query_one(f"#{key}", TextField).value = "16"
        await seen(pilot, lambda: screen.current is not None, "the forecast for 16")
        assert screen.answered is not None and screen.answered.changed[key] == 16
        assert WAITING not in text_of(pilot, "#memory")


async def test_a_plan_for_another_budget_is_gone_at_once(console: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, real = threading.Event(), background_queries.make_plan
    opened.set()

    def held_plan(*asked: Any) -> PlanAnswer:
        assert opened.wait(PATIENCE_SECONDS)
        return real(*asked)

    monkeypatch.setattr(background_queries, "make_plan", held_plan)
    async with console() as pilot:
        await pilot.press("p")
        screen = pilot.app.screen
        assert isinstance(screen, PlanScreen)
        await seen(pilot, lambda: screen.row is not None, "the plan")
        for key, words in (("b", "‹ 8 GB ›"), ("l", "‹ 512 ›"), ("B", "this machine")):
            opened.clear()
            await pilot.press(key)
            await pilot.pause()
            assert screen.row is None and "Qwen" not in text_of(pilot, "#plan-table")
            assert words in text_of(pilot, "#asked")
            opened.set()
            await seen(pilot, lambda: screen.row is not None, "the plan for it")


async def test_what_the_length_gate_says_stands_at_the_field_while_it_is_so(console: Opened) -> None:
    async with console() as pilot:
        screen = await form(pilot)
        screen.query_one("#max_length", TextField).value = "20"
        await pilot.pause()
        query = screen.audit_query
        assert query is not None and query.max_length == 20
        answer = AuditAnswer(query, audit(), refused="71 of 71 examples do not fit into 20 tokens")
        screen.post_message(AuditAnswered(query, answer))
        await seen(pilot, lambda: "do not fit into 20 tokens" in text_of(pilot, "#note-max_length"), "the refusal")
        assert not screen.valid and "queue it" not in keys_of(pilot)
        await pilot.press("enter")
        await pilot.pause()
        assert screen.query_one("#max_length").has_focus and not screen.queueing
        await pilot.press(*"640")
        await seen(pilot, lambda: screen.valid, "another length")
        assert "do not fit" not in text_of(pilot, "#note-max_length")


async def test_the_last_values_are_offered_again_and_the_recipe_s_are_a_key_away(
    console: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with console() as pilot:
        home, screen = pilot.app.context.home, await form(pilot)  # type: ignore[attr-defined]
        choose(screen, "recipe", "demo")
        await pilot.pause()
        for key, text in (("rank", "48"), ("lr", "3e-4"), ("accumulation", "4")):
            screen.query_one(f"#{key}", TextField).value = text
        choose(screen, "fit", "auto")
        await pilot.pause()
        command, project = screen.form.command, screen.catalogue.project
        monkeypatch.setattr("core.submission.submit.submit_train", lambda *_, **__: screen.snapshot.jobs[0])
        monkeypatch.setattr("core.attempt.local.LocalLauncher.warning", lambda _: None)
        await pilot.press("enter")
        await seen(pilot, lambda: isinstance(pilot.app.screen, Dashboard), "the dashboard")
        assert recall(home, project).last == "judge"
        again = await form(pilot)
        assert again is not screen and again.form.command == command
        await pilot.press("f4")
        await seen(pilot, lambda: not again.form.changed, "the recipe's values")
        assert again.query_one("#rank", TextField).value == "16" and again.form.recipe == "demo"


values = st.builds(
    FormValues,
    st.text(max_size=8),
    st.text(max_size=8),
    st.dictionaries(st.text(max_size=6), st.one_of(st.integers(), st.text(max_size=5), st.none()), max_size=3),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("ab"), st.text(max_size=4), values), min_size=1, max_size=6))
def test_what_is_kept_comes_back(
    tmp_path_factory: pytest.TempPathFactory, kept: list[tuple[str, str, FormValues]]
) -> None:
    home = Home(tmp_path_factory.mktemp("home"))
    for project, task, one in kept:
        remember(home, project, task, one)
    for name in "ab":
        own = {task: one for project, task, one in kept if project == name}
        last = next((task for project, task, _ in reversed(kept) if project == name), None)
        assert recall(home, name) == Remembered(last, own)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"p": 7}',
        b'{"p": {"judge": []}}',
        b'{"p": {"judge": {"model": 1}}}',
        b"[" * 100_000,
    ],
)
def test_a_torn_file_is_no_error(tmp_path: Path, content: bytes) -> None:
    home = Home(tmp_path)
    home.form_values.write_bytes(content)
    assert recall(home, "p") == Remembered()
    remember(home, "p", "judge", FormValues("m", "r", {"rank": 4}))
    assert recall(home, "p").tasks["judge"].changed == {"rank": 4}
    assert json.loads(home.form_values.read_bytes())["p"]["judge"]["model"] == "m"
