"""Golden inputs to choose and to confirm by, as they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config.golden import GoldenInput, check_golden


def read(folder: Path, text: str):  # type: ignore[no-untyped-def]
    file = folder / "golden.yaml"
    file.write_text(text)
    return check_golden(file, folder)


def test_an_input_has_a_use_or_none(tmp_path: Path) -> None:
    golden, wrong = read(
        tmp_path, "- {id: a, input: x, use: choose}\n- {id: b, input: y, use: confirm}\n- {id: c, input: z}\n"
    )
    assert golden is not None and not wrong
    assert [item.use for item in golden.inputs] == ["choose", "confirm", None]


def test_another_use_is_an_error_at_its_line(tmp_path: Path) -> None:
    _, wrong = read(tmp_path, "- {id: a, input: x}\n- id: b\n  input: y\n  use: test\n")
    assert [problem.line for problem in wrong] == [4]


@pytest.mark.parametrize("other", ["use: choose", "tags: []"], ids=["choose", "none"])
def test_a_source_is_not_split_between_the_uses(tmp_path: Path, other: str) -> None:
    text = f"- {{id: a, input: x, source: book, use: confirm}}\n- {{id: b, input: y, source: book, {other}}}\n"
    _, wrong = read(tmp_path, text)
    (problem,) = wrong
    assert (problem.code, problem.line) == ("mixed_use", 2)
    assert "`book`" in problem.message


def test_a_copy_without_a_use_is_what_it_was_before_there_was_one() -> None:
    """Its hash says whether golden inputs have changed since a bake-off."""
    assert "use" not in GoldenInput(id="a", input="x").model_dump(mode="json")
    kept = GoldenInput(id="a", input="x", use="confirm")
    assert GoldenInput.model_validate(kept.model_dump(mode="json")) == kept
