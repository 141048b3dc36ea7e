"""Where things lie: the home, a job's run directory, an attempt's files. One class names each path."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.errors import InputError
from core.failures import refusal_of


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

    @property
    def place(self) -> list[int] | None:
        """Which folder this is: device and inode of the shim's lock, which a moved folder keeps and a copy does not."""
        try:
            status = self.shim_lock.stat()
        except OSError:
            return None
        return [status.st_dev, status.st_ino]


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
    def verdicts(self) -> Path:
        return self.path / "verdicts.jsonl"

    @property
    def candidates(self) -> Path:
        """What a bake-off measured of its candidates beside their answers: a line for each load of a model."""
        return self.path / "candidates.jsonl"

    @property
    def left_out(self) -> Path:
        """Which candidates a bake-off does without, since nothing was made of them; of its newest attempt."""
        return self.path / "left_out.json"

    @property
    def parity(self) -> Path:
        """What a parity check has found, prompt by prompt, whether it passed or not."""
        return self.path / "parity.json"

    @property
    def deployment(self) -> Path:
        """What a deployment to Ollama is about to replace, and where that is kept: written before it is."""
        return self.path / "deployment.json"

    @property
    def choice(self) -> Path:
        """What a training of an experiment chose by its trials, before it began; every later attempt keeps to it."""
        return self.path / "choice.json"

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
class ServedDir:
    """The files of a served model: a llama-server that runs for production."""

    path: Path

    @property
    def home(self) -> Home:
        """The home that this folder lies in, wherever that lies now."""
        return Home(self.path.parent.parent)

    @property
    def record(self) -> Path:
        """What it is: written whole before its server starts."""
        return self.path / "served.json"

    @property
    def record_before(self) -> Path:
        """The record that a deployment replaces, until the new one serves."""
        return self.path / "served.before.json"

    @property
    def state(self) -> Path:
        """Written by its shim: what it does now."""
        return self.path / "state.json"

    @property
    def shim_lock(self) -> Path:
        """Held by its shim for life, as an attempt's is."""
        return self.path / "shim.lock"

    @property
    def log(self) -> Path:
        """What llama-server prints; the part before the last full one is `llama-server.log.1`."""
        return self.path / "llama-server.log"

    @property
    def stopped(self) -> Path:
        """Exists when a person stopped it."""
        return self.path / "stopped"

    @property
    def away(self) -> Path:
        """Exists while it is away for jobs that have the GPU to themselves."""
        return self.path / "away.json"


_seen: set[Path] = set()
"""The homes that this process has worked in."""


@dataclass(frozen=True)
class Home:
    """Bakehouse's own folder: `$BAKEHOUSE_HOME`, else `$XDG_DATA_HOME/bakehouse` (a relative one is ignored, as XDG says)."""

    root: Path

    @classmethod
    def find(cls) -> Home:
        """The home that the environment names; it need not exist yet. Raises `InputError` where it names none."""
        if named := os.environ.get("BAKEHOUSE_HOME"):
            return cls(expanded(named, key="BAKEHOUSE_HOME").absolute())
        folder = of_this_person("data")
        if folder is None:
            raise InputError(
                "Your home directory is not known: HOME is no absolute path, and the user database has no entry for this user",
                code="no_home_directory",
                remedy="set BAKEHOUSE_HOME to a folder of your own",
            )
        return cls(folder)

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

        A folder that is there keeps its rights, whatever they are: the doctor warns of those that let others write. A home that
        this process has seen is not made again: it was moved away, and an empty one in its place would say that there were no
        jobs. Raises `InputError` when a folder can't be made.
        """
        if self.root in _seen and not self.root.exists():
            raise InputError(
                "The home was moved or removed while this was running.",
                code="home_moved",
                file=self.root,
                remedy="start bakehouse again, with BAKEHOUSE_HOME set to where the home is now",
            )
        for folder in (self.root, self.runs, self.artefacts, self.inputs, self.cache):
            try:
                folder.mkdir(mode=0o700, parents=folder == self.root, exist_ok=True)
            except OSError as error:
                said = refusal_of(error, folder, of_home=True)
                raise InputError(
                    f"This cannot be the home. {said.message}",
                    code="bad_home" if said.code == "os_error" else said.code,
                    file=folder,
                    remedy=said.remedy or "set BAKEHOUSE_HOME to a folder of your own",
                ) from error
        _seen.add(self.root)
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
    def gpu_fault(self) -> Path:
        """The page fault that the GPU is blocked for, until a person releases it or the machine has restarted."""
        return self.root / "gpu_fault.json"

    @property
    def idle_baseline(self) -> Path:
        """What each GPU's memory holds when nobody works with it, learnt in this boot."""
        return self.root / "idle_gpu_memory.json"

    @property
    def form_values(self) -> Path:
        """Written by consoles: what was last queued from their forms."""
        return self.root / "form_values.json"

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

    @property
    def served(self) -> Path:
        """The served models, a folder each; there once the first one is deployed."""
        return self.root / "served"

    def served_dir(self, name: str) -> ServedDir:
        """Of a name that is one (`core.served.record.require_name`)."""
        return ServedDir(self.served / name)

    def run_dir(self, job_id: int) -> RunDir:
        return RunDir(self.runs / str(job_id))


def expanded(path: str | Path, *, key: str | None = None, file: str | Path | None = None) -> Path:
    """A path whose `~` or `~anna` is replaced by a home directory. Raises `InputError` (of `key` and `file`) without one."""
    first, *rest = Path(path).parts or ("",)
    if not first.startswith("~"):
        return Path(path)
    found = home_directory(first[1:])
    if found is None:
        what = f"user {first[1:]} is not known here" if first[1:] else "your home directory is not known"
        raise InputError(
            f"`{first}` cannot be resolved: {what}",
            code="no_home_directory",
            key=key,
            file=file,
            remedy="write an absolute path",
        )
    return found.joinpath(*rest)


def home_directory(user: str = "") -> Path | None:
    """The home directory of a user, of this process's without a name: `HOME`, else what the user database says.

    An empty or relative `HOME` names none; so does a user without an entry, as containers have them.
    """
    import pwd

    if not user and (named := Path(os.environ.get("HOME", ""))).is_absolute():
        return named
    try:
        found = Path((pwd.getpwnam(user) if user else pwd.getpwuid(os.getuid())).pw_dir)
    except (KeyError, ValueError):
        return None
    return found if found.is_absolute() else None


def of_this_person(what: Literal["data", "config"]) -> Path | None:
    """Bakehouse's folder among a person's own by the XDG rules; None where no home directory is known.
    A relative variable of XDG is ignored, as its specification says.
    """
    variable, usual = {"data": ("XDG_DATA_HOME", ".local/share"), "config": ("XDG_CONFIG_HOME", ".config")}[what]
    named = Path(os.environ.get(variable, "").strip())
    home = home_directory()
    folder = named if named.is_absolute() else home and home / usual
    return folder and folder / "bakehouse"
