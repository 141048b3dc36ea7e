"""JSON documents, pointers, schemas and likeness hold for whatever is written, not for examples alone."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.checks import SimilarityCheck, build
from core.checks.json_schema import JsonSchemaCheck
from core.checks.json_text import NotJsonError, read_document
from core.checks.pointers import as_text, found_at
from core.checks.schemas import validate_document
from core.checks.similarity import BRIEF, MAX_REFERENCE_CHARACTERS

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
DOCUMENTS = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
ALL = frozenset(("fence", "bom", "comments"))
# Pieces of which a parser makes something, put together as they come.
PIECES = st.lists(
    st.sampled_from(
        ["{", "}", "[", "]", '"', "\\", "\\u00", ":", ",", "//", "/*", "*/", "```", "\n", "1e9", "NaN", "é", "-"]
    ),
    max_size=40,
).map("".join)


@given(DOCUMENTS, st.booleans(), st.booleans())
def test_a_document_is_read_as_it_was_written_in_a_fence_or_not(document: Any, escaped: bool, fenced: bool) -> None:
    text = json.dumps(document, ensure_ascii=escaped, indent=1)
    wrapped = f"```json\n{text}\n```" if fenced else f"\ufeff {text}\r\n"
    assert read_document(wrapped, ALL) == document


@given(PIECES, st.sampled_from([frozenset(), ALL]))
def test_whatever_is_read_is_a_document_or_said_to_be_none(text: str, forgiven: Any) -> None:
    with contextlib.suppress(NotJsonError):
        document = read_document(text, forgiven)
        assert read_document(json.dumps(document), frozenset()) == document


@given(st.text(), st.dictionaries(st.text(), st.integers(), min_size=1), st.text(min_size=1))
def test_text_around_a_document_is_never_forgiven(before: str, document: dict[str, int], behind: str) -> None:
    text = json.dumps(document)
    if behind.strip(" \t\r\n") and not behind.lstrip(" \t\r\n").startswith(("//", "/*")):
        with pytest.raises(NotJsonError):
            read_document(text + behind, ALL)
    if before.strip(" \t\r\n\ufeff`~/"):
        with pytest.raises(NotJsonError):
            read_document(f"{before}x {text}", ALL)


@given(st.dictionaries(st.text(), DOCUMENTS), st.lists(DOCUMENTS))
def test_a_pointer_leads_to_each_value_and_a_star_to_all(mapping: dict[str, Any], items: list[Any]) -> None:
    document = {"map": mapping, "list": items}
    for key, value in mapping.items():
        if key != "*":
            escaped = key.replace("~", "~0").replace("/", "~1")
            assert list(found_at(document, f"/map/{escaped}")) == [value]
    for place, value in enumerate(items):
        assert list(found_at(document, f"/list/{place}")) == [value]
    assert list(found_at(document, "/map/*")) == list(mapping.values())
    assert list(found_at(document, "/list/*")) == items
    assert list(found_at(document, "")) == [document]
    assert list(found_at(document, f"/list/{len(items)}")) == []
    assert all(isinstance(as_text(value), str) for value in items)


@given(DOCUMENTS)
def test_a_schema_that_names_the_value_accepts_that_value_alone(document: Any) -> None:
    assert validate_document({"const": document}, document, 30).detail == ""
    assert validate_document({"not": {"const": document}}, document, 30).detail != ""
    assert validate_document({"enum": [document]}, [document], 30).detail != ""


@given(st.lists(DOCUMENTS, max_size=6))
def test_items_are_unique_as_the_library_has_it(items: list[Any]) -> None:
    import jsonschema

    theirs = jsonschema.Draft202012Validator({"uniqueItems": True}).is_valid(items)
    assert (validate_document({"uniqueItems": True}, items, 30).detail == "") == theirs


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(), max_size=4), st.booleans())
def test_a_share_is_full_only_where_nothing_is_wrong(document: dict[str, int], closed: bool) -> None:
    schema: dict[str, Any] = {"required": ["a", "b"], "properties": {"a": {"minimum": 0}, "b": {"minimum": 0}}}
    if closed:
        schema["additionalProperties"] = {"minimum": 0}
    found = validate_document(schema, document, 30)
    assert (found.share == 1) == (found.detail == "") and 0 <= found.share <= 1


@given(st.text(), st.text(), st.sampled_from(["ratio", "token_sort", "token_set", "partial"]))
def test_likeness_is_a_share_and_full_for_the_text_itself(text: str, other: str, method: Any) -> None:
    if not other.strip():
        return
    check = SimilarityCheck(check="similarity", to=(other,), method=method, least=1, partial=True)
    assert 0 <= build(check).score(text, {}).value <= 1
    # Nothing is left of a text of characters without width.
    assert build(check).score(other, {}).value in (1, 0)


def test_only_what_costs_the_square_of_its_length_is_done_elsewhere() -> None:
    made = {name: SimilarityCheck(check="similarity", to="expect.r", method=name) for name in ("ratio", "partial")}
    for length, far in ((BRIEF, False), (BRIEF + 1, True)):
        for name, check in made.items():
            assert check.is_unbounded("x" * length, {"r": "y" * length}) == (far and name == "partial")
    assert build(made["ratio"]).score("x", {"r": "y" * (MAX_REFERENCE_CHARACTERS + 1)}).faulty
    plain = JsonSchemaCheck.model_validate({"check": "json_schema", "schema": {"required": ["a"]}})
    looking = JsonSchemaCheck.model_validate({"check": "json_schema", "schema": {"unevaluatedProperties": False}})
    assert (plain.is_unbounded("{}", {}), looking.is_unbounded("{}", {})) == (False, True)
