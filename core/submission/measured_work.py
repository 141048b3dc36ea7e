"""What answers and GGUF files took in this home, for whoever asks what the next ones will take."""

from __future__ import annotations

import sqlite3
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.store.experiments import RunRole
from core.submission.expected_time import measured_candidates

NEWEST_FILES = 100
Sizes = Callable[[str], int | None]
"""Parameters of a model by its name; None where they are unknown."""


@dataclass(frozen=True)
class MeasuredAnswers:
    """Seconds an answer of a candidate to a task; `is_tuned` where a job made the candidate. `form` as in the summary."""

    task: str
    model: str
    is_tuned: bool
    form: str
    seconds: float


@dataclass(frozen=True)
class MeasuredFile:
    """Seconds that a merge, a conversion or a quantisation of a model took."""

    role: RunRole
    model: str
    seconds: float


def measured_answers(connection: sqlite3.Connection, project_id: str) -> list[MeasuredAnswers]:
    """Of the newest bake-offs of a project, the newest first. A candidate whose model is unknown is left out."""
    models = {str(row["id"]): row["model"] for row in connection.execute("SELECT id, model FROM jobs")}
    found = []
    for task, one in measured_candidates(connection, project_id):
        ref = str(one.get("ref") or "")
        is_tuned = ref.startswith("job:")
        name = str(one.get("name")).partition(" @")[0].removesuffix(" base")
        model = models.get(ref.removeprefix("job:").partition("/")[0]) if is_tuned else name
        if model is not None and one.get("seconds_per_answer"):
            found.append(MeasuredAnswers(task, model, is_tuned, str(one.get("form")), float(one["seconds_per_answer"])))
    return found


def measured_files(connection: sqlite3.Connection) -> list[MeasuredFile]:
    """The newest that were made in one attempt, the newest first."""
    roles: dict[str, RunRole] = {"merge": "merge", "convert": "convert", "quantize": "quantize"}
    rows = connection.execute(
        """
        SELECT j.kind, j.model, a.ended_at - a.created_at AS seconds FROM jobs j JOIN attempts a ON a.job_id = j.id
        WHERE j.kind IN ('merge', 'convert', 'quantize') AND j.state = 'done' AND j.attempt = 1 AND j.model IS NOT NULL
        ORDER BY j.ended_at DESC LIMIT ?
        """,
        [NEWEST_FILES],
    )
    return [MeasuredFile(roles[row["kind"]], row["model"], row["seconds"]) for row in rows if row["seconds"]]


def seconds_of_answer(
    measured: Sequence[MeasuredAnswers], task: str, model: str, sizes: Sizes, *, is_tuned: bool, as_file: bool
) -> float | None:
    """Seconds an answer of a candidate: of its model on this task, asked in this form, tuned or not; else of its model; else of
    others, scaled by parameters. None where nothing like it was measured.

    A tuned model answers in other lengths than an untrained one, so that the two are told apart.
    """
    own = [one for one in measured if one.model == model]
    alike = [one for one in own if one.is_tuned == is_tuned and (not is_tuned or (one.form == "gguf") == as_file)]
    for group in ([one for one in alike if one.task == task], alike, own):
        if group:
            return statistics.median(one.seconds for one in group)
    scaled = _scaled([(one.model, one.seconds) for one in measured if one.is_tuned == is_tuned], model, sizes)
    return scaled or _scaled([(one.model, one.seconds) for one in measured], model, sizes)


def seconds_of_file(measured: Sequence[MeasuredFile], role: RunRole, model: str, sizes: Sizes) -> float | None:
    """Of the same step of the same model; else of other models, scaled by parameters."""
    alike = [one for one in measured if one.role == role]
    own = [one.seconds for one in alike if one.model == model]
    return statistics.median(own) if own else _scaled([(one.model, one.seconds) for one in alike], model, sizes)


def _scaled(measured: Sequence[tuple[str, float]], model: str, sizes: Sizes) -> float | None:
    own = sizes(model)
    scaled = [seconds * own / size for name, seconds in measured if own and (size := sizes(name))]
    return statistics.median(scaled) if scaled else None
