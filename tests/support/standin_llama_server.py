"""A stand-in for llama-server: it loads for a moment, says at `/health` when it has, and has so much of a played GPU.

Used where a test is about who runs when, and would otherwise wait for a model. The real one is in tests/train.

    python -P standin_llama_server.py PORT VRAM_BYTES
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from core.errors import BakehouseError
from core.home import Home
from core.process.ports import LOOPBACK, free_port
from core.served.control import start, stop
from core.served.record import ServedModelRecord, write_record
from tests.support.cardsim_request import hold_gpu

CHECKOUT = Path(__file__).parents[2]
LOADS_SECONDS = 0.3


@contextlib.contextmanager
def served_model(
    home: Home, name: str = "note", *, on_gpu: bool = False, vram_bytes: int = 0
) -> Iterator[ServedModelRecord]:
    """A served model of a home: a real shim, and this stand-in as its llama-server. It ends with the block."""
    port = free_port()
    command = (sys.executable, str(Path(__file__)), str(port), str(vram_bytes))
    record = ServedModelRecord(
        name, home.root / "m.gguf", "ab" * 32, "note", "tiny", 1, command, port, 2048,
        on_gpu=on_gpu, environment={"PYTHONPATH": str(CHECKOUT)},
    )  # fmt: skip
    write_record(home, record)
    start(home, name)
    try:
        yield record
    finally:
        with contextlib.suppress(BakehouseError, OSError):
            stop(home, name)


class Replies(BaseHTTPRequestHandler):
    loaded = threading.Event()

    def do_GET(self) -> None:
        self.send_response(200 if self.loaded.is_set() else 503)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: its log is that of the starts."""


def main() -> None:
    port, vram_bytes = (int(word) for word in sys.argv[1:3])
    print("starting", flush=True)
    server = ThreadingHTTPServer((LOOPBACK, port), Replies)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    if vram_bytes:
        hold_gpu(f"vram={vram_bytes} busy=0 lingers=0 gtt=0")
    time.sleep(LOADS_SECONDS)
    Replies.loaded.set()
    threading.Event().wait()


if __name__ == "__main__":
    main()
