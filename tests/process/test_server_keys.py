"""The key of a server, in whole processes: it reaches its server, and no file of the home, no error and no screen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.forked import CHECKOUT
from tests.support.hostile_server import Connection, HostileServer, hostile, whole
from tests.support.queueing import Queue

KEY = "pancake-key-51f0a7e2"
CLI = [sys.executable, "-P", "-c", "import sys; from core.cli.main import main; main(sys.argv[1:])"]
BASIC = "Basic cGFuOmNha2UtNTFmMGE3ZTI="


def project(folder: Path, server: HostileServer) -> Path:
    root = folder / "kitchen"
    for name, text in {
        "bakehouse.yaml": "id: kitchen\nservers:\n"
        f"  hosted: {{api: {server.api}, url: '{server.url}', key_env: PAN_CAKE}}\n",
        "configs/tasks/bread.yaml": "system: Answer.\nrepeats: 2\ngolden: golden/bread.yaml\n"
        "format:\n  - {check: contains_any, values: [bread]}\n",
        "golden/bread.yaml": "- {id: a, input: What is it?}\n- {id: b, input: And this?}\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def bakehouse(queue: Queue, root: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CLI, *words, "--project", str(root)],
        env={**os.environ, "BAKEHOUSE_HOME": str(queue.home.root), "PYTHONPATH": str(CHECKOUT), **environment},
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )


def files_with(secret: str, *folders: Path) -> list[Path]:
    needle = secret.encode()
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file() and not file.is_symlink()]
    assert files
    return [file for file in files if needle in file.read_bytes()]


def tells(connection: Connection) -> None:
    """Refuses, and quotes the key as some servers do."""
    (sent,) = [line for line in connection.head.split("\r\n") if line.lower().startswith("authorization:")]
    key = sent.partition(": ")[2]
    said = f"Incorrect API key provided: {key.rpartition(' ')[2]} (you sent `{sent}`)"
    connection.send(whole(400, json.dumps({"error": {"message": said}}).encode(), f"Location: https://x/?key={key}"))


@pytest.mark.parametrize("api", ["openai", "ollama"])
@pytest.mark.parametrize("key", [KEY, BASIC])
def test_a_key_that_the_server_quotes_is_in_no_file_after_a_run_that_failed(
    queue: Queue, machine: Path, api: str, key: str
) -> None:
    with hostile(api, tells) as server:
        root = project(machine, server)
        done = bakehouse(queue, root, "bakeoff", "bread", "hosted:m:latest", "--wait", PAN_CAKE=key)
        results = bakehouse(queue, root, "results", "--json")
        heads = [head for path, head, _ in server.asked]
    assert "Incorrect API key provided" in done.stdout + done.stderr, "its refusal is told"
    expected = key if key == BASIC else f"Bearer {KEY}"
    assert heads
    assert all(f"uthorization: {expected}\r\n" in f"{head}\r\n" for head in heads)
    secret = key.rpartition(" ")[2]
    assert secret not in done.stdout + done.stderr + results.stdout + results.stderr
    assert files_with(secret, queue.home.root, root) == []
    assert files_with("Incorrect API key provided", queue.home.root), "what was looked through holds the refusal"


def test_a_key_that_is_not_there_is_one_clear_error(queue: Queue, machine: Path) -> None:
    with hostile("openai", tells) as server:
        root = project(machine, server)
        done = bakehouse(queue, root, "bakeoff", "bread", "hosted:m:latest", "--wait")
        assert server.asked == [], "a server is not asked without its key"
    assert done.returncode == 2, done.stderr
    assert "environment variable PAN_CAKE, which is not set" in done.stdout + done.stderr
