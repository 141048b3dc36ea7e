"""A stand-in for `python -m jobs`: it keeps a job's contract with files and signals, and counts instead of training.

Used where a test is about the queue and would otherwise wait for torch. Real training under the same queue is in tests/train.
The job's title says what to do: `steps=40 pause=0.05 save=5 fail=7 deaf`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import yaml

from core.events import EventWriter
from core.files import read_json, write_json
from core.home import RunDir


def main() -> int:
    run = RunDir(Path(sys.argv[-1]))
    attempt = run.attempt(int(os.environ["BAKEHOUSE_ATTEMPT"]))
    title = yaml.safe_load(run.job_file.read_bytes())["title"]
    options = dict(word.partition("=")[::2] for word in title.split())
    steps, pause = int(options.get("steps", "10")), float(options.get("pause", "0.02"))
    asked = []
    if "deaf" in options:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGINT, lambda *_: asked.append(1))
        signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
    events = EventWriter(attempt.events)
    events.write("phase", name="counting")
    print("counting", flush=True)
    saved = read_json(run.checkpoints / "count.json") or {"step": 0, "seen": []}
    for step in range(saved["step"] + 1, steps + 1):
        time.sleep(pause)
        saved["seen"].append(step)
        events.write("step", step=step, total=steps, loss=round(3 / step, 4), eta_seconds=(steps - step) * pause)
        print(f"step {step}/{steps}", flush=True)
        if step == int(options.get("fail", "0")):
            raise ValueError(f"made to fail at step {step}")
        wants_stop = attempt.stop_request.exists() and "deaf" not in options
        if wants_stop or asked or step % int(options.get("save", "5")) == 0:
            run.checkpoints.mkdir(exist_ok=True)
            write_json(run.checkpoints / "count.json", {"step": step, "seen": saved["seen"]})
            events.write("checkpoint", step=step, bytes=10, seconds=0.0)
        if wants_stop or asked:
            return 75
    write_json(
        run.result,
        {
            "schema": 1,
            "kind": "pull",
            "attempt": attempt.number,
            "message": f"counted to {steps}",
            "artefacts": [],
            "summary": {"seen": saved["seen"]},
        },
    )
    print(json.dumps(saved["seen"]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
