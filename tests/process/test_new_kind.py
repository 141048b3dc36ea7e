"""A kind of job is its entry in the registry, its spec, its job and its command. Nothing else has to be told of it.

The kind of these tests is registered while they run. Command, submission, runner, shim, job and console are the real ones.
"""

from __future__ import annotations

import json
import stat
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.cli.main import main
from core.jobfile.kinds import KINDS
from core.store.results import list_artefacts
from tests.support.new_kind import PACK
from tests.support.queueing import CHECKOUT, Queue
from tests.tui.conftest import seen, text_of
from tests.tui.live import opened

Command = Callable[..., dict[str, Any]]


@pytest.fixture
def command(
    queue: Queue, machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs `bakehouse …` on the home of the queue and returns its document."""
    monkeypatch.setitem(KINDS, PACK.name, PACK)
    monkeypatch.setenv("BAKEHOUSE_HOME", str(queue.home.root))
    python = machine / "knows-the-kind"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{CHECKOUT}" exec "{sys.executable}" -P -m tests.support.new_kind "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    (machine / "config/bakehouse/settings.yaml").write_text(
        f"jobs: {{python: {python}}}\nqueue: {{stop_grace_seconds: 1}}\n"
    )

    def run(*words: str) -> dict[str, Any]:
        with pytest.raises(SystemExit) as leave:
            main([*words, "--json"])
        out, err = capsys.readouterr()
        assert not leave.value.code, out + err
        document: dict[str, Any] = json.loads(out)
        return document

    return run


async def test_a_kind_is_asked_for_waits_runs_is_stored_and_shown(
    queue: Queue, command: Command, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "weights").write_text("seven")

    first = command("pack", str(source), "--wait")["job"]
    second = command("pack", f"job:{first['id']}/packed", "--wait")["job"]

    assert [(job["kind"], job["state"], job["lane"]) for job in (first, second)] == [("pack", "done", "cpu")] * 2
    assert (second["needs"], second["source"]) == ([first["id"]], f"job:{first['id']}/packed")
    assert [change["to_state"] for change in command("runs", "show", str(second["id"]))["history"]] == [
        *("waiting", "ready", "starting", "running", "done")
    ]
    with queue.database() as connection:
        (artefact,) = list_artefacts(connection, queue.home, second["id"])
    assert artefact.kind == "packed"
    with tarfile.open(artefact.path / "packed.tar") as tar:
        assert tar.getnames() == ["packed.tar"]
    async with opened(queue.home) as pilot:
        await seen(pilot, lambda: f"pack job:{first['id']}" in text_of(pilot, "#queue"), "the second job's title")
        await seen(pilot, lambda: "finding the artefact" in text_of(pilot, "#detail"), "the log of a job")


def test_a_kind_is_in_the_help_only_while_it_is_registered(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def helped() -> str:
        with pytest.raises(SystemExit):
            main(["--help"])
        return capsys.readouterr().out

    assert "into one file." in helped()
    monkeypatch.delitem(KINDS, PACK.name)
    assert "into one file." not in helped()
