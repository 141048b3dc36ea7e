"""What a recipe adds to the data: answered examples in front, and the bare form of the answers."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.checks import build
from core.config.project import shipped
from core.config.recipe import FewShot, Recipe
from core.config.task import Task
from core.data.augment import augment
from core.data.examples import Example, Message, load_examples
from core.data.forms import forms
from core.data.render import FittedExample, fit, render_example
from core.data.skeletons import REQUESTS
from tests.support.depth import example_count
from tests.support.tokenizers import byte_level

TASK = Task(name="judge", system="You grade notes.")
SYSTEM = Message("system", "You grade notes.")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return byte_level()


def recipe(**options: Any) -> Recipe:
    return Recipe(
        name="r", method="lora", rank=4, alpha=8, epochs=1, batch_size=1, lr=1e-3, **{"max_length": 512} | options
    )


def item(number: int, text: str | None = None, **more: Any) -> Example:
    messages = (SYSTEM, Message("user", text or f"note {number}"))
    return Example(messages, f"VERDICT: {number}", number, "data.jsonl", **more)


def turns(example: Example) -> list[tuple[str, str]]:
    """The answered turns in front of the last user message."""
    own = [message.content for message in example.messages if message.role != "system"]
    return list(zip(own[:-1:2], own[1:-1:2], strict=True))


def grown(examples: Sequence[Example], tokenizer: Any, **options: Any) -> tuple[list[Example], Any]:
    return augment(examples, TASK, recipe(**options), tokenizer)


def test_without_options_nothing_changes(tokenizer: Any) -> None:
    examples = [item(number) for number in range(1, 6)]
    assert grown(examples, tokenizer)[0] == examples


def test_a_share_of_the_examples_gets_others_in_front_and_keeps_its_own_answer(tokenizer: Any) -> None:
    examples = [item(number) for number in range(1, 21)]
    result, report = grown(examples, tokenizer, few_shot=FewShot(count=3, share=0.25))
    changed = [(old, new) for old, new in zip(examples, result, strict=True) if old != new]
    assert len(changed) == report.few_shot_chosen == report.few_shot_full == 5
    answers = {example.last_user: example.completion for example in examples}
    for old, new in changed:
        assert (new.messages[0], new.messages[-1], new.completion) == (SYSTEM, old.messages[-1], old.completion)
        assert len(turns(new)) == 3 and len(set(turns(new))) == 3
        assert all(answers[question] == answer and question != old.last_user for question, answer in turns(new))


def test_the_loss_stays_on_the_last_turn(tokenizer: Any) -> None:
    examples = [item(number) for number in range(1, 6)]
    result, _ = grown(examples, tokenizer, few_shot=FewShot(count=2, share=1))
    for old, new in zip(examples, result, strict=True):
        before, after = (render_example(tokenizer, example, "off") for example in (old, new))
        assert after.completion_ids == before.completion_ids
        context = tokenizer.decode(after.prompt_ids)
        assert all(f"assistant\n{answer}<|im_end|>" in context for _, answer in turns(new))
        assert f"assistant\n{new.completion}" not in context


def test_neither_itself_nor_a_duplicate_nor_its_line_or_source_stands_in_front(tokenizer: Any) -> None:
    examples = [
        item(1, "the same note"),
        item(2, "The same — NOTE!"),
        item(3, "one of a pair", source="book"),
        item(4, "the other of a pair", source="book"),
        replace(item(5, "first turn"), completion="a"),
        replace(item(5, "second turn"), completion="b"),
        replace(item(6, "rude"), messages=(Message("system", "You are rude."), Message("user", "rude"))),
        item(7, "free"),
    ]
    result, report = grown(examples, tokenizer, few_shot=FewShot(count=16, share=1))
    in_front = [{question for question, _ in turns(example)} for example in result]
    for places in ((0, 1), (2, 3), (4, 5)):
        inputs = {examples[place].last_user for place in places}
        for place in places:
            assert not in_front[place] & inputs and "free" in in_front[place]
    assert in_front[6] == set() and all("rude" not in found for found in in_front)
    # Of two that are the same, only one stands in front of a third.
    assert len(in_front[7] & {"the same note", "The same — NOTE!"}) == 1
    assert (report.few_shot_full, report.few_shot_fewer, report.few_shot_none) == (0, 7, 1)


def test_turns_are_put_in_front_only_where_nothing_is_cut_for_them(tokenizer: Any) -> None:
    long = [*(12 * number for number in range(1, 10)), 2000]
    examples = [item(number, f"note {number} " + "word " * words) for number, words in enumerate(long, start=1)]
    limit = 550
    result, report = grown(examples, tokenizer, few_shot=FewShot(count=3, share=1), max_length=limit)
    shots = [len(turns(example)) for example in result]
    assert [shots.count(3), 10 - shots.count(3) - shots.count(0), shots.count(0)] == [
        report.few_shot_full,
        report.few_shot_fewer,
        report.few_shot_none,
    ]
    assert all((report.few_shot_full, report.few_shot_fewer, report.few_shot_none))
    for grown_example, count in zip(result, shots, strict=True):
        if count:
            fitted = fit(render_example(tokenizer, grown_example, "off"), limit)
            assert isinstance(fitted, FittedExample) and fitted.cut_tokens == 0


def test_what_is_drawn_depends_on_seed_and_contents_alone(tokenizer: Any) -> None:
    examples = [item(number) for number in range(1, 31)]
    options = {"few_shot": FewShot(count=2, share=0.5), "skeletons": 4}
    once, report = grown(examples, tokenizer, **options)
    assert (once, report) == grown(examples, tokenizer, **options)
    other, _ = grown(examples, tokenizer, **options, seed=1)
    assert other[:30] != once[:30] and other[30:] != once[30:]
    mixed = random.Random(3).sample(examples, 30)
    again, same = grown(mixed, tokenizer, **options)
    assert same == report and set(again) == set(once)


@pytest.fixture(scope="module")
def judge() -> tuple[Task, list[Example]]:
    project = shipped()
    task = project.task("judge")
    return task, load_examples(project.train_file(task), task)[0]


def filled(skeleton: str) -> str:
    """A judge skeleton with something in its places."""
    text = re.sub(r"^### … — … \(…/5\)$", "### x — PASS (4.2/5)", skeleton, flags=re.MULTILINE)
    text = re.sub(r"^(\| \w+ \|) … \| … \|$", r"\1 4 | Plain words |", text, flags=re.MULTILINE)
    return text.replace("… pass, … fail", "1 pass, 0 fail")


def test_the_judges_skeletons_are_its_form(tokenizer: Any, judge: tuple[Task, list[Example]]) -> None:
    task, examples = judge
    made, report = augment(examples, task, recipe(skeletons=6, max_length=4096), tokenizer)
    skeletons = made[len(examples) :]
    assert (len(skeletons), report.skeletons, report.skeletons_why) == (6, 6, "")
    notes = [skeleton.completion.count("### ") for skeleton in skeletons]
    assert sorted(set(notes)) == [1, 2, 3]  # a note, two and three of them are three forms
    for skeleton, count in zip(skeletons, notes, strict=True):
        assert skeleton.messages[0].content == task.system and skeleton.line == 0
        assert skeleton.last_user.count("note: …") == count
        scores = {
            check.id or check.check: build(check).score(skeleton.completion, {"notes": count}).value
            for check in task.format
        }
        # What a placeholder can satisfy is satisfied …
        assert scores["table"] == scores["no-preamble"] == 1
        # … and once its places are filled in, so is everything else.
        text = filled(skeleton.completion)
        assert "…" not in text
        for check in task.format:
            assert build(check).score(text, {"notes": count}).value == 1, check


def test_no_skeleton_says_what_an_input_decides(tokenizer: Any, judge: tuple[Task, list[Example]]) -> None:
    task, examples = judge
    made, _ = augment(examples, task, recipe(skeletons=3, max_length=4096), tokenizer)
    for skeleton in made[len(examples) :]:
        assert not re.search(r"PASS|FAIL|\d\.\d|\| \d \|", skeleton.completion)


def test_there_are_no_more_skeletons_than_ways_to_ask(tokenizer: Any, judge: tuple[Task, list[Example]]) -> None:
    task, examples = judge
    made, report = augment(examples, task, recipe(skeletons=64, max_length=4096), tokenizer)
    skeletons = made[len(examples) :]
    assert len(skeletons) == len(set(skeletons)) == report.skeletons == 3 * len(REQUESTS)
    assert "3 forms" in report.skeletons_why


def test_a_skeleton_that_does_not_fit_is_left_out_and_counted(
    tokenizer: Any, judge: tuple[Task, list[Example]]
) -> None:
    task, examples = judge
    long = augment(examples, task, recipe(skeletons=3, max_length=4096), tokenizer)[0][len(examples) :]
    sizes = sorted(render_example(tokenizer, example, "off").tokens for example in long)
    made, report = augment(examples, task, recipe(skeletons=3, max_length=sizes[0]), tokenizer)
    assert len(made) - len(examples) == report.skeletons == 1
    assert report.skeletons_why.startswith("2 do not fit into")


@pytest.mark.parametrize(
    ("completions", "why"),
    [
        (["PASS", "FAIL"] * 4, "no form in common"),
        (["TITLE: a", "TITLE: b"], "no form can be told"),
        (["# A", "T: x\ny", "| a | b |", "- i\n\nprose"], "no form in common"),
    ],
)
def test_where_there_is_no_form_there_is_no_skeleton(tokenizer: Any, completions: list[str], why: str) -> None:
    examples = [replace(item(n), completion=text) for n, text in enumerate(completions, start=1)]
    made, report = grown(examples, tokenizer, skeletons=4)
    assert made == examples and why in report.skeletons_why


def test_a_placeholder_that_the_data_holds_is_not_taken(tokenizer: Any) -> None:
    examples = [replace(item(n), completion=f"TITLE: wait {n} …") for n in range(1, 9)]
    made, _ = grown(examples, tokenizer, skeletons=1)
    assert made[-1].completion == "TITLE: wait […] …" and "[…]" in made[-1].last_user


@pytest.mark.parametrize(
    ("texts", "form"),
    [
        (['{"title": "a b", "price": 3}', '{"title": "c", "price": 14.5}'], '{"title": "…", "price": …}'),
        (["Verdict: yes\nWhy: a reason", "Verdict: no\nWhy: another"], "Verdict: …\nWhy: …"),
        (["## Plan\n- a\n- b\n- c", "## Plan\n- d", "## Plan\n- e f\n- g"], "## Plan\n- …"),
        (["1. **Plan**: do\n2. **Act**: it", "1. **Plan**: read\n2. **Act**: now"], "1. **Plan**: …\n2. **Act**: …"),
        (["Dear Ada,\n\nOne.\n\nTwo.\n\nYours: x", "Dear Bo,\n\nThree!\n\nYours: y"], "Dear …,\n…\n\nYours: …"),
        (["```sql\nSELECT a\n```", "```sql\nSELECT b, c\n```"], "```sql\nSELECT …\n```"),
    ],
)
def test_a_form_is_what_all_texts_share(texts: list[str], form: str) -> None:
    assert [found.text for found in forms(texts, "…")] == [form]


LINES = st.sampled_from(
    ["# A", "# B c", "| a | 1 |", "| a | 2 |", "|---|---|", "T: x", "T: y z", "- i", "prose, so", "", "{"]
)


@settings(max_examples=example_count(150))
@given(
    st.lists(st.lists(LINES, min_size=1, max_size=5).map("\n".join) | st.text(max_size=40), min_size=1, max_size=8),
    st.randoms(),
)
@example(["# A", "# A", "| a | 2 |\n| a | 1 |\n# A", "", "| a | 2 |\n# A"], random.Random(0))
def test_every_fixed_part_of_a_form_stands_in_each_text_that_has_it(texts: list[str], rng: random.Random) -> None:
    found = forms(texts, "…")
    for form in found:
        assert len(form.members) >= 2
        # A line without a name stands for any number of its kind, so only what is within a line stands in one piece.
        parts = [re.sub(r"\s", "", part) for part in re.split(r"…|\n", form.text)]
        for member in form.members:
            rest = re.sub(r"\s", "", texts[member])
            for part in filter(None, parts):
                _, stands, rest = rest.partition(part)
                assert stands == part
    mixed = rng.sample(texts, len(texts))
    assert [(form.text, form.share) for form in forms(mixed, "…")] == [(form.text, form.share) for form in found]
