"""From answers and scores to a leaderboard: who competes, who is compared with whom, and who leads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from core.bakeoff.leaderboard import Headline, Leaderboard
from core.bakeoff.rows import build_row
from core.bakeoff.summary import headline, notes
from core.errors import InputError
from core.jobfile.bakeoff import default_incumbent
from core.scoring.answers import Answer
from core.scoring.scored_answers import Modes, ScoredAnswers, place
from core.scoring.scorer import Score, part_weights, plan_checks
from core.statistics.comparison import compare_pairs, pair_tests, tied_set
from core.statistics.input_scores import scores_of_answers
from core.statistics.selection import select

if TYPE_CHECKING:
    from core.config.golden import GoldenInput, GoldenSet
    from core.config.task import Task


def build_leaderboard(
    task: Task,
    golden: GoldenSet | Sequence[GoldenInput],
    answers: Iterable[Answer],
    scores: Iterable[Score],
    incumbent: str | None = None,
    *,
    candidates: Mapping[str, str] | None = None,
    repeats: int | None = None,
    curtailed: Collection[str] = (),
    modes: Mapping[tuple[str, str], Modes] | None = None,
) -> Leaderboard:
    """The leaderboard of a bake-off, finished or not.

    `candidates` maps the names of those who take part to their form ("base", "adapter", "merged", …), `repeats` is how
    often each input is asked; both are read off the answers when they are not given, and then a candidate or a repeat
    of which there is nothing yet is not seen as missing. The incumbent is the candidate that the others are compared
    with: by default the first base model, else the first that is named, else (without `candidates`) the best. InputError when
    there is no such candidate. `curtailed` candidates were stopped because they can't reach the incumbent any more.
    `modes` are the failure modes of answers, by their key and candidate.
    """
    inputs: Sequence[GoldenInput] = golden if isinstance(golden, Sequence) else golden.inputs
    answered = list(answers)
    placed, strangers = place(task, inputs, answered, scores, candidates or {}, modes)
    return leaderboard_of(
        task,
        inputs,
        placed,
        strangers,
        incumbent,
        candidates=candidates,
        repeats=repeats or len({answer.repeat for answer in answered}) or task.repeats,
        curtailed=curtailed,
    )


def leaderboard_of(
    task: Task,
    inputs: Sequence[GoldenInput],
    placed: Mapping[str, ScoredAnswers],
    strangers: int,
    incumbent: str | None,
    *,
    candidates: Mapping[str, str] | None,
    repeats: int,
    curtailed: Collection[str] = (),
) -> Leaderboard:
    """The same of answers that are in their places; `strangers` counts those that have none."""
    if incumbent is not None and incumbent not in placed:
        message = f"the incumbent `{incumbent}` is not among the candidates {', '.join(placed) or '(there are none)'}"
        raise InputError(message, code="unknown_candidate")
    forms = dict(candidates or {})
    parts = tuple(part for part, weights in part_weights(task).items() if weights is not None)
    cluster_of = {item.id: item.cluster for item in inputs}
    sampled = task.sampling.temperature > 0
    scores_of = {name: scores_of_answers(scored, parts, sampled=sampled) for name, scored in placed.items()}
    named = incumbent or _named_incumbent(placed, forms)
    ranked = sorted(scores_of, key=lambda name: scores_of[name].rank(parts), reverse=True)
    stopped = tuple(name for name in ranked if name in curtailed and name != named)
    competing = [scores_of[name] for name in ranked if name not in stopped]
    ties = tied_set(competing, parts, cluster_of, task.margin)
    best = ties.members[0] if ties.members else None
    held = named or best
    pairs = [] if held is None else [(one, scores_of[held]) for one in competing if one.candidate != held]
    # An incumbent that the data have chosen is one of all pairs: so many are corrected for.
    tests = pair_tests(pairs, parts, cluster_of, among=competing) if named else ties.tests
    plan = plan_checks(task, inputs[0]) if inputs else []
    rows = tuple(
        build_row(
            inputs,
            plan,
            placed[name],
            None if held is None else placed[held],
            form=forms.get(name),
            tied=name in ties.members and len(ties.members) > 1,
            repeats=repeats,
            leading=parts[0] if parts else "format",
            curtailed=name in stopped,
            sampling_sd={part: one.deviation for part, one in scores_of[name].repeats_of.items()},
        )
        for name in [*(one.candidate for one in competing), *stopped]
    )
    board = Leaderboard(
        task=task.name,
        headline=Headline(""),
        rows=rows,
        incumbent=held,
        best=best,
        tied_set=ties.members,
        comparisons=tuple(compare_pairs(pairs, parts, cluster_of, task.margin, tests)),
        ties=ties.ties,
        notes=(),
        parts=parts,
        input_ids=tuple(cluster_of),
        clusters=len(set(cluster_of.values())),
        repeats=repeats,
        margin=task.margin,
        complete=bool(rows) and not any(row.missing or row.unjudged for row in rows if not row.curtailed),
        sources=tuple(cluster_of.values()),
        curtailed=stopped,
        selection=select(competing, held, inputs, parts, task.margin, best),
        confirming=tuple(item.id for item in inputs if item.use == "confirm"),
    )
    unscored = {name: scored.unscored for name, scored in placed.items() if scored.unscored}
    disagreements = sum(item.chosen == "disagreement" for item in inputs)
    said = notes(board, task, unscored=unscored, strangers=strangers, disagreements=disagreements)
    return replace(board, headline=headline(board), notes=tuple(said))


def _named_incumbent(placed: Mapping[str, ScoredAnswers], forms: Mapping[str, str]) -> str | None:
    """The first base model among the candidates as they were named, else the first of them; None where none was named."""
    if forms:
        return default_incumbent(forms)
    return min((name for name in placed if "base" in name.casefold().replace("-", " ").split()), default=None)
