"""The chat template that a model's entry gives: found, frozen when the entry is read, and refused where it cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config.project import load_project
from core.config.shipped import shipped_root
from core.errors import InputError

CHATML = (shipped_root() / "configs" / "chat_templates" / "chatml.jinja").read_text()


def project(root: Path, entry: str):
    (root / "configs").mkdir(exist_ok=True)
    (root / "bakehouse.yaml").write_text("id: given-templates\n")
    (root / "configs" / "models.yaml").write_text(f"mine:\n  hub: a/b\n{entry}")
    return load_project(root)


def test_a_template_is_taken_by_its_name_or_from_a_file_and_an_own_one_hides_the_shipped(tmp_path: Path) -> None:
    assert project(tmp_path, "  chat_template: chatml\n").model("mine").template_text == CHATML
    own = tmp_path / "configs" / "chat_templates"
    own.mkdir()
    (own / "chatml.jinja").write_text("{{ own }}")
    assert project(tmp_path, "  chat_template: chatml\n").model("mine").template_text == "{{ own }}"
    given = "  chat_template: configs/chat_templates/chatml.jinja\n"
    assert project(tmp_path, given).model("mine").template_text == "{{ own }}"
    assert project(tmp_path, "").model("mine").template_text is None


@pytest.mark.parametrize(
    ("entry", "code", "words"),
    [
        ("  chat_template: gema\n", "no_such_template", "did you mean `gemma`?"),
        ("  chat_template: other.jinja\n", "missing_file", "there is no file"),
        ("  chat_template: empty.jinja\n", "bad_template", "is empty"),
        ("  chat_template: latin.jinja\n", "bad_template", "UTF-8"),
        ("  template_text: x\n", "unknown_key", "chat_template"),
        ("  chat_template: gemma\n  template_from: gemma3\n", "invalid", "exactly one"),
    ],
)
def test_what_cannot_be_a_template_is_refused_at_its_line(tmp_path: Path, entry: str, code: str, words: str) -> None:
    (tmp_path / "empty.jinja").write_text(" \n")
    (tmp_path / "latin.jinja").write_bytes(b"\xe4")
    with pytest.raises(InputError) as caught:
        project(tmp_path, entry).model("mine")
    error = caught.value
    assert words in f"{error.message} {error.remedy}" and error.line is not None
    assert error.code == code or code == "invalid"
