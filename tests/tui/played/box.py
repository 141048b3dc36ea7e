"""The box that pictures are taken of: its GPU, its server, its home with a real runner, its jobs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from core.config.project import shipped
from core.files import write_json
from core.gpu_lease.state import read_lease_state
from core.home import Home
from core.runner.client import ensure_runner, request
from core.serving.ollama import Ollama
from core.store.jobs import JobRow
from core.submission import enqueue, submit
from tests.support.cardsim import GpuSim, SimGpu
from tests.support.ollama_standin import OllamaStandin
from tests.support.queueing import Queue, kill
from tests.tui.picture import KEYS, TYPED, save
from tests.tui.terminal import Terminal

CHECKOUT = Path(__file__).parents[3]
FLEET = {"vault-judge:v1": 4_300_000_000, "vault-planner:v1": 4_300_000_000, "vault-quizzer:v1": 1_800_000_000}
# As `bakehouse` does, on a box of this name.
CONSOLE = "import socket; socket.gethostname = lambda: 'gpubox'; from core.cli.main import main; main()"


class Machine:
    """What a picture is taken of."""

    def __init__(self, folder: Path, sim: GpuSim, ollama: OllamaStandin, queue: Queue) -> None:
        self.folder, self.sim, self.ollama, self.queue = folder, sim, ollama, queue
        self.home: Home = queue.home
        self.others: list[subprocess.Popen[bytes]] = []

    def trainer(self, **words: Any) -> None:
        """How the trainers that begin from now on behave."""
        (self.sim.folder / "trainer.yaml").write_text(yaml.safe_dump(words))

    def train(self, model: str = "Qwen3-4B", **overrides: Any) -> JobRow:
        """A training as a person submits it; its interpreter is the played one."""
        pretend_fetched(self.home, model)
        recipe = "lora-bf16"
        return submit.submit_train(
            self.home, shipped(), "judge", model, recipe, overrides, author="anna@gpubox, command"
        )

    def ask(self, kind: Any, job_id: int | None = None) -> None:
        request(self.home, kind, job_id, {}, by="anna@gpubox, console")

    def load(self, *names: str, seconds: float = 240.0) -> None:
        with Ollama(self.ollama.url) as client:
            for name in names or FLEET:
                client.load(name, keep_alive_seconds=seconds)

    def program(self, vram_bytes: int, *, name: str) -> None:
        """A real process of somebody else that has memory of the GPU."""
        process = subprocess.Popen(["sleep", "900"])
        self.others.append(process)
        self.sim.hold(process.pid, vram_bytes, name=name, busy_percent=61, user_id=0)

    def kill(self, job_id: int) -> None:
        """SIGKILL for a job's process, as the machine's want of memory would send it."""
        kill(self.queue.process(job_id))

    def unowned(self) -> int | None:
        state = read_lease_state(self.home)
        return None if state is None else state.unowned_bytes

    def picture(self, out: Path, keys: str = "", size: str = "120x40", wait: float = 4.0) -> str:
        """Open the console in a real terminal, type, and draw what stands there; its text."""
        columns, lines = (int(part) for part in size.split("x"))
        with Terminal([sys.executable, "-P", "-c", CONSOLE], columns=columns, lines=lines) as terminal:
            terminal.watch(wait)
            for name, key in TYPED.findall(keys):
                if name.isdigit():
                    terminal.watch(float(name))
                else:
                    terminal.type(KEYS[name] if name else key)
                    terminal.watch(0.4)
            terminal.watch(1.5)
            save(terminal.screen, out)
            return terminal.text


def pretend_fetched(home: Home, model: str) -> None:
    """The note of a pull: what the files would hold is never read here."""
    entry = shipped().model(model)
    folder = home.models / entry.name / "files"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    write_json(home.models / entry.name / "hub.json", {"hub": entry.hub, "commit": "0" * 40, "folder": str(folder)})


def played_python(folder: Path) -> str:
    """An interpreter whose `-m jobs` is the played trainer."""
    package = folder / "played/jobs"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text("import sys\nfrom tests.tui.played.trainer import main\nsys.exit(main())\n")
    python = folder / "python"
    paths = f"{folder / 'played'}:{CHECKOUT}"
    python.write_text(f'#!/bin/bash\nPYTHONPATH="{paths}" exec -a python "{sys.executable}" "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return str(python)


@contextlib.contextmanager
def played_box(folder: Path) -> Iterator[Machine]:
    """A box with an RX 9070 XT beside the processor's own GPU, and Ollama with a fleet of three that is not loaded."""
    gpu = SimGpu(name="AMD Radeon RX 9070 XT", pci="0000:0f:00.0", idle_bytes=612_368_384)
    own = SimGpu(
        pci="0000:7a:00.0", total_bytes=2**29, idle_bytes=41_943_040, name="AMD Radeon Graphics", integrated=True
    )
    (folder / "config/bakehouse").mkdir(parents=True)
    with GpuSim(folder / "kernel", gpu, own) as sim, OllamaStandin("0.24.0", load_seconds=1.0) as ollama:
        for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "NO_COLOR"):
            os.environ.pop(name, None)
        os.environ.update(sim.environ)
        os.environ["BAKEHOUSE_LEASE_DIR"] = str(folder)
        os.environ["BAKEHOUSE_HOME"] = str(folder / "home")
        os.environ["XDG_CONFIG_HOME"] = str(folder / "config")
        os.environ["OLLAMA_HOST"] = ollama.url
        settings = {
            "queue": {"stop_grace_seconds": 5.0},
            "gpu": {"return_seconds": 5.0}
            | dict.fromkeys(("retry_seconds", "reload_seconds", "clients_quiet_seconds"), 2.0),
        }
        (folder / "config/bakehouse/settings.yaml").write_text(yaml.safe_dump(settings))
        for name, size in FLEET.items():
            ollama.add_model(name, size_bytes=size)
        ollama.on_residents_changed = sim.serve
        queue = Queue(Home(folder / "home").create(), played_python(folder), shipped())
        enqueue.interpreter = lambda home, project, spec: queue.python  # type: ignore[assignment]
        with queue.home.console_lock.open("a") as lock:
            # As an open console does: the runner lives while one looks.
            fcntl.flock(lock, fcntl.LOCK_SH)
            ensure_runner(queue.home)
            box = Machine(folder, sim, ollama, queue)
            try:
                yield box
            finally:
                queue.close()
                for process in box.others:
                    process.kill()
                    process.wait()
