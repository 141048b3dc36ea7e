"""Schemas and grammars that a variant names: what no server could hold an answer to is one clear line before it is queued."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import InputError
from core.submission.output_formats import require_grammar, require_schema

FILE = Path("format.file")


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"type": ["string", "null"]},
        {"properties": {"type": {"enum": ["a"]}, "items": {"type": "integer"}}, "required": ["type"]},
        {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "string"}}},
        {"$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}}}}, "$ref": "#/$defs/node"},
        {"$ref": "#"},
        {"anyOf": [{"const": 1}, {"pattern": "^x$"}], "default": {"type": "anything"}},
        {"items": [{"type": "string"}], "additionalProperties": False},
        {"enum": [{"type": "objekt"}]},
    ],
)
def test_schemas_of_all_drafts_pass(schema: object) -> None:
    require_schema(json.dumps(schema), FILE)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"answer": "yes"}', "an example of an answer is not enough"),
        ('{"type": "objekt"}', "type: expected a type, found the text 'objekt': did you mean `object`?"),
        ('{"type": ["string", 3]}', "expected a type, found the number 3"),
        ('{"properties": {"a": {"type": "text"}}}', "properties.a.type: expected a type"),
        ('{"properties": ["a"]}', "properties: expected schemas by name"),
        ('{"properties": {"a": "string"}}', "properties.a: expected a schema"),
        ('{"anyOf": []}', "anyOf: expected a list of schemas"),
        ('{"allOf": [{"not": 3}]}', "allOf.0.not: expected a schema"),
        ('{"required": "a"}', "required: expected a list"),
        ('{"enum": "a"}', "enum: expected a list"),
        ('{"items": {"$ref": "#/$defs/b"}}', "items.$ref: `#/$defs/b` leads nowhere"),
        ('{"$ref": "https://example.org/s.json"}', "another document, which no server fetches"),
        ('{"$ref": 1}', "expected a reference"),
        ('{"type": "object", "maximum": NaN}', "NaN is not JSON"),
        ('{"not":' * 3000 + "{}" + "}" * 3000, "nested too deeply"),
    ],
)
def test_what_is_no_schema(text: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        require_schema(text, FILE)
    assert caught.value.code == "bad_schema"
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        'root ::= "yes" | "no"',
        'root ::= [^"\\]\\n]+ # a comment with ( and " in it\n',
        'root ::= (item ","?){1,3} ws\nitem ::= "(" [a-z_-]* "\\"" \nws ::= [ \\t]{,4} | .',
        'root   ::=\n  a-b\na-b ::= "[" root? "]"',
        "root ::= <think> !</think>+",
    ],
)
def test_grammars_pass(text: str) -> None:
    require_grammar(text, FILE)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the grammar is empty"),
        ("# root ::= x", "the grammar is empty"),
        ('answer ::= "x"', "no rule `root`"),
        ('root ::= "x" )', ":1: a bracket is closed that was not opened"),
        ('root ::= ("x"', "a bracket is not closed"),
        ('root ::= ("x"\nb ::= "y"', ":2: a bracket before this rule is not closed"),
        ('root ::= "x\n', ':1: a text begins with " and does not end'),
        ("root ::= [a-z\n", ":1: a set of signs begins with [ and does not end"),
        ('root ::= "a"\n  itm\nitem ::= "b"', ":2: the rule `itm` is not there; did you mean `item`?"),
        ("root ::= zz", "write `zz ::= …`"),
    ],
)
def test_what_is_no_grammar(text: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        require_grammar(text, FILE)
    assert caught.value.code == "bad_grammar"
    assert words in str(caught.value)
