"""A golden file grows at its end: what stood there stays, byte by byte and input by input, or nothing is written."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from core.config.golden import GoldenInput, GoldenMessage, check_golden
from core.errors import InputError
from core.marking.golden_file import append_inputs, read_golden_text, same_inputs, take_back
from tests.support.depth import example_count

TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs",)) | st.sampled_from(" \n\t:#-|>'\"[]{}&*!%@`,"), max_size=60
)
NAMES = st.from_regex(r"[a-z][a-z0-9 :#'-]{0,20}[a-z]", fullmatch=True)
VALUES = st.one_of(
    TEXTS,
    st.integers(-(10**6), 10**6),
    st.booleans(),
    st.floats(-10, 10),
    st.lists(TEXTS | st.integers(0, 9), max_size=3),
)


@st.composite
def golden_inputs(draw: st.DrawFn) -> GoldenInput:
    turns = [GoldenMessage(role="user", content=draw(TEXTS))] if draw(st.booleans()) else []
    return GoldenInput(
        id=draw(NAMES),
        input=None if turns else draw(TEXTS),
        messages=turns,
        expect=draw(st.dictionaries(NAMES, VALUES, max_size=3)),
        source=draw(st.none() | NAMES),
        chosen=draw(st.sampled_from([None, "random", "disagreement"])),
        tags=draw(st.lists(NAMES, max_size=2)),
    )


@st.composite
def golden_files(draw: st.DrawFn) -> bytes:
    """A golden file as a person or another tool may have written one, some of which do not load."""
    items = draw(st.lists(golden_inputs(), min_size=1, max_size=3, unique_by=lambda one: one.id))
    told = [one.model_dump(mode="json", exclude_none=True, exclude_defaults=True) for one in items]
    document = {"inputs": told} if draw(st.booleans()) else told
    text = yaml.safe_dump(
        document,
        allow_unicode=draw(st.booleans()),
        default_flow_style=draw(st.sampled_from([False, False, None, True])),
        indent=draw(st.sampled_from([2, 4, 6])),
        width=draw(st.sampled_from([20, 80, 1000])),
        default_style=draw(st.sampled_from([None, None, "'", '"', "|"])),
        explicit_start=draw(st.booleans()),
        explicit_end=draw(st.booleans()),
    )
    text = draw(st.sampled_from(["", "# a comment\n", "\ufeff"])) + text
    text += draw(st.sampled_from(["", "", "\n\n", "# the end", "  # deeper\n", "...\n"]))
    text = text.removesuffix("\n") if draw(st.booleans()) else text
    return text.replace("\n", draw(st.sampled_from(["\n", "\n", "\r\n"]))).encode()


@settings(max_examples=example_count(60), deadline=None)
@given(content=golden_files(), added=golden_inputs())
def test_any_file_that_loads_keeps_its_inputs_and_its_bytes(content: bytes, added: GoldenInput) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "golden.yaml"
        file.write_bytes(content)
        golden, _ = check_golden(file, Path(folder))
        if golden is None or added.id in {one.id for one in golden.inputs}:
            return
        before = read_golden_text(file, Path(folder))
        mixed = {one.source for one in golden.inputs if one.use == "confirm"}
        assert added.source not in mixed
        try:
            after = append_inputs(before, [added])
        except InputError as error:
            assert error.code == "golden_layout"
            assert file.read_bytes() == content
        else:
            written = file.read_bytes()
            assert written.startswith(content) and written == after.content
            again, wrong = check_golden(file, Path(folder))
            assert again is not None and not wrong
            assert same_inputs(again, [*golden.inputs, added])
            take_back(before, after)
            assert file.read_bytes() == content
        assert [one.name for one in Path(folder).iterdir()] == ["golden.yaml"]


HAND_WRITTEN = {
    "list": "- id: a\n  input: x\n",
    "under a key": "# head\ninputs:\n\n  - id: a\n    input: |-\n      x\n      y\n  # a word at the end\n",
    "no newline at the end": "- {id: a, input: x}\n- id: b\n  input: y",
    "deep": "inputs:\n      - id: a\n        input: x\n",
    "kept newlines": "- id: a\n  input: |+\n    x\n\n\n",
    "CRLF": "- id: a\r\n  input: |\r\n    x\r\n",
    "nothing yet": "# None so far.\ninputs:\n",
    "no file": None,
}


@pytest.mark.parametrize("name", HAND_WRITTEN)
def test_layouts_of_people_take_another_input(tmp_path: Path, name: str) -> None:
    file, content = tmp_path / "golden" / "letters.yaml", HAND_WRITTEN[name]
    if content is not None:
        file.parent.mkdir()
        file.write_bytes(content.encode())
        file.chmod(0o640)
    added = [
        GoldenInput(id="new one", input="Two\n\nparagraphs: # no comment\n", expect={"verdict": "PASS", "notes": 2}),
        GoldenInput(id="other", input=" leading", expect={"reference": "A long\nanswer", "steps": ["a, b", "c: d"]}),
    ]
    before = read_golden_text(file, tmp_path)
    after = append_inputs(before, added)
    assert file.read_bytes().startswith((content or "").encode())
    assert [one.id for one in after.inputs] == [*(one.id for one in before.inputs), "new one", "other"]
    assert after.inputs[-2].expect == {"verdict": "PASS", "notes": 2}
    if content is not None:
        assert file.stat().st_mode & 0o777 == 0o640
    if name == "CRLF":
        assert b"\n" not in file.read_bytes().replace(b"\r\n", b"")


@pytest.mark.parametrize(
    "content", ["[{id: a, input: x}]\n", "inputs: [{id: a, input: x}]\n", "inputs:\n- {id: a, input: x}\n...\n"]
)
def test_a_layout_that_takes_nothing_at_its_end_is_left_alone(tmp_path: Path, content: str) -> None:
    file = tmp_path / "golden.yaml"
    file.write_text(content)
    with pytest.raises(InputError, match="layout") as refused:
        append_inputs(read_golden_text(file, tmp_path), [GoldenInput(id="b", input="y")])
    assert refused.value.code == "golden_layout" and refused.value.remedy
    assert file.read_text() == content


def test_a_file_that_somebody_has_changed_is_neither_written_nor_taken_back(tmp_path: Path) -> None:
    file = tmp_path / "golden.yaml"
    file.write_text("- {id: a, input: x}\n")
    before = read_golden_text(file, tmp_path)
    file.write_text("- {id: a, input: x}\n- {id: theirs, input: z}\n")
    with pytest.raises(InputError) as refused:
        append_inputs(before, [GoldenInput(id="b", input="y")])
    assert refused.value.code == "changed_meanwhile"
    before = read_golden_text(file, tmp_path)
    after = append_inputs(before, [GoldenInput(id="b", input="y")])
    file.write_bytes(after.content + b"# a note\n")
    with pytest.raises(InputError) as refused:
        take_back(before, after)
    assert refused.value.code == "changed_meanwhile"
    assert file.read_bytes() == after.content + b"# a note\n"


def test_a_link_stays_one_and_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    there = tmp_path / "elsewhere.yaml"
    there.write_text("- {id: a, input: x}\n")
    link = tmp_path / "golden.yaml"
    link.symlink_to(there)
    append_inputs(read_golden_text(link, tmp_path), [GoldenInput(id="b", input="y")])
    assert link.is_symlink() and there.read_text().endswith("- id: b\n  input: y\n")
    if os.geteuid() == 0:
        return  # nothing keeps root out
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError) as refused:
            append_inputs(read_golden_text(there, tmp_path), [GoldenInput(id="c", input="z")])
        assert refused.value.code == "not_writable"
    finally:
        tmp_path.chmod(0o700)
