"""A stand-in for `python -m jobs`: it keeps a job's contract with files and signals, and counts instead of training.

Used where a test is about the queue and would otherwise wait for torch. Real training under the same queue is in tests/train.
The job's words say what to do, e.g. `steps=40 pause=0.05 save=5`:

| word | what it does |
|---|---|
| steps, pause, save | count so far, seconds a step, steps between two checkpoints |
| waits=N | before step N wait until the file `go-on` lies in the run directory; requests and signals are heard all the while |
| fail=N | raise an error at step N; like the other troubles below not while the file `mended` lies in the run directory |
| gate, input | end at once with an error of that kind, as a job does that knows why |
| deaf | look for no stop request and ignore SIGINT; `deaf=all` ignores SIGTERM as well |
| exit=N | end with this exit code although the result is written |
| vram=BYTES, busy=PERCENT | have so much of the GPU that tests.support.cardsim plays, until the end, and keep it so busy |
| leaks | an end without letting go of that memory (SIGKILL) leaves it used and nobody's |
| lingers=SECONDS | that memory stays used for so long after the end |
| spill=N | from step N on half a GB more goes into GTT at each step |
| fault=N | at step N it ends as ROCr ends a process whose access faulted, unless PyTorch's memory cache is off |
| stubborn | it faults with the cache off as well |
| hang=N | from step N on no step comes any more: it sleeps, and looks at no request |
| spin=N | the same, but it burns CPU time all the while |
| stopped=N | it stops itself at step N, as SIGSTOP does |
| nan=N, explode=N | from step N on the loss is no number, or grows fourfold at each step |
| zero | the loss is 0 at every step |
| evaluate=SECONDS | after step 5 no step comes for so long, while it says that it evaluates |
| leave | leave a worker behind that would go on for a minute |
| garbage | write a result that is no JSON |
| asks=MODEL,MODEL of=URL | at each step ask the next of these models of an Ollama, as a bake-off on served models does |
| hostile | print what would clear the screen and write to the clipboard, and fail with it as the reason |
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from core.errors import BakehouseError, GateError, InputError
from core.events import EventWriter
from core.files import read_json, write_json
from core.home import AttemptDir, RunDir
from core.jobfile.raw import read_key
from core.serving.ollama import Ollama
from tests.support.cardsim_request import hold_gpu

NO_CACHE = "PYTORCH_NO_HIP_MEMORY_CACHING"


def main() -> int:
    run = RunDir(Path(sys.argv[-1]))
    attempt = run.attempt(int(os.environ["BAKEHOUSE_ATTEMPT"]))
    options = dict(word.partition("=")[::2] for word in read_key(run, "spec", dict)["words"].split())
    if "gate" in options:
        return refuse(attempt, GateError("data leak: line 3 is the golden input `tea`"))
    if "input" in options:
        return refuse(attempt, InputError("no messages", file="train.jsonl", line=7, remedy="write them"))
    if "hostile" in options:
        print("\x1b[2J\x1b]52;c;aGFjaw==\x07step 1", flush=True)
        return refuse(attempt, BakehouseError("\x1b]52;c;aGFjaw==\x07the end"))
    if "leave" in options:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    # The first event comes before the first byte: at its time the GPU is as the job found it.
    events = EventWriter(attempt.events)
    events.write("phase", name="starting")
    hold_gpu(memory(options))
    try:
        return count(run, attempt, options, events)
    finally:
        hold_gpu(None)


def memory(options: dict[str, str], step: int = 0) -> str | None:
    """What the job asks of the played GPU at a step, in that GPU's words; None without a word of it."""
    if "vram" not in options:
        return None
    words = [f"vram={options['vram']} busy={options.get('busy', '96')} lingers={options.get('lingers', '0')}"]
    words += ["leaks"] if "leaks" in options else []
    spilled = step - int(options["spill"]) + 1 if "spill" in options else 0
    return " ".join([*words, f"gtt={max(0, spilled) * 500_000_000}"])


def ask_server(options: dict[str, str], step: int) -> None:
    """Have the next model answer, with a context length and a keep-alive of the job's own."""
    if "asks" not in options:
        return
    models = options["asks"].split(",")
    with Ollama(options["of"]) as server:
        fields = {"keep_alive": 1800}
        server.generate(models[step % len(models)], "hello", num_predict=2, num_ctx=2048, fields=fields)


def refuse(attempt: AttemptDir, error: BakehouseError) -> int:
    write_json(attempt.error_json, {**error.to_json(), "exit_code": error.exit_code})
    return error.exit_code


def listen(options: dict[str, str]) -> list[int]:
    """Take the signals that ask for an end; the list fills with those that came."""
    asked: list[int] = []
    heard = {signal.SIGINT, signal.SIGTERM}
    if "deaf" in options:
        heard = set() if options["deaf"] == "all" else {signal.SIGTERM}
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, (lambda got, _: asked.append(got)) if number in heard else signal.SIG_IGN)
    return asked


def loss_at(step: int, options: dict[str, str]) -> float:
    """The loss that the words ask for."""
    if "nan" in options and step >= int(options["nan"]):
        return float("nan")
    if "explode" in options and step >= int(options["explode"]):
        return round(1.5 * 4.0 ** (step - int(options["explode"])), 4)
    return 0.0 if "zero" in options else round(3 / step, 4)


def trouble(step: int, options: dict[str, str], asked: list[int], events: EventWriter) -> None:
    """Stop stepping, in the way that the words ask for. As in a job, a second signal ends it at once."""
    if step == int(options.get("fault", "0")) and ("stubborn" in options or os.environ.get(NO_CACHE) != "1"):
        print(
            "Memory access fault by GPU node-1 (Agent handle: 0x55d0) on address 0x7f6638400000. Reason: Page not present."
        )
        sys.stdout.flush()
        os.abort()
    if step == int(options.get("stopped", "0")):
        os.kill(os.getpid(), signal.SIGSTOP)
    while step == int(options.get("hang", "0")) or step == int(options.get("spin", "0")):
        if "hang" in options:
            time.sleep(0.1)
        if len(asked) > 1:
            sys.exit(75)
    if "evaluate" in options and step == 6:
        events.write("phase", name="evaluating", detail=None)
        time.sleep(float(options["evaluate"]))
        events.write("eval", step=5, loss=0.5, best=True)


def wait_to_go_on(
    run: RunDir, attempt: AttemptDir, options: dict[str, str], asked: list[int], events: EventWriter
) -> None:
    """Wait before a step until it is let go on or asked to stop: how long that takes is the test's business."""
    events.write("phase", name="waiting to go on")  # a phase without steps: no watchdog misses them
    while not ((run.path / "go-on").exists() or wants_stop(attempt, options, asked)):
        time.sleep(0.02)


def wants_stop(attempt: AttemptDir, options: dict[str, str], asked: list[int]) -> bool:
    return bool(asked) or (attempt.stop_request.exists() and "deaf" not in options)


def count(run: RunDir, attempt: AttemptDir, options: dict[str, str], events: EventWriter) -> int:
    steps, pause = int(options.get("steps", "10")), float(options.get("pause", "0.02"))
    asked = listen(options)
    events.write("phase", name="counting")
    print("counting", flush=True)
    saved = read_json(run.checkpoints / "count.json") or {"step": 0, "seen": []}
    for step in range(saved["step"] + 1, steps + 1):
        time.sleep(pause)
        if step == int(options.get("waits", "0")) and not (run.path / "go-on").exists():
            wait_to_go_on(run, attempt, options, asked, events)
        if not (run.path / "mended").exists():
            trouble(step, options, asked, events)
        ask_server(options, step)
        if "spill" in options:
            hold_gpu(memory(options, step))
        saved["seen"].append(step)
        loss = loss_at(step, {} if (run.path / "mended").exists() else options)
        events.write("step", step=step, total=steps, loss=loss, eta_seconds=(steps - step) * pause)
        print(f"step {step}/{steps}", flush=True)
        if step == int(options.get("fail", "0")) and not (run.path / "mended").exists():
            raise ValueError(f"made to fail at step {step}")
        stops = wants_stop(attempt, options, asked)
        if stops or step % int(options.get("save", "5")) == 0:
            run.checkpoints.mkdir(exist_ok=True)
            write_json(run.checkpoints / "count.json", {"step": step, "seen": saved["seen"]})
            events.write("checkpoint", step=step, bytes=10, seconds=0.0)
        if stops:
            return 75
    if "garbage" in options:
        run.result.write_text("counted, but not as JSON")
        return 0
    write_json(
        run.result,
        {
            "schema": 1,
            "kind": "standin",
            "attempt": attempt.number,
            "message": f"counted to {steps}",
            "artefacts": [],
            "summary": {"seen": saved["seen"]},
        },
    )
    print(json.dumps(saved["seen"]), flush=True)
    return int(options.get("exit", "0"))


if __name__ == "__main__":
    sys.exit(main())
