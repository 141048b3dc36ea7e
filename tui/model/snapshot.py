"""What the console shows: one frozen picture of the home, built by the feed, rendered by everybody else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.format import data_size
from core.gpu.reading import Sample
from core.gpu_lease.state import LeaseState
from core.progress import Progress
from core.store.chains import Chain
from core.store.jobs import ACTIVE, ENDED, QUEUED, JobRow, QueueState
from core.store.rescorings import CheckChange
from core.telemetry.run_record import Summary
from core.wording.gpu import gpu_words
from core.wording.runs import Difference
from core.wording.served import served_words
from tui.model.fleet_reader import FleetNow
from tui.model.forecasts import OomFallback, RunForecast
from tui.model.served_files import ServedNow

if TYPE_CHECKING:  # pydantic and scipy stand behind them: the thread that reads makes them, and the screens only look
    from core.bakeoff.input_cells import InputCell
    from core.bakeoff.matrix import Matrix
    from core.bakeoff.mode_counts import ModeCount
    from core.bakeoff.stages import StageTable

STALE_SECONDS = 5.0


@dataclass(frozen=True)
class CheckMarks:
    """One check of a candidate: its mean, the worst repeat of each input, and why points were lost (reason, answers)."""

    id: str
    part: str
    mean: float | None
    worst: tuple[float | None, ...] = ()
    reasons: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class RankedCandidate:
    """A row of a leaderboard. Scores and intervals lie in 0..1; None is "not known"."""

    name: str
    score: float | None
    """The score that leads: format, or content when the task has no format checks."""
    low: float | None = None
    high: float | None = None
    format: float | None = None
    content: float | None = None
    worst: float | None = None
    consistency: float | None = None
    seconds_per_answer: float | None = None
    tokens_per_second: float | None = None
    answers: int = 0
    missing: int = 0
    at_limit: int = 0
    tied: bool = False
    incumbent: bool = False
    difference: str = ""
    """To the incumbent, on the scale of five with its interval; the reason when there is none."""
    checks: tuple[CheckMarks, ...] = ()
    reasons: tuple[tuple[str, int], ...] = ()
    inputs: tuple[InputCell, ...] = ()
    """What it scored on each golden input."""
    trained_with: str = ""
    """What tells it from other trainings of its model, where its name does not."""
    characters_per_second: float | None = None
    first_token_seconds: float | None = None
    cold_load_seconds: float | None = None
    vram_bytes: int | None = None
    timed_shared: int = 0
    """How many answers were timed while others used the server."""
    curtailed: bool = False
    noise_floor: float | None = None
    """A smaller difference to the incumbent can come from sampling alone."""
    modes: tuple[ModeCount, ...] | None = ()
    """What is wrong with its answers, the most frequent first; None: scored before that was looked for."""


@dataclass(frozen=True)
class Scored:
    """The scores that a leaderboard shows: the original ones (number 0) or those of a rescoring."""

    number: int = 0
    newest: int = 0
    time: float | None = None
    author: str = ""
    changes: tuple[CheckChange, ...] = ()
    outdated: bool = False


@dataclass(frozen=True)
class Changed:
    """What has changed since a bake-off, in words: its verdict belongs to what was measured."""

    stale: str = ""
    """Empty: nothing that is known of."""
    unknown: str = ""
    """Of what it is not known whether it has changed; empty: all is known."""
    asked: float | None = None
    """When its servers were asked, in Unix seconds; None: they were not, or it has none."""
    asking: bool = False


@dataclass(frozen=True)
class Board:
    """The leaderboard of one task of a bake-off, best candidate first, by its newest scores."""

    job_id: int
    task: str
    project_id: str
    state: str
    time: float
    input_ids: tuple[str, ...] = ()
    repeats: int = 1
    candidates: tuple[RankedCandidate, ...] = ()
    headline: str = ""
    """The comparison that matters, with its interval and what it rests on, or why there is none."""
    headline_short: str = ""
    """The same without what it rests on."""
    headline_difference: str = ""
    """Its difference and interval alone; empty where nothing is compared."""
    notes: tuple[str, ...] = ()
    incumbent: str | None = None
    problem: str = ""
    """Why there is no leaderboard."""
    scored: Scored = Scored()
    original: Board | None = None
    """The same under the original scores, where the bake-off was rescored."""
    parts: tuple[str, ...] = ()
    confirming: frozenset[str] = frozenset()
    """The inputs that are kept to confirm by; where there are some, the others are to choose by."""
    matrix: Matrix | None = None
    """Of a bake-off over several tasks: all of them side by side, the same for each of its boards."""
    stages: StageTable | None = None
    """Of a bake-off over the stages of an adapter: where quality was lost."""
    changed: Changed | None = None
    """What has changed since; None: nobody has looked yet."""
    changed_anywhere: Changed | None = None
    """The same of all tasks of the bake-off."""
    judges: int = 0
    """How many of its checks ask a judge."""
    lacks_verdicts: bool = False
    """Judges are still to be asked."""

    @property
    def best(self) -> RankedCandidate | None:
        return self.candidates[0] if self.candidates and self.candidates[0].score is not None else None


@dataclass(frozen=True)
class Share:
    """How far a candidate of the selected bake-off is, over all its tasks; `task` is the one that it answered last."""

    name: str
    done: int
    total: int | None
    seconds_per_answer: float | None = None
    at_limit: int = 0
    task: str | None = None
    task_done: int = 0
    task_total: int | None = None
    server_faults: int = 0

    @property
    def is_finished(self) -> bool:
        return self.total is not None and self.done >= self.total


@dataclass(frozen=True)
class RunFinding:
    """What the runner noticed about a run; `stop`: it ends the run for it."""

    time: float
    code: str
    message: str
    stop: bool = False


@dataclass(frozen=True)
class ProfileLines:
    """The environment profile of the GPU: (variable as it is set or unset, why)."""

    name: str
    rows: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Detail:
    """The selected job's files, as far as they were read."""

    job_id: int
    headline: str = ""
    """What the job is told, in a few words: recipe and rank, the candidates."""
    lines: tuple[str, ...] = ()
    losses: tuple[tuple[int, float], ...] = ()
    evals: tuple[tuple[int, float], ...] = ()
    progress: Progress = field(default_factory=Progress)
    """Its figures as the files give them: they can be newer than those that the runner has stored."""
    resumed_from: int | None = None
    forecast: RunForecast | None = None
    ladder: tuple[OomFallback, ...] = ()
    shares: tuple[Share, ...] = ()
    findings: tuple[RunFinding, ...] = ()
    """What the runner noticed about its attempts."""
    gpu: Summary | None = None
    """What its present attempt, or its last, did to the GPU."""
    parity: Mapping[str, Any] | None = None
    """What a job that compares prompts has found: its `parity.json`."""


@dataclass(frozen=True)
class TaskLine:
    """A task of the project (or of the shipped one), whether or not it has been in a bake-off."""

    name: str
    project_id: str
    title: str = ""


@dataclass(frozen=True)
class Slot:
    """Who holds the GPU (or the CPU slot): nobody when `held` is false."""

    held: bool = False
    job_id: int | None = None
    since: float | None = None
    elsewhere: bool = False
    """Held by a job of another home."""
    forecast: RunForecast | None = None
    next_forecast: RunForecast | None = None
    """Of the training that is to take the GPU next."""


GOES_ON = QueueState(False, "", "")


@dataclass(frozen=True)
class Snapshot:
    """One moment. `time` is what the clock of the console shows; nothing that renders asks for the time itself."""

    time: float
    host: str = ""
    project: str = ""
    project_id: str = ""
    jobs: tuple[JobRow, ...] = ()
    chains: tuple[Chain, ...] = ()
    """Those that still have something to do and the newest others, newest first."""
    counts: dict[str, int] = field(default_factory=dict)
    queue: QueueState = GOES_ON
    runner_alive: bool | None = None
    samples: tuple[Sample, ...] = ()
    slot: Slot = Slot()
    lease_state: LeaseState | None = None
    """What the runner tells of the GPU: None without one."""
    served: tuple[ServedNow, ...] = ()
    """The home's served models, by name."""
    gpu_summary: Summary | None = None
    """Of the job that holds the GPU: what its attempt has done to it so far."""
    findings: dict[int, tuple[RunFinding, ...]] = field(default_factory=dict)
    """By job, of those that run: what the runner noticed about the present attempt."""
    profile: ProfileLines | None = None
    project_option: tuple[str, ...] = ()
    """By which a command finds the project: empty where it is that of the folder in which the console was started."""
    tasks: tuple[TaskLine, ...] | None = None
    boards: tuple[Board, ...] | None = None
    fleet: FleetNow | None = None
    """What serves, by task; None: not read yet."""
    detail: Detail | None = None
    ladders: dict[int, int] = field(default_factory=dict)
    """By job: how many steps of the ladder a training has taken, of those that took any."""
    differences: dict[int, Difference] = field(default_factory=dict)
    """By job: how a run differs from the others of its kind and task."""
    run_scores: dict[int, float] = field(default_factory=dict)
    """By job: the score in [0, 1] of what it made."""
    problem: str | None = None
    """Why the feed could not read the home."""
    problems: tuple[str, ...] = ()
    """What else did not work: a runner that does not start, a task that is not valid."""
    ready: bool = False
    """False until the home was read for the first time."""

    def job(self, job_id: int | None) -> JobRow | None:
        return next((job for job in self.jobs if job.id == job_id), None)

    def chain(self, chain_id: int) -> Chain | None:
        return next((chain for chain in self.chains if chain.id == chain_id), None)

    def board(self, job_id: int | None, task: str | None = None) -> Board | None:
        """The leaderboard of a bake-off for a task; without one for its first."""
        return next((board for board in self.boards_of(job_id) if task in {None, board.task}), None)

    def boards_of(self, job_id: int | None) -> tuple[Board, ...]:
        """The leaderboards of a bake-off, a task each, in their order."""
        return tuple(board for board in self.boards or () if board.job_id == job_id)

    @property
    def running(self) -> JobRow | None:
        """The job that holds the GPU, else any that runs."""
        active = [job for job in self.jobs if job.state in ACTIVE]
        return next((job for job in active if job.lane == "gpu"), active[0] if active else None)

    @property
    def waiting(self) -> int:
        return self.counts.get("waiting", 0) + self.counts.get("ready", 0)

    @property
    def held(self) -> int:
        """How many of those that wait are held by a person."""
        return sum(job.held and job.state in QUEUED for job in self.jobs)

    @property
    def sample(self) -> Sample | None:
        return self.samples[-1] if self.samples else None

    @property
    def stale_seconds(self) -> float | None:
        """Age of the newest telemetry when it is too old to be believed, else None."""
        if self.sample is None or self.time - self.sample.time <= STALE_SECONDS:
            return None
        return self.time - self.sample.time

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know, one line each."""
        found = []
        if self.problem:
            found.append(self.problem)
        found += self.problems
        if self.ready and self.runner_alive is False and any(job.state not in ENDED for job in self.jobs):
            found.append("no runner: nothing new will start")
        if self.sample is not None and self.sample.problem:
            found.append(self.sample.problem)
        for job in self.jobs:
            if job.orphaned and job.state in ACTIVE:
                found.append(f"{job.id} runs without its shim")
            if job.state in ACTIVE and job.progress is not None and job.progress.warnings:
                count = job.progress.warnings
                found.append(f"{job.id} gave {count} warning{'s' if count > 1 else ''}, see its log")
            found += [f"{job.id}: {finding.message}" for finding in newest_of_each(self.findings.get(job.id, ()))]
        found += [f"{one.name}: {one.error}" for one in self.served if one.error]
        found += [self.fleet.problem] if self.fleet is not None and self.fleet.problem else []
        found += [
            f"{one.name} does not serve: {served_words(one.state.reason)}"
            for one in self.served
            if one.state is not None and one.state.phase == "failed"
        ]
        if self.lease_state is not None:
            found += gpu_warnings(self.lease_state)
        return tuple(found)


def progress_of(job: JobRow, detail: Detail | None) -> Progress:
    """The newest figures of a job: of its files where they were read since the runner stored some, else the stored ones."""
    stored, read = job.progress or Progress(), detail.progress if detail else Progress()
    return read if (read.time or 0.0) >= (stored.time or 0.0) and read != Progress() else stored


def newest_of_each(findings: tuple[RunFinding, ...]) -> list[RunFinding]:
    """The newest finding of each kind, those that end the run first, then the newest."""
    newest = {finding.code: finding for finding in findings}
    return sorted(newest.values(), key=lambda finding: (not finding.stop, -finding.time))


def gpu_warnings(state: LeaseState) -> list[str]:
    """What a person should know of the GPU."""
    found = [gpu_words(state.status)] if state.faulted else []
    if state.unowned_bytes:
        said = f"{data_size(state.unowned_bytes)} of the GPU belong to no process"
        found.append(f"{said}: {gpu_words(state.remedy)}" if state.remedy else said)
    found += [f"{one.name} loaded by a client {one.times}× while a job holds the GPU" for one in state.intruders]
    if state.server_fault:
        found.append(gpu_words(state.server_fault))
    return found


EMPTY = Snapshot(time=0.0)
