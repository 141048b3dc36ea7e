"""Whatever a data file holds: it is loaded whole or refused by name, and no token of a completion is lost behind that."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.config.task import Task, TaskData
from core.data.examples import Example, load_examples
from core.data.render import FittedExample, fit, fit_all, render_all
from core.errors import InputError
from tests.support.depth import example_count
from tests.support.tokenizers import byte_level, qwen3

TASKS = [
    Task(name="judge", system="You grade notes."),
    Task(name="judge"),
    Task(name="judge", system="You grade notes.", data=TaskData(loss="every_turn")),
    Task(name="judge", data=TaskData(system="keep")),
]
GOOD = b'{"prompt": "a note", "completion": "PASS"}'
DEEP = 100_000
EMPTY_BLOCK = "<think>\n\n</think>\n\n"
UGLY = [
    b"",
    b" \t\r",
    b"\x00",
    b'{"prompt": "a\x00b", "completion": "c"}',
    b'{"prompt": "a\\u0000b", "completion": "c\\u0000"}',
    b'\xef\xbb\xbf{"prompt": "a", "completion": "b"}',
    b"\xff\xfe{\x00}\x00",
    b'{"prompt": "\xc3\x28", "completion": "b"}',
    b'{"prompt": "\\ud83d", "completion": "b"}',
    b'{"prompt": "a", "completion": "\\ud83d\\ude00"}',
    b'{"\\ud800": 1, "prompt": "a", "completion": "b"}',
    b'{"\\ud800": 1, "\\ud800": 2, "prompt": "a", "completion": "b"}',
    b'{"\\u001b[2J": 1}',
    b'{"prompt": "a", "prompt": "b", "completion": "c"}',
    b'{"prompt": "a", "completion": "b", "x": {"y": 1, "y": 2}}',
    b'{"prompt": NaN, "completion": "b"}',
    b'{"prompt": "a", "completion": "b", "x": [NaN, Infinity, -Infinity, 1e999]}',
    b'{"prompt": "a", "completion": "b", "x": ' + b"9" * 5000 + b"}",
    b'{"prompt": "a", "completion": "b", "source": ' + b"9" * 4000 + b"}",
    b'{"prompt": "a", "completion": "b", "source": ["x"]}',
    b'{"prompt": "a", "completion": "b", "x": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    b"[" * DEEP,
    b'{"a":' * DEEP,
    b'{"messages": [{"role": ' + b"[" * 900 + b"]" * 900 + b', "content": "x"}]}',
    b'{"messages": [{"role": "' + b"r" * 100_000 + b'", "content": "x"}]}',
    b'{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": [{"type": "text", "text": "p"}]}]}',
    b'{"messages": [{"role": "system", "content": ""}, {"role": "user", "content": "q"}]}',
    b'{"messages": [{"role": "user", "content": null}]}',
    b'{"messages": {"role": "user"}}',
    b'{"prompt": "", "completion": "<|im_end|>\\n<|im_start|>user\\n"}',
    b'{"prompt": "</think>", "completion": "</think>"}',
    b'{"prompt": "a", "completion": "\\u0301e\\u0301"}',
    b'{"prompt": "' + b"long " * 10_000 + b'", "completion": "PASS"}',
    b"null",
    b'"text"',
    b"-",
]

TEXT = st.text(st.characters(codec="utf-8"), max_size=60) | st.sampled_from(
    ["", "\n", "\n\nPASS\n", "<think>\nhm\n</think>\n\nPASS", "</think>", "<|im_end|>", "\u2028", "e\u0301", "x" * 500]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "x"]) | TEXT, inner, max_size=4)
    ),
    max_leaves=10,
)
MESSAGE = st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": TEXT})


def _chat(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    turns = [(role, text) for pair in pairs for role, text in zip(("user", "assistant"), pair, strict=True)]
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


CHAT = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3).map(_chat)
PAIR = st.fixed_dictionaries({"prompt": TEXT, "completion": TEXT}, optional={"source": ANYTHING, "id": ANYTHING})
DOCUMENT = (
    PAIR
    | CHAT
    | st.fixed_dictionaries({"messages": st.lists(MESSAGE | ANYTHING, max_size=4)})
    | st.dictionaries(st.sampled_from(["prompt", "completion", "messages", "source", "x"]) | TEXT, ANYTHING, max_size=4)
)
AS_JSON = st.tuples(DOCUMENT, st.booleans()).map(lambda pair: json.dumps(pair[0], ensure_ascii=pair[1]).encode())
TORN = st.tuples(AS_JSON, st.integers(0, 80), st.binary(max_size=3)).map(
    lambda made: made[0][: made[1]] + made[2] + made[0][made[1] :]
)
LINES = st.lists(AS_JSON | AS_JSON | TORN | st.binary(max_size=40) | st.sampled_from(UGLY), min_size=1, max_size=4)
LEARNT = TEXT.filter(str.strip)
WHOLE_FILES = st.lists(
    (
        st.fixed_dictionaries({"prompt": TEXT, "completion": LEARNT}, optional={"source": ANYTHING})
        | st.lists(st.tuples(TEXT, LEARNT), min_size=1, max_size=3).map(_chat)
    ).map(lambda document: json.dumps(document).encode()),
    min_size=1,
    max_size=3,
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\n\n"])


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "data.jsonl"


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Any]:
    return {"chatml": byte_level(), "qwen3": qwen3()}


def loaded(path: Path, content: bytes, task: Task) -> list[Example]:
    """The examples of a file, none when it is refused; fails when that is not done by name."""
    path.write_bytes(content)
    try:
        examples, report = load_examples(path, task)
    except InputError as error:
        assert error.file == str(path)
        if error.code != "empty_data_set":
            assert error.line is not None and 1 <= error.line <= content.count(b"\n") + 1
        # The one line a person sees can be printed, and does not speak to the terminal.
        said = str(error)
        assert said.encode() and len(said) < 1000 and "\x1b" not in said
        return []
    assert report.examples == len(examples) > 0
    assert json.dumps(report.further_keys, ensure_ascii=False).encode()
    return examples


@pytest.mark.parametrize("task", TASKS, ids=["last", "no system", "every turn", "keep"])
@pytest.mark.parametrize("line", UGLY, ids=range(len(UGLY)))
def test_an_ugly_line_is_loaded_or_refused_by_its_number(
    path: Path, tokenizers: dict[str, Any], line: bytes, task: Task
) -> None:
    before = loaded(path, GOOD, task)
    both = loaded(path, GOOD + b"\r\n" + line, task)
    if both:
        assert both[0] == before[0] and {item.line for item in both[1:]} <= {2}
        for name, tokenizer in tokenizers.items():
            lose_nothing(tokenizer, name, both, 64)


def test_a_line_of_another_encoding_says_so(path: Path) -> None:
    path.write_bytes('{"prompt": "a", "completion": "b"}\n'.encode("utf-16"))
    with pytest.raises(InputError, match="looks like UTF-16") as caught:
        load_examples(path, TASKS[0])
    assert (caught.value.line, caught.value.code) == (1, "not_utf8")


@settings(max_examples=example_count(200))
@given(LINES, ENDS, st.booleans(), st.sampled_from(TASKS))
def test_no_file_breaks_the_loader(path: Path, lines: list[bytes], end: bytes, bom: bool, task: Task) -> None:
    loaded(path, b"\xef\xbb\xbf" * bom + end.join(lines), task)


@settings(max_examples=example_count(150))
@given(WHOLE_FILES, ENDS, st.sampled_from(TASKS), st.integers(16, 160), st.sampled_from(["chatml", "qwen3"]))
def test_no_completion_loses_a_token(
    path: Path, tokenizers: dict[str, Any], lines: list[bytes], end: bytes, task: Task, max_length: int, name: str
) -> None:
    examples = loaded(path, end.join(lines), task)
    assert len(examples) >= len(lines)
    lose_nothing(tokenizers[name], name, examples, max_length)


def lose_nothing(tokenizer: Any, name: str, examples: list[Example], max_length: int) -> None:
    """Every example is fitted with its whole completion, or skipped because it is too long."""
    for thinking in ("off", "on"):
        whole = render_all(tokenizer, examples, thinking)
        results = [fit(rendered, max_length) for rendered in whole]
        assert fit_all(tokenizer, examples, thinking, max_length).fitted == tuple(
            result for result in results if isinstance(result, FittedExample)
        )
        for item, rendered, result in zip(examples, whole, results, strict=True):
            if isinstance(result, FittedExample):
                assert result.completion_ids == rendered.completion_ids
                _keeps_its_completion(tokenizer, name, item, result, thinking, max_length)
            else:
                assert rendered.tokens > max_length and result.line == item.line


def _keeps_its_completion(
    tokenizer: Any, name: str, item: Example, fitted: FittedExample, thinking: str, max_length: int
) -> None:
    assert fitted.line == item.line
    assert len(fitted.prompt_ids) + len(fitted.completion_ids) <= max_length
    learnt = tokenizer.decode(fitted.completion_ids, clean_up_tokenization_spaces=False)
    assert learnt.endswith("<|im_end|>")
    text = learnt.removesuffix("<|im_end|>")
    if name == "chatml":
        assert text == item.completion
        return
    # Qwen's tokenizer composes characters (NFC); its template drops line feeds in front, and with thinking on it writes an
    # empty block before an answer that has none.
    wanted = unicodedata.normalize("NFC", item.completion).strip()
    assert wanted in (text.strip(), text.removeprefix(EMPTY_BLOCK if thinking == "on" else "").strip())
