"""How a candidate is asked, as it is written: `NAME@think=on@few_shot=3`."""

from __future__ import annotations

import pytest

from core.errors import InputError
from core.jobfile.bakeoff import Variant
from core.submission.variants import read_variant, split_path, split_reference
from tests.support.kitchen import Kitchen, kitchen

__all__ = ["kitchen"]


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("plain", ("plain", "")),
        ("plain@think=on@few_shot=3", ("plain", "think=on@few_shot=3")),
        ("served:qwen3:4b@think=on", ("served:qwen3:4b", "think=on")),
        ("served:name@sha256", ("served:name@sha256", "")),
        ("./models/a@b/c", ("./models/a@b/c", "")),
        ("./models/a@b/c@temperature=0", ("./models/a@b/c", "temperature=0")),
        ("plain@system=prompts/a@b.txt@think=off", ("plain", "system=prompts/a@b.txt@think=off")),
        ("me@home", ("me@home", "")),
    ],
)
def test_an_at_begins_a_variant_only_before_a_key(reference: str, parts: tuple[str, str]) -> None:
    assert split_reference(reference) == parts


def test_a_variant_has_one_spelling(kitchen: Kitchen) -> None:
    kitchen.write("prompts/short.txt", "Be brief.\n")
    read = read_variant("temperature=0.50@system=./prompts/short.txt@few_shot=03@think=on@top_k=40", kitchen.project)
    assert read.written == "think=on@few_shot=3@system=prompts/short.txt@temperature=0.5@top_k=40"
    assert (read.think, read.few_shot, read.system) == ("on", 3, "Be brief.\n")
    assert read.sampling == {"temperature": 0.5, "top_k": 40}
    again = read_variant(read.written, kitchen.project)
    assert again == read


def test_a_file_may_have_a_variant_s_signs_in_its_name(kitchen: Kitchen) -> None:
    kitchen.write("a@b=c.txt", "Be brief.")
    read = read_variant("system=a@b=c.txt@think=on", kitchen.project)
    assert (read.system, read.think) == ("Be brief.", "on")
    assert read_variant(read.written, kitchen.project) == read


def test_a_path_may_have_a_variant_s_signs_in_it() -> None:
    there = {"models/a@v=2", "models/a"}
    for reference, parts in (
        ("models/a@v=2", ("models/a@v=2", "")),
        ("models/a@v=2@think=on", ("models/a@v=2", "think=on")),
        ("models/a@v=2@think=on@top_k=3", ("models/a@v=2", "think=on@top_k=3")),
        ("models/a@v=3", ("models/a", "v=3")),
        ("models/b@think=on", ("models/b", "think=on")),
    ):
        assert split_path(reference, there.__contains__) == parts


def test_no_example_is_no_variant(kitchen: Kitchen) -> None:
    assert read_variant("few_shot=0", kitchen.project) == Variant() == read_variant("", kitchen.project)


def test_what_an_answer_is_held_to(kitchen: Kitchen) -> None:
    kitchen.write("s.json", '{"type": "object"}')
    kitchen.write("g.gbnf", '# an answer\nroot ::= "yes" | "no"\n')
    held = [read_variant(f"format={value}", kitchen.project).output for value in ("json", "s.json", "g.gbnf")]
    assert [one.kind if one else None for one in held] == ["json", "schema", "grammar"]
    assert held[2] is not None and "root ::=" in held[2].text


@pytest.mark.parametrize(
    ("written", "code", "words"),
    [
        ("thinking=on", "unknown_key", "did you mean `think`?"),
        ("fewshot=2", "unknown_key", "did you mean `few_shot`?"),
        ("num_ctx=2048", "unknown_key", "did you mean `context_length`?"),
        ("temprature=0", "unknown_key", "did you mean `temperature`?"),
        ("grammar=g.gbnf", "unknown_key", "did you mean `format`?"),
        ("xyzzy=1", "unknown_key", "known: think, few_shot"),
        ("think=on@think=off", "doubled_key", "keep one"),
        ("think=true", "wrong_value", "did you mean `on`?"),
        ("think=", "wrong_value", "`on` or `off`"),
        ("few_shot=two", "wrong_value", "a number of examples"),
        ("few_shot=-1", "wrong_value", "a number of examples"),
        ("few_shot=1.5", "wrong_value", "a number of examples"),
        ("temperature=hot", "wrong_value", "expected a number"),
        ("temperature=9", "wrong_value", "at most 5"),
        ("temperature=.nan", "wrong_value", "finite"),
        ("top_p=null", "wrong_value", "found nothing"),
        ("max_new_tokens=1.5", "wrong_value", "whole number"),
        ("context_length=3", "wrong_value", "at least 64"),
        ("system=", "wrong_value", "the name of a file"),
        ("system=none.txt", "missing_file", "no such file"),
        ("format=jsn", "wrong_value", "did you mean `json`?"),
        ("format=s.yaml", "wrong_value", "FILE.gbnf"),
        ("format=none.json", "missing_file", "no such file"),
        ("format=list.json", "bad_schema", "which is an object"),
        ("format=torn.json", "bad_schema", "no JSON"),
        ("format=deep.json", "bad_schema", "nested too deeply"),
        ("format=empty.gbnf", "bad_grammar", "empty"),
        ("format=rootless.gbnf", "bad_grammar", "no rule `root`"),
        ("system=huge.txt", "too_long", "4.2 MB is longer than any model reads"),
        ("system=latin.txt", "not_utf8", "byte 0xe9"),
        ("system=.", "not_a_file", "a folder"),
        ("system=/dev/zero", "not_a_file", "a device"),
        ("system=a@b=d.txt", "unknown_key", "unknown key `b`"),
        ("top_k=99999999999999999999", "wrong_value", "at most"),
        ("context_length=99999999999", "wrong_value", "at most"),
    ],
)
def test_what_is_no_variant_is_one_clear_line(kitchen: Kitchen, written: str, code: str, words: str) -> None:
    kitchen.write("list.json", "[1]")
    kitchen.write("torn.json", '{"type": ')
    kitchen.write("deep.json", "[" * 100_000)
    kitchen.write("empty.gbnf", "  # nothing yet\n")
    kitchen.write("rootless.gbnf", 'answer ::= "yes"\n')
    kitchen.write("huge.txt", "word " * 840_000)
    kitchen.write("latin.txt", "").write_bytes("café".encode("latin-1"))
    with pytest.raises(InputError) as caught:
        read_variant(written, kitchen.project)
    assert caught.value.code == code
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
