"""`bakehouse fleet list`: the write-up's last table, at any width, with what is wrong and what can be done about it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from core.cli.fleet_table import fleet_lines
from core.fleet.rows import fleet_rows
from core.store.database import transaction
from core.store.fleet import Target
from core.store.fleet_changes import open_change
from core.text import cell_width
from tests.support.commands import called
from tests.support.ollama_standin import OllamaStandin
from tests.support.stored_fleet import TEMPLATE, StoredFleet, identity

WRITE_UP = {"judge": (0.2, 1.0), "planner": (0.5, 0.5)}


@pytest.fixture
def fleet(tmp_path: Path, own_leases: None, monkeypatch: pytest.MonkeyPatch) -> StoredFleet:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    made = StoredFleet(tmp_path)
    monkeypatch.setenv("BAKEHOUSE_HOME", str(made.home.root))
    return made


def promoted(fleet: StoredFleet, server: OllamaStandin) -> None:
    """`vault-judge`, adopted as a 7B, became a 4B after a bake-off; `tagger` was adopted and does no task."""
    old, new, tagger = (server.add_model(name) for name in ("judge-7b", "vault-judge", "tagger"))
    fleet.deployment("vault-judge", new.digest, new.blob.removeprefix("sha256:"))
    weights = [one.blob.removeprefix("sha256:") for one in (old, new)]
    served = {"ollama:judge-7b": identity("judge-7b", weights[0]), "ollama:judge-4b": identity("judge-4b", weights[1])}
    fleet.bakeoff(served, {"ollama:judge-7b": 0.3, "ollama:judge-4b": 1.0})
    alias = fleet.alias("vault-judge", url=server.url)
    fleet.assign("judge", alias)
    fleet.becomes(alias, Target("judge-7b", old.digest, old.blob, TEMPLATE, "0.24.0", 4_700_000_000, "Qwen2.5-7B"))
    target = Target("judge-4b", new.digest, new.blob, TEMPLATE, "0.24.0", 4_300_000_000, "Qwen3-4B")
    fleet.becomes(alias, target, "promote", origin="promoted", task="judge", override="needs the \x1b[2J memory")
    fleet.becomes(fleet.alias("tagger", url=server.url), Target("tagger", tagger.digest, tagger.blob))


def test_what_serves_is_told_old_to_new_with_what_can_be_done(
    fleet: StoredFleet, standin: OllamaStandin, capsys: pytest.CaptureFixture[str]
) -> None:
    promoted(fleet, standin)
    code, out, err = called(capsys, ["fleet", "list"])
    assert (code, err) == (0, "") and "\x1b" not in out
    head, judge, *_ = out.splitlines()
    assert head.split() == ["task", "alias", "format", "content", "GB", "memory", "since"]
    assert re.match(r"judge\s+vault-judge\s+\d\.\d\d → 5\.00\s+\d\.\d\d → 5\.00\s+4\.7 → 4\.3\s+○ ", judge), judge
    assert "Qwen2.5-7B → Qwen3-4B · version 2, promoted · recipe demo, data judge.train.jsonl, training " in out
    assert "▲ promoted though its gate did not pass: needs the" in out
    assert out.splitlines()[-3].startswith("—      tagger"), "of which nothing more is known"
    assert "`bakehouse fleet assign TASK ALIAS`" in out
    fleet.assign("planner", fleet.alias("tagger", url=standin.url))
    said = " ".join(called(capsys, ["fleet", "list"])[1].split())
    assert said.endswith(
        "Nothing is on record of tagger: no job of this home made what serves, and no bake-off has measured it."
    )


def test_a_foreign_change_is_told_at_once_with_both_ways_out(
    fleet: StoredFleet, standin: OllamaStandin, capsys: pytest.CaptureFixture[str]
) -> None:
    promoted(fleet, standin)
    standin.copy_model("planner", "vault-judge")
    out = " ".join(called(capsys, ["fleet", "list"])[1].split())
    assert (
        "`bakehouse fleet rollback judge` brings back what was recorded" in out
        and "`bakehouse fleet adopt ollama:vault-judge`" in out
    )
    standin.remove_model("vault-judge")
    assert "▲ somebody removed vault-judge from its server" in called(capsys, ["fleet", "list"])[1]
    standin.down()
    assert "not known what serves now: nobody answers at its server" in called(capsys, ["fleet", "list"])[1]


def test_the_document_has_all_there_is(
    fleet: StoredFleet, standin: OllamaStandin, capsys: pytest.CaptureFixture[str]
) -> None:
    promoted(fleet, standin)
    code, out, _ = called(capsys, ["fleet", "list", "--json"])
    document = json.loads(out)
    assert code == 0 and set(document) == {"schema", "fleet", "unassigned", "without_alias"}
    (judge,), (tagger,) = document["fleet"], document["unassigned"]
    assert (judge["task"], judge["alias"], judge["version"], judge["model"]) == ("judge", "vault-judge", 2, "Qwen3-4B")
    assert judge["scores"]["format"] == 1.0 > judge["before"]["scores"]["format"]
    assert (judge["before"]["size_bytes"], judge["size_bytes"]) == (4_700_000_000, 4_300_000_000)
    assert judge["resident"] is False and judge["observed"]["server_version"] == standin.version
    assert judge["lineage"]["recipe"] == "demo" and judge["lineage"]["data_sha256"] == "0" * 64
    assert [one["code"] for one in judge["stale"]] == (
        ["template_differs"] if standin.version == "0.24.0" else ["server_version_differs", "template_differs"]
    )
    assert (tagger["task"], tagger["scores"], tagger["lineage"]["model"]) == (None, {}, None)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_table_keeps_to_its_width_and_loses_no_row(fleet: StoredFleet, standin: OllamaStandin, width: int) -> None:
    promoted(fleet, standin)
    alias = fleet.alias("a-name-that-is-longer-than-any-column-of-a-table-can-be:with-its-tag")
    fleet.becomes(alias, Target("x", "d", size_bytes=1))
    fleet.assign("a-task-with-a-long-name", alias)
    with transaction(fleet.connection):
        open_change(
            fleet.connection,
            alias_id=alias.id,
            kind="promote",
            author="somebody-with-a-long-name@a-host-with-one, console",
            target=Target("y", "d"),
            from_version=None,
            phase="placing",
        )
    lines = list(fleet_lines(fleet_rows(fleet.home, fleet.connection), width))
    assert all(cell_width(line) <= width for line in lines), max(lines, key=cell_width)
    firsts = [line for line in lines if not line.startswith("  ")]
    assert [line[:6].strip() for line in firsts] == ["task", "a-task", "judge", "—"]
    columns = ["task", "alias", "format", "content", "GB"]
    assert firsts[0].split()[: 5 if width >= 80 else 3] == columns[: 5 if width >= 80 else 3]
    assert any(line.startswith("  ▶ promotion of y asked by") for line in lines)


def test_an_empty_fleet_says_how_it_is_filled(fleet: StoredFleet, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(capsys, ["fleet", "list"])
    assert code == 0 and "`bakehouse fleet adopt`" in out
