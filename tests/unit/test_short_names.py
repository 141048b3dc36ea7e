"""Short names of candidates for the heads of columns: never two alike."""

from __future__ import annotations

import pytest

from core.bakeoff.short_names import heads, shortened, without_common_words
from core.text import cell_width


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["base", "tuned"], ["base", "tuned"]),
        (["SmolLM2-135M base", "SmolLM2-135M tuned"], ["base", "tuned"]),
        (["SmolLM2-135M tuned", "SmolLM2-135M tuned, merged"], ["tuned", "tuned, merged"]),
        (["/models/here/first.gguf", "/models/here/second.gguf"], ["first.gguf", "second.gguf"]),
        (["a name that goes on and on", "base"], ["a name that g…", "base"]),
        (["only one of a long name"], ["only one of a…"]),
    ],
)
def test_as_much_of_the_names_as_tells_them_apart(names: list[str], short: list[str]) -> None:
    assert heads(names, 14).of == dict(zip(names, short, strict=True))
    assert heads(names, 14).key == ""


def test_names_that_differ_only_behind_the_cut_get_letters_and_a_key() -> None:
    names = ["Qwen3-30B-A3B-Instruct-2507", "Qwen3-30B-A3B-Thinking-2507"]
    found = heads(names, 14)
    assert list(found.of.values()) == ["A Qwen3-30B-A…", "B Qwen3-30B-A…"]
    assert found.key == f"A: {names[0]}; B: {names[1]}"


@pytest.mark.parametrize("width", [4, 6, 9, 14, 28])
def test_no_two_heads_are_alike_and_none_is_too_wide(width: int) -> None:
    names = [f"茶の審査員 the very same beginning{'!' * number}" for number in range(60)] + ["evil\x1b[2J", "evil[2J"]
    short = list(heads(names, width).of.values())
    assert len(set(short)) == len(names)
    assert max(map(cell_width, short)) <= width


def test_no_name_becomes_empty() -> None:
    assert without_common_words(["a", "a b"]) == ["a", "a b"]
    assert without_common_words(["a b", "a b c"]) == ["b", "b c"]
    assert without_common_words(["a b"]) == ["a b"]


def test_a_text_about_candidates_leaves_out_what_all_names_begin_with() -> None:
    names = ["SmolLM2-135M tuned", "SmolLM2-135M tuned (job 4)", "SmolLM2-135M base"]
    text = "SmolLM2-135M tuned (job 4) 4.83/5 over SmolLM2-135M base 0.20/5"
    assert shortened(text, names) == "tuned (job 4) 4.83/5 over base 0.20/5"


def test_names_that_share_nothing_and_a_lone_name_stay_whole() -> None:
    assert shortened("Qwen3-4B over Gemma3", ["Qwen3-4B", "Gemma3"]) == "Qwen3-4B over Gemma3"
    assert shortened("Qwen3-4B tuned 4.9/5", ["Qwen3-4B tuned"]) == "Qwen3-4B tuned 4.9/5"
