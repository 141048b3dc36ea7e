"""Pulling a model from a hub. The hub is a stand-in on the loopback that answers what the real client library asks of one."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from core.config.model import ModelEntry
from core.errors import NotFoundError
from core.files import read_json, read_lines
from core.home import Home, RunDir
from core.models.files import hub_copy, needs_pull
from tests.support.model_folders import config_of, write_folder
from tests.support.pulls import pull_run

pytestmark = pytest.mark.process

REPOSITORY = "someone/tiny"
ENTRY = ModelEntry(name="tiny", hub=REPOSITORY)


@dataclass
class Hub:
    """What the stand-in serves, of which commit, and what was asked of it."""

    url: str = ""
    commit: str = "1" * 40
    files: dict[str, bytes] = field(default_factory=dict)
    status: int = 200
    asked: list[str] = field(default_factory=list)


FETCHED = ["config.json", "model.safetensors", "tokenizer.json"]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    folder = write_folder(tmp_path / "served", config_of("llama", vocab_size=90_000))
    served = Hub(
        files={
            **{name: (folder / name).read_bytes() for name in FETCHED},
            "pytorch_model.bin": b"never fetched",
            "modeling_tiny.py": b"never fetched",
        }
    )

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            served.asked.append(path)
            if served.status != 200:
                code = {"X-Error-Code": "GatedRepo"} if served.status == 403 else {"X-Error-Code": "RepoNotFound"}
                return self.reply(served.status, b"{}", {**code, "Content-Type": "application/json"})
            if path.startswith(f"/api/models/{REPOSITORY}"):
                siblings = [{"rfilename": name, "size": len(body)} for name, body in served.files.items()]
                tree = [
                    {"type": "file", "path": name, "size": len(body), "oid": "0" * 40}
                    for name, body in served.files.items()
                ]
                document = tree if "/tree/" in path else {"id": REPOSITORY, "sha": served.commit, "siblings": siblings}
                return self.reply(200, json.dumps(document).encode(), {"Content-Type": "application/json"})
            name = path.removeprefix(f"/{REPOSITORY}/resolve/{served.commit}/")
            body = served.files.get(name)
            if body is None:
                return self.reply(404, b"", {"X-Error-Code": "EntryNotFound"})
            etag = hashlib.sha256(body).hexdigest()
            return self.reply(200, body, {"ETag": f'"{etag}"', "X-Repo-Commit": served.commit})

        def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield served
    server.shutdown()
    server.server_close()


def pull(tmp_path: Path, url: str, number: int = 1) -> tuple[int, RunDir]:
    """Run the job in a process of its own, as the shim does; its exit code and run directory."""
    run = pull_run(Home(tmp_path / "home"), ENTRY, number)
    environment = {
        **os.environ,
        "BAKEHOUSE_ATTEMPT": "1",
        "HF_ENDPOINT": url,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
    }
    for name in ("HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_TOKEN"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "jobs", str(run.path)], env=environment, timeout=120, check=False
    )
    return done.returncode, run


def test_a_model_is_fetched_with_progress_and_stays_at_its_commit(tmp_path: Path, hub: Hub) -> None:
    home = Home(tmp_path / "home")
    assert needs_pull(home, ENTRY)
    code, run = pull(tmp_path, hub.url)
    assert code == 0
    copy = hub_copy(home, ENTRY)
    assert copy is not None and copy.commit == hub.commit and not needs_pull(home, ENTRY)
    assert sorted(path.name for path in copy.folder.iterdir()) == FETCHED
    done = [event for event, _ in read_lines(run.attempt(1).events) if event["kind"] == "progress"]
    size = sum(len(hub.files[name]) for name in FETCHED)
    assert (done[-1]["done"], done[-1]["total"], done[-1]["unit"]) == (size, size, "bytes")

    # The hub moves on; what was trained on is still what was fetched.
    before = hub.commit
    hub.commit = "2" * 40
    from jobs.models import locate

    first = locate(ENTRY, home)
    assert hub_copy(home, ENTRY) == copy and first.folder == copy.folder
    assert pull(tmp_path, hub.url, 2)[0] == 0
    second = locate(ENTRY, home)
    assert before in str(first.folder) and hub.commit in str(second.folder)
    assert first.fingerprint != second.fingerprint


def test_without_a_hub_the_copy_that_is_there_is_taken_and_said(tmp_path: Path, hub: Hub) -> None:
    assert pull(tmp_path, hub.url)[0] == 0
    code, run = pull(tmp_path, "http://127.0.0.1:9", 2)
    assert code == 0
    warnings = [event["message"] for event, _ in read_lines(run.attempt(1).events) if event["kind"] == "warning"]
    assert len(warnings) == 1 and "could not be reached" in warnings[0]


def test_without_a_hub_and_without_a_copy_the_job_says_so(tmp_path: Path) -> None:
    code, run = pull(tmp_path, "http://127.0.0.1:9")
    assert code == 1
    assert read_json(run.attempt(1).error_json)["code"] == "download_failed"
    assert needs_pull(Home(tmp_path / "home"), ENTRY)


@pytest.mark.parametrize(("status", "error"), [(403, "gated"), (404, "no_such_model")])
def test_a_model_that_is_not_given_is_bad_input_with_its_reason(
    tmp_path: Path, hub: Hub, status: int, error: str
) -> None:
    hub.status = status
    code, run = pull(tmp_path, hub.url)
    assert code == 2
    assert read_json(run.attempt(1).error_json)["code"] == error


def test_a_model_of_pickles_is_refused_before_anything_is_fetched(tmp_path: Path, hub: Hub) -> None:
    del hub.files["model.safetensors"]
    code, run = pull(tmp_path, hub.url)
    assert code == 2
    assert read_json(run.attempt(1).error_json)["code"] == "unsafe_model"
    assert not any("/resolve/" in path for path in hub.asked)


def test_a_model_that_no_job_could_use_ends_its_pull_with_the_reason(tmp_path: Path, hub: Hub) -> None:
    config = config_of("llama", vocab_size=90_000, quantization_config={"quant_method": "gptq"})
    hub.files["config.json"] = json.dumps(config).encode()
    code, run = pull(tmp_path, hub.url)
    assert code == 2
    assert read_json(run.attempt(1).error_json)["code"] == "quantised_model"
    assert needs_pull(Home(tmp_path / "home"), ENTRY)


def test_a_job_that_finds_no_copy_names_the_command_that_fetches_it(tmp_path: Path) -> None:
    from jobs.models import locate

    with pytest.raises(NotFoundError) as caught:
        locate(ENTRY, Home(tmp_path))
    assert caught.value.remedy == "bakehouse models pull tiny"
