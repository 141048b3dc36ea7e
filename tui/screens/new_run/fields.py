"""The fields of the form: their names, what is written in them, and what is said beside each."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.format import duration, plural
from core.store.jobs import JobRow
from core.text import printable
from tui.lines import Line, wrapped
from tui.model.forecasts import changes_in_words
from tui.queries.catalogue import Catalogue
from tui.queries.run_forecast import MemoryOutlook

if TYPE_CHECKING:
    from core.config.recipe import Recipe

LABELS = {
    "task": "task",
    "model": "model",
    "recipe": "recipe",
    "rank": "rank",
    "max_length": "max length",
    "epochs": "epochs",
    "lr": "learning rate",
    "batch": "batch",
    "fit": "fit",
}
CHOICES = ("task", "model", "recipe")
NUMBERS = ("rank", "max_length", "epochs", "lr", "batch_size", "accumulation")
BATCH = {"batch_size": "batch size", "accumulation": "accumulation"}
"""The two numbers of the row `batch`."""
AS_WRITTEN, AUTO = "as written", "auto"
"""What `fit` offers: the recipe as it stands, or changed at submission until it fits."""
OPTIONS = {key: f"--{key.replace('_', '-')}" for key in NUMBERS}


def row_of(key: str) -> str:
    """The row of the form in which a recipe's key stands."""
    return "batch" if key in BATCH else key


def written(value: Any) -> str:
    """A recipe's value as it stands in a field: short, and read back as the same."""
    short = f"{value:g}"
    return short if float(short) == value and (isinstance(value, float) or short.lstrip("-").isdigit()) else repr(value)


@dataclass(frozen=True)
class RunForm:
    """What is written in the fields, as text, and what it comes to."""

    task: str = ""
    model: str = ""
    recipe: str = ""
    fit: str = AS_WRITTEN
    numbers: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    """By field: why it cannot be taken."""
    changed: Mapping[str, Any] = field(default_factory=dict)
    """Recipe keys whose value differs from the recipe's own."""
    made: Recipe | None = None
    """The recipe with these values; None while one of them cannot be taken."""
    project: tuple[str, ...] = ()
    """The option by which the command finds the project."""

    @property
    def first_wrong(self) -> str | None:
        """The first field that cannot be taken, from the top."""
        order = ("task", "model", "recipe", *NUMBERS, "fit")
        return next((key for key in order if key in self.problems), None)

    @property
    def command(self) -> str:
        """The command that queues the same run."""
        parts = ["bakehouse", "train", self.task, "--model", self.model, "--recipe", self.recipe]
        for key, value in self.changed.items():
            if key in OPTIONS:
                parts += [OPTIONS[key], written(value)]
            else:
                parts += ["--set", f"{key}={'null' if value is None else value}"]
        return " ".join(shlex.quote(part) for part in [*parts, *self.project])


def checked(catalogue: Catalogue, task: str, model: str, recipe: str, fit: str, numbers: Mapping[str, str]) -> RunForm:
    """The form with what is wrong in it."""
    problems, changed = catalogue.check(recipe, numbers)
    base = catalogue.recipe_objects.get(recipe)
    wanted = "auto" if fit == AUTO else None
    if base is not None and base.fit != wanted:
        changed["fit"] = wanted
    made = None if problems else catalogue.made(recipe, changed)
    chosen = {
        "task": (catalogue.tasks, task),
        "model": (catalogue.models, model),
        "recipe": (catalogue.recipes, recipe),
    }
    for key, (offered, name) in chosen.items():
        item = next((item for item in offered if item.name == name), None)
        if item is not None and item.problem:
            problems[key] = item.problem
    if catalogue.tasks and task not in catalogue.lessons:
        problems.setdefault("task", "it names no training data (data.train)")
    return RunForm(task, model, recipe, fit, dict(numbers), problems, changed, made, catalogue.project_option)


def note(
    key: str, form: RunForm, catalogue: Catalogue, outlook: MemoryOutlook | None, jobs: Sequence[JobRow] = ()
) -> str:
    """What is said beside a field that is right."""
    if key in CHOICES:
        offered = {"task": catalogue.tasks, "model": catalogue.models, "recipe": catalogue.recipes}[key]
        return next((item.note for item in offered if item.name == getattr(form, key)), "")
    if key == "rank":
        return most(outlook, "rank_limit") or "of the adapter's matrices"
    if key == "max_length":
        said = most(outlook, "length_limit")
        return said or "tokens; a longer prompt is cut in its middle, a completion never"
    if key == "fit":
        return fit_note(form, outlook)
    made = form.made
    if made is None:
        return ""
    if key == "lr":
        return rate_note(made)
    if key == "batch":
        return f"at once × accumulated = {plural(made.batch_size * made.accumulation, 'example')} a step"
    steps = catalogue.steps(form.task, made)
    if not steps:
        return ""
    if made.steps is not None:
        examples = float(made.steps * made.batch_size * made.accumulation)
        return f"{plural(steps, 'step')}, which the recipe asks for in place of epochs{time_note(form, jobs, examples)}"
    return f"about {plural(steps, 'step')}{time_note(form, jobs, catalogue.lessons[form.task].examples * made.epochs)}"


def rate_note(recipe: Recipe) -> str:
    """`cosine, 10 steps of warm-up`."""
    warm = f", {plural(recipe.warmup_steps, 'step')} of warm-up" if recipe.warmup_steps else ""
    return f"{recipe.schedule}{warm}"


def time_note(form: RunForm, jobs: Sequence[JobRow], examples: float) -> str:
    """`, 41 ± 6 min from 9 runs here`: of the same task, model and recipe; empty without any.

    The pace is that of an example, since a run may have gone another way with the same ones; runs in several attempts say
    only how long the last one took, and are left out.
    """
    wanted = (form.task, form.model, form.recipe)
    paces = []
    for job in jobs:
        summary = (job.result or {}).get("summary") or {}
        used = summary.get("recipe_used") or {}
        like = tuple(summary.get(key) for key in ("task", "model", "recipe")) == wanted
        if job.kind != "train" or job.state != "done" or job.attempt != 1 or not like:
            continue
        seen = summary.get("steps", 0) * used.get("batch_size", 0) * used.get("accumulation", 0)
        if seen and summary.get("seconds"):
            paces.append(summary["seconds"] / seen)
    if not paces:
        return ""
    middle, half = statistics.median(paces) * examples, (max(paces) - min(paces)) / 2 * examples
    spread = f" ± {duration(half)}" if len(paces) > 1 else ""
    return f", {duration(middle)}{spread} from {plural(len(paces), 'run')} here"


def most(outlook: MemoryOutlook | None, what: str) -> str:
    """`on this GPU up to 3,072`; empty while it is not known, or cannot be."""
    if outlook is None or outlook.forecast is None:
        return ""
    limit: int | None = getattr(outlook, what)
    here = outlook.here
    return f"on {here} up to {limit:,}" if limit is not None else f"no rank fits these settings on {here}"


def fit_note(form: RunForm, outlook: MemoryOutlook | None) -> str:
    if form.fit != AUTO:
        return f"{AUTO}: batch, checkpointing, optimizer"
    if outlook is None or outlook.forecast is None:
        return "batch, checkpointing and optimizer are chosen so that it fits"
    if not outlook.changes:
        return (
            "it fits as it is written: nothing is changed"
            if outlook.forecast.fits
            else "nothing it may change makes it fit"
        )
    return changes_in_words((one.key, one.before, one.after) for one in outlook.changes)


def thinking_note(width: int) -> str:
    said = "the task says so; training and serving both obey"
    return said if len(said) <= width else "the task says so, serving obeys"


def note_rows(key: str, form: RunForm, said: str, width: int) -> list[Line]:
    """What is said beside a field, in as many rows as it needs."""
    wrong = [name for name in form.problems if row_of(name) == key]
    if not wrong:
        return [Line(row, "dim") for row in wrapped(said, width)]
    name = wrong[0]
    told = f"{BATCH[name]}: {form.problems[name]}" if name in BATCH else form.problems[name]
    return [
        Line("✗ " if index == 0 else "  ", "bad").add(row, "bad")
        for index, row in enumerate(wrapped(printable(told), width - 2))
    ]
