"""A form answers whatever is typed: a line at the field, the words of the command line, and a console that lives."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from textual import events

from core.cli.train import RecipeNumber
from core.config.overrides import override, typed_value
from core.config.project import shipped
from core.errors import InputError
from core.home import Home
from tests.support.depth import example_count
from tests.support.hostile import texts
from tests.tui.conftest import Opened, keys_of, seen, text_of
from tests.tui.scene import scene
from tests.tui.test_newrun import form
from tui.app import ConsoleApp
from tui.queries import background_queries
from tui.queries.catalogue import Catalogue, read_catalogue
from tui.queries.failures import failure_line
from tui.screens.new_run import NewRun
from tui.screens.new_run.fields import AS_WRITTEN, LABELS, NUMBERS, checked, note, note_rows, row_of
from tui.screens.plan import PlanScreen
from tui.widgets.text_field import TextField

# fmt: off
ODD = [
    "inf", "-inf", ".inf", "nan", ".NaN", "1e999", "-0", "-0.0", "5e-324", "1e-400", "0x7fffffffffffffff", "0o17", "１２", "٣",
    "Ⅻ", "½", "1_000", "1,000", "1.5e", "+", "--3", "1e5", "~", "null", "true", "16777216", "16777217", "4096", "4097", "1000",
    "1000.0000001", "0.9999999", "1", "9" * 5000, "1 000", "", " ",
]
# fmt: on
NUMERALS = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.integers(min_value=10**300, max_value=10**310).map(str),
    st.sampled_from(ODD),
)
typed = st.one_of(NUMERALS, texts)
"""What can stand in a field: numbers that are extreme, none, or written otherwise, and any text."""


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    return read_catalogue(Home(tmp_path_factory.mktemp("home")).create(), shipped())


def refusal(act: Callable[[], object]) -> str | None:
    try:
        act()
    except InputError as error:
        return error.message
    return None


@settings(max_examples=example_count(300), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.dictionaries(st.sampled_from(NUMBERS), typed), recipe=st.sampled_from(["demo", "lora-bf16"]))
@example(values={"epochs": "inf"}, recipe="demo")
@example(values={"epochs": "1e999", "lr": ".nan"}, recipe="lora-bf16")
@example(values={"max_length": "9" * 400, "batch_size": "9" * 5000}, recipe="demo")
def test_whatever_stands_in_the_fields_is_answered(catalogue: Catalogue, values: dict[str, str], recipe: str) -> None:
    base = catalogue.recipe_objects[recipe]
    numbers = {key: f"{getattr(base, key):g}" for key in NUMBERS} | values
    made = checked(catalogue, "judge", "SmolLM2-135M", recipe, AS_WRITTEN, numbers)
    for key in LABELS:
        rows = note_rows(key, made, note(key, made, catalogue, None), 40)
        wrong = [name for name in made.problems if row_of(name) == key]
        assert all(row.width <= 40 for row in rows) and bool(wrong) == (rows[:1] != [] and "✗" in rows[0].plain)
    assert (made.made is None) == bool(set(made.problems) & set(NUMBERS))
    if made.made is not None:
        assert override(base, made.changed) == made.made
        assert (catalogue.steps("judge", made.made) or 0) >= 1


@settings(max_examples=example_count(400))
@given(key=st.sampled_from(NUMBERS), text=typed)
@example(key="rank", text="１２")
@example(key="rank", text="1_0")
@example(key="epochs", text="infinity")
@example(key="lr", text="-0")
def test_the_command_line_refuses_what_the_form_refuses_in_its_words(key: str, text: str) -> None:
    by_command = refusal(lambda: RecipeNumber(key).convert(text, None, None))
    by_form = refusal(lambda: typed_value(key, text))
    assert by_command == by_form
    if by_form is None:
        value = typed_value(key, text)
        assert typed_value(key, f"{value}") == value, "the command under the form means the same"


@pytest.mark.parametrize("option", [f"--{key.replace('_', '-')}" for key in NUMBERS])
def test_the_command_has_an_option_for_each_number(option: str) -> None:
    from core.cli.train import train

    context = click.Context(train)
    with pytest.raises(InputError, match=r"Must be|Enter a"):
        train.parse_args(context, ["judge", "--model", "m", option, "-1e999"])


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("rank", "", "Enter a whole number"),
        ("rank", "2.5", "Enter a whole number"),
        ("rank", "0", "Must be at least 1"),
        ("rank", "5000", "Must be at most 4,096"),
        ("epochs", "nan", "Enter a number"),
        ("epochs", ".nan", "Enter a finite number"),
        ("epochs", "-0", "Must be above 0"),
        ("lr", "1", "Must be below 1"),
        ("max_length", "12", "Must be at least 16"),
        ("batch_size", "９", "Enter a whole number"),
        ("accumulation", "1e6", "Enter a whole number"),
    ],
)
async def test_a_field_says_in_a_line_what_it_wants(console: Opened, key: str, text: str, said: str) -> None:
    async with console() as pilot:
        screen = await form(pilot)
        screen.query_one(f"#{key}", TextField).value = text
        await pilot.pause()
        assert said in text_of(pilot, f"#note-{row_of(key)}") and "queue it" not in keys_of(pilot)
        await pilot.press("enter")
        await pilot.pause()
        assert pilot.app.screen is screen and screen.query_one(f"#{key}").has_focus


FIELDS = [("n", key) for key in NUMBERS] + [("slash", "filter"), ("colon", "palette")]
FIELDS += [("t", key) for key in ("path", "name", "prompt", "answer", "held")]


# A console is slow to shrink with: what failed is printed whole.
@settings(max_examples=example_count(4), deadline=None, phases=[Phase.explicit, Phase.generate])
@given(entries=st.lists(st.tuples(st.sampled_from(FIELDS), typed, st.booleans()), min_size=1, max_size=4))
def test_any_text_in_any_field_leaves_the_console_alive(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[tuple[str, str], str, bool]]
) -> None:
    """Typed key by key, or pasted, into each field of the console there is; then ⏎, then away."""

    async def tried() -> None:
        app = ConsoleApp(Home(tmp_path_factory.mktemp("home")).create(), shipped, live=False)
        async with app.run_test(size=(100, 30)) as pilot:
            app.show(scene())
            for (key, field), text, pasted in entries:
                await pilot.press(key)
                if field in NUMBERS:
                    screen = app.screen
                    assert isinstance(screen, NewRun)
                    await seen(pilot, lambda screen=screen: screen.takes_keys, "the project")
                    screen.query_one(f"#{field}").focus()
                elif key == "t":
                    await seen(pilot, partial(takes_keys, app.screen), "the form of a new task")
                    app.screen.query_one(f"#{field}").focus()
                await pilot.pause()
                send(app, text, pasted)
                await pilot.pause()
                if field in NUMBERS:
                    assert app.screen is screen
                    value = screen.query_one(f"#{field}", TextField).value
                    await seen(pilot, partial(reads, screen, field, value), "what is typed")
                await pilot.press("escape")
                await pilot.pause()
                while len(app.screen_stack) > 1:
                    app.pop_screen()
                    await pilot.pause()
                if app.screen.query_one("#filter").display:
                    await pilot.press("enter")
            assert app.is_running

    asyncio.run(tried())


def takes_keys(screen: Any) -> bool:
    return bool(screen.takes_keys)


def reads(screen: NewRun, field: str, value: str) -> bool:
    return screen.form.numbers[field] == value


def send(app: ConsoleApp, text: str, pasted: bool) -> None:
    """As a terminal gives it to Textual. What has a meaning of its own on the screen (⏎, esc) is left out of what is typed."""
    if pasted:
        app.post_message(events.Paste(text))
        return
    for letter in text[:40]:
        if letter not in "\r\n\x1b\x11\x03":
            app.post_message(events.Key(letter, letter))


class OddError(Exception):
    """A failure that nobody expected."""


@pytest.mark.parametrize(
    "broken", [OddError("of a kind\nof its own \x1b[2J"), RecursionError(), MemoryError("no more")]
)
async def test_a_question_that_fails_is_one_line_in_the_form(
    console: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: Exception
) -> None:
    def fail(*_: object) -> None:
        raise broken

    monkeypatch.setenv("BAKEHOUSE_HOME", str(tmp_path))
    monkeypatch.setattr(background_queries, "look", fail)
    monkeypatch.setattr(background_queries, "see", fail)
    async with console() as pilot:
        screen = await form(pilot)
        assert type(broken).__name__ in text_of(pilot, "#memory")
        await seen(pilot, lambda: screen.seen is not None, "the audit's failure")
        assert type(broken).__name__ in text_of(pilot, "#lesson")
        screen.query_one("#rank", TextField).value = "7"
        await seen(pilot, lambda: "--rank 7" in text_of(pilot, "#command"), "that the form goes on")


@pytest.mark.parametrize("name", ["read_catalogue", "make_plan"])
async def test_a_plan_that_fails_is_one_line(
    console: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("BAKEHOUSE_HOME", str(tmp_path))

    def fail(*_: object) -> None:
        raise OddError("nothing")

    monkeypatch.setattr(background_queries, name, fail)
    async with console() as pilot:
        await pilot.press("p")
        await seen(pilot, lambda: "internal error, OddError" in text_of(pilot, "#command"), "the failure")
        assert isinstance(pilot.app.screen, PlanScreen)
        await pilot.press("escape")
        await seen(pilot, lambda: len(pilot.app.screen_stack) == 1, "the dashboard")


def test_what_was_expected_speaks_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKEHOUSE_HOME", str(tmp_path))
    assert failure_line(sqlite3.OperationalError("disk I/O error")) == "disk I/O error"
    assert failure_line(InputError("no such file", file=Path("x"))) == "x: no such file"
    assert not (tmp_path / "crashes").exists()
    told = failure_line(OverflowError("too large"))
    assert told.startswith("internal error, OverflowError: too large; details: ")
    assert "OverflowError: too large" in Path(told.rpartition(": ")[2]).read_text()
    assert "\n" not in failure_line(ValueError("a\nb\x1b[2J"))


async def test_the_text_of_a_field_is_selected_with_the_focus(console: Opened) -> None:
    async with console() as pilot:
        screen = await form(pilot)
        for key, keys in (("rank", "64"), ("epochs", "3"), ("lr", "2e-4"), ("batch_size", "4"), ("accumulation", "2")):
            screen.query_one(f"#{key}").focus()
            await pilot.pause()
            await pilot.press(*keys)
            assert screen.query_one(f"#{key}", TextField).value == keys
        await pilot.pause()
        assert screen.form.command.endswith("--rank 64 --epochs 3 --lr 0.0002 --batch-size 4 --accumulation 2")
