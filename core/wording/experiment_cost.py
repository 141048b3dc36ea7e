"""Words for what an experiment takes, and for the part of it that there is time for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from core.format import data_size, duration, energy, listed, plural

if TYPE_CHECKING:
    from core.experiment_submission.cost import ExperimentCost
    from core.experiment_submission.hours import ChosenPart
    from core.experiment_submission.outlook import ExperimentOutlook

MOST_NAMED = 6


def cost_lines(cost: ExperimentCost, *, is_extension: bool = False) -> Iterator[str]:
    """`all of it takes about 6 h 40, 1.3 kWh and 2.1 GB of disk`, and what is not known; nothing where nothing is missing."""
    if not cost.runs:
        return
    known = len({one.run.arm.key for one in cost.runs}) - len(cost.unknown)
    parts = [duration(cost.seconds)] if known and cost.seconds else []
    if cost.joules is not None:
        parts.append(energy(cost.joules / 3600))
    if cost.disk_bytes:
        parts.append(f"{data_size(cost.disk_bytes)} of disk")
    if parts:
        yield f"{'what is missing' if is_extension else 'all of it'} takes about {listed(parts)}"
    if known and cost.is_scaled:
        yield "some of the time is scaled by parameters from trainings of other models here: it holds within a factor of two"
    if cost.unknown:
        names = listed_arms([arm.name for arm in cost.unknown])
        yield f"not known is how long a training takes of {names}: nothing like it has run in this home"
    if known and not cost.bakeoffs_known:
        yield "the time of the bake-offs is not in it: nothing like their answers has been asked in this project"
    if cost.keep is not None:
        yield f"a race: the {plural(cost.keep, 'arm')} that take longest are counted, whichever go on"
    if cost.may_not_fit:
        yield f"▲ may not fit: {listed_arms([arm.name for arm in cost.may_not_fit])}"


def outlook_lines(outlook: ExperimentOutlook) -> Iterator[str]:
    """Where hours were given what of an experiment they allow, then what all of it takes."""
    if outlook.chosen is not None and outlook.hours is not None:
        yield chosen_words(outlook.chosen, outlook.hours)
    yield from cost_lines(outlook.cost, is_extension=outlook.plan.known is not None)
    if not outlook.plan.missing:
        return
    if outlook.cost.disk_bytes > outlook.room_bytes:
        yield (
            f"▲ the disk has room for {data_size(outlook.room_bytes)}: jobs wait for room when it is full. "
            "`bakehouse runs clean` frees some"
        )
    if outlook.others:
        what = "job is" if outlook.others == 1 else "jobs are"
        yield f"{outlook.others} other {what} in the queue; the time of other jobs is not counted"


def chosen_words(chosen: ChosenPart, hours: float) -> str:
    """What can be done in so many hours, and what is left out."""
    said = f"within {hours:g} h: {plural(len(chosen.runs), 'job')}, about {duration(chosen.seconds)}"
    left = []
    if chosen.arms_left_out:
        left.append(f"the arms {listed_arms([arm.name for arm in chosen.arms_left_out])}")
    if chosen.seeds_left_out:
        seeds = listed([str(seed) for seed in chosen.seeds_left_out])
        left.append(f"seed{'' if len(chosen.seeds_left_out) == 1 else 's'} {seeds}")
    if not left:
        return f"{said}; nothing is left out"
    return f"{said}; left out: {listed(left)}, which a later run without --hours does"


def listed_arms(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - MOST_NAMED
    return listed(names) if more <= 0 else f"{', '.join(names[:MOST_NAMED])} and {more} more"
