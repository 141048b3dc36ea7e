"""The figures of a job out of its events are the same for the runner, which stores them, and the console."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from core.attempt.launcher import Observation
from core.events import EventReader, EventWriter
from core.home import Home
from core.progress import Progress, fold, fold_attempts, next_attempt
from core.runner.reconcile import Watch
from core.store.attempts import end_attempt
from core.store.jobs import JobRow, claim_next, get_job
from jobs.memory import peak_of_steps
from tests.support.stored import add_job, fresh, step
from tui.model.job_files import JobFiles
from tui.widgets.detail import facts


def test_the_time_left_is_a_figure_a_range_or_not_known() -> None:
    progress = Progress()
    said = []
    for event in (
        {"kind": "progress", "done": 1, "total": 9, "unit": "answers"},
        {
            "kind": "progress",
            "done": 2,
            "total": 9,
            "unit": "answers",
            "eta_low_seconds": 240.0,
            "eta_high_seconds": 540.0,
        },
        {"kind": "progress", "done": 3, "total": 9, "unit": "answers", "eta_seconds": 200.0},
        {
            "kind": "progress",
            "done": 4,
            "total": 9,
            "unit": "answers",
            "eta_low_seconds": 60.0,
            "eta_high_seconds": 90.0,
        },
        {"kind": "phase", "name": "loading the model"},
    ):
        progress = fold(progress, event)
        assert Progress.from_json(progress.to_json()) == progress
        said.append(progress.left)
    assert said == ["", "4–9 min", "3 min", "60–90 s", ""]


def test_the_summary_follows_the_events() -> None:
    progress = Progress()
    for event in (
        {"kind": "phase", "name": "loading", "time": 1.0},
        {"kind": "step", "step": 3, "total": 9, "loss": 0.5, "peak_memory_bytes": 7, "eta_seconds": 6.0, "time": 2.0},
        {"kind": "checkpoint", "step": 3, "time": 3.0},
        {"kind": "memory", "time": 3.5},
        {"kind": "warning", "message": "2 examples are too long", "time": 4.0},
        {"kind": "eval", "loss": 0.6, "time": 5.0},
    ):
        progress = fold(progress, event)
    assert progress == Progress(
        done=3,
        total=9,
        unit="steps",
        loss=0.5,
        peak_memory_bytes=7,
        eta_seconds=6.0,
        checkpoint_step=3,
        warnings=1,
        message="2 examples are too long",
        time=5.0,
    )


def test_a_rung_of_the_ladder_is_told_until_the_next_step() -> None:
    rung = {
        "kind": "ladder",
        "rung": 1,
        "changes": {"batch_size": [4, 2]},
        "reason": "can't allocate memory",
        "time": 1.0,
    }
    progress = fold(Progress(done=3, total=9), rung)
    assert (progress.phase, progress.message, progress.done) == (
        "restarting_with_less_memory",
        "can't allocate memory",
        3,
    )


def test_another_attempt_keeps_the_checkpoint_and_the_peak_and_a_rung_begins_another_peak() -> None:
    def told(step: int, peak: int) -> dict[str, Any]:
        return {
            "kind": "step",
            "step": step,
            "total": 9,
            "peak_memory_bytes": peak,
            "tokens_per_second": 10.0,
            "time": 1.0,
        }

    first = [told(1, 700), told(2, 800), {"kind": "checkpoint", "step": 2, "time": 1.0}]
    assert fold_attempts([first]).peak_memory_bytes == 800
    begun = fold_attempts([first, []])
    assert begun == Progress(checkpoint_step=2, peak_memory_bytes=800)
    assert begun.step is None and begun.tokens_per_second is None
    resumed = fold_attempts([first, [told(3, 300)]])
    assert (resumed.peak_memory_bytes, resumed.step, resumed.checkpoint_step) == (800, 3, 2)
    rung = {"kind": "ladder", "rung": 1, "reason": "out of memory", "time": 2.0}
    assert fold_attempts([first, [rung, told(3, 300)]]).peak_memory_bytes == 300
    assert (
        fold(
            Progress(peak_memory_bytes=5), {"kind": "step", "peak_memory_bytes": "much", "time": 1.0}
        ).peak_memory_bytes
        == 5
    )


class Living:
    """What the runner sees of an attempt that goes on."""

    def observe(self, *_: object) -> Observation:
        return Observation("alive")


def events_of(peaks: list[int], first: int) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = [("phase", {"name": "loading the model"})]
    for number, peak in enumerate(peaks, first):
        found.append(
            ("step", {"step": number, "total": 50, "loss": 1.0, "tokens_per_second": 9.0, "peak_memory_bytes": peak})
        )
        if peak % 3 == 0:
            found.append(("checkpoint", {"step": number, "path": "x", "bytes": 1, "seconds": 0.1}))
        if peak % 7 == 0:
            found.append(
                ("ladder", {"rung": 1, "changes": {"batch_size": [2, 1]}, "reason": "out of memory", "from_step": None})
            )
    return found


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.integers(1, 60), max_size=5), min_size=1, max_size=3))
def test_runner_console_and_job_tell_the_same_figures_after_any_retry(
    tmp_path_factory: Any, attempts: list[list[int]]
) -> None:
    home, connection = fresh(tmp_path_factory.mktemp("retried"))
    job_id = add_job(connection)
    watch = Watch(home, connection, Living())  # type: ignore[arg-type]
    files = JobFiles(home, job_id)
    step(connection, job_id, "ready")
    try:
        for number, peaks in enumerate(attempts, 1):
            claim_next(connection, "gpu", "boot", "runner")
            write(home, job_id, number, events_of(peaks, 1 + 5 * (number - 1)))
            watch.tick()
            stored = get_job(connection, job_id)
            assert same_figures(stored, files)
            end_attempt(connection, job_id, number, "failed", exit_code=1)
            for state in ("failed", "waiting", "ready"):
                step(connection, job_id, state)  # type: ignore[arg-type]
    finally:
        connection.close()
    run = home.run_dir(job_id)
    whole = fold_attempts(EventReader(attempt.events) for attempt in run.attempts())
    assert stored.progress == whole and peak_of_steps(run) == (whole.peak_memory_bytes or 0)


def write(home: Home, job_id: int, number: int, events: list[tuple[str, dict[str, Any]]]) -> None:
    path: Path = home.run_dir(job_id).attempt(number).path
    path.mkdir(parents=True)
    writer = EventWriter(path / "events.jsonl")
    for kind, fields in events:
        writer.write(kind, **fields)  # type: ignore[arg-type]


def same_figures(job: JobRow, files: JobFiles) -> bool:
    """Whether the stored figures are those of the files, and what a person reads is the same by either."""
    detail = files.read(job)
    assert job.progress == detail.progress
    return facts(job, None) == [part for part in facts(job, detail) if "resumed from" not in part[0]]


def test_a_first_attempt_begins_with_nothing_known() -> None:
    assert next_attempt(None) == Progress()
