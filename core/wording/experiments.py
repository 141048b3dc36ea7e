"""Words for what an experiment answers: who wins, what training gained, what varies, what to believe, what to run next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from core.bakeoff.figures import bounds, signed
from core.config.experiment import RECIPE_KEYS
from core.experiments.answer import TaskAnswer
from core.experiments.conclusions import Caveat, CaveatCode, FactorEffect, NextCode, NextStep
from core.experiments.standing import ArmStanding, ExperimentStanding, Stand
from core.experiments.time_left import ExperimentTimeLeft
from core.format import SCORE_SCALE, data_size, duration, listed, plural, score_figure
from core.scoring.scorer import Part
from core.statistics.paired import ROUNDING
from core.statistics.rank_prediction import RankPrediction, Regret
from core.statistics.recipe_effect import Effect, Estimand

FOREST_LEGEND = "less the leader ◆, with 95 % intervals; ✗ shown to be worse, over all pairs"

Names = Mapping[str, str]
"""The names of arms by their keys."""

STANDS: Mapping[Stand, str] = {
    "waiting": "waiting",
    "running": "running",
    "done": "done",
    "failed": "failed",
    "censored": "stopped by the race",
}
MARKS: Mapping[Stand, str] = {"waiting": "◷", "running": "▶", "done": "✓", "failed": "✗", "censored": "■"}
UNKNOWN = {
    "nothing_shared": "they answered no input in common",
    "one_source": "all inputs are of one source",
    "too_few_seeds": "that needs three seeds",
    "no_variation": "all inputs and seeds say the same",
}
ESTIMANDS: Mapping[Estimand, str] = {
    "recipe": "of recipes: another training with another seed, on other inputs like these",
    "adapter": "of these very adapters, on other inputs like these: another seed may give another result",
}


def effect_words(effect: Effect) -> str:
    """`+0.42 [0.10, 0.74]`; `+0.42 (no interval: it needs three seeds)`."""
    if effect.mean is None:
        return "not known"
    between = bounds(effect.interval)
    if effect.interval.estimable and between:
        return f"{signed(effect.mean)} {between}"
    return f"{signed(effect.mean)} (no interval: {UNKNOWN.get(effect.unknown or '', 'it is not estimable')})"


def score_words(effect: Effect | None) -> str:
    """`4.12 [3.80, 4.44]`; `—` for what was not asked."""
    if effect is None or effect.mean is None:
        return "—"
    between = bounds(effect.interval) if effect.interval.estimable else ""
    return f"{score_figure(effect.mean)} {between}".rstrip()


def stand_words(arm: ArmStanding) -> str:
    """How far an arm is: `3 of 3`, or what became of it."""
    finals = arm.of_role("final")
    if arm.stand not in ("running", "waiting", "done"):
        return STANDS[arm.stand]
    return f"{sum(run.stand == 'done' for run in finals)} of {len(finals)}"


FIGURES = ("peak", "a training", "a step")


def figures_of(answer: TaskAnswer, arm: str) -> tuple[str, ...]:
    """An arm's scores, part by part, and `FIGURES`, each as it is read."""
    scores = [answer.score(arm, part) for part in answer.parts]
    cost = answer.cost(arm)
    peak = None if cost is None else cost.peak_bytes
    seconds, a_step = (None, None) if cost is None else (cost.seconds, cost.seconds_a_step)
    return (
        *(score_words(None if one is None else one.tuned) for one in scores),
        "—" if peak is None else data_size(peak),
        "—" if seconds is None else duration(seconds),
        "—" if a_step is None else f"{a_step:.1f} s",
    )


def standing_words(standing: ExperimentStanding) -> str:
    """`▶ running: 7 of 21 jobs have ended, 1 running and 1 failed; about 40 min left`."""
    others = [
        f"{standing.jobs[one]} {STANDS[one]}" for one in ("running", "failed", "censored") if standing.jobs.get(one)
    ]
    ended = f"{standing.ended} of {plural(standing.total, 'job')} {'has' if standing.total == 1 else 'have'} ended"
    how_far = f"{MARKS[standing.stand]} {STANDS[standing.stand]}: {ended}" + (f", {listed(others)}" if others else "")
    return how_far + (f"; {left}" if (left := left_words(standing.left)) else "")


def left_words(left: ExperimentTimeLeft) -> str:
    """`about 40 min left`, `at least 25 min left` where the time of some jobs is not known; empty where nothing is."""
    if not left.seconds:
        return ""
    return f"{'at least' if left.unknown else 'about'} {duration(left.seconds)} left"


def headline(answer: TaskAnswer, names: Names) -> str:
    """Who wins, in one sentence."""
    if answer.leader is None:
        return "No answer yet: nothing has been measured."
    so_far = "So far " if answer.provisional else ""
    first = names[answer.leader]
    part = answer.parts[0]
    score = answer.score(answer.leader, part)
    at = f" with {score_words(score.tuned)} of {SCORE_SCALE} in {part}" if score is not None else ""
    if len(answer.ranking.order) == 1:
        return f"{so_far}{first} is the only arm that was measured,{at}.".replace(",.", ".")
    if answer.winner is not None:
        return f"{so_far}{first} wins{at}: every other arm is shown to be worse."
    others = [names[key] for key in answer.ranking.members[1:]]
    tied = listed(others) if len(others) <= 4 else f"{len(others)} others"
    return f"{so_far}{first} leads{at}, and cannot be told from {tied}."


def answer_lines(answer: TaskAnswer, names: Names) -> Iterator[str]:
    """The answer in words, a sentence a line: who wins, what varies, what training gained, whether before predicts after."""
    yield headline(answer, names)
    if answer.leader is None:
        return
    yield f"Statements are {ESTIMANDS[answer.estimand]}."
    yield from factor_lines(answer)
    yield from gain_lines(answer, names)
    for part, prediction in answer.predictions.items():
        yield from prediction_lines(part, prediction)
    yield from size_lines(answer, names)


def caveat_lines(answer: TaskAnswer, names: Names) -> tuple[str, list[str]]:
    """What to know before believing the answer, below its title; before there is one, what is missing."""
    title = "before you believe it" if answer.block else "what is missing"
    return title, [caveat_words(one, names) for one in answer.caveats]


def next_lines(answer: TaskAnswer, names: Names) -> tuple[str, list[str]]:
    """What to run next, below its title."""
    return "what to do next", [next_words(one, names) for one in answer.next_steps]


def factor_lines(answer: TaskAnswer) -> Iterator[str]:
    """Which of what varies does the work. Of two arms that is their difference, which stands with the arms."""
    if not answer.factors or len(answer.ranking.order) < 3:
        return
    strongest = answer.strongest_factor
    if strongest is not None:
        yield (
            f"What does the work is {key_words(strongest.key)}: {factor_words(strongest)} in {strongest.part}, "
            "the largest effect that is shown."
        )
    else:
        yield f"No effect of what varies is shown in {answer.parts[0]}."
    for one in answer.factors:
        if one is not strongest:
            shown = "shown" if one.shown else "not shown"
            yield f"  {key_words(one.key)}: {factor_words(one)} in {one.part}, {shown}"


def factor_words(one: FactorEffect) -> str:
    """`4-bit less fp32 −0.30 [−0.62, 0.02] over 2 pairs of arms`."""
    levels = f"{value_words(one.level)} less {value_words(one.against)}"
    return f"{levels} {effect_words(one.effect)} over {plural(one.pairs, 'pair')} of arms"


def key_words(key: str) -> str:
    """What a varied key is called in a sentence."""
    if key == "weights":
        return "the precision of the weights"
    if key == "model":
        return "the model"
    return f"the {key.replace('_', ' ')}" if key in RECIPE_KEYS or key == "recipe" else key


def value_words(value: Any) -> str:
    """A value of a varied key."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def gain_lines(answer: TaskAnswer, names: Names) -> Iterator[str]:
    """What training gained each arm, on the leading part."""
    gains = [one for one in answer.gains if one.part == answer.parts[0]]
    if not gains:
        return
    by_verdict = {
        verdict: [one for one in gains if one.verdict == verdict] for verdict in ("gained", "lost", "cannot_tell")
    }
    words = {"gained": "gained", "lost": "lost", "cannot_tell": "not shown to have changed"}
    counts = [f"{len(found)} {words[verdict]}" for verdict, found in by_verdict.items() if found]
    yield f"Training, in {answer.parts[0]}, of {plural(len(gains), 'arm')}: {listed(counts)}."
    for one in gains:
        yield f"  {names[one.arm]}: {effect_words(one.effect)} over {one.model} untrained, {words[one.verdict]}"


def prediction_lines(part: Part, found: RankPrediction) -> Iterator[str]:
    """Whether the ranking before training foretells the one after."""
    reversed_, same = found.count("reversed"), found.count("concordant")
    rest = len(found.pairs) - same - reversed_
    counts = [(same, "keep their order"), (reversed_, "reverse it"), (rest, "cannot be told")]
    told = f"of {plural(len(found.pairs), 'pair')} of models {listed([f'{number} {what}' for number, what in counts])}"
    verdicts = {
        "predicts": "The ranking before training predicts the one after",
        "does_not_predict": "The ranking before training does not predict the one after",
        "cannot_tell": "Whether the ranking before training predicts the one after cannot be told",
    }
    yield f"{verdicts[found.verdict]}, in {part}: {told}."
    before, after = (
        order_words(order, means)
        for order, means in ((found.order_before, found.before), (found.order_after, found.after))
    )
    yield f"  before: {before}; after: {after}, as measured"
    for regret in found.regrets:
        yield f"  {regret_words(regret)}"
    if found.tau is not None:
        between = _plain(found.tau_interval.low, found.tau_interval.high)
        told = f"{between}, bootstrap over models" if between else "without an interval: the models are too few to tell"
        yield f"  Kendall's τ {found.tau:+.2f} {told}"


def order_words(order: Sequence[str], means: Mapping[str, float]) -> str:
    """`Qwen3-8B > Qwen3-4B = Qwen3-1.7B`."""
    words = list(order[:1])
    for before, name in pairwise(order):
        words.append(f"{'=' if means[before] - means[name] <= ROUNDING else '>'} {name}")
    return " ".join(words)


def regret_words(regret: Regret) -> str:
    """What training only the best of the ranking before loses."""
    who = "the first" if regret.top == 1 else f"the first {regret.top}"
    between = _points(regret.interval.low, regret.interval.high)
    known = f"between {between}" if between else "how much for certain is not known: it needs three seeds"
    lost = f"training only {who} of the ranking before loses {score_figure(regret.lost)} of {SCORE_SCALE}, {known}"
    if not regret.tied:
        return lost
    return f"{lost}; before, {listed(regret.tied)} {'was' if len(regret.tied) == 1 else 'were'} level with {regret.trained[-1]}"


def size_lines(answer: TaskAnswer, names: Names) -> Iterator[str]:
    """What a smaller arm costs or frees."""
    for one in answer.sizes:
        freed = []
        if one.bytes_freed:
            freed.append(f"{data_size(one.bytes_freed)} of memory")
        if one.seconds_saved and one.seconds_saved > 0:
            freed.append(f"{duration(one.seconds_saved)} a training")
        if one.joules_saved and one.joules_saved > 0:
            freed.append(f"{one.joules_saved / 3600:.0f} Wh")
        points = ", ".join(f"{effect_words(effect)} in {part}" for part, effect in one.points.items())
        shown = "shown to be worse" if one.worse else "not shown to be worse"
        yield f"{names[one.arm]} frees {listed(freed) or 'nothing measured'} against {names[one.against]}: {points}, {shown}."


def _caveat(sentence: str) -> Callable[[Mapping[str, Any], Names], str]:
    return lambda values, names: sentence.format(**values)


def _of_arms(sentence: str) -> Callable[[Mapping[str, Any], Names], str]:
    return lambda values, names: sentence.format(
        **{**values, "arms": listed([names.get(key, key) for key in values["arms"]])}
    )


CAVEATS: Mapping[CaveatCode, Callable[[Mapping[str, Any], Names], str]] = {
    "nothing_measured": _caveat("No bake-off has ended yet."),
    "provisional": _caveat("Provisional: {block} of {blocks} blocks of seeds are measured."),
    "one_seed": _caveat("One seed: nothing is known of other trainings by the same recipe."),
    "two_seeds": _caveat("Two seeds give no interval for a recipe: add a third."),
    "seeds_missing": lambda values, names: (
        "Fewer seeds than the others have "
        + listed([f"{names.get(key, key)} ({count})" for key, count in values["arms"].items()])
        + "."
    ),
    "seeds_far_apart": lambda values, names: (
        f"By their seed alone these trainings end far apart in {values['part']}: "
        + listed(
            [
                f"{names.get(key, key)} at {score_figure(low)} to {score_figure(high)}"
                for key, (low, high) in values["arms"].items()
            ]
        )
        + ". A lower learning rate or more warm-up steadies such a training."
    ),
    "arms_waiting": _of_arms("Not measured yet: {arms}."),
    "arms_failed": _of_arms("Failed and left out: {arms}."),
    "arms_censored": _of_arms("Stopped by the race on held-out loss, and in no ranking: {arms}."),
    "untrained_missing": lambda values, names: f"Not asked untrained: {listed(values['models'])}.",
    "inputs_missing": _caveat("Answers are missing: at most {most} of {inputs} inputs of an arm are left out."),
    "few_inputs": _caveat("Only {sources} sources of inputs: intervals need {least} to be trusted."),
    "ceiling": lambda values, names: (
        f"Ceiling: every arm has all points in {values['part']} at {len(values['inputs'])} of "
        f"{plural(values['of'], 'input')}, which tell no arm from another."
    ),
    "floor": lambda values, names: (
        f"Floor: no arm has a point in {values['part']} at {len(values['inputs'])} of "
        f"{plural(values['of'], 'input')}, which tell no arm from another."
    ),
    "chosen_on_same_inputs": _caveat(
        "The first of {among} arms was chosen by the inputs that it is measured by, and looks better than it is."
    ),
    "asked_on_original_weights": _of_arms(
        "Trained on quantised weights and asked on the model's own, as a merge ships them: {arms}. What that mismatch costs is "
        "in their scores."
    ),
    "no_matched_arms": lambda values, names: (
        "No two arms differ in nothing but "
        + listed([key_words(key) for key in values["keys"]])
        + ": the effect of that cannot be told."
    ),
}


def caveat_words(caveat: Caveat, names: Names) -> str:
    """What to know before believing the answer, a sentence."""
    return CAVEATS[caveat.code](caveat.values, names)


def _narrower(values: Mapping[str, Any], names: Names) -> str:
    """`: the interval between A and B narrows from ±0.60 to ±0.40`."""
    if not values["pair"] or values["half_width"] is None or values["then"] is None:
        return ""
    ours, theirs = (names.get(key, key) for key in values["pair"])
    now, then = (SCORE_SCALE * values[name] for name in ("half_width", "then"))
    return f": the interval between {ours} and {theirs} narrows from ±{now:.2f} to about ±{then:.2f}"


NEXT: Mapping[NextCode, Callable[[Mapping[str, Any], Names], str]] = {
    "wait": _caveat("Wait: {block} of {blocks} blocks of seeds are measured."),
    "retry": _of_arms("Try the failed arms again, `experiment run NAME --retry`: {arms}."),
    "add_seeds": lambda values, names: (
        f"Add {plural(values['seeds'], 'seed')} (`seeds: {values['to']}`)" + _narrower(values, names) + "."
    ),
    "add_inputs": lambda values, names: (
        f"Add {plural(values['inputs'], 'golden input')}, to {values['to']}" + _narrower(values, names) + "."
    ),
    "add_seeds_and_inputs": lambda values, names: (
        f"Add {plural(values['seeds'], 'seed')} and "
        f"{plural(values['inputs'], 'golden input')}" + _narrower(values, names) + "."
    ),
    "harder_inputs": lambda values, names: (
        f"Write golden inputs that tell arms apart: at {len(values['inputs'])} of "
        f"{values['of']} all score the same in {values['part']}."
    ),
    "choose_by_cost": lambda values, names: (
        "Choose by cost: "
        + listed([names.get(key, key) for key in values["arms"]])
        + f" differ by less than can be seen (margin {score_figure(values['margin'])})."
    ),
    "drop_arms": _of_arms("Leave out what is shown to be worse: {arms}."),
    "add_models": _caveat("Add models: the ranking of {models} says little, from {least} on it can be told."),
    "promote": lambda values, names: f"Ship {names.get(values['arm'], values['arm'])}.",
}


def next_words(step: NextStep, names: Names) -> str:
    """What would sharpen the answer, a sentence."""
    return NEXT[step.code](step.values, names)


def _points(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{SCORE_SCALE * low:.2f} and {SCORE_SCALE * high:.2f}"


def _plain(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"[{low:+.2f}, {high:+.2f}]"
