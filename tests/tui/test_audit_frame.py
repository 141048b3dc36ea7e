"""What the model will see: the audit as the form shows it, and the real one of the small model."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import Input

from core.config.project import shipped
from core.data.audit import Audit, LengthRow, Piece, ShownExample
from core.data.examples import Example, Message
from core.data.leaks import Leak
from core.data.text_faults import TextFinding
from core.home import Home
from core.reasons import Reason
from core.submission.gates import lengths_around
from tests.support.depth import at_most
from tests.train.conftest import model_cache  # noqa: F401 - a fixture
from tests.tui.conftest import Opened, seen, text_of
from tests.tui.scene import scene
from tests.tui.test_newrun import choose, form
from tui.app import ConsoleApp
from tui.queries.audit import AuditQuery, see
from tui.queries.catalogue import Lesson, earlier
from tui.screens.new_run import NewRun
from tui.screens.new_run.seen import audit_rows, character_rows, example_rows, part


def rows() -> tuple[LengthRow, ...]:
    return tuple(
        LengthRow(length, 100 - cut - skipped, cut, skipped, 0.71, 0, 0)
        for length, cut, skipped in ((1024, 54, 15), (1536, 20, 2), (2048, 4, 0), (3072, 0, 0))
    )


def audit(**changes: object) -> Audit:
    made = Audit(
        task="judge",
        model="Qwen3-8B",
        recipe="qlora-hqq4",
        examples=100,
        lines=100,
        duplicate_lines=(),
        leaks=(),
        golden=36,
        further_keys={},
        completion_median=612,
        completion_p90=1090,
        completion_max=1400,
        prompt_median=250,
        prompt_p90=300,
        prompt_max=900,
        ratio=0.4,
        loss_share=0.7,
        max_length=2048,
        max_skipped=0.2,
        rows=rows(),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


EXAMPLE = ShownExample(
    index=7,
    line=9,
    state="cut",
    cut_tokens=210,
    prompt_tokens=1400,
    completion_tokens=610,
    pieces=(
        Piece("<|im_start|>user\nTea ceremonies of the north" + " and of the south" * 20, loss=False),
        Piece("… −210 tokens …", loss=False, mark=True),
        Piece(" and their end." * 30 + "<|im_end|>\n<|im_start|>assistant\n", loss=False),
        Piece("### tea-ceremonies — PASS (4.2/5)\n\n| Criterion |\n" * 8 + "<|im_end|>", loss=True),
    ),
)


def plain(found: Audit, width: int = 116) -> list[str]:
    return [row.plain for row in audit_rows(found, width)]


def test_the_table_has_a_column_for_each_length() -> None:
    said = plain(audit())
    assert said[0].split() == ["max", "length", "1,024", "1,536", "2,048", "3,072"]
    assert said[1].split() == ["whole", *["31", "%", "78", "%", "96", "%", "100", "%"]]
    assert said[2].split()[5:] == ["54", "%", "20", "%", "4", "%", "0", "%"]
    assert said[3].split() == ["skipped", *["15", "%", "2", "%", "0", "%", "0", "%"]]
    assert "answers: median 612, 90 % below 1,090, longest 1,400 tokens; 71 % of all tokens carry loss" in said[4]
    assert len(said) == 5, "of data that is in order nothing further is said"


def test_a_narrow_frame_keeps_the_length_of_the_run() -> None:
    for width in (40, 50, 60):
        assert "2,048" in plain(audit(), width)[0]
        assert all(row.width <= width for row in audit_rows(audit(), width))


def test_little_is_not_nothing_and_much_is_not_all() -> None:
    assert [part(*pair) for pair in ((0, 900), (1, 900), (899, 900), (900, 900), (0, 0))] == [
        "0 %",
        "<1 %",
        ">99 %",
        "100 %",
        "—",
    ]


def test_what_is_wrong_with_the_data_is_said_first_what_stops_a_training() -> None:
    leaky = audit(leaks=(Leak(line=12, file="judge.jsonl", golden_id="tea", kind="equal"),), duplicate_lines=(3, 4))
    said = " ".join(plain(leaky))
    assert "✗ 1 leak: line 12 is the golden input `tea`; 2 examples repeat an earlier one" in said
    refused = audit(max_length=1024, max_skipped=0.1)
    assert "✗ refused: more than 10 % would be skipped (max_skipped)" in " ".join(plain(refused))
    assert "▲ further keys ignored: source" in " ".join(plain(audit(further_keys={"source": 3})))


def test_what_the_proof_of_the_template_found_is_said_what_is_refused_first() -> None:
    told = TextFinding(Reason("control_in_message", {"role": "user", "sign": "<|im_end|>"}), (4,), 1)
    refused = TextFinding(Reason("thoughts_while_off", {"sign": "<think>"}), (7, 9), 2)
    said = " ".join(plain(audit(texts=(refused, told), template=(Reason("list_contents"),))))
    assert "✗ refused: the completion holds thoughts (`<think>`), and the task has `thinking: off` (lines 7, 9)" in said
    assert "remove the thoughts, or set `thinking: on` in the task; a user message holds `<|im_end|>`" in said
    short = [row.plain for row in audit_rows(audit(texts=(refused, told) * 9), 76, most=3)]
    assert len(short) == 5 + 3 and short[-1].endswith("… all of it: bakehouse audit") and max(map(len, short)) <= 76
    assert "▲ the chat template takes messages as lists" in " ".join(plain(audit(template=(Reason("list_contents"),))))


@pytest.mark.parametrize(("width", "height"), [(116, 12), (76, 6), (76, 4), (40, 20)])
def test_an_example_shows_the_cut_and_what_carries_loss(width: int, height: int) -> None:
    found = example_rows(EXAMPLE, width, height)
    assert len(found) <= height and all(row.width <= width for row in found)
    assert "line 9" in found[0].plain
    learnt = [row for row in found if any(role == "good" for _, role in row.pieces)]
    assert learnt and "learnt" in learnt[0].plain and "### tea-ceremonies" in learnt[0].plain
    if height >= 6:
        assert any("−210 tokens" in row.plain for row in found)
        assert "prompt cut by 210 tokens" in found[0].plain or width < 60


def test_lengths_to_compare_with_lie_around_the_one_asked_for() -> None:
    assert lengths_around(2048) == [1024, 1536, 2048, 3072]
    assert lengths_around(100) == [48, 80, 100, 144]
    assert lengths_around(16) == [16, 32] or 16 in lengths_around(16)


def test_an_audit_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    absent = see(home, shipped, AuditQuery("judge", "Qwen3-4B", "lora-bf16", 2048))
    assert absent.audit is None and absent.why.startswith("tokens are counted once Qwen3-4B is on the disk: bakehouse")
    unknown = see(home, shipped, AuditQuery("nobody", "Qwen3-4B", "lora-bf16", 2048))
    assert "tokens are not counted" in unknown.why and "nobody" in unknown.why


async def test_without_a_tokenizer_the_view_by_characters_stays(console: Opened) -> None:
    async with console() as pilot:
        await form(pilot)
        await seen(pilot, lambda: "is on the disk: bakehouse models pull" in text_of(pilot, "#lesson"), "why")
        lesson = text_of(pilot, "#lesson")
        assert "answers: median 272 characters" in lesson and "example 1 of 71" in lesson
        await pilot.press("pagedown")
        assert "example 2 of 71" in text_of(pilot, "#lesson")


@pytest.mark.train
@pytest.mark.timed
async def test_the_audit_of_the_small_model_comes_while_one_types(tmp_path: Path, model_cache: Path) -> None:  # noqa: F811
    home = tmp_path / "home"
    home.mkdir()
    (home / "cache").symlink_to(model_cache)
    app = ConsoleApp(Home(home).create(), shipped, live=False)
    async with app.run_test(size=(120, 40)) as pilot:
        app.show(scene(with_gpu=False, jobs=()))
        screen = await form(pilot)
        choose(screen, "model", "SmolLM2-135M")
        choose(screen, "recipe", "demo")
        length = screen.query_one("#max_length", Input)
        await pilot.pause()
        length.value = "300"
        began = time.monotonic()
        await pilot.press("tab")
        assert time.monotonic() - began < at_most(1.0), "the form goes on while tokens are counted"
        assert "counting tokens …" in text_of(pilot, "#lesson")
        await seen(pilot, lambda: "384" not in head(screen) and " 300" in head(screen), "the audit at 300")
        lesson = text_of(pilot, "#lesson")
        assert "<|im_start|>" in lesson and re.search(r"… −\d+ tokens …", lesson), lesson
        length.value = "768"
        await seen(pilot, lambda: "1,152" in head(screen), "the audit at 768")
        assert "cut by" not in text_of(pilot, "#lesson")


def head(screen: NewRun) -> str:
    """The row of the lengths."""
    lines = screen.query_one("#lesson").text.splitlines()  # type: ignore[attr-defined]
    return next((line for line in lines if "max length" in line), "")


@pytest.mark.parametrize(
    ("turns", "said"), [(1, ""), (2, "2 messages of the conversation before it"), (4, "6 messages of the conversation")]
)
def test_without_a_tokenizer_the_turns_before_a_question_are_counted(turns: int, said: str) -> None:
    """The frame is called "what the model will see": a last question alone would pass for all of it."""
    talk = [Message("system", "s")]
    for number in range(turns):
        talk += [Message("user", f"q{number}"), Message("assistant", f"a{number}")]
    example = Example(tuple(talk[:-1]), talk[-1].content, 1, "x.jsonl")
    lesson = Lesson(1, 2, 2, 0, 1, ((example.last_user, example.completion, earlier(example)),))
    rows = [row.plain for row in character_rows(lesson, 0, 60, 12)]
    assert any(said in row for row in rows) and any(f"q{turns - 1}" in row for row in rows)
    assert ("before it" in " ".join(rows)) == bool(said)
