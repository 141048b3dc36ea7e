"""`bakehouse fleet history|diff`: what became of an alias in plain sentences and in order, and what two versions differ in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.fleet.history import HistoryEntry, fleet_history
from core.jobfile.spec import InputFile
from core.reasons import Reason
from core.store.database import transaction
from core.store.fleet import Alias, Target, get_alias
from core.store.fleet_changes import add_note, finish_change, open_change
from core.wording.fleet_history import entry_words
from tests.support.commands import called
from tests.support.gguf_bytes import file, header
from tests.support.ollama_models import CHATML
from tests.support.ollama_standin import OllamaStandin
from tests.support.stored_fleet import PROJECT, StoredFleet, identity


@pytest.fixture
def fleet(tmp_path: Path, own_leases: None, monkeypatch: pytest.MonkeyPatch) -> StoredFleet:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    made = StoredFleet(tmp_path)
    monkeypatch.setenv("BAKEHOUSE_HOME", str(made.home.root))
    return made


def asked(fleet: StoredFleet, alias: Alias, kind: Any, state: Any, reason: Reason | None = None, **values: Any) -> None:
    """A move that ended as `state` says, or is open still."""
    with transaction(fleet.connection):
        now = get_alias(fleet.connection, alias.id).version_id
        usual = {"author": "bob@box, console", "target": Target("judge-8b", "d8"), "from_version": now}
        change = open_change(fleet.connection, alias_id=alias.id, kind=kind, project_id=PROJECT, **{**usual, **values})
        if state != "open":
            finish_change(fleet.connection, change.id, state, reason)


def sentences(entries: list[HistoryEntry]) -> list[str]:
    return [entry_words(one) for one in entries]


def told(fleet: StoredFleet) -> Alias:
    """A life of `vault-judge`, beside another alias, with a clock that was set back in the middle of it."""
    alias, other = fleet.alias("vault-judge"), fleet.alias("tagger")
    first = fleet.becomes(alias, Target("vault-judge", "d7", model="Qwen2.5-7B"))
    asked(fleet, alias, "assign", "done", task="judge", author="anna@box, command", target=Target("vault-judge", None))
    fleet.assign("judge", alias)
    fleet.becomes(other, Target("tagger", "1f" * 32))
    fleet.becomes(
        alias, Target("judge-4b", "d4", model="Qwen3-4B"), "promote", origin="promoted", task="judge", override="faster"
    )
    with transaction(fleet.connection):
        add_note(fleet.connection, alias.id, Reason("alias_changed", {"version": 2, "recorded": "d4", "digest": "dx"}))
        add_note(fleet.connection, alias.id, Reason("of_a_later_version", {"some_value": 3}))
        fleet.connection.execute("UPDATE fleet_notes SET time = 5.0")
    asked(fleet, alias, "promote", "taken_back", Reason("source_gone", {"source": "judge-8b"}), task="judge")
    asked(fleet, alias, "assign", "done", task="planner")
    asked(fleet, alias, "rollback", "open", task="judge", to_version=first.id, phase="placing")
    return alias


def test_a_history_is_told_in_plain_sentences_in_the_order_in_which_it_happened(fleet: StoredFleet) -> None:
    told(fleet)
    assert sentences(fleet_history(fleet.connection, "judge")) == [
        "vault-judge was taken in as it was, as version 1 (Qwen2.5-7B): asked by anna@box (command)",
        "vault-judge answers for judge: asked by anna@box (command)",
        "vault-judge became version 2 (Qwen3-4B), copied from judge-4b for judge, in place of version 1 (Qwen2.5-7B): "
        "asked by anna@box (command); overridden: faster",
        "vault-judge: somebody else put another model there, digest dx; version 2 has d4",
        "vault-judge: of a later version (some value 3)",
        "the promotion of judge-8b to vault-judge for judge was taken back, vault-judge is version 2 (Qwen3-4B) as before: "
        "asked by bob@box (console); judge-8b is not on the server any more",
        "rollback of vault-judge to version 1 (Qwen2.5-7B) for judge is under way (placing the model under the alias): "
        "asked by bob@box (console)",
    ]


def test_a_promotion_that_the_gate_did_not_pass_is_told_with_what_it_rests_on(fleet: StoredFleet) -> None:
    alias = fleet.alias("vault-judge")
    fleet.becomes(alias, Target("vault-judge", "d7", model="Qwen2.5-7B"))
    pairs = {
        "measured": "pass",
        "not_worse": "cannot_tell",
        "parity": "cannot_tell",
        "of_a_later_version": "cannot_tell",
    }
    conditions = [{"code": code, "outcome": outcome, "values": {}} for code, outcome in pairs.items()]
    conditions += conditions[1:2]  # another part of the score
    gate = {"outcome": "cannot_tell", "conditions": conditions}
    asked(fleet, alias, "promote", "failed", Reason("gate_not_passed"), task="judge", gate=gate)
    entry = fleet_history(fleet.connection)[-1]
    assert entry.to_json()["gate"] == gate and sentences([entry]) == [
        "the promotion of judge-8b to vault-judge for judge was not done, vault-judge is version 1 (Qwen2.5-7B) as before: "
        "asked by bob@box (console); the gate cannot tell (not worse, prompts, of_a_later_version); "
        "nobody gave a reason to override the gate"
    ]


def test_of_a_task_only_what_concerns_it_is_told_and_of_all_everything(fleet: StoredFleet) -> None:
    told(fleet)
    everything = fleet_history(fleet.connection)
    assert [one.id for one in everything] == list(range(1, 10)), "changes and notes have one sequence"
    assert len(fleet_history(fleet.connection, "judge")) == 7
    assert len(fleet_history(fleet.connection, "vault-judge")) == 8, "its other task among them"
    assert [one.alias.name for one in fleet_history(fleet.connection, "ollama:tagger")] == ["tagger"]
    assert [one.id for one in fleet_history(fleet.connection, limit=2)] == [8, 9]


def test_the_command_tells_it_and_what_is_no_name_of_the_fleet(
    fleet: StoredFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "`bakehouse fleet adopt`" in called(capsys, ["fleet", "history"])[1]
    told(fleet)
    code, out, _ = called(capsys, ["fleet", "history", "judge", "-n", "1"])
    assert code == 0 and "rollback of vault-judge" in out and len(out.splitlines()) <= 3
    document = json.loads(called(capsys, ["fleet", "history", "--json"])[1])["history"]
    assert [one["id"] for one in document] == list(range(1, 10)) and document[5]["note"]["code"] == "of_a_later_version"
    assert document[3]["override_reason"] == "faster" and document[3]["from_version"] == 1
    assert called(capsys, ["fleet", "history", "nobody"])[0] == 4


# What two versions differ in.


def two_versions(fleet: StoredFleet, server: OllamaStandin) -> Alias:
    """`vault-judge` was a deployed model and became another one, of other data and another recipe; the former is kept."""
    old = server.add_model("vault-judge:bakehouse-1", parameters={"temperature": 0.8, "top_k": 40}, system="Be brief.")
    new = server.add_model("vault-judge", template=CHATML + "{{/* more */}}", parameters={"temperature": 0.2})
    weights = [one.blob.removeprefix("sha256:") for one in (old, new)]
    fleet.deployment("a", old.digest, weights[0], data=data(fleet, "a", range(48)))
    wide = {"name": "wide", "rank": 32}
    fleet.deployment("b", new.digest, weights[1], data=data(fleet, "b", range(5, 63)), recipe=wide)
    served = {"ollama:a": identity("a", weights[0]), "ollama:b": identity("b", weights[1])}
    fleet.bakeoff(served, {"ollama:a": 0.2, "ollama:b": 1.0})
    alias = fleet.alias("vault-judge", url=server.url)
    fleet.assign("judge", alias)
    before = Target(
        "a", old.digest, old.blob, "t1", "0.24.0", 4_700_000_000, "Qwen2.5-7B", kept_as="vault-judge:bakehouse-1"
    )
    after = Target(
        "b", new.digest, new.blob, "t2", "0.33.0", 4_300_000_000, "Qwen3-4B", kept_as="vault-judge:bakehouse-2"
    )
    fleet.becomes(alias, before)
    fleet.becomes(alias, after, "promote", origin="promoted", task="judge")
    return alias


def data(fleet: StoredFleet, name: str, numbers: range) -> InputFile:
    """Training data as they were copied at a submission."""
    path = fleet.home.root / f"{name}.jsonl"
    path.write_text("".join(f'{{"n": {number}}}\n' for number in numbers))
    return InputFile(path=str(path), sha256=name * 64, source="judge.train.jsonl")


def test_two_versions_differ_in_data_recipe_scores_template_parameters_sizes_and_server(
    fleet: StoredFleet, standin: OllamaStandin, capsys: pytest.CaptureFixture[str]
) -> None:
    two_versions(fleet, standin)
    code, out, err = called(capsys, ["fleet", "diff", "judge"])
    assert (code, err) == (0, "")
    lines = {line[:12].strip(): line[12:] for line in out.splitlines()[1:] if not line.startswith(" ")}
    assert out.startswith("vault-judge: version 1 (adopted, ")
    assert lines["model"] == "Qwen2.5-7B → Qwen3-4B" and lines["size"] == "4.7 GB → 4.3 GB"
    assert lines["recipe"] == "demo → wide: rank 16 → 32"
    assert lines["data"] == "judge.train.jsonl: 48 → 58 examples, 15 new, 5 gone"
    assert " → 5.00, content " in lines["judge"] and "12 inputs)" in lines["judge"]
    assert lines["server"] == "0.24.0 → 0.33.0"
    assert lines["parameters"] == "− system Be brief., temperature 0.8 → 0.2, − top_k 40"
    assert lines["template"] == "differs:" and "{{/* more */}}" in out
    assert (
        called(capsys, ["fleet", "diff", "judge", "1"])[1]
        == out
        == called(capsys, ["fleet", "diff", "judge", "1", "2"])[1]
    )
    back = json.loads(called(capsys, ["fleet", "diff", "ollama:vault-judge", "2", "1", "--json"])[1])["diff"]
    assert back["parameters"]["temperature"] == {"before": "0.2", "after": "0.8"}
    assert back["data"] == {"before": 58, "after": 48, "added": 5, "removed": 15}


def test_what_is_not_known_of_a_version_is_said(
    fleet: StoredFleet, standin: OllamaStandin, capsys: pytest.CaptureFixture[str]
) -> None:
    alias = two_versions(fleet, standin)
    standin.remove_model("vault-judge:bakehouse-1")
    out = called(capsys, ["fleet", "diff", "judge"])[1]
    assert "version 1 cannot be read: its server keeps it no more" in out
    document = json.loads(called(capsys, ["fleet", "diff", "judge", "--json"])[1])["diff"]
    assert (document["template"], document["parameters"]) == (None, None)
    standin.down()
    assert "nobody answers at its server" in called(capsys, ["fleet", "diff", "judge"])[1]
    fleet.becomes(alias, Target("c", "dc"), origin="found")
    out = called(capsys, ["fleet", "diff", "vault-judge", "3", "3"])[1]
    assert "model       unknown" in out and "made by     unknown" in out and "data        unknown" in out
    assert called(capsys, ["fleet", "diff", "vault-judge", "9"])[0] == 4
    tagger = fleet.alias("tagger")
    fleet.becomes(tagger, Target("tagger", "d"))
    assert called(capsys, ["fleet", "diff", "tagger"])[0] == 2
    assert called(capsys, ["fleet", "diff", "nobody"])[0] == 4


def test_versions_of_a_served_model_are_read_in_their_files(
    fleet: StoredFleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alias = fleet.alias("note", server="llama-server")
    for number, template in enumerate(("{{ a }}\n{{ b }}", "{{ a }}\n{{ c }}"), 1):
        keys = {"general.architecture": "llama", "tokenizer.chat_template": template}
        (tmp_path / f"{number}.gguf").write_bytes(file(header(keys)))
        record = {
            "name": "note",
            "file": str(tmp_path / f"{number}.gguf"),
            "weights": f"w{number}",
            "task": "note",
            "model": "tiny",
            "job_id": 1,
            "command": ["/x/llama-server", "--model", "m", "--port", "9", "--ctx-size", str(1024 * number), "--jinja"],
            "port": 9,
            "context_length": 1024 * number,
        }
        fleet.becomes(alias, Target(f"note-{number}", f"w{number}", record=record))
    out = called(capsys, ["fleet", "diff", "note"])[1]
    assert "parameters  ctx-size 1024 → 2048\n" in out and "-{{ b }}" in out and "+{{ c }}" in out
    (tmp_path / "1.gguf").unlink()
    assert "version 1 cannot be read: its GGUF file is gone" in called(capsys, ["fleet", "diff", "note"])[1]
