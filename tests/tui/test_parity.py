"""A parity check in the console: asked for by a key, and read prompt by prompt where the job is opened."""

from __future__ import annotations

from typing import Any

import pytest

from core.store.jobs import JobRow
from tests.tui.conftest import Opened, text_of
from tests.tui.scene import NOW, job, scene
from tui import actions
from tui.model.snapshot import Detail
from tui.screens.job import JobScreen
from tui.widgets.parity_rows import parity_rows

SAME = {"name": "plain", "thinking": "off", "same": True, "tokens": 31}
OTHER = {
    "name": "several turns",
    "thinking": "off",
    "same": False,
    "tokens": 48,
    "served_tokens": 44,
    "first_difference": 43,
    "cause": {"code": "thinking_differs", "values": {"trained": "<think>\n\n</think>\n\n", "served": ""}},
    "before": "<|im_start|>assistant\n",
    "trained": "<think>\n\n</think>\n\n",
    "served": "",
}
REFUSED: dict[str, Any] = {"passed": False, "cases": [SAME, OTHER], "findings": []}
PASSED: dict[str, Any] = {
    "passed": True,
    "cases": [SAME],
    "findings": [{"code": "answer_not_ended", "values": {"tokens": 16}}],
}


def rows(document: dict[str, Any], width: int = 100) -> str:
    return "\n".join(row.plain for row in parity_rows(document, width))


def test_a_difference_shows_both_prompts_from_the_first_token_that_differs() -> None:
    shown = rows(REFUSED)
    assert "✗ 1 of 2 prompts differ" in shown and "✓ plain" in shown
    assert "differs from token 44 on" in shown and "trained 48 tokens, served 44" in shown
    assert "trained  <|im_start|>assistant⏎<think>⏎⏎</think>⏎⏎" in shown
    assert "served   <|im_start|>assistant⏎(nothing)" in shown
    marked = [text for row in parity_rows(REFUSED, 100) for text, role in row.pieces if role == "chosen bold"]
    assert marked == ["<think>", "(nothing)"], "one sign of the frame is marked, and not all that follows"


def test_a_cause_of_many_prompts_is_told_once_with_its_remedy_before_the_prompts() -> None:
    others = [{**OTHER, "name": f"golden input {number}"} for number in range(5)]
    last = {**OTHER, "name": "last", "cause": {"code": "system_dropped", "values": {}}}
    shown = rows({**REFUSED, "cases": [SAME, last, *others]}, 160)
    assert shown.count("Thinking is rendered in another way") == 1 and "· 5 prompts" in shown and "· 1 prompt" in shown
    assert shown.index("· 5 prompts") < shown.index("· 1 prompt") < shown.index("→ ") < shown.index("✗ last")
    assert shown.count("→ ") == 2, "each cause has its own remedy"
    assert "bakehouse export" not in shown, "no job is known that made the file"
    assert "`bakehouse export 3 --to gguf --again`" in rows({**REFUSED, "made_from": 3}, 160)
    assert all(f"✗ golden input {number}" in shown for number in range(5))


def test_where_texts_are_alike_the_tokens_are_shown() -> None:
    alike = {"before": "Hello", "trained": "", "served": "", "cause": {"code": "added_bos", "values": {}}}
    there = {"trained_tokens_there": [9707, 11, 5], "served_tokens_there": [1, 9707, 11], "first_difference": 0}
    shown = rows({**REFUSED, "cases": [{**OTHER, **alike, **there}]})
    assert "trained  token ids 9707 11 5" in shown and "served   token ids 1 9707 11" in shown


def test_what_is_told_beside_equal_prompts_is_shown_without_a_remedy() -> None:
    shown = rows(PASSED)
    assert shown.startswith("✓ 1 prompt: the trained ones, token by token")
    assert "limit of 16 tokens" in shown and "→" not in shown


@pytest.mark.parametrize("width", [20, 36, 76, 200])
@pytest.mark.parametrize("document", [{}, REFUSED, PASSED])
def test_no_row_is_wider_than_its_room(document: dict[str, Any], width: int) -> None:
    assert all(row.cut(width).width <= width for row in parity_rows(document, width))


def test_blanks_and_line_feeds_at_the_ends_are_seen() -> None:
    other = {**OTHER, "trained": "\n  ", "served": "\n", "cause": {"code": "whitespace_differs", "values": {}}}
    shown = rows({**REFUSED, "cases": [other]})
    assert "assistant⏎⏎··" in shown


async def test_a_key_asks_for_a_check_of_the_selected_file(console: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(actions, "check_parity", lambda context, source: asked.append(source))
    made: tuple[JobRow, ...] = (job(9, "done", "GGUF Q8_0 · judge · m", kind="quantize", task="judge", ended_at=NOW),)
    async with console(scene(jobs=made), size=(120, 40)) as pilot:
        await pilot.press("3", "y")
        assert asked == ["job:9"]


async def test_the_job_opens_on_what_was_found(console: Opened) -> None:
    refused = job(12, "failed", "parity judge · m", kind="parity", ended_at=NOW)
    async with console(scene(jobs=(refused,), detail=Detail(12, parity=REFUSED)), size=(120, 40)) as pilot:
        await pilot.press("enter")
        screen = pilot.app.screen
        assert isinstance(screen, JobScreen) and screen.tab == "Parity"
        assert "1 of 2 prompts differ" in text_of(pilot, "#rows")
        await pilot.press("tab")
        assert screen.tab == "Log"


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_what_a_check_refused_is_told_until_it_runs_again(console: Opened, size: tuple[int, int]) -> None:
    refused = job(12, "failed", "parity judge · m", kind="parity", ended_at=NOW)
    found = Detail(12, parity=REFUSED)
    async with console(scene(jobs=(refused,), detail=found), size=size) as pilot:
        assert "1 of 2 prompts differ" in text_of(pilot, "#detail")
        again = job(12, "running", "parity judge · m", kind="parity", attempt=2)
        pilot.app.show(scene(jobs=(again,), detail=found))  # type: ignore[attr-defined]
        assert "differ" not in text_of(pilot, "#detail"), "the former attempt's file is still there"
