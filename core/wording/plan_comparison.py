"""Words for trainings that are held side by side before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from core.format import duration, gb_within, parameters, plural
from core.submission.plan_comparison import ComparedTraining
from core.vram.plan import method_words
from core.wording.memory import forecast_words


def comparison_table(trainings: Sequence[ComparedTraining]) -> list[list[str]]:
    """A line a figure, a column a training, the first column what the figure is of."""
    columns = [[value for _, value in comparison_words(one)] for one in trainings]
    names = [name for name, _ in comparison_words(trainings[0])]
    return [[name, *values] for name, *values in zip(names, *columns, strict=True)]


def comparison_words(one: ComparedTraining) -> Iterator[tuple[str, str]]:
    """What is compared of a training, in words."""
    recipe, forecast = one.row.recipe, one.row.forecast
    base = "" if one.parameters is None else f" ({parameters(one.parameters)})"
    yield "base", f"{one.row.model.name}{base}"
    yield "recipe", recipe.name
    yield "weights", method_words(recipe)
    yield "rank", f"{recipe.rank:,}"
    yield "tokens", f"{recipe.max_length:,}"
    if forecast is None:
        yield "peak memory", "not predicted"
        yield "fits", "not known"
    else:
        yield "peak memory", f"{gb_within(forecast.device_bytes, forecast.plus_minus_bytes)} GB"
        yield "fits", forecast_words(forecast)
    if one.trainable is None:
        yield "trainable", "not known"
    else:
        share = one.trainable_share
        yield "trainable", parameters(one.trainable) + ("" if share is None else f" ({100 * share:.2g} %)")
    yield "examples a step", f"{recipe.batch_size * recipe.accumulation}"
    yield "time a step", step_words(one)


def step_words(one: ComparedTraining) -> str:
    """`8.4 s, measured`, or what the figure is scaled from."""
    if one.seconds_a_step is None:
        return "not known"
    seconds = one.seconds_a_step
    figure = f"{seconds:.2g} s" if seconds < 10 else duration(seconds)
    return f"{figure}, measured" if one.basis == "measured" else f"about {figure}, scaled"


def comparison_notes(trainings: Sequence[ComparedTraining]) -> Iterator[str]:
    """What is to be known of the figures."""
    if any(one.basis == "scaled" for one in trainings):
        yield (
            "scaled: by parameters from trainings of other models or weights here, which holds within a factor of about two"
        )
    if unknown := [one for one in trainings if one.basis == "unknown"]:
        of = f"of {plural(len(unknown), 'training')} " if len(unknown) < len(trainings) else ""
        yield f"the time a step {of}is not known: nothing like it has been trained on such a device in this home"
    for name, one in {one.row.model.name: one for one in trainings if one.row.forecast is None}.items():
        yield f"{name} not predicted: {one.row.not_predicted}; {one.row.remedy}"
