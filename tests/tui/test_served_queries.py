"""What the dialogs of deployments and parity checks are told: of a real home, and of an Ollama that answers or does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config.project import shipped
from core.errors import BakehouseError
from core.served.record import write_record
from tests.support.ollama_standin import OllamaStandin
from tests.support.recorded_lineage import Records, whole_chain
from tests.tui.test_served import record
from tui.queries.deploy_outlook import read_deploy_outlook
from tui.queries.served_names import read_served_names


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Records:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr("core.process.logind.ask_loginctl", lambda *arguments: None)
    monkeypatch.setattr("core.served.control.has_user_manager", lambda: False)
    return Records(tmp_path)


def test_an_ollama_that_answers_is_taken_and_its_tags_are_those_that_serve(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, quantized = whole_chain(records)
    write_record(records.home, record("judge-smollm2-135m-4", slots=4))
    with OllamaStandin("0.24.0") as ollama:
        ollama.add_model("judge:prod", size_bytes=1_000)
        ollama.add_model("judge-smollm2-135m-4:latest", size_bytes=1_000)
        monkeypatch.setenv("OLLAMA_HOST", ollama.url)
        found = read_deploy_outlook(records.home, shipped(), quantized)
        names = read_served_names(records.home, shipped())
    assert found.best == "ollama" and tuple(sorted(found.taken["ollama"])) == (
        "judge-smollm2-135m-4:latest",
        "judge:prod",
    )
    assert found.usual == {
        "ollama": f"judge:smollm2-135m-{quantized}",
        "llama-server": f"judge-smollm2-135m-{quantized}",
    }
    assert found.served == {"judge-smollm2-135m-4": (4, False)}
    assert found.taken["llama-server"] == ("judge-smollm2-135m-4",) and found.place["ollama"] == ollama.url
    assert "at boot" in found.boot_problem and set(found.kept) == {False}
    first, *others = names.references
    assert first == "served:judge-smollm2-135m-4" and names.silent == ()
    assert sorted(others) == ["ollama:judge-smollm2-135m-4", "served:judge:prod"], (
        "one name, two models: both can be meant"
    )
    assert names.deployed == {"served:judge-smollm2-135m-4": ("judge", "SmolLM2-135M")} and "judge" in names.tasks


def test_an_ollama_that_is_away_hides_nothing_else(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    *_, quantized = whole_chain(records)
    write_record(records.home, record("judge-smollm2-135m-4"))
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    found = read_deploy_outlook(records.home, shipped(), quantized)
    assert found.best == "llama-server" and "ollama" in found.problems
    names = read_served_names(records.home, shipped())
    assert names.references == ("served:judge-smollm2-135m-4",)
    assert len(names.silent) == 1 and names.silent[0].startswith("ollama: ")


def test_what_makes_no_file_is_refused_with_its_reason(records: Records) -> None:
    with pytest.raises(BakehouseError, match="makes no GGUF file"):
        read_deploy_outlook(records.home, shipped(), records.train())
