"""What tells the runs of a queue apart: the settings in which they differ, the telling ones first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import PurePath
from typing import Any

from core.format import learning_rate, scientific
from core.store.jobs import JobRow
from core.text import cell_width, clip, printable

LABELS: Mapping[str, str] = {
    "base": "{}",
    "recipe": "{}",
    "method": "{}",
    "rank": "rank {}",
    "alpha": "alpha {}",
    "epochs": "{} epochs",
    "steps": "{} steps",
    "lr": "lr {}",
    "data": "{}",
    "data_sha256": "data {}",
    "max_length": "{} tokens",
    "eval_fraction": "{} held out",
    "warmup_steps": "{} warm-up steps",
    "batch_size": "batch {}",
    "accumulation": "× {} accumulated",
    "bits": "{} bit",
    "candidates": "{}",
    "repeats": "{} repeats",
    "golden_sha256": "golden {}",
    "checks_sha256": "checks {}",
    "system_sha256": "prompt {}",
    "adapter": "{}",
    "base_weights": "{} base",
    "quantization": "{}",
    "format": "{}",
    "alias": "{}",
    "version": "version {}",
    "full": "all inputs: {}",
}
"""By setting, the most telling first; any other one is shown under its name."""
ABSENT: Mapping[str, str] = {"eval_fraction": "nothing held out", "bits": "not quantised"}
"""What is said of a setting that has no value, or 0; of any other one `no NAME`."""
FIGURES: Mapping[str, Callable[[float], str]] = {
    "lr": learning_rate,
    "eval_fraction": lambda value: f"{100 * value:g} %",
}
"""How the number of a setting is written; any other one plainly."""
COUNTED = frozenset({"epochs", "steps", "repeats", "warmup_steps"})
UNTOLD = frozenset({"version_id", "observed"})
"""What the store finds checks for drift by, and tells a person nothing."""
MOST_KEYS = 10
MOST_TOGETHER = 4


@dataclass(frozen=True)
class Difference:
    """How a run differs from the others of its kind, project and task.

    `telling` is the shortest list of settings by which all of them are told apart, `further` are others that differ; `shortest`
    is what tells this run from all others, the base model included. `base` is the base model where that differs. `same_as` is
    the first run with the very same settings.
    """

    telling: tuple[str, ...] = ()
    further: tuple[str, ...] = ()
    shortest: tuple[str, ...] = ()
    base: str | None = None
    same_as: int | None = None

    @property
    def words(self) -> tuple[str, ...]:
        return self.telling + self.further


def differences(jobs: Sequence[JobRow]) -> dict[int, Difference]:
    """By job; jobs that are alone with their task, or whose settings are not known, are not there."""
    groups: dict[tuple[str, str, str | None], list[JobRow]] = {}
    for job in sorted(jobs, key=lambda job: job.id):
        if job.settings:
            groups.setdefault((job.kind, job.project_id, job.task), []).append(job)
    return {job_id: found for group in groups.values() if len(group) > 1 for job_id, found in within(group).items()}


def within(group: Sequence[JobRow]) -> dict[int, Difference]:
    """Of runs of one kind and task."""
    known = {name for job in group for name in job.settings if name not in UNTOLD}
    varying = [name for name in known if len({frozen(job.settings.get(name)) for job in group}) > 1]
    if "data" in varying:  # files of other names: their hashes say no more
        varying = [name for name in varying if name != "data_sha256"]
    order = list(LABELS)
    varying.sort(key=lambda name: (order.index(name) if name in order else len(order), name))
    shown = [name for name in varying if name != "base"]
    telling = fewest(group, shown[:MOST_KEYS], "base" in varying)
    further = [name for name in shown if name not in telling]
    first: dict[tuple[Any, ...], int] = {}
    found = {}
    for job in group:
        alike = first.setdefault(tuple(frozen(job.settings.get(name)) for name in varying), job.id)
        found[job.id] = Difference(
            telling=labels(group, job, telling),
            further=labels(group, job, further),
            shortest=labels(group, job, own(group, job, ["base", *telling] if "base" in varying else telling)),
            base=str(job.settings.get("base")) if "base" in varying else None,
            same_as=alike if alike != job.id else None,
        )
    return found


def trainings(jobs: Mapping[str, JobRow]) -> dict[str, str]:
    """What tells candidates apart that are trainings of one base model: `rank 8, lr 5e-5`, by the candidate's name.

    `jobs` are the trainings by candidate; one that is alone with its base model is not there.
    """
    groups: dict[Any, dict[int, JobRow]] = {}
    for job in jobs.values():
        if job.settings:
            groups.setdefault(job.settings.get("base"), {})[job.id] = job
    told: dict[int, str] = {}
    for group in groups.values():
        if len(group) > 1:
            for job_id, one in within(list(group.values())).items():
                told[job_id] = ", ".join([*one.telling, *([f"as job {one.same_as}"] if one.same_as else [])])
    return {name: told[job.id] for name, job in jobs.items() if told.get(job.id)}


def fewest(group: Sequence[JobRow], names: Sequence[str], base_shown: bool) -> list[str]:
    """The fewest settings that tell the most runs apart; of those alike the more telling ones, then the shorter."""
    values = [{name: frozen(job.settings.get(name)) for name in ("base", *names)} for job in group]
    widths = {name: max(cell_width(*labels(group, job, [name])) for job in group) for name in names}
    base = ("base",) if base_shown else ()

    def cost(chosen: Sequence[str]) -> tuple[int, int, int, int]:
        told_apart = len({tuple(each[name] for name in (*base, *chosen)) for each in values})
        return len(group) - told_apart, len(chosen), sum(map(names.index, chosen)), sum(widths[name] for name in chosen)

    choices = [chosen for size in range(min(MOST_TOGETHER, len(names)) + 1) for chosen in combinations(names, size)]
    best = min(choices, key=cost)
    return list(best if cost(best)[0] <= cost(names)[0] else names)


def own(group: Sequence[JobRow], job: JobRow, names: Sequence[str]) -> list[str]:
    """The fewest of these settings that no run shares but those that share them all."""

    def sharing(chosen: Sequence[str]) -> set[int]:
        mine = [frozen(job.settings.get(name)) for name in chosen]
        return {other.id for other in group if [frozen(other.settings.get(name)) for name in chosen] == mine}

    alike = sharing(names)
    choices = (chosen for size in range(1, len(names) + 1) for chosen in combinations(names, size))
    return list(next((chosen for chosen in choices if sharing(chosen) == alike), names))


def labels(group: Sequence[JobRow], job: JobRow, names: Sequence[str]) -> tuple[str, ...]:
    """The settings of a run as they are read; of a list what not all runs of the group have."""
    found = []
    for name in names:
        value = job.settings.get(name)
        if isinstance(value, list):
            shared = set.intersection(*(set(map(str, other.settings.get(name) or [])) for other in group))
            value = ", ".join(str(one).replace("job:", "job ") for one in value if str(one) not in shared)
            if not value:
                found.append(f"fewer {name.replace('_', ' ')}")
                continue
        found.append(label(name, value))
    return tuple(found)


def label(name: str, value: Any) -> str:
    """`rank 8`, `lr 5e-5`, `no rslora`, `20 % held out`, `seed 3`."""
    plain = name.replace("_", " ")
    if not value and name in ABSENT:
        return ABSENT[name]
    if value is None or value is False:
        return f"no {plain}"
    if value is True:
        return plain
    if isinstance(value, float) and name in FIGURES:
        text = FIGURES[name](value)
    elif isinstance(value, float):
        text = f"{value:g}" if abs(value) >= 0.001 or not value else scientific(value)
    elif name.endswith("sha256"):
        text = str(value)[:4]
    elif name == "data":
        text = PurePath(str(value)).name.removesuffix(".jsonl")
    elif name == "adapter":
        text = f"of {str(value).replace('job:', 'job ')}"
    else:
        text = str(value)
    written = printable(LABELS.get(name, f"{plain} {{}}").format(text))
    return written.removesuffix("s") if name in COUNTED and text == "1" else written


def frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def run_label(job: JobRow, difference: Difference | None, width: int) -> tuple[str, str]:
    """(title, what differs) of a run for `width` cells: what tells runs apart comes before what they have in common."""
    title = printable(job.title)
    if difference is None or not (difference.words or difference.same_as):
        return clip(title, width), ""
    same = [f"as {difference.same_as}"] if difference.same_as else []
    words = [*difference.telling, *same]
    short = [title.partition(" · ")[0], job.kind]
    named = words if difference.base is None else [difference.base, *words]
    fewest_words = [*same, *difference.shortest]
    for head, told in ((title, words), *((head, named) for head in short), *((head, fewest_words) for head in short)):
        if cell_width(head) + 2 + cell_width(", ".join(told)) <= width:
            break
    told = list(told)
    for further in difference.further:
        if cell_width(head) + 2 + cell_width(", ".join([*told, further])) > width:
            break
        told.append(further)
    return head, clip(", ".join(told), max(0, width - cell_width(head) - 2))


def label_width(job: JobRow, difference: Difference | None) -> int:
    """How many cells the whole label takes."""
    title, told = run_label(job, difference, 10_000)
    return cell_width(title) + (cell_width(told) + 2 if told else 0)
