"""Any mixture of records of all forms: nothing is learnt that the file says not to learn, nothing vanishes uncounted, and what
is converted reads to the same examples."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from core.config.task import Task, TaskData
from core.data.conversion import converted
from core.data.examples import Example, examples_of
from core.data.inspection import inspect
from core.data.learning import LEARN_KEYS
from core.data.reading import DataFile, read_data, read_training
from core.data.source import DataSource
from core.data.turns import ROLE_KEYS
from core.errors import InputError
from tests.support.depth import example_count

LAST = Task(name="t", data=TaskData(system="keep"))
EVERY = Task(name="t", data=TaskData(system="keep", loss="every_turn"))
EXTRA = ("id", "name", "reasoning_content", "tool_calls", "cache_control", "split", "refusal", "tools", "mask", "score")
NOT_LEARNT = "unwanted"
ENDS = ("", "é", "\u2028", "“quoted”", "a\nb", "{x}")


class Maker:
    """Makes records whose every text is another one, so that each can be looked for afterwards."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.count = 0

    def text(self, kind: str) -> str:
        self.count += 1
        return f"{kind} #{self.count}. {self.draw(st.sampled_from(ENDS))}"

    def chance(self, *values: Any) -> Any:
        return self.draw(st.sampled_from(values))

    def extras(self) -> dict[str, Any]:
        """Keys beside the known ones; some of them change what would be learnt."""
        keys = self.draw(st.lists(st.sampled_from(EXTRA), max_size=2, unique=True))
        return {
            key: self.chance(self.text("extra"), None, [], [self.text("extra")], {"x": self.text("extra")})
            for key in keys
        }

    def learn(self) -> dict[str, Any]:
        return self.chance({}, {}, {"weight": 1}, {"weight": 0}, {"train": False}, {"loss_mask": 0}, {"weight": 0.5})

    def said(self, learn: dict[str, Any], kind: str) -> str:
        return self.text(NOT_LEARNT if any(value in (0, False) for value in learn.values()) else kind)

    def content(self, text: str) -> Any:
        part = {"type": "text", "text": text, **self.chance({}, {"cache_control": self.text("extra")})}
        return self.chance(text, text, [part])

    def message(self, role_key: str, role: str, text_key: str, text: str, learn: dict[str, Any]) -> dict[str, Any]:
        return {role_key: role, text_key: self.content(text), **learn, **self.chance({}, {}, self.extras())}

    def chat(self) -> dict[str, Any]:
        key, role_key, text_key, user, assistant = self.chance(
            ("messages", "role", "content", "user", "assistant"),
            ("conversations", "from", "value", "human", "gpt"),
            ("conversation", "role", "content", "user", "chatbot"),
            ("contents", "role", "parts", "user", "model"),
        )
        beside = self.chance({}, {}, {"weight": 0}, {"train": False})
        messages = []
        for _ in range(self.draw(st.integers(1, 3))):
            learn = self.learn()
            messages.append(self.message(role_key, user, text_key, self.text("asked"), {}))
            messages.append(self.message(role_key, assistant, text_key, self.said({**learn, **beside}, "said"), learn))
        if self.chance(True, False):
            messages.insert(0, self.message(role_key, "system", text_key, self.text("system"), {}))
            return {key: messages, **beside}
        return {key: messages, **beside, **self.chance({}, {"system": self.text("system")})}

    def pair(self) -> dict[str, Any]:
        prompt, completion = self.chance(
            ("prompt", "completion"), ("Question", "Answer"), ("query", "response"), ("input", "output")
        )
        label = self.chance({}, {"label": False}, {"label": True}) if prompt == "prompt" else {}
        learn = self.learn()
        return {prompt: self.text("asked"), completion: self.said({**learn, **label}, "said"), **label, **learn}

    def alpaca(self) -> dict[str, Any]:
        history = [[self.text("asked"), self.text("said")] for _ in range(self.draw(st.integers(0, 2)))]
        return {
            "instruction": self.text("asked"),
            "input": self.chance("", self.text("asked")),
            "output": self.text("said"),
            **self.chance({}, {"history": history}),
        }

    def trl(self) -> dict[str, Any]:
        earlier = [("user", self.text("asked")), ("assistant", self.text(NOT_LEARNT)), ("user", self.text("asked"))]
        prompt = self.chance(earlier, earlier[2:])
        answer = [{"role": "assistant", "content": self.text("said")}]
        asked = [{"role": role, "content": text} for role, text in prompt]
        if self.chance(True, False):
            return {"prompt": asked, "completion": answer}
        return {
            "prompt": asked,
            "chosen": answer,
            "rejected": [{"role": "assistant", "content": self.text(NOT_LEARNT)}],
        }

    def record(self) -> dict[str, Any]:
        made = self.chance(self.chat, self.pair, self.alpaca, self.trl)()
        source = self.chance({}, {}, {"source": self.text("source")})
        expect = self.chance({}, {}, {"expect": {"steps": 3}})
        return {**made, **self.extras(), **source, **expect} if self.chance(True, False) else made


@st.composite
def files(draw: Any) -> tuple[list[dict[str, Any]], bytes]:
    """Records, and the file they stand in."""
    maker = Maker(draw)
    records = [maker.record() for _ in range(draw(st.integers(1, 5)))]
    written = draw(st.sampled_from(["lines", "array", "pretty", "wrapped"]))
    ascii_only = draw(st.booleans())
    if written == "lines":
        text = "\n".join(json.dumps(record, ensure_ascii=ascii_only) for record in records)
    elif written == "array":
        text = json.dumps(records, ensure_ascii=ascii_only, indent=draw(st.sampled_from([None, 2])))
    elif written == "pretty":
        text = "\n".join(json.dumps(record, ensure_ascii=ascii_only, indent=1) for record in records)
    else:
        text = json.dumps({"version": 1, "data": records}, ensure_ascii=ascii_only)
    content = draw(
        st.sampled_from([str.encode, lambda text: ("\ufeff" + text).encode(), lambda text: text.encode("utf-16")])
    )(text)
    return records, gzip.compress(content) if draw(st.booleans()) else content


def read(content: bytes) -> DataFile:
    return read_data(DataSource(Path("some"), content))


def examples(data: DataFile, task: Task) -> list[Example]:
    """The examples, without where they came from; none when nothing is to be learnt."""
    try:
        return [replace(example, line=0, file="") for example in examples_of(data, task)[0]]
    except InputError as error:
        assert error.code in ("nothing_learnt", "empty_data_set")
        return []


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a record with its place as ignored keys are counted: `messages[].content[].text`."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for inner in value:
            yield from leaves(inner, f"{path}[]")
    else:
        yield path, value


def usable(data: DataFile, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    bad = {problem.number for problem in data.problems}
    # Of lines written over several the number is that of the entry, so places and numbers agree in every format.
    return [record for number, record in enumerate(records, start=1) if number not in bad]


@settings(max_examples=example_count(200))
@given(files())
def test_every_value_is_in_an_example_or_counted_or_refused(made: tuple[list[dict[str, Any]], bytes]) -> None:
    records, content = made
    data = read(content)
    assert data.records == len(records) == len(data.conversations) + data.bad
    assert all(problem.error.message for problem in data.problems)
    missing: Counter[str] = Counter()
    for record, talk in zip(usable(data, records), data.conversations, strict=True):
        texts = "\n\n".join([*(turn.content for turn in talk.turns), talk.source or ""])
        for path, value in leaves(record):
            key = re.split(r"[.\]]", path)[-1]
            if (
                (path.startswith("expect.") and talk.expect == record["expect"])
                or (isinstance(value, str) and value and value.strip() in texts)
                or key in ROLE_KEYS
                or path.endswith("[].type")
            ):
                continue
            if key in LEARN_KEYS or key == "label" or (key in ("input", "history") and not value):
                continue  # what they do is the subject of the test below
            missing[path] += 1
    for path, count in missing.items():
        counted = [name for name in data.ignored if path == name or re.match(rf"{re.escape(name)}[.\[]", path)]
        assert counted, f"{path} vanished"
        assert data.ignored.get(path, count) >= count, f"{path} was counted too rarely"


@settings(max_examples=example_count(200))
@given(files())
def test_nothing_is_learnt_that_the_file_says_not_to_learn(made: tuple[list[dict[str, Any]], bytes]) -> None:
    records, content = made
    data = read(content)
    learnt = [example.completion for task in (LAST, EVERY) for example in examples(read_usable(data), task)]
    assert not [text for text in learnt if text.startswith(NOT_LEARNT)]
    # And what may be learnt is: the last such answer of every record that can be used.
    for record, talk in zip(usable(data, records), data.conversations, strict=True):
        wanted = [turn.content for turn in talk.turns if turn.content.startswith("said") and turn.role == "assistant"]
        if wanted:
            assert wanted[-1] in learnt, record
    for record in records:
        weights = [value for path, value in leaves(record) if re.split(r"[.\]]", path)[-1] == "weight"]
        if 0.5 in weights:
            assert record not in usable(data, records)


def read_usable(data: DataFile) -> DataFile:
    return replace(data, bad=0, problems=())


@settings(max_examples=example_count(200))
@given(files())
def test_what_is_converted_reads_to_the_same_examples(made: tuple[list[dict[str, Any]], bytes]) -> None:
    _, content = made
    data = read(content)
    if not data.conversations:
        return
    text, left_out = converted(data, skip_bad=True)
    assert left_out == data.bad
    again = read_training(DataSource(Path("converted.jsonl"), text.encode()))
    assert not again.bad and not again.ignored and inspect(again).own
    for task in (LAST, EVERY):
        former, found = examples(read_usable(data), task), examples(again, task)
        assert found == former and [one.expect for one in found] == [one.expect for one in former]
    assert converted(again)[0] == text


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "from", "content", "value", "parts", "text", "type", "weight", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
KEYS = [
    "messages",
    "conversations",
    "prompt",
    "completion",
    "chosen",
    "system",
    "instruction",
    "history",
    "label",
    "source",
    "expect",
]
DOCUMENTS = st.dictionaries(st.sampled_from(KEYS), JSON_VALUES, max_size=4) | JSON_VALUES
ANY_FILE = st.one_of(
    st.binary(max_size=80),
    st.lists(DOCUMENTS, max_size=3).map(lambda items: json.dumps(items).encode()),
    st.lists(DOCUMENTS, max_size=3).map(lambda items: "\n".join(map(json.dumps, items)).encode()),
    st.lists(st.lists(st.text(max_size=6), max_size=3), max_size=4).map(
        lambda rows: "\n".join(["prompt,answer", *(",".join(row) for row in rows)]).encode("utf-8", "replace")
    ),
    st.binary(max_size=40).map(lambda rest: b"PAR1" + rest),
    st.binary(max_size=40).map(lambda rest: gzip.compress(b'{"prompt": "a"')[:-4] + rest),
)


@settings(max_examples=example_count(300))
@given(ANY_FILE)
def test_whatever_a_file_holds_it_is_read_or_refused_by_name(content: bytes) -> None:
    try:
        data = read(content)
    except InputError as error:
        assert error.file == "some" and str(error).encode()
        return
    assert data.records == len(data.conversations) + data.bad
    found = inspect(data)
    assert found.usable == len(data.conversations) and json.dumps(found.to_json())
    assert all(str(problem.error).encode() and len(str(problem.error)) < 1000 for problem in data.problems)
