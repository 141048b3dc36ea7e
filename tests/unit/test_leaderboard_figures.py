"""What a row of a leaderboard says beside its score: speed, loads, and each input by itself."""

from __future__ import annotations

import pytest

from core.bakeoff.measured import MeasuredCandidate, with_loads
from core.cli.results_report import render_text
from core.serving.answering import Capabilities, LoadedModel, ServedIdentity
from tests.support.leaderboards import ALL, answer, answers, board, task, words


def load(candidate: str, seconds: float, *, resident: bool = False, vram: int | None = None) -> MeasuredCandidate:
    loaded = LoadedModel(seconds, resident, vram)
    return MeasuredCandidate(candidate, 1, 0.0, ServedIdentity("ollama", candidate), loaded, Capabilities())


def test_speeds_are_of_what_servers_told_and_shared_ones_are_counted() -> None:
    stored = [
        answer("a", 0, 0, ALL, first_token_seconds=0.2, thinking_tokens=10, shared=False),
        answer("a", 0, 1, ALL, first_token_seconds=0.9, thinking_tokens=30, shared=True, tries=3),
        answer("a", 1, 0, ALL, first_token_seconds=0.3, shared=True),
        answer("a", 1, 1, ""),
        answer("b", 0, 0, ALL),
    ]
    found = board(2, stored, repeats=2)
    a, b = found.row("a"), found.row("b")
    assert (a.first_token_seconds, a.thinking_tokens, a.timed_shared, a.asked_again) == (0.3, 20, 2, 1)
    assert (b.first_token_seconds, b.thinking_tokens, b.timed_shared, b.asked_again) == (None, None, 0, 0)


def test_a_cell_of_an_input_has_its_mean_its_worst_repeat_its_faults_and_its_holes() -> None:
    stored = [
        answer("a", 0, 0, ALL),
        answer("a", 0, 1, "", fault="empty"),
        answer("a", 1, 0, "one two three four five"),
        answer("a", 1, 1, "", fault="server"),
    ]
    first, second = board(2, stored, repeats=2).row("a").inputs
    assert first.format is not None and (first.format.mean, first.format.worst) == (0.5, 0)
    assert (first.answers, first.missing, dict(first.faults)) == (2, 0, {"empty": 1})
    assert second.format is not None and second.content is not None
    assert (second.format.worst, second.content.worst, second.missing) == (1, 0, 1)
    assert board(2, stored, repeats=2).row("a").server_faults == 1


def test_a_cold_load_is_none_of_a_model_that_was_in_memory() -> None:
    rows = board(1, [answer("a", 0, 0, ALL), answer("b", 0, 0, ALL)], repeats=1).rows
    measured = [
        load("a", 8.0, vram=4),
        load("a", 0.1, resident=True, vram=6),
        load("a", 10.0),
        load("b", 0.1, resident=True),
    ]
    by_name = {row.name: row for row in with_loads(rows, measured)}
    assert (by_name["a"].cold_load_seconds, by_name["a"].vram_bytes) == (9.0, 6)
    assert (by_name["b"].cold_load_seconds, by_name["b"].vram_bytes) == (None, None)


def test_a_task_of_content_alone_has_the_consistency_of_its_content() -> None:
    stored = answers("a", 8, lambda index, repeat: "PASS" if repeat or index % 2 else "no")
    row = board(8, stored, task=task(format=[])).row("a")
    assert (row.worst, row.pass_k) == (0.5, 0.5)
    assert row.repeatability_sd == pytest.approx((1 / 3 / 2) ** 0.5)
    assert row.sampling_sd == {"content": pytest.approx(row.repeatability_sd)}
    cold = board(8, stored, task=task(format=[], sampling={"temperature": 0.0})).row("a")
    assert cold.sampling_sd == {}, "what a temperature of 0 repeats is not sampled"


def test_a_difference_has_its_noise_floor_beside_it() -> None:
    stored = [*answers("base", 8, words(1)), *answers("b", 8, words(2))]
    found = board(8, stored)
    one = found.comparison("b", "format")
    assert one is not None and one.noise_floor is not None
    deviations = [row.sampling_sd["format"] for row in found.rows]
    pooled = (sum(value**2 for value in deviations) / 2) ** 0.5
    assert one.noise_floor == pytest.approx(2.0369333 * pooled * (2 / 24) ** 0.5)
    assert "training again is not in it" in " ".join(render_text(found).split())
    (cold,) = board(8, stored, task=task(content=[], sampling={"temperature": 0.0})).comparisons
    (once,) = board(8, [one for one in stored if one.repeat == 0], task=task(content=[])).comparisons
    assert cold.noise_floor is None and once.noise_floor is None
