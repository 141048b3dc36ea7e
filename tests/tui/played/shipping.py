"""Take the pictures of docs/pictures that show chains: `python -m tests.tui.played.shipping OUT_FOLDER [NAME …]`.

The home is invented: records of jobs, and a parity check whose prompts are real renders of a small tokenizer. Console and
terminal are real; there is no runner, so that nothing moves.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.authoring.scaffold import new_project
from core.config.golden import GoldenInput
from core.config.project import Project, shipped
from core.config.task import Task
from core.data.render import encode_prompt
from core.data.template_proof import prove
from core.files import sha256_file
from core.jobfile.spec import InputFile
from core.parity.conversations import probe_conversations
from core.parity.gate import ParityReport, compare_prompts
from core.reasons import Reason
from core.store.chains import insert_chain
from core.store.database import transaction
from core.store.job_reasons import job_reason
from core.store.jobs import State, change_state, set_reason
from tests.support.recorded_lineage import ADAPTER, Q8_0, Records
from tests.support.stored import path_to
from tests.support.tokenizers import CHATML, QWEN_ADDED, QWEN_SPECIAL, byte_level, qwen3_template
from tests.tui.picture import KEYS, TYPED, save
from tests.tui.terminal import Terminal

# As `bakehouse` does, on a box of this name and without a runner.
CONSOLE = (
    "import socket; socket.gethostname = lambda: 'gpubox'; import core.runner.client as client; "
    "client.ensure_runner = lambda home: None; from core.cli.main import main; main()"
)
SECONDS: Mapping[str, float] = {"train": 754, "merge": 6, "convert": 9, "quantize": 4, "parity": 12, "bakeoff": 210}
"""How long a job of a kind ran."""
MESSAGES: Mapping[str, str] = {
    "train": "loss 0.66, 71 examples",
    "merge": "98 % of the update survives in bf16",
    "convert": "F16, 271 MB",
    "quantize": "Q8_0, 145 MB",
    "bakeoff": "Q8_0 4.75/5 over the base 1.50/5",
}
SIZES = ("120x40", "80x24")


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
    """Records of chains, with the times and the reasons that a person sees."""

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
                columns = {"attempt": 1} if one == "starting" else {}
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
            result = json.dumps({"message": MESSAGES.get(kind, "")})
            self.connection.execute("UPDATE jobs SET result = ? WHERE id = ?", [result, job_id])

    def chain(self, title: str, *jobs: int) -> None:
        with transaction(self.connection):
            insert_chain(
                self.connection, title=title, project_id="p", author="anna@gpubox", links=[(job, False) for job in jobs]
            )


def failed(folder: Path) -> Bakery:
    """A chain whose parity check was refused, and a bake-off that waits behind it; its recipe was changed since."""
    new_project(folder / "project")
    project = Project.find(explicit=folder / "project")
    made = Bakery(folder, qwen3_template(), {"project_id": project.id, "project_root": str(project.root)})
    task = project.task("judge")
    data = project.train_file(task)
    learnt = InputFile(path=str(data), sha256=sha256_file(data), source=str(data))
    training = made.train(task=task, data=learnt)
    merged = made.merge(training)
    converted = made.convert(merged, template=CHATML)
    quantized = made.quantize(converted, template=CHATML)
    document = other_template()
    differ, total = sum(not case["same"] for case in document["cases"]), len(document["cases"])
    message = f"{differ} of {total} prompts differ from the trained ones: thinking is rendered in another way"
    made.still["parity"] = ("failed", job_reason("job_error", error="parity", message=message, gate="parity"))
    check = made.parity(quantized, document, task=task)
    made.still["bakeoff"] = ("waiting", job_reason("need_failed", job=check, state="failed"))
    waiting = made.bakeoff({ADAPTER: training, Q8_0: quantized})
    made.chain("ship judge · SmolLM2-135M · Q8_0", training, merged, converted, quantized, check, waiting)
    recipe = shipped().origin(shipped().recipe("demo")).read_text()
    own = project.root / "configs/recipes/demo.yaml"
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text(recipe.replace("epochs: ", "epochs: 1"))
    return made


def picture(made: Bakery, out: Path, keys: str, size: str, wait: float = 4.0) -> str:
    """Open the console in a real terminal, type, and draw what stands there; its text."""
    columns, lines = (int(part) for part in size.split("x"))
    project = made.folder / "project"
    command = [sys.executable, "-P", "-c", CONSOLE, "--project", str(project)]
    with made.home.runner_lock.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as a runner has it for life
        with Terminal(
            command, columns=columns, lines=lines, environment={"BAKEHOUSE_HOME": str(made.home.root)}
        ) as terminal:
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


PICTURES: Mapping[str, tuple[Callable[[Path], Bakery], str]] = {
    "chain-failed": (failed, "{enter}"),
    "parity": (failed, "{enter}{enter}"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PICTURES))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or PICTURES:
        made, keys = PICTURES[name]
        with tempfile.TemporaryDirectory(prefix="bakehouse") as folder:
            bakery = made(Path(folder))
            for size in SIZES:
                print(picture(bakery, arguments.out / f"{name}-{size}.png", keys, size))


if __name__ == "__main__":
    main()
