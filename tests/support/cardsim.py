"""A stand-in of the amdgpu driver: `/sys` and `/proc` of a machine whose card is used by real, living processes.

    python -m tests.support.cardsim DIR --total 16 --name "AMD Radeon RX 9070 XT"

keeps DIR/sys and DIR/proc up to date, twenty times a second, until it is ended. It is held to files of the real driver
(sysfs, KFD, fdinfo) by tests/unit/test_cardsim.py: the same names below a card's folder, the same form of
each. What it makes up is the load: busy, power, temperatures, clocks and fan follow what the processes ask for.

A process holds memory by `GpuSim.hold`, or by a file DIR/requests/PID (see `cardsim_request.hold_gpu`) with words:

| word | meaning |
|---|---|
| vram=BYTES gtt=BYTES | memory of the card, and of the host through it; what the card has no room for becomes GTT |
| busy=PERCENT | how busy it keeps the card, else 0 |
| kind=graphics | the process draws: KFD does not know it |
| card=N | of several cards, else the first |
| lingers=SECONDS | how long its memory stays used after its end, as it does while a context is torn down |
| leaks | should it end without having let go, as SIGKILL makes it, its memory stays used and belongs to nobody |

To let go, a process removes its file. The entries of one that has ended, or is a zombie, are gone at the next look.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from core.process.identity import start_ticks
from tests.support.cardsim_files import CORE_CLOCKS_MHZ, MEMORY_CLOCKS_MHZ, Figures
from tests.support.cardsim_request import VARIABLE
from tests.support.cardsim_tree import GIB, Holding, Placed, SimGpu, Tree

if TYPE_CHECKING:
    import pytest

INTERVAL_SECONDS = 0.05
PAGE_BYTES = 4096
IDLE_WATTS = 19.0
_HIDING = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


class GpuSim:
    """The machine. As a context it keeps itself up to date in a thread; `step()` does it once, for a test of its own."""

    def __init__(self, folder: Path, *cards: SimGpu) -> None:
        self.folder, self.requests = folder, folder / "requests"
        self.cards = list(cards) or [SimGpu()]
        self.tree = Tree(folder)
        self.fault: BaseException | None = None
        self._holdings: dict[str, Holding] = {}
        self._lingering: list[tuple[float, int, int]] = []
        self._served: set[int] = set()
        self.history: list[tuple[float, tuple[int, ...]]] = []
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._clients = 100
        self.clock: Callable[[], float] = time.monotonic
        self._last = self.clock()
        self.requests.mkdir(exist_ok=True)
        for number, card in enumerate(self.cards):
            self.tree.add_card(number, card)
        self.step()

    # What a test says.

    @property
    def environ(self) -> dict[str, str]:
        return {
            "BAKEHOUSE_SYSFS": str(self.tree.sysfs),
            "BAKEHOUSE_PROCFS": str(self.tree.procfs),
            "BAKEHOUSE_GPU_SOURCE": "sysfs",
            VARIABLE: str(self.folder),
        }

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let this process, and what it starts, see this machine's cards and no choice of a person."""
        for name in _HIDING:
            monkeypatch.delenv(name, raising=False)
        for name, value in self.environ.items():
            monkeypatch.setenv(name, value)

    def hold(
        self,
        pid: int,
        vram_bytes: int,
        kind: Literal["compute", "graphics"] = "compute",
        *,
        gtt_bytes: int = 0,
        busy_percent: int = 0,
        leaks: bool = False,
        lingers_seconds: float = 0.0,
        card: int = 0,
        name: str | None = None,
        user_id: int | None = None,
    ) -> None:
        """The living process has so much of the card from now on, and nothing else of it; shown when this returns.

        `name` and `user_id` stand in its entry of `/proc` in the place of its own. Raises ProcessLookupError.
        """
        ticks = start_ticks(pid)
        if ticks is None:
            raise ProcessLookupError(f"no process {pid}")
        with self._lock:
            self._take(
                f"{pid}@{card}",
                Holding(
                    pid=pid,
                    ticks=ticks,
                    card=card,
                    vram_bytes=_pages(vram_bytes),
                    gtt_bytes=_pages(gtt_bytes),
                    busy_percent=busy_percent,
                    kind=kind,
                    leaks=leaks,
                    lingers_seconds=lingers_seconds,
                    name=name,
                    user_id=user_id,
                ),
            )
            self.step()

    def release(self, pid: int, card: int = 0) -> None:
        """The process lets go of what it has, as one does that ends in order."""
        with self._lock:
            self._let_go(f"{pid}@{card}", leaks=False)
            self.step()

    def serve(
        self, residents: Iterable[tuple[str, int, int]], *, name: str | None = None, lingers_seconds: float = 0.0
    ) -> None:
        """A model server's runners now are these (model, its VRAM, pid) and no others: what its stand-in reports."""
        with self._lock:
            sizes: dict[int, int] = {}
            for _, size, pid in residents:
                sizes[pid] = sizes.get(pid, 0) + size
            for pid in self._served - set(sizes):
                self.release(pid)
            self._served &= set(sizes)
            for pid, size in sizes.items():
                # A runner that was killed may still be listed: its memory went with it.
                with contextlib.suppress(ProcessLookupError):
                    self.hold(pid, size, name=name, lingers_seconds=lingers_seconds)
                    self._served.add(pid)

    def recover(self) -> None:
        """Memory that nobody owned is free again, as after a restart."""
        with self._lock:
            for card in self.cards:
                card.unowned_bytes = 0
            self.step()

    def used_bytes(self, card: int = 0) -> int:
        """What `mem_info_vram_used` says."""
        return int((self.tree.device(card) / "mem_info_vram_used").read_text())

    def used_at(self, moment: float, card: int = 0) -> int:
        """What it said at a time in Unix seconds."""
        return [used for when, used in self.history if when <= moment][-1][card]

    # Its life.

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.run, name="cardsim", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        if self.fault is not None:
            raise self.fault

    def run(self) -> None:
        """Follow the processes until it is over. A fault of its own ends it, and is raised at the end of the context."""
        while not self._over.wait(INTERVAL_SECONDS):
            try:
                self.step()
            except BaseException as error:
                self.fault = error
                raise

    def step(self) -> None:
        """One look at the processes and the requests, and the files after it."""
        with self._lock:
            now = self.clock()
            seconds, self._last = now - self._last, now
            self._read_requests()
            for key, holding in list(self._holdings.items()):
                if start_ticks(holding.pid) != holding.ticks:
                    (self.requests / key).unlink(missing_ok=True)
                    self._let_go(key, leaks=holding.leaks)
            self._lingering = [item for item in self._lingering if item[0] > now]
            placed: list[Placed] = []
            used = []
            for number, card in enumerate(self.cards):
                here = self._place(number, card)
                figures = self._figures(number, card, here, seconds)
                self.tree.show_card(number, card, figures)
                placed += here
                used.append(figures.vram_used_bytes)
            self.tree.show_processes(self.cards, placed)
            if not self.history or self.history[-1][1] != tuple(used):
                self.history.append((time.time(), tuple(used)))

    # Holdings.

    def _take(self, key: str, holding: Holding) -> None:
        former = self._holdings.get(key)
        if former is None:
            self._clients += 1
        holding.client = self._clients if former is None else former.client
        self._holdings[key] = holding

    def _let_go(self, key: str, *, leaks: bool) -> None:
        holding = self._holdings.pop(key, None)
        if holding is None:
            return
        if leaks:
            self.cards[holding.card].unowned_bytes += holding.vram_bytes
        elif holding.lingers_seconds:
            until = self.clock() + holding.lingers_seconds
            self._lingering.append((until, holding.card, holding.vram_bytes))

    def _read_requests(self) -> None:
        asked = {entry.name for entry in os.scandir(self.requests) if entry.name.isdigit()}
        for key in [key for key in self._holdings if key.isdigit() and key not in asked]:
            self._let_go(key, leaks=False)
        for key in asked:
            try:
                words = dict(word.partition("=")[::2] for word in (self.requests / key).read_text().split())
            except FileNotFoundError:
                continue
            former, ticks = self._holdings.get(key), start_ticks(int(key))
            if former is not None:
                ticks = former.ticks
            elif ticks is None:  # it ended before its request was seen
                (self.requests / key).unlink(missing_ok=True)
                continue
            self._take(key, _asked(int(key), ticks or 0, words))

    def _place(self, number: int, card: SimGpu) -> list[Placed]:
        """The holdings of a card in the order they came, with what each really has: the later ones spill."""
        room = card.total_bytes - card.idle_bytes - card.unowned_bytes - self._still_used(number)
        placed = []
        for holding in self._holdings.values():
            if holding.card == number:
                fits = min(holding.vram_bytes, max(0, room))
                room -= fits
                placed.append(Placed(holding, fits, holding.gtt_bytes + holding.vram_bytes - fits))
        return placed

    def _still_used(self, number: int) -> int:
        return sum(size for _, card, size in self._lingering if card == number)

    def _figures(self, number: int, card: SimGpu, placed: list[Placed], seconds: float) -> Figures:
        """Power and temperature run after the load as they do on a card with a fan: within one second, and within ten."""
        asked = max((item.holding.busy_percent for item in placed), default=0)
        wave = 1.5 + 1.5 * math.sin(time.monotonic() * 1.7)
        busy = round(max(0.0, asked - wave)) if asked else 0
        if card.pinned_busy is not None:
            busy = card.pinned_busy
        load = busy / 100
        target_watts = IDLE_WATTS + (card.power_limit_watts * 0.93 - IDLE_WATTS) * load + (wave if load else 0)
        card.power_watts += (target_watts - card.power_watts) * (1 - math.exp(-seconds / 0.8))
        target_c = 37 + 27 * card.power_watts / card.power_limit_watts
        card.edge_c += (target_c - card.edge_c) * (1 - math.exp(-seconds / 10))
        fan = max(0.0, min(100.0, (card.edge_c - 45) * 3.2))
        used = card.idle_bytes + card.unowned_bytes + self._still_used(number)
        return Figures(
            vram_total_bytes=card.total_bytes,
            vram_used_bytes=min(card.total_bytes, used + sum(item.vram_bytes for item in placed)),
            gtt_total_bytes=card.gtt_total_bytes,
            gtt_used_bytes=min(card.gtt_total_bytes, card.idle_gtt_bytes + sum(item.gtt_bytes for item in placed)),
            busy_percent=busy,
            memory_busy_percent=round(busy * 0.58),
            power_watts=card.power_watts,
            edge_c=card.edge_c,
            hotspot_c=card.edge_c + 3 + 19 * load,
            memory_c=card.edge_c + 8 + 12 * load,
            core_clock_mhz=None if busy == 0 else CORE_CLOCKS_MHZ[min(4, int(load * 5))],
            memory_clock_mhz=MEMORY_CLOCKS_MHZ[0 if busy == 0 else 5],
            fan_rpm=round(fan * 33),
            fan_percent=fan,
            throttling=card.throttling,
        )


def _asked(pid: int, ticks: int, words: dict[str, str]) -> Holding:
    """The holding that a request's words describe."""
    return Holding(
        pid=pid,
        ticks=ticks,
        card=int(words.get("card", "0")),
        vram_bytes=_pages(float(words.get("vram", "0"))),
        gtt_bytes=_pages(float(words.get("gtt", "0"))),
        busy_percent=round(float(words.get("busy", "0"))),
        kind="graphics" if words.get("kind") == "graphics" else "compute",
        leaks="leaks" in words,
        lingers_seconds=float(words.get("lingers", "0")),
    )


def _pages(size: float) -> int:
    return math.ceil(size / PAGE_BYTES) * PAGE_BYTES


def main() -> None:
    parser = argparse.ArgumentParser(description="a card that real processes use, as files of the amdgpu driver")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--total", type=float, default=16, help="GiB of memory")
    parser.add_argument("--idle", type=float, default=0.268, help="GB in use when nobody works")
    parser.add_argument("--name", default="AMD Radeon Stand-in")
    parser.add_argument("--integrated", action="store_true", help="beside the processor's own GPU, as on most machines")
    arguments = parser.parse_args()
    cards = [SimGpu(total_bytes=int(arguments.total * GIB), idle_bytes=_pages(arguments.idle * 1e9))]
    cards[0].name = arguments.name
    if arguments.integrated:
        cards.append(SimGpu(pci="0000:7a:00.0", total_bytes=GIB // 2, name="AMD Graphics", integrated=True))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    sim = GpuSim(arguments.folder.absolute(), *cards)
    print("\n".join(f"export {name}={value}" for name, value in sim.environ.items()), flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        sim.run()


if __name__ == "__main__":
    main()
