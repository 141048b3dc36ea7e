"""Take the pictures of docs/pictures that show the GPU: `python -m tests.tui.played OUT_FOLDER [NAME …]`.

GPU, server and trainer are played; runner, queue, lease and console are real, in real terminals. About ten minutes.
"""

from __future__ import annotations

import time
from pathlib import Path

from core.store.jobs import JobRow
from tests.support.queueing import wait_until
from tests.tui.played.box import Machine, played_box
from tests.tui.played.taking import take_pictures

GIB = 2**30


def idle(box: Machine, out: Path) -> None:
    """The fleet is loaded, nothing is queued."""
    box.load()
    time.sleep(30)
    box.picture(out / "gpu-idle.png", "2")
    box.picture(out / "gpu-idle-80x24.png", "2", "80x24")


def training(box: Machine, out: Path) -> None:
    """The fleet went for a training, another one waits."""
    box.load()
    time.sleep(20)
    box.trainer(seconds_a_step=0.5)
    job = box.train()
    box.train("Qwen3-1.7B")
    box.queue.wait_for_step(job.id, 240, seconds=240)
    box.picture(out / "gpu-training.png", "2")
    box.picture(out / "gpu-training-80x24.png", "2", "80x24")
    box.picture(out / "gpu-screen.png", "2z")


def held(box: Machine, out: Path) -> None:
    """Somebody renders on the GPU: the training waits, and the fleet is where it was."""
    time.sleep(15)
    box.program(9_100_000_000, name="blender")
    box.trainer()
    job = box.train()
    box.queue.wait_for_lease(job.id, "held_by_program")
    time.sleep(20)
    box.picture(out / "gpu-held.png", "2")


def stale(box: Machine, out: Path) -> None:
    """A training was killed inside the driver: its memory belongs to nobody, and the next one waits."""
    time.sleep(15)
    box.trainer(seconds_a_step=0.2, leaks=True)
    job = box.train()
    box.queue.wait_for_step(job.id, 60)
    box.kill(job.id)
    box.queue.wait_for(job.id)
    box.trainer()
    following: JobRow = box.train("Qwen3-4B")
    box.queue.wait_for_reason(following.id, "gpu_lease")
    wait_until(box.unowned, what="memory without an owner")
    time.sleep(15)
    box.picture(out / "gpu-stale.png", "2")


def doctor(box: Machine, out: Path) -> None:
    """The real doctor, of a box whose GPU is played."""
    box.picture(out / "doctor.png", "2D{45}", wait=6.0)


PICTURES = {taken.__name__: taken for taken in (idle, training, held, stale, doctor)}


def take(name: str, folder: Path, out: Path) -> None:
    with played_box(folder) as box:
        PICTURES[name](box, out)
        print(f"{name} taken", flush=True)


if __name__ == "__main__":
    take_pictures(__doc__, PICTURES, take)
