"""The gates of a training, asked at its submission: what an audit knows is refused at once, what it cannot know is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.config.model import ModelEntry
from core.config.project import shipped
from core.data.audit import Audit
from core.data.leaks import Leak
from core.data.text_faults import TextFinding
from core.errors import GateError, InputError
from core.home import Home
from core.reasons import Reason
from core.submission import gates
from core.submission.gates import ask_gates, has_tokenizer, refusal, told_later
from tests.tui.test_audit_frame import audit


def skipping(skipped: int, **changes: object) -> Audit:
    found = audit(**changes)
    row = replace(found.row, skipped=skipped, whole=found.row.total - skipped, cut=0)
    return replace(found, rows=(row,))


@pytest.mark.parametrize(("skipped", "refused"), [(0, False), (20, False), (21, True), (100, True)])
def test_as_many_as_may_be_skipped_are(skipped: int, refused: bool) -> None:
    found = refusal(skipping(skipped), "data.jsonl")
    assert (found is not None) == refused
    if found is not None:
        assert (found.code, found.key, found.file) == ("too_many_skipped", "max_length", "data.jsonl")
        assert found.message.startswith(f"{skipped} of 100 examples do not fit into 2048 tokens")


def test_all_of_them_skipped_is_refused_whatever_may_be() -> None:
    assert refusal(skipping(100, max_skipped=1.0), "x") is not None
    assert refusal(skipping(99, max_skipped=1.0), "x") is None


def test_texts_and_leaks_are_refused_with_their_line() -> None:
    wrong = TextFinding(Reason("end_in_completion"), (7, 9), 12)
    texts = refusal(audit(texts=(wrong,)), "x")
    leaks = refusal(audit(leaks=(Leak(3, "data.jsonl", "g1", "equal"),)), "x")
    assert texts is not None and (texts.code, texts.line) == ("end_in_completion", 7) and "12 of 100" in texts.message
    assert leaks is not None and (leaks.code, leaks.line) == ("leak", 3)


def test_what_cannot_be_asked_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, project = Home(tmp_path).create(), shipped()
    recipe = project.recipe("demo")
    absent = ask_gates(home, project, "judge", project.model("Qwen3-4B"), recipe)
    assert "Qwen3-4B is not on this disk yet" in told_later([absent])
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    entry = ModelEntry(name="mine", path=str(folder))
    assert not has_tokenizer(home, entry) and "tokenizer of mine" in ask_gates(home, project, "judge", entry, recipe)
    (folder / "tokenizer.json").write_text("{}")

    def slow(*_: object, **__: object) -> Audit:
        raise InputError("the audit took more than 20 s", code="audit_timeout")

    monkeypatch.setattr(gates, "audit", slow)
    assert ask_gates(home, project, "judge", entry, recipe) == "the audit took more than 20 s"
    monkeypatch.setattr(gates, "audit", lambda *_, **__: skipping(50))
    with pytest.raises(GateError, match="50 of 100 examples"):
        ask_gates(home, project, "judge", entry, recipe)
    monkeypatch.setattr(gates, "audit", lambda *_, **__: skipping(5))
    assert told_later([ask_gates(home, project, "judge", entry, recipe)]) == ""
