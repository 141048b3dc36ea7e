"""Records of every known form become the same conversation, and what a record says beside it is used, counted or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.config.task import Task, TaskData
from core.data.examples import examples_of
from core.data.reading import DataFile, in_training_form, read_data
from core.data.source import DataSource
from core.data.turns import ReadOptions
from core.errors import InputError

KEEP = Task(name="t", data=TaskData(system="keep"))
PARTS = [{"type": "text", "text": "Why "}, {"type": "text", "text": "salt?"}]


def read(*records: Any, **options: Any) -> DataFile:
    text = "\n".join(json.dumps(record) for record in records)
    return read_data(DataSource(Path("data.jsonl"), text.encode()), ReadOptions(**options))


def refused(record: Any, **options: Any) -> InputError:
    data = read(record, **options)
    assert data.bad == 1 and not data.conversations and not data.ignored
    return data.problems[0].error


def turns(record: Any, **options: Any) -> list[tuple[str, str]]:
    data = read(record, **options)
    data.refuse_bad()
    return [(turn.role, turn.content) for turn in data.conversations[0].turns]


ASKED = [("user", "Why salt?"), ("assistant", "Taste.")]
BRIEFED = [("system", "Be brief."), *ASKED]


@pytest.mark.parametrize(
    ("record", "form", "wanted"),
    [
        ({"prompt": "Why salt?", "completion": "Taste."}, "prompt", ASKED),
        ({"prompt": "Why salt?", "completion": "Taste.", "system": "Be brief."}, "prompt", BRIEFED),
        (
            {"messages": [{"role": "user", "content": PARTS}, {"role": "assistant", "content": "Taste."}]},
            "messages",
            ASKED,
        ),
        (
            {
                "system": "Be brief.",
                "conversations": [{"from": "human", "value": "Why salt?"}, {"from": "gpt", "value": "Taste."}],
            },
            "sharegpt",
            BRIEFED,
        ),
        (
            {"conversation": [{"role": "User", "content": "Why salt?"}, {"role": "Chatbot", "content": "Taste."}]},
            "chat",
            ASKED,
        ),
        ([{"from": "human", "value": "Why salt?"}, {"from": "assistant", "value": "Taste."}], "sharegpt", ASKED),
        (
            {
                "systemInstruction": {"parts": [{"text": "Be brief."}]},
                "contents": [
                    {"role": "user", "parts": [{"text": "Why salt?"}]},
                    {"role": "model", "parts": [{"text": "Taste."}]},
                ],
            },
            "chat",
            BRIEFED,
        ),
        ({"messages": json.dumps([{"role": r, "content": c} for r, c in BRIEFED])}, "messages", BRIEFED),
        ({"instruction": "Why", "input": "salt?", "output": "Taste."}, "alpaca", [("user", "Why\n\nsalt?"), ASKED[1]]),
        ({"instruction": "Why salt?", "input": "", "output": "Taste.", "system": ""}, "alpaca", ASKED),
        ({"instruction": "Why salt?", "context": "", "response": "Taste."}, "alpaca", ASKED),
        (
            {"instruction": "Why salt?", "output": "Taste.", "history": [["Hi", "Hello."]]},
            "alpaca",
            [("user", "Hi"), ("assistant", "Hello."), *ASKED],
        ),
        ({"Question": "Why salt?", "Answer": "Taste."}, "question", ASKED),
        ({"input": "Why salt?", "target": "Taste."}, "question", ASKED),
        ({"prompt": "Why salt?", "response": "Taste."}, "question", ASKED),
        (
            {
                "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why salt?"}],
                "completion": [{"role": "assistant", "content": "Taste."}],
            },
            "trl",
            BRIEFED,
        ),
        ({"prompt": "Why salt?", "chosen": "Taste.", "rejected": "No."}, "preference", ASKED),
        ({"conversation": [{"input": "Why salt?", "output": "Taste."}]}, "chat", ASKED),
        ({"prompt": "Why salt?", "messages": [{"role": r, "content": c} for r, c in ASKED]}, "messages", ASKED),
        ({"Context": "Why salt?", "Response": "Taste."}, "question", ASKED),
        ({"question": "Why", "context": "salt?", "answer": "Taste."}, "question", [("user", "Why\n\nsalt?"), ASKED[1]]),
        ({"inputs": "Why salt?", "targets": "Taste."}, "question", ASKED),
        (
            {
                "prompt": "Why salt?",
                "chosen": [{"role": "user", "content": "Why salt?"}, {"role": "assistant", "content": "Taste."}],
                "rejected": [{"role": "user", "content": "Why salt?"}, {"role": "assistant", "content": "No."}],
            },
            "preference",
            ASKED,
        ),
        (
            {"conversations": [{"from": "human", "value": "Why salt?"}], "chosen": {"from": "gpt", "value": "Taste."}},
            "preference",
            ASKED,
        ),
    ],
)
def test_every_form_gives_its_conversation(record: Any, form: str, wanted: list[tuple[str, str]]) -> None:
    data = read(record)
    data.refuse_bad()
    (talk,) = data.conversations
    assert (talk.form, [(turn.role, turn.content) for turn in talk.turns]) == (form, wanted)


def messages(**answer: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", **answer}]}


@pytest.mark.parametrize(
    "record",
    [
        messages(weight=0),
        messages(weight=0.0),
        messages(train=False),
        messages(trainable=False),
        messages(loss_mask=0),
        messages(weight=1, loss=False),
        {**messages(), "weight": 0},
        {"prompt": "q", "completion": "a", "label": False},
        {"prompt": "q", "response": "a", "label": "False"},
        {"instruction": "q", "output": "a", "kto_tag": False},
        {"prompt": "q", "completion": "a", "weight": "0"},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "kto_tag": False},
    ],
)
def test_what_is_not_to_be_learnt_is_context(record: Any) -> None:
    data = read(record, {"prompt": "q2", "completion": "a2"})
    examples, report = examples_of(data, KEEP)
    assert [example.completion for example in examples] == ["a2"]
    assert (report.unlearnt_turns, report.unlearnt_lines) == (1, (1,))


@pytest.mark.parametrize(
    ("record", "code", "key"),
    [
        (messages(weight=0.5), "bad_weight", "messages[1].weight"),
        (messages(weight="high"), "bad_weight", "messages[1].weight"),
        (messages(mask=True), "bad_weight", "messages[1].mask"),
        (messages(train_on_turn=False), "bad_weight", "messages[1].train_on_turn"),
        ({"prompt": "q", "completion": "a", "sample_weight": 0.1}, "bad_weight", "sample_weight"),
        (messages(tool_calls=[{"id": "1"}]), "not_learnable", "messages[1].tool_calls"),
        (messages(content=None, function_call={"name": "f"}), "not_learnable", "messages[1].function_call"),
        ({**messages(), "tools": [{"type": "function"}]}, "not_learnable", "tools"),
        ({"instruction": "q", "output": "a", "images": ["a.png"]}, "not_learnable", "images"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "bad_line", "messages[0].content"),
        ({"conversations": [{"from": "observation", "value": "x"}]}, "bad_line", "conversations[0].from"),
        ({"question": "q", "answer": "a", "response": "b"}, "ambiguous", None),
        ({"prompt": "q", "completions": ["a"], "labels": [True]}, "bad_line", "completion"),
        ({"text": "q a"}, "bad_line", "text"),
    ],
)
def test_what_would_be_another_lesson_is_refused(record: Any, code: str, key: str | None) -> None:
    error = refused(record)
    assert (error.code, error.key, error.line) == (code, key, 1)


def test_a_refused_key_is_left_out_on_request_and_then_counted() -> None:
    data = read({**messages(name="bot", tool_calls=[1]), "tools": [1]}, ignore=frozenset({"tools", "tool_calls"}))
    assert data.ignored == {"messages[].name": 1, "messages[].tool_calls": 1, "tools": 1}


def test_a_form_can_be_left_out_for_another_in_the_same_record() -> None:
    record = {"messages": [{"role": "user", "content": "x"}], "question": "Why salt?", "answer": "Taste.", "label": 3}
    data = read(record, ignore=frozenset({"messages"}))
    assert data.ignored == {"label": 1, "messages": 1}
    assert turns(record, ignore=frozenset({"messages"})) == ASKED


def test_named_columns_win_over_known_names() -> None:
    record = {"question": "q", "answer": "a", "Frage": "Why salt?", "Antwort": "Taste.", "Rolle": "Be brief."}
    columns = {"prompt_column": "Frage", "completion_column": "Antwort", "system_column": "Rolle"}
    assert turns(record, **columns) == BRIEFED
    assert read(record, **columns).ignored == {"answer": 1, "question": 1}
    with pytest.raises(InputError) as caught:
        read(record, prompt_column="Fragen")
    assert caught.value.code == "no_such_column"


def test_what_options_change_is_not_what_training_would_read() -> None:
    record = {"prompt": "q", "completion": "a", "other": "b", "weight": 0}
    assert in_training_form(read(record))
    assert not in_training_form(read(record, completion_column="other"))
    assert not in_training_form(read(record, ignore=frozenset({"weight"})))
    for bad in (
        {"messages": [{"role": "developer", "content": "s"}, *messages()["messages"]]},
        {**messages(), "tools": [1]},
    ):
        assert not in_training_form(read(bad))


def test_thoughts_beside_an_answer_are_counted_unless_the_task_thinks() -> None:
    data = read(messages(reasoning_content="hm"))
    assert data.ignored == {"messages[].reasoning_content": 1}
    assert len(examples_of(data, KEEP)[0]) == 1
    with pytest.raises(InputError) as caught:
        examples_of(data, KEEP.model_copy(update={"thinking": "on"}))
    assert caught.value.code == "reasoning_beside"
