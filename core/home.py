"""Where things lie: the home, a job's run directory, an attempt's files. One class names each path."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError


@dataclass(frozen=True)
class AttemptDir:
    """The files of one process run of a job."""

    path: Path

    @property
    def number(self) -> int:
        return int(self.path.name.removeprefix("attempt-"))

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.json"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def telemetry(self) -> Path:
        return self.path / "telemetry.jsonl"

    @property
    def watch(self) -> Path:
        """What the runner noticed about the attempt, one event a line, in the form of `events.jsonl`."""
        return self.path / "watch.jsonl"

    @property
    def run_json(self) -> Path:
        """Written by the shim once the job runs: identities of both processes."""
        return self.path / "run.json"

    @property
    def exit_json(self) -> Path:
        """Written by the shim when the job has ended: exit code or signal."""
        return self.path / "exit.json"

    @property
    def error_json(self) -> Path:
        """Written by a job that fails for a reason it knows: the body of a `BakehouseError` with its exit code."""
        return self.path / "error.json"

    @property
    def stop_request(self) -> Path:
        """Written by the runner: the job stops at its next step boundary, with a checkpoint, when it sees this file."""
        return self.path / "stop.json"

    @property
    def signals(self) -> Path:
        """Which signals were sent to the job, when and by whom; a line each."""
        return self.path / "signals.jsonl"

    @property
    def launcher(self) -> Path:
        """Written by the runner before it starts the attempt: which launcher is to be asked about it."""
        return self.path / "launcher.json"

    @property
    def shim_lock(self) -> Path:
        """Held by the shim for life. The kernel releases it, so the lock is the proof of life."""
        return self.path / "shim.lock"


@dataclass(frozen=True)
class RunDir:
    """All files of a job."""

    path: Path

    @property
    def home(self) -> Home:
        """The home that this folder lies in, wherever that lies now."""
        return Home(self.path.parent.parent)

    @property
    def job_file(self) -> Path:
        return self.path / "job.yaml"

    @property
    def result(self) -> Path:
        """Written last by a job that succeeded: the proof of success."""
        return self.path / "result.json"

    @property
    def answers(self) -> Path:
        return self.path / "answers.jsonl"

    @property
    def scores(self) -> Path:
        return self.path / "scores.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def attempt(self, number: int) -> AttemptDir:
        return AttemptDir(self.path / f"attempt-{number}")

    def attempts(self) -> list[AttemptDir]:
        """The attempts that have a folder, oldest first."""
        found = [AttemptDir(path) for path in self.path.glob("attempt-*") if path.name[8:].isdigit()]
        return sorted(found, key=lambda attempt: attempt.number)


@dataclass(frozen=True)
class Home:
    """Bakehouse's own folder: `$BAKEHOUSE_HOME`, else `$XDG_DATA_HOME/bakehouse` (a relative one is ignored, as XDG says)."""

    root: Path

    @classmethod
    def find(cls) -> Home:
        """The home that the environment names; it need not exist yet."""
        if named := os.environ.get("BAKEHOUSE_HOME"):
            return cls(Path(named).expanduser().absolute())
        from platformdirs import user_data_path

        return cls(user_data_path("bakehouse"))

    def identity(self) -> tuple[Path, int, int] | None:
        """Which folder this is and where it really lies, whatever links lead to it; None where there is none."""
        try:
            place = self.root.resolve()
            found = place.stat()
        except OSError:
            return None
        return place, found.st_dev, found.st_ino

    def create(self) -> Home:
        """Make the folder and the ones in it that everybody expects, readable by their owner alone (mode 0700).

        Raises `InputError` when it can't be made or belongs to somebody else.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.root.stat().st_mode & 0o077:
                self.root.chmod(0o700)
        except OSError as error:
            raise InputError(
                f"this cannot be the home: {error.strerror}",
                code="bad_home",
                file=self.root,
                remedy="set BAKEHOUSE_HOME to a folder of your own",
            ) from error
        for folder in (self.runs, self.artefacts, self.inputs, self.cache):
            folder.mkdir(mode=0o700, exist_ok=True)
        return self

    @property
    def database(self) -> Path:
        return self.root / "bakehouse.db"

    @property
    def runner_lock(self) -> Path:
        return self.root / "runner.lock"

    @property
    def runner_log(self) -> Path:
        return self.root / "runner.log"

    @property
    def crashes(self) -> Path:
        """Reports of faults of Bakehouse itself, the newest ones."""
        return self.root / "crashes"

    @property
    def runner_stopped(self) -> Path:
        """Exists when a person stopped the runner: no shim starts another one then."""
        return self.root / "runner.stopped"

    @property
    def console_lock(self) -> Path:
        """Held shared by every open console: the runner lives while one does."""
        return self.root / "console.lock"

    @property
    def telemetry(self) -> Path:
        return self.root / "telemetry.ring"

    @property
    def lease_state(self) -> Path:
        """Written by the runner when it changes: who holds the GPU, what was unloaded for it, what is wrong with it."""
        return self.root / "gpu_lease.json"

    @property
    def evicted_models(self) -> Path:
        """The served models that were unloaded for a job, written before the first of them goes; gone once all are back."""
        return self.root / "evicted_models.json"

    @property
    def idle_baseline(self) -> Path:
        """What each GPU's memory holds when nobody works with it, learnt in this boot."""
        return self.root / "idle_gpu_memory.json"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def models(self) -> Path:
        """Base models that were pulled, a folder each."""
        return self.cache / "models"

    @property
    def inputs(self) -> Path:
        return self.root / "inputs"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def artefacts(self) -> Path:
        return self.root / "artefacts"

    def run_dir(self, job_id: int) -> RunDir:
        return RunDir(self.runs / str(job_id))
