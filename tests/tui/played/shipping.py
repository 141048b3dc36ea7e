"""Take the pictures of docs/pictures of chains and their checks: `python -m tests.tui.played.shipping OUT_FOLDER [NAME …]`.

The homes are invented: records of jobs, and a parity check whose prompts are real renders of a small tokenizer. Console and
terminal are real; there is no runner, so that nothing moves.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.authoring.scaffold import new_project
from core.config.golden import GoldenInput
from core.config.project import Project, shipped
from core.config.task import Task
from core.data.render import encode_prompt
from core.data.template_proof import prove
from core.files import sha256_file, write_json
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec, TaskUnderTest
from core.jobfile.spec import InputFile
from core.parity.conversations import probe_conversations
from core.parity.gate import ParityReport, compare_prompts
from core.process.identity import current_boot_id
from core.progress import Progress
from core.reasons import Reason
from core.served.record import ServedModelRecord, write_record
from core.served.state import ServedState, write_state
from core.store.chains import insert_chain
from core.store.database import transaction
from core.store.job_reasons import job_reason
from core.store.jobs import State, change_state, set_reason
from tests.support.recorded_lineage import ADAPTER, BAD, BASE, Q8_0, Records, whole_chain
from tests.support.stored import path_to
from tests.support.stored_stages import home_with_stages
from tests.support.tokenizers import CHATML, QWEN_ADDED, QWEN_SPECIAL, byte_level, qwen3_template
from tests.tui.picture import KEYS, TYPED, save
from tests.tui.played.taking import in_both_sizes, take_pictures
from tests.tui.terminal import Terminal

# As `bakehouse` does, on a box of this name and without a runner.
CONSOLE = (
    "import os, sys, socket; os.chdir(sys.argv.pop()); socket.gethostname = lambda: 'gpubox'; "
    "import core.runner.client as client; client.ensure_runner = lambda home: None; "
    "from core.cli.main import main; main()"
)
SECONDS: Mapping[str, float] = {"train": 754, "merge": 6, "convert": 9, "quantize": 4, "deploy": 21, "bakeoff": 210}
"""How long a job of a kind ran."""
MESSAGES: Mapping[str, str] = {
    "train": "loss 0.66, 71 examples",
    "merge": "98 % of the update survives in bf16",
    "convert": "F16, 271 MB",
    "quantize": "Q8_0, 145 MB",
    "bakeoff": "Q8_0 4.75/5 over the base 1.50/5",
}
NAME = "judge:smollm2-135m-4"
TITLE = "ship judge · SmolLM2-135M · Q8_0"
ECHO = "You judge notes. " * 20


def other_template() -> dict[str, Any]:
    """What a check finds of a Qwen3 that is served by ChatML's template: the empty block of thinking is lost."""
    tokenizer = byte_level(qwen3_template(), QWEN_SPECIAL, QWEN_ADDED)

    class Server:
        def render(self, messages: Sequence[tuple[str, str]], *, think: bool) -> str:
            conversation = [{"role": role, "content": text} for role, text in messages]
            return str(
                tokenizer.apply_chat_template(
                    conversation, chat_template=CHATML, tokenize=False, add_generation_prompt=True
                )
            )

        def tokenize(self, text: str) -> tuple[int, ...]:
            return tuple(encode_prompt(tokenizer, text))

    task = Task(name="judge", system="You grade notes.")
    golden = [GoldenInput(id=one, input=f"A note about {one}.") for one in ("bread", "tea", "salt")]
    probes = probe_conversations(task, golden, prove(tokenizer, "off"))
    return ParityReport(compare_prompts(tokenizer, Server(), probes, "off", task.system_role)).to_json()


class Bakery(Records):
    """Records of a chain, with the times and the reasons that a person sees."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.still: dict[str, tuple[State, Reason]] = {}
        """By kind: how a job stands instead of being done, and why."""

    def end(self, job_id: int, state: State) -> None:
        """Through its states to its last one; what it ran is its kind's time."""
        kind = self.connection.execute("SELECT kind FROM jobs WHERE id = ?", [job_id]).fetchone()[0]
        state, reason = self.still.get(kind, (state, job_reason("done", message=MESSAGES.get(kind, ""))))
        now = time.time()
        with transaction(self.connection):
            for one in path_to(self.connection, state):
                columns: dict[str, Any] = {"attempt": 1} if one == "starting" else {}
                why = reason if one == state else job_reason("running" if one == "running" else "ready")
                change_state(self.connection, job_id, one, why, "anna@gpubox", **columns)
            if state == "waiting":
                set_reason(self.connection, job_id, reason)
                return
            outcome = None if state == "running" else state
            self.connection.execute(
                "INSERT INTO attempts (job_id, number, boot_id, created_at, ended_at, outcome) VALUES (?, 1, 'b', ?, ?, ?)",
                [job_id, now - SECONDS[kind], None if outcome is None else now, outcome],
            )
            self.connection.execute("UPDATE jobs SET started_at = ? WHERE id = ?", [now - SECONDS[kind], job_id])
            result = json.dumps({"message": MESSAGES.get(kind, "")})
            self.connection.execute("UPDATE jobs SET result = ? WHERE id = ?", [result, job_id])

    def bakeoff_of(self, training: int, deployment: int, task: Task) -> int:
        """The bake-off at the end of a chain, which has not begun."""
        small = shipped().model("SmolLM2-135M")
        made = [
            CandidateSpec(name=BASE, form="base", model=small),
            CandidateSpec(name=ADAPTER, form="adapter", model=small, ref=f"job:{training}/adapter"),
        ]
        file = self.folder / "golden.json"
        write_json(file, [])
        golden = InputFile(path=str(file), sha256="0" * 64, source=file.name)
        tasks = [TaskUnderTest(task=task, golden=golden, repeats=2)]
        return self.put(BakeoffSpec(tasks=tasks, candidates=made, incumbent=BASE))

    def chain(self, *jobs: int) -> None:
        links = [(job, False) for job in jobs]
        with transaction(self.connection):
            insert_chain(self.connection, title=TITLE, project_id="p", author="anna@gpubox", links=links)


def begun(folder: Path) -> tuple[Bakery, Project, Task]:
    new_project(folder / "project")
    project = Project.find(explicit=folder / "project")
    made = Bakery(folder, qwen3_template(), {"project_id": project.id, "project_root": str(project.root)})
    return made, project, project.task("judge")


def linked(made: Bakery, project: Project, task: Task, document: Mapping[str, Any]) -> tuple[int, ...]:
    """The jobs of a chain, each as `made.still` has it."""
    data = project.train_file(task)
    training = made.train(task=task, data=InputFile(path=str(data), sha256=sha256_file(data), source=str(data)))
    merged = made.merge(training)
    converted = made.convert(merged, template=CHATML)
    quantized = made.quantize(converted, template=CHATML)
    deployment = made.deploy(quantized, NAME, document=document, task=task)
    jobs = (training, merged, converted, quantized, deployment, made.bakeoff_of(training, deployment, task))
    made.chain(*jobs)
    return jobs


def running(folder: Path) -> Home:
    """The first link trains, all others wait."""
    made, project, task = begun(folder)
    made.still["train"] = ("running", job_reason("running"))
    for number, kind in enumerate(("merge", "convert", "quantize", "deploy", "bakeoff"), 1):
        made.still[kind] = ("waiting", job_reason("after", jobs=[number]))
    training, *_ = linked(made, project, task, {})
    progress = Progress(
        done=30, total=51, unit="steps", eta_seconds=540, loss=0.66, tokens_per_second=310, time=time.time()
    )
    with transaction(made.connection):
        made.connection.execute("UPDATE jobs SET progress = ? WHERE id = ?", [progress.to_json(), training])
    steps = [f"step {n}/51 loss {2.4 - 0.06 * (n - 1):.4f} lr 1.9e-03 grad 0.6{n % 10}" for n in range(1, 31)]
    made.home.run_dir(training).attempt(1).log.write_text("\n".join(steps) + "\n")
    return made.home


def failed(folder: Path) -> Home:
    """The deployment was refused, and the bake-off waits behind it; the recipe was changed since."""
    made, project, task = begun(folder)
    document = other_template()
    message = "the served model does not get the prompts that it was trained on: thinking is rendered in another way"
    made.still["deploy"] = ("failed", job_reason("job_error", error="parity", message=message, gate="parity"))
    made.still["bakeoff"] = ("waiting", job_reason("need_failed", job=5, state="failed"))
    linked(made, project, task, document)
    recipe = shipped().origin(shipped().recipe("demo")).read_text()
    own = project.root / "configs/recipes/demo.yaml"
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text(recipe.replace("epochs: ", "epochs: 1"))
    return made.home


def retried(folder: Path) -> Home:
    """The same, asked for again with `r`: it sends its file."""
    home = failed(folder)
    made = Records(folder)
    progress = Progress(
        phase="sending", done=58_000_000, total=145_000_000, unit="bytes", eta_seconds=4, time=time.time()
    )
    with transaction(made.connection):
        change_state(made.connection, 5, "waiting", job_reason("retried"), "anna@gpubox", held=0)
        for state in ("ready", "starting", "running"):
            columns = {"attempt": 2} if state == "starting" else {}
            change_state(made.connection, 5, state, job_reason("running"), "runner", **columns)
        made.connection.execute("UPDATE jobs SET progress = ? WHERE id = 5", [progress.to_json()])
        made.connection.execute(
            "INSERT INTO attempts (job_id, number, boot_id, created_at) VALUES (5, 2, 'b', ?)", [time.time() - 3]
        )
        set_reason(made.connection, 6, job_reason("after", jobs=[5]))
    attempt = home.run_dir(5).attempt(2)
    attempt.path.mkdir()
    attempt.log.write_text("asking Ollama, http://127.0.0.1:11434\nsending model-3.gguf, 145 MB\n")
    return home


def staged(folder: Path) -> Home:
    """A bake-off over the stages of an adapter, whose smallest file lost what was learnt."""
    return home_with_stages(folder)[0]


def diagnosed(folder: Path) -> Home:
    """A file that lost its template, and writes the same over and over."""
    new_project(folder / "project")
    made = Records(folder)
    training, _, _, quantized = whole_chain(made, template=None)
    made.bakeoff(
        {ADAPTER: training, Q8_0: quantized},
        quality={Q8_0: BAD},
        write=lambda name, *_: ECHO if name == Q8_0 else "",
        values={Q8_0: {"more_prompt_tokens": -9}},
    )
    return made.home


def served(folder: Path) -> Home:
    """Four served models: one serves, one is away for a training, one does not come up, one was stopped."""
    home = running(folder)
    for number, (name, state) in enumerate(SERVED.items()):
        write_record(
            home,
            ServedModelRecord(
                name=name,
                file=Path("/models") / f"{name}.gguf",
                weights="ab" * 32,
                task=name.partition("-")[0],
                model="SmolLM2-135M",
                job_id=number + 4,
                command=("llama-server",),
                port=18080 + number,
                context_length=2048,
                created_at=time.time() - 90_000,
            ),
        )
        since = time.time() - 3000 * (number + 1)
        write_state(home.served_dir(name), replace(state, since=since, boot_id=current_boot_id()))
        where = f"main: server is listening on http://127.0.0.1:{18080 + number}"
        lines = ["main: model loaded", where, "srv  update_slots: all slots are idle"]
        home.served_dir(name).log.write_text("\n".join(lines) + "\n")
    return home


SERVED: Mapping[str, ServedState] = {
    "judge-smollm2-135m-4": ServedState("serving", 0.0),
    "planner-qwen3-4b-31": ServedState("away", 0.0, reason=Reason("away", {"jobs": [1]})),
    "quizzer-qwen3-4b-7": ServedState(
        "failed", 0.0, reason=Reason("port_taken", {"port": 18082, "retry_seconds": 8.0})
    ),
    "spacer-qwen3-1.7b-9": ServedState("stopped", 0.0, reason=Reason("by_person")),
}


@contextlib.contextmanager
def shims(home: Home) -> Iterator[None]:
    """The locks of the served models that run, as their shims hold them."""
    with contextlib.ExitStack() as stack:
        for name, state in SERVED.items():
            folder = home.served_dir(name)
            if folder.path.is_dir() and state.phase != "stopped":
                fcntl.flock(stack.enter_context(folder.shim_lock.open("a")), fcntl.LOCK_EX)
        yield


def llama_cpp_to_find(folder: Path) -> Path:
    """A folder with a llama-server in it, which nothing here starts."""
    folder.mkdir(exist_ok=True)
    program = folder / "llama-server"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    return folder


NO_OLLAMA = "http://127.0.0.1:9"
"""Whatever runs on the machine that takes the pictures."""


def picture(
    home: Home, project: Path, out: Path, keys: str, size: str, wait: float = 4.0, ollama: str = NO_OLLAMA
) -> str:
    """Open the console in a real terminal, type, and draw what stands there; its text."""
    columns, lines = (int(part) for part in size.split("x"))
    command = [sys.executable, "-P", "-c", CONSOLE, str(project)]
    environment = {
        "BAKEHOUSE_HOME": str(home.root),
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "LLAMA_CPP_DIR": str(llama_cpp_to_find(home.root.parent / "llama.cpp")),
        "OLLAMA_HOST": ollama,
    }
    with home.runner_lock.open("a") as lock, shims(home):
        fcntl.flock(lock, fcntl.LOCK_EX)  # as a runner has it for life
        with Terminal(command, columns=columns, lines=lines, environment=environment) as terminal:
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


PICTURES: Mapping[str, tuple[Callable[[Path], Home], str]] = {
    "ship": (diagnosed, "3Gs{2}"),
    "chain-running": (running, "{enter}{2}"),
    "chain-failed": (failed, "{enter}{3}"),
    "chain-retried": (retried, "{enter}{2}"),
    "parity": (failed, "{enter}{2}{enter}{1}"),
    "stages": (staged, "4{2}{enter}{1}jjjjj"),
    "deploy": (diagnosed, "3Gkkkd{4}"),
    "served": (served, "1{2}"),
    "why": (diagnosed, "3GW{3}"),
}


def take(name: str, folder: Path, out: Path) -> None:
    made, keys = PICTURES[name]
    home = made(folder)
    in_both_sizes(name, out, lambda file, size: picture(home, folder / "project", file, keys, size))


if __name__ == "__main__":
    take_pictures(__doc__, PICTURES, take)
