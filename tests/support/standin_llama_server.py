"""A program that stands for llama-server where processes are what is tested: it listens, loads, serves `/health` and dies.

What it does stands in its model's file, or in `MODEL.words` where that is there, a line each: `hold` (loads until that line is
gone), `die` (is killed once it has begun), `refuse` and `memory` (ends as a server does that can't load the file, or has no
memory), `deaf` (ignores SIGTERM), `mute` (refuses each question), `falls` (is killed by a question), `vram=BYTES` (has so much
of the GPU that tests.support.cardsim plays). It answers with the name of its model's file. Each start appends its pid to
`MODEL.starts`.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import signal
import sys
from pathlib import Path


def command_of(model: Path, port: int, alias: str = "m") -> tuple[str, ...]:
    """The words that start it, as a served model's record has them."""
    return sys.executable, __file__, "--model", str(model), "--alias", alias, "--port", str(port)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--alias", default="m")
    parser.add_argument("--port", type=int, required=True)
    asked, _ = parser.parse_known_args()
    with asked.model.with_suffix(".starts").open("a") as starts:
        starts.write(f"{os.getpid()}\n")

    def told() -> set[str]:
        beside = asked.model.with_suffix(".words")
        return set((beside if beside.exists() else asked.model).read_text().split())

    if "deaf" in told():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "die" in told():
        print("GGML_ASSERT(oven != cold) failed", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if "refuse" in told():
        print("error loading model: unknown model architecture: 'bread'", file=sys.stderr)
        return 1
    if "memory" in told():
        print("ggml_backend_cuda_buffer_type_alloc_buffer: cudaMalloc failed: out of memory", file=sys.stderr)
        return 1

    for word in told():
        if word.startswith("vram="):
            from tests.support.cardsim_request import hold_gpu

            hold_gpu(f"{word} busy=0 lingers=0 gtt=0")

    class Served(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.tell(503 if "hold" in told() else 200, documents.get(self.path, {}))

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if "falls" in told():
                os.kill(os.getpid(), signal.SIGKILL)
            message = {"role": "assistant", "content": asked.model.stem}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            mute = "mute" in told()
            self.tell(500 if mute else 200, {} if mute else {"model": asked.alias, "choices": [choice]})

        def tell(self, status: int, document: object) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            print(format % arguments, file=sys.stderr)

    documents = {
        "/v1/models": {"data": [{"id": asked.alias}]},
        "/props": {"build_info": "b1-standin", "model_path": str(asked.model), "chat_template": "{{ messages }}"},
    }
    with http.server.HTTPServer(("127.0.0.1", asked.port), Served) as server:
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
