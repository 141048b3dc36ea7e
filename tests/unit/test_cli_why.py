"""`bakehouse why`: one screen for a person, one document for a script."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import called
from tests.support.recorded_lineage import ADAPTER, BAD, Q8_0, Records, whole_chain


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path)


def test_the_command_prints_one_screen_and_one_document(
    records: Records, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAKEHOUSE_HOME", str(records.home.root))
    training, _, converted, quantized = whole_chain(records, template=None)
    records.bakeoff({ADAPTER: training, Q8_0: quantized}, quality={Q8_0: BAD})
    code, out, err = called(capsys, ["why", str(training)])
    assert code == 0 and not err
    assert out.startswith("Certain: the GGUF file has no chat template.\n")
    assert f"job {converted}, GGUF header: tokenizer.chat_template = none" in out
    code, out, _ = called(capsys, ["why", str(training), "--json"])
    document: Mapping[str, Any] = json.loads(out)
    assert document["causes"][0]["code"] == "file_without_template" and document["schema"] == 1
    assert called(capsys, ["why", "99"])[0] == 4


def test_what_models_write_reaches_the_terminal_as_text_alone(
    records: Records, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAKEHOUSE_HOME", str(records.home.root))
    training = records.train()
    hostile = "\x1b]0;owned\x07The note is \x1b[31mgood\x1b[0m and the score is 4. " * 9
    records.bakeoff({ADAPTER: training}, write=lambda name, *_: hostile if name == ADAPTER else "")
    code, out, _ = called(capsys, ["why", str(training)])
    assert code == 0 and "repetition" in out and not {"\x1b", "\x07"} & set(out)
    code, out, _ = called(capsys, ["why", str(training), "--json"])
    assert code == 0 and not {"\x1b", "\x07"} & set(out)
    (of,) = [one for one in json.loads(out)["symptoms"] if one["candidate"] == ADAPTER]
    assert any("\x1b" in one["excerpt"] for one in of["symptoms"])
