"""The selected job's files, followed by offset: its log, its events, its answers. Used by the feed's thread alone."""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.events import EventReader
from core.files import AppendedLines, read_json, read_lines
from core.format import plural
from core.home import Home
from core.jobfile.kinds import kind_of
from core.jobfile.raw import own_path, read_key
from core.progress import Progress, fold, next_attempt
from core.store.jobs import JobRow
from core.telemetry.run_record import Summary, read_summary
from core.text import log_line
from tui.model.forecasts import OomFallback, RunForecast, read_rung, run_forecast
from tui.model.gpu_files import Findings
from tui.model.snapshot import Detail, Share

TAIL_BYTES = 64 * 1024
KEPT_LINES = 300
KEPT_CHARACTERS = 1000
MOST_POINTS = 1500


class LogLines:
    """The newest lines of a growing file, without reading what stands before them."""

    def __init__(self, path: Path) -> None:
        self.file = AppendedLines(path)
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)

    def read(self) -> bool:
        """Take in what was written since; True when there was anything."""
        before = self.file.offset
        whole, gap = self.file.read(TAIL_BYTES, newest=True)
        if gap:
            self.lines.clear()
        self.lines.extend(decode(line) for line in whole)
        return gap or self.file.offset != before

    @property
    def shown(self) -> tuple[str, ...]:
        """The lines, the unfinished last one among them."""
        last = decode(self.file.rest)
        return (*self.lines, last) if last else tuple(self.lines)


def decode(line: bytes) -> str:
    return log_line(line.decode(errors="replace"))[:KEPT_CHARACTERS]


def thin(points: Sequence[tuple[int, float]], most: int = MOST_POINTS) -> tuple[tuple[int, float], ...]:
    """About `most` points: means of neighbours, the first and the last as they are."""
    if len(points) <= most:
        return tuple(points)
    size = -(-len(points) // most)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    means = [(group[len(group) // 2][0], sum(value for _, value in group) / len(group)) for group in groups]
    return (points[0], *means[1:-1], points[-1])


def tasks_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The tasks of a bake-off's job file; one of before there could be several names its task directly."""
    found = spec.get("tasks")
    return found if isinstance(found, list) else [spec]


def task_name(under_test: Mapping[str, Any]) -> str:
    """The name of a task of a bake-off's job file; empty where it has none."""
    task = under_test.get("task")
    return str(task.get("name", "")) if isinstance(task, dict) else ""


def _has_answers(spec: Mapping[str, Any]) -> bool:
    return kind_of(str(spec.get("kind"))).has_leaderboard


NO_ANSWER = 0.0, 0.0, 0.0, 0.0
"""Of a place of the result: answers, their seconds, how many reached the limit, how many the server did not give."""


class JobFiles:
    """Follows one job. `read` is cheap when nothing was written."""

    def __init__(self, home: Home, job_id: int) -> None:
        self.home = home
        self.job_id = job_id
        self.run = home.run_dir(job_id)
        self.attempt = 0
        self.log: LogLines | None = None
        self.events: dict[int, EventReader] = {}
        self.spec: dict[str, Any] | None = None
        self.losses: dict[int, float] = {}
        self.evals: dict[int, float] = {}
        self.progress = Progress()
        self.newest_step: tuple[int, int] | None = None
        """(attempt, step) of the newest step."""
        self.resumed_from: int | None = None
        self.forecast: RunForecast | None = None
        self.rungs: list[OomFallback] = []
        self.started_again = False
        self.findings: dict[int, Findings] = {}
        self.telemetry_bytes = 0
        self.gpu: Summary | None = None
        self.answers_offset = 0
        self.answers: dict[str, list[float]] = {}
        self.by_task: dict[tuple[str, str], int] = {}
        self.places: dict[int, tuple[float, float, float, float]] = {}
        """Answers by candidate and task."""
        self.newest_task: dict[str, str] = {}
        """By candidate, the task that it answered last."""
        self.asked: list[tuple[int, int]] = []
        """(inputs, repeats) of each task of a bake-off."""
        self.task_names: list[str] = []
        self.parity: dict[str, Any] | None = None
        self.parity_stamp: tuple[int, int] | None = None
        self.detail = Detail(job_id)

    def read(self, job: JobRow) -> Detail:
        """What the files say now; the same object as before when they say nothing new."""
        changed = self._read_spec() | self._read_log(job.attempt) | self._read_events(job.attempt)
        changed |= self._read_gpu(job.attempt)
        if kind_of(job.kind).has_leaderboard:
            changed |= self._read_answers()
        if kind_of(job.kind).has_parity:
            changed |= self._read_parity()
        if changed:
            self.detail = self._build()
        return self.detail

    def _read_spec(self) -> bool:
        if self.spec is not None:
            return False
        try:
            spec = read_key(self.run, "spec", dict)
            if _has_answers(spec):
                self.asked = [
                    (len(json.loads(Path(own_path(self.run, one["golden"]["path"])).read_bytes())), int(one["repeats"]))
                    for one in tasks_of(spec)
                ]
                self.task_names = [task_name(one) for one in tasks_of(spec)]
        except (InputError, OSError, ValueError, KeyError, TypeError):
            # Not written yet, or by another version: the headline stays empty, everything else still shows.
            return False
        try:
            self.forecast = run_forecast(spec)
        except (KeyError, TypeError):
            self.forecast = None  # of another version
        self.spec = spec
        return True

    def _read_log(self, attempt: int) -> bool:
        if attempt < 1:
            return False
        if attempt != self.attempt:
            self.attempt = attempt
            self.log = LogLines(self.run.attempt(attempt).log)
        return self.log is not None and self.log.read()

    def _read_events(self, attempt: int) -> bool:
        changed = False
        for number in range(1, attempt + 1):
            if number not in self.events:
                self.events[number] = EventReader(self.run.attempt(number).events)
                self.progress, changed = next_attempt(self.progress), True
            for event in self.events[number]:
                changed = True
                self._take(number, event)
        return changed

    def _read_gpu(self, attempt: int) -> bool:
        """What was noticed about the attempts, and what the present one did to the GPU."""
        changed = False
        for number in range(1, attempt + 1):
            if number not in self.findings:
                self.findings[number] = Findings(self.run.attempt(number))
            changed |= self.findings[number].read()
        if attempt:
            present = self.run.attempt(attempt)
            size = present.telemetry.stat().st_size if present.telemetry.exists() else 0
            if size != self.telemetry_bytes:
                self.telemetry_bytes, self.gpu = size, read_summary(present)
                changed = True
        return changed

    def _read_parity(self) -> bool:
        """What was found of prompts: written whole, and again by another attempt."""
        try:
            status = self.run.parity.stat()
        except OSError:
            return False
        stamp = status.st_ino, status.st_mtime_ns
        if stamp == self.parity_stamp:
            return False
        self.parity_stamp = stamp
        with contextlib.suppress(ValueError):
            document = read_json(self.run.parity)
            self.parity = document if isinstance(document, dict) else None
        return True

    def _take(self, attempt: int, event: dict[str, Any]) -> None:
        """One event. What is trained again, in a later attempt or after a step of the ladder, replaces what was."""
        self.progress = fold(self.progress, event)
        kind, step = event["kind"], event.get("step")
        if kind == "step" and isinstance(step, int):
            before = self.newest_step
            if before is not None and (before[0] != attempt or step <= before[1] or self.started_again):
                self.resumed_from = step - 1 or None
                self.losses = {number: loss for number, loss in self.losses.items() if number < step}
                self.evals = {number: loss for number, loss in self.evals.items() if number < step}
            self.started_again = False
            self.newest_step = attempt, step
            if isinstance(event.get("loss"), int | float):
                self.losses[step] = event["loss"]
        elif kind == "eval" and isinstance(step, int) and isinstance(event.get("loss"), int | float):
            self.evals[step] = event["loss"]
        elif kind == "ladder":
            try:
                self.rungs.append(read_rung(event, attempt))
            except (KeyError, TypeError, ValueError):
                return  # of another version
            self.started_again = True

    def _read_answers(self) -> bool:
        changed = False
        for answer, offset in read_lines(self.run.answers, self.answers_offset):
            self.answers_offset, changed = offset, True
            name, task = str(answer.get("candidate")), str(answer.get("task"))
            self.newest_task[name] = task
            at_limit, missing = answer.get("finish") == "length", answer.get("fault") == "server"
            counts = 1.0, answer.get("seconds") or 0.0, float(at_limit), float(missing)
            if answer.get("withdrawn"):
                counts = NO_ANSWER
            # One that was missing, or another model's, and was asked for again, is one answer.
            place = hash((name, task, answer.get("input_id"), answer.get("repeat"))) if "input_id" in answer else offset
            former, self.places[place] = self.places.get(place, NO_ANSWER), counts
            seen = self.answers.setdefault(name, [0, 0.0, 0, 0])
            for at, (now, before) in enumerate(zip(counts, former, strict=True)):
                seen[at] += now - before
            self.by_task[name, task] = self.by_task.get((name, task), 0) + int(counts[0] - former[0])
        return changed

    def _build(self) -> Detail:
        return Detail(
            job_id=self.job_id,
            headline=self._headline(),
            lines=self.log.shown if self.log else (),
            losses=thin(sorted(self.losses.items())),
            evals=tuple(sorted(self.evals.items())),
            progress=self.progress,
            resumed_from=self.resumed_from,
            forecast=self.forecast,
            ladder=tuple(self.rungs),
            shares=self._shares(),
            findings=tuple(one for number in sorted(self.findings) for one in self.findings[number].found),
            gpu=self.gpu,
            parity=self.parity,
        )

    def _headline(self) -> str:
        spec = self.spec or {}
        if recipe := spec.get("recipe"):
            return f"{recipe.get('name')}, rank {recipe.get('rank')}"
        if _has_answers(spec) and self.asked:
            inputs, repeats = sum(inputs for inputs, _ in self.asked), {repeats for _, repeats in self.asked}
            tasks = f"{len(self.asked)} tasks, " if len(self.asked) > 1 else ""
            each = f" × {repeats.pop()}" if len(repeats) == 1 else ""
            return f"{tasks}{plural(inputs, 'input')}{each}"
        return ""

    def _shares(self) -> tuple[Share, ...]:
        spec = self.spec or {}
        if not _has_answers(spec):
            return ()
        total = sum(inputs * repeats for inputs, repeats in self.asked) or None
        names = [str(candidate.get("name")) for candidate in spec.get("candidates", [])]
        found = []
        each = dict(zip(self.task_names, (inputs * repeats for inputs, repeats in self.asked), strict=False))
        for name in [*names, *(name for name in self.answers if name not in names)]:
            done, seconds, at_limit, faults = self.answers.get(name, [0, 0.0, 0, 0])
            task = self.newest_task.get(name) if len(self.task_names) > 1 else None
            found.append(
                Share(
                    name,
                    int(done),
                    total,
                    seconds / done if done and seconds else None,
                    int(at_limit),
                    task,
                    self.by_task.get((name, task or ""), 0),
                    each.get(task or ""),
                    int(faults),
                )
            )
        return tuple(found)
