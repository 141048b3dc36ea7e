"""The short names of candidates in a text about them."""

from __future__ import annotations

from core.bakeoff.heads import shortened


def test_a_text_about_candidates_leaves_out_what_all_names_begin_with() -> None:
    names = ["SmolLM2-135M tuned", "SmolLM2-135M tuned (job 4)", "SmolLM2-135M base"]
    text = "SmolLM2-135M tuned (job 4) 4.83/5 over SmolLM2-135M base 0.20/5"
    assert shortened(text, names) == "tuned (job 4) 4.83/5 over base 0.20/5"


def test_names_that_share_nothing_and_a_lone_name_stay_whole() -> None:
    assert shortened("Qwen3-4B over Gemma3", ["Qwen3-4B", "Gemma3"]) == "Qwen3-4B over Gemma3"
    assert shortened("Qwen3-4B tuned 4.9/5", ["Qwen3-4B tuned"]) == "Qwen3-4B tuned 4.9/5"
