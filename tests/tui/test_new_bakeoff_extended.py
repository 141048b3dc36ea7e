"""The form of a bake-off that goes on from an ended one: what it was asked with stands there, and what it has is counted."""

from __future__ import annotations

from core.scoring.answers import Answer, append_answer
from core.store.jobs import JobRow
from tests.support.kitchen import GOLDEN, LEARNT, Kitchen, kitchen
from tests.support.stored_bakeoff import stored_answers
from tests.tui.bakeoff_form import console, looked, no_server, read
from tests.tui.conftest import text_of
from tui.screens.new_bakeoff import NewBakeoff

__all__ = ["kitchen", "no_server"]


def former(kitchen: Kitchen) -> JobRow:
    """One candidate, 3 inputs twice, of which one was answered twice and one once."""
    job = kitchen.submit(kitchen.wanted("plain", curtail=True, concurrency=4, incumbent="plain"))
    sample = next(iter(stored_answers())).to_json()
    for item, repeat in (("g0", 1), ("g0", 2), ("g1", 1)):
        place = {
            "candidate": "plain base",
            "task": "bread",
            "input_id": item,
            "repeat": repeat,
            "key": f"{item}{repeat}",
        }
        append_answer(kitchen.home.run_dir(job.id).answers, Answer(**{**sample, **place, "fault": None}))
    kitchen.end(job)
    return job


async def test_what_is_there_is_counted_by_what_is_asked(kitchen: Kitchen) -> None:
    job = former(kitchen)
    async with console(kitchen) as pilot:
        pilot.app.push_screen(NewBakeoff(pilot.app.context, extend=job.id))  # type: ignore[attr-defined]
        await pilot.pause()
        screen = await read(pilot)
        await looked(pilot, screen)
        assert "6 answers in all, up to 3 of them there already" in text_of(pilot, "#outlook")
        kitchen.task("bread", golden=[GOLDEN[0], "Another?"], learnt=LEARNT)
        screen.fields.text("repeats").focus()
        await pilot.press("2")
        await looked(pilot, screen)
        shown = text_of(pilot, "#outlook")
        assert "4 answers in all, up to 2 of them there already" in shown
        assert "the text of the golden input `g1` has changed" in shown
        assert "the golden input `g2` of bake-off 1 is not among the golden inputs any more" in shown


async def test_what_it_was_asked_with_stays_or_is_changed(kitchen: Kitchen) -> None:
    job = former(kitchen)
    async with console(kitchen) as pilot:
        pilot.app.push_screen(NewBakeoff(pilot.app.context, extend=job.id))  # type: ignore[attr-defined]
        await pilot.pause()
        screen = await read(pilot)
        await looked(pilot, screen)
        assert screen.fields.curtails
        assert screen.fields.text("concurrency").placeholder == "4"
        assert screen.fields.text("repeats").placeholder == "2"
        assert screen.wanted.command() == f"bakehouse bakeoff --extend {job.id}"
        assert screen.fields.incumbent == "plain base", "nobody else is measured against without being named"
        screen.fields.choice("curtail").focus()
        await pilot.press("right")
        await looked(pilot, screen)
        assert screen.wanted.command() == f"bakehouse bakeoff --extend {job.id} --no-curtail"
