"""Which examples stand before an input: the same for every candidate, none that is a golden input."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.config.golden import GoldenInput, GoldenMessage
from core.config.task import Sampling, Task
from core.data.examples import Example, Message
from core.errors import InputError
from core.submission.few_shot import example_pool, repeats_golden

TASK = Task(name="t", system="Be good.", sampling=Sampling(context_length=400, max_new_tokens=100))
GOLDEN = [GoldenInput(id="g", input="What is bread made of, and why does it rise so well?")]


def example(user: str, answer: str = "fine", line: int = 50, system: str | None = "Be good.") -> Example:
    before = (Message("system", system),) if system else ()
    return Example((*before, Message("user", user)), answer, line, "data.jsonl")


def conversation(*turns: str, line: int) -> Example:
    *before, answer = turns
    messages = tuple(Message("assistant" if index % 2 else "user", text) for index, text in enumerate(before))
    return Example(messages, answer, line, "data.jsonl")


def many(count: int) -> list[Example]:
    return [example(f"question {number}", f"answer {number}", number) for number in range(count)]


def shown(pool_or_list: object) -> list[str]:
    return [one[0].content for one in pool_or_list]  # type: ignore[attr-defined]


def test_the_first_two_are_the_first_of_three_and_further_data_moves_none_of_them() -> None:
    pool = example_pool(TASK, many(10), GOLDEN)
    assert pool.first(3, TASK)[:2] == pool.first(2, TASK)
    later = example_pool(TASK, [*many(10), example("question 10", "answer 10", 10)], GOLDEN)
    assert [one for one in shown(later.examples) if one != "question 10"] == shown(pool.examples)
    assert shown(example_pool(TASK, list(reversed(many(10))), GOLDEN).examples) == shown(pool.examples)


def test_another_seed_draws_others() -> None:
    draws = {tuple(shown(example_pool(TASK, many(10), GOLDEN, seed).examples)) for seed in range(5)}
    assert len(draws) == 5


def test_an_example_is_its_turns_without_system_text_and_thoughts() -> None:
    pool = example_pool(TASK, [example("hello", "<think>hm</think>hi there")], GOLDEN)
    assert [(turn.role, turn.content) for turn in pool.examples[0]] == [("user", "hello"), ("assistant", "hi there")]


def test_a_conversation_is_one_example_with_all_its_turns() -> None:
    whole = conversation("one", "1", "two", "2", line=7)
    begun = conversation("one", "1", line=7)
    pool = example_pool(TASK, [begun, whole], GOLDEN)
    assert [[turn.content for turn in one] for one in pool.examples] == [["one", "1", "two", "2"]]


@pytest.mark.parametrize(
    "leaking",
    [
        example("what is BREAD made of — and why does it rise so well"),
        example("Please answer: What is bread made of, and why does it rise so well? Thank you."),
        example("bread made of, and why does it rise so well?"),
        conversation("What is bread made of, and why does it rise so well?", "Flour.", "And jam?", "Fruit.", line=3),
    ],
)
def test_none_is_a_golden_input_or_holds_one(leaking: Example) -> None:
    pool = example_pool(TASK, [leaking, *many(2)], GOLDEN)
    assert len(pool.examples) == 2
    assert pool.left_out["repeat golden inputs"] == 1
    with pytest.raises(InputError, match=r"2 examples can be shown \(1 repeat golden inputs"):
        pool.first(3, TASK)


def test_of_a_golden_conversation_no_example_is_the_whole() -> None:
    turns = [("user", "one"), ("assistant", "1"), ("user", "two and many words more than forty characters")]
    golden = GoldenInput(id="c", messages=[GoldenMessage(role=role, content=text) for role, text in turns])  # type: ignore[arg-type]
    learnt = conversation(*(text for _, text in turns), "2", line=4)
    assert not example_pool(TASK, [learnt], [golden]).examples


def test_doubled_and_foreign_ones_are_left_out() -> None:
    foreign = example("bonjour", line=51, system="Speak French.")
    doubled = [replace(one, line=one.line + 60) for one in many(2)]
    pool = example_pool(TASK, [*many(2), *doubled, foreign, example("  ", line=52)], GOLDEN)
    assert len(pool.examples) == 2
    assert list(pool.left_out.values()) == [0, 1, 3]


def test_what_fits_together_comes_first() -> None:
    # 300 tokens are left beside the answer; the long one takes 500 of them.
    long = example("long " * 400, "x", 99)
    pools = [example_pool(TASK, [*many(6), long], GOLDEN, seed) for seed in range(8)]
    assert all(shown(pool.examples)[-1].startswith("long") and pool.fitting == 6 for pool in pools)


def test_what_was_shown_before_stays_first_unless_it_is_golden_now() -> None:
    pool = example_pool(TASK, many(6), GOLDEN)
    former = list(reversed(pool.first(2, TASK)))
    more = example_pool(TASK, many(6), GOLDEN, former=former)
    assert more.first(2, TASK) == former
    assert sorted(shown(more.examples)) == sorted(shown(pool.examples))
    assert not repeats_golden(former, GOLDEN)
    assert repeats_golden(former, [GoldenInput(id="n", input=former[0][0].content)])
