"""What runs in the place of `python -m jobs` for a picture: it keeps the job's contract and holds memory of the played GPU.

Its losses are made up; nothing of it is evidence of anything but what the console looks like.
"""

from __future__ import annotations

import math
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from core.events import EventWriter
from core.files import write_json
from core.home import RunDir
from tests.support.cardsim_request import hold_gpu

STEPS = 945
WORDS = Path(os.environ.get("BAKEHOUSE_CARDSIM", ".")) / "trainer.yaml"
"""seconds_a_step, vram_bytes, steps, deaf, leaks: read at the start."""


def main() -> int:
    run = RunDir(Path(sys.argv[-1]))
    attempt = run.attempt(int(os.environ["BAKEHOUSE_ATTEMPT"]))
    told: dict[str, Any] = yaml.safe_load(WORDS.read_text()) if WORDS.exists() else {}
    pause, steps, vram = told.get("seconds_a_step", 0.25), told.get("steps", STEPS), told.get("vram_bytes", 10.3e9)
    if told.get("deaf"):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    events, chance = EventWriter(attempt.events), random.Random(5)
    leaks = " leaks" if told.get("leaks") else ""
    for share, phase in ((0.2, "loading the model"), (0.7, "placing the adapters")):
        events.write("phase", name=phase)
        print(phase, flush=True)
        hold_gpu(f"vram={vram * share:.0f} busy=35{leaks}")
        time.sleep(1.0)
    hold_gpu(f"vram={vram:.0f} gtt=9e7 busy={told.get('busy', 98)}{leaks}")
    events.write("phase", name="training")
    for step in range(1, steps + 1):
        time.sleep(pause)
        loss = 3.0 * math.exp(-step / 70) + 0.36 + chance.gauss(0, 0.02)
        rate = 1e-4 * (1 + math.cos(math.pi * step / steps)) / 2
        grad = 0.6 + chance.gauss(0, 0.05)
        events.write(
            "step",
            step=step,
            total=steps,
            loss=loss,
            lr=rate,
            grad_norm=grad,
            tokens_per_second=2300 + chance.gauss(0, 30),
            peak_memory_bytes=int(vram - 6e8),
            eta_seconds=(steps - step) * pause,
        )
        print(
            f"{time.strftime('%H:%M:%S')} step {step}/{steps} loss {loss:.4f} lr {rate:.1e} grad {grad:.2f}", flush=True
        )
        if step % 50 == 0:
            events.write("checkpoint", step=step, bytes=132_000_000, seconds=0.9)
            print(f"{time.strftime('%H:%M:%S')} checkpoint-{step} written, 132 MB", flush=True)
        if attempt.stop_request.exists() and not told.get("deaf"):
            hold_gpu(None)
            return 75
    hold_gpu(None)
    message = "loss 0.361, the best at step 900"
    kind = yaml.safe_load(run.job_file.read_bytes())["spec"]["kind"]
    result = {"schema": 1, "kind": kind, "attempt": attempt.number, "message": message, "artefacts": [], "summary": {}}
    write_json(run.result, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
