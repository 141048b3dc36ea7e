"""Which form a record has (messages, ShareGPT, Alpaca, question and answer, TRL's), and the conversation in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

from core.data.keys import (
    CHAT_KEYS,
    COMPLETIONS,
    LABELS,
    MATERIAL,
    MOST_LITERAL_CHARACTERS,
    PROMPTS,
    SYSTEMS,
    TEXTS,
    names_of,
)
from core.data.learning import truth
from core.data.records import Ignored, Record, quoted, word
from core.data.turns import (
    ROLES,
    Fields,
    ReadOptions,
    Turn,
    check_turns,
    is_absent,
    is_conversation,
    is_empty,
    is_expectation,
    message_keys,
    not_learnt,
    other_messages,
    read_messages,
    repeats_message,
    text_of,
    without_answer,
)
from core.syntax_tree import literal

LineForm = Literal["messages", "prompt", "sharegpt", "chat", "trl", "preference", "alpaca", "question", "columns"]
FORM_NAMES: dict[LineForm, str] = {
    "messages": "messages",
    "prompt": "prompt and completion",
    "sharegpt": "ShareGPT",
    "chat": "chat",
    "trl": "TRL prompt and completion with messages",
    "preference": "preference (chosen and rejected)",
    "alpaca": "Alpaca",
    "question": "question and answer",
    "columns": "named columns",
}


@dataclass(frozen=True)
class Conversation:
    """What a record says: its turns in order, its form, and where it stands. `source` names the document it was made of."""

    turns: tuple[Turn, ...]
    form: LineForm
    record: Record
    source: str | None = None
    key: str | None = None  # that an error of its turns names
    expect: dict[str, Any] | None = None  # of its answer, in the words of a golden input

    @property
    def number(self) -> int:
        """Its place in the file, from 1, in the unit of its format: a line, an entry, a row."""
        return self.record.number


def read_record(record: Record, options: ReadOptions, ignored: Ignored) -> Conversation:
    """The conversation of a record; the keys of which nothing is used are counted in `ignored`.

    InputError for a record that cannot be used: an unknown form, turns that do not take turns, keys that would change what
    is learnt; with `options.training` also for any form but the project's own (`other_form`).
    """
    document = record.document
    if not options.training and is_conversation(document):
        document = {"messages": document}
    if options.prompts and isinstance(document, str):
        document = {"prompt": document}
    if not isinstance(document, dict):
        several = isinstance(document, list) and any(isinstance(item, dict) for item in document)
        record.refuse(
            f"expected a JSON object with messages or prompt and completion, found {quoted(document)}",
            remedy="`jq -c '.[]' FILE` writes one object a line" if several and not options.training else None,
        )
    own = Ignored()
    reader = _RecordReader(Fields(record, document, options), own)
    found = reader.training() if options.training else reader.conversation()
    reader.fields.close(own)
    if options.prompts:
        found = replace(found, turns=tuple(without_answer(found.turns)))
    check_turns(record, found.turns, found.key, "user" if options.prompts else "assistant")
    ignored.counts.update(own.counts)
    return found


class _RecordReader:
    """One record being read. `names` finds its keys whatever their case: `System Prompt` is `system_prompt`."""

    def __init__(self, fields: Fields, ignored: Ignored) -> None:
        self.fields = fields
        self.record = fields.record
        self.options = fields.options
        self.ignored = ignored
        self.names = names_of(fields)

    # The project's own form.

    def training(self) -> Conversation:
        fields = self.fields
        if fields.has("messages"):
            if extra := [key for key in ("prompt", "completion") if fields.has(key)]:
                self.record.refuse(
                    f"a line has either messages or prompt and completion, this one has messages and {extra[0]}"
                )
            messages = fields.take("messages")
            if other_messages(messages):
                self._refuse_form("chat")
            turns = read_messages(self.record, messages, "messages", self.options, self.ignored, aliases=False)
            return self._made(turns, "messages", "messages")
        if (form := self._other_form()) is not None:
            self._refuse_form(form)
        for key in ("prompt", "completion"):
            if not fields.has(key):
                self._refuse_absent(key, "a line has messages, or prompt and completion")
            if not isinstance(fields.get(key), str):
                self.record.refuse("expected a text", key=key, remedy="several turns are written as messages")
        return self._pair("prompt", "completion", "prompt")

    def _other_form(self) -> LineForm | None:
        """A form that is not the project's, when the record has one."""
        if self.fields.has("prompt") and self.fields.has("completion"):
            both = [self.fields.get(key) for key in ("prompt", "completion")]
            return "trl" if any(isinstance(value, (list, dict)) and value for value in both) else None
        if key := self._chat_key():
            return "sharegpt" if key == "conversations" else "chat"
        if "chosen" in self.names:
            return "preference"
        prompts, completions = self._present(PROMPTS), self._present(COMPLETIONS)
        if prompts and completions:
            return "alpaca" if "instruction" in prompts else "question"
        return None

    def _refuse_form(self, form: LineForm) -> None:
        self.record.refuse(
            f"is in another form ({FORM_NAMES[form]}): training reads messages, or prompt and completion",
            code="other_form",
        )

    # All forms.

    def conversation(self) -> Conversation:
        options = self.options
        if options.messages_column is not None:
            return self._chat(options.messages_column, "columns")
        if options.prompt_column is None and options.completion_column is None:
            if key := self._chat_key():
                return self._chat(key)
            if "chosen" in self.names and not self.options.prompts:
                return self._preference(self.names["chosen"])
        return self._columns()

    def _chat_key(self) -> str | None:
        """The key that holds a list of messages; a table may hold it as JSON text."""
        for name in CHAT_KEYS:
            key = self.names.get(name)
            value = None if key is None else self.fields.get(key)
            if isinstance(value, list) or (isinstance(value, str) and value.lstrip().startswith("[")):
                return key
            if key is not None and value is not None and name == "messages":
                return key
        return None

    def _chat(self, key: str, form: LineForm | None = None) -> Conversation:
        record = self.record
        if not self.fields.has(key):
            self._refuse_absent(key)
        messages = self.fields.take(key)
        for other in ("prompt", "completion"):
            if form is None and not is_empty(self.fields.get(other)) and other not in self.options.ignore:
                if repeats_message(self.fields.get(other), messages):
                    self.fields.take(other)
                    continue
                record.refuse(
                    f"a line has either messages or prompt and completion, this one has {word(key)} and {other}",
                    remedy=f"`--ignore {other}` leaves it out",
                )
        if isinstance(messages, str):
            messages = self._parsed(messages, key)
        turns = read_messages(record, messages, word(key), self.options, self.ignored)
        if form is None:
            form = self._chat_form(key, messages)
        chosen = self.names.get("chosen")
        if (
            turns[-1].role == "user"
            and not self.options.prompts
            and chosen is not None
            and not is_empty(self.fields.get(chosen))
        ):
            turns = [*not_learnt(turns), *self._messages_or_text(chosen, "assistant")]
            form = "preference"
        return self._made(turns, form, word(key))

    def _parsed(self, text: str, key: str) -> Any:
        """The list of messages that a cell holds as JSON, or in Python's notation, as pandas writes lists into a CSV file."""
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            pass
        if len(text) <= MOST_LITERAL_CHARACTERS:
            with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
                found = literal(text.strip())
                if isinstance(found, list) and all(isinstance(item, dict) for item in found):
                    return found
        return self.record.refuse(
            "holds a text that is no JSON", key=word(key), remedy="a list of messages was expected"
        )

    def _chat_form(self, key: str, messages: Any) -> LineForm:
        if key == "messages" and not other_messages(messages):
            return "messages"
        listed = messages if isinstance(messages, list) else [messages]
        return "sharegpt" if all(message_keys(item) == ("from", "value") for item in listed) else "chat"

    def _preference(self, chosen: str) -> Conversation:
        """What was chosen is learnt; the turns that it shares with what was rejected are its prompt."""
        answer = self._messages_or_text(chosen, "assistant")
        asked = [name for name in self._present(PROMPTS) if not is_empty(self.fields.get(self.names[name]))]
        if prompt_key := self._one(asked, "prompt", self.options.prompt_column) if asked else None:
            prompt = not_learnt(self._messages_or_text(prompt_key, "user"))
            head = [(turn.role, turn.content) for turn in prompt]
            if [(turn.role, turn.content) for turn in answer[: len(head)]] == head:
                answer = answer[len(head) :]
            return self._made([*prompt, *answer], "preference", word(chosen))
        if len(answer) < 2:
            self._refuse_absent("prompt")
        return self._made([*not_learnt(answer[:-1]), answer[-1]], "preference", word(chosen))

    def _columns(self) -> Conversation:
        options = self.options
        prompts = [options.prompt_column] if options.prompt_column else self._present(PROMPTS)
        completions = [options.completion_column] if options.completion_column else self._present(COMPLETIONS)
        material = None
        if options.prompt_column is None:
            for name in MATERIAL[::-1]:  # beside another prompt it is what that one is about
                if len(prompts) > 1 and name in prompts:
                    prompts.remove(name)
            if prompts and prompts[0] in ("instruction", "question", "query", "problem"):
                material = next((self.names[name] for name in MATERIAL if name in self.names), None)
        prompts = prompts or (self._only_text() if options.prompts else [])
        prompt = self._one(prompts, "prompt", options.prompt_column)
        if options.prompts:
            return self._made([*self._history(), *self._asked(prompt, material)], "columns", word(prompt))
        completion = self._one(completions, "completion", options.completion_column)
        if options.prompt_column or options.completion_column:
            form: LineForm = "columns"
        elif "instruction" in prompts:
            form = "alpaca"
        else:
            form = "prompt" if (prompt, completion) == ("prompt", "completion") else "question"
        return self._pair(prompt, completion, form, material)

    def _one(self, found: Sequence[str], meant: str, named: str | None) -> str:
        if named is not None:
            if not self.fields.has(named):
                self._refuse_absent(named)
            return named
        if not found:
            if "text" in self.names and not self._present(PROMPTS) and not self._present(COMPLETIONS):
                self.record.refuse(
                    "holds a text without a prompt and an answer: what of it is to be learnt cannot be told",
                    key=word(self.names["text"]),
                    remedy=None if self.options.training else "name the columns, or split the text into messages",
                )
            remedy = None if self.options.training else f"`--{meant}-column NAME` says which it is"
            self._refuse_absent(meant, remedy)
        if len(found) > 1:
            self.record.refuse(
                f"may have its {meant} under {' or '.join(word(self.names[name]) for name in found)}",
                code="ambiguous",
                remedy=f"`--{meant}-column NAME` says which it is",
            )
        return self.names[found[0]]

    def _present(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if name in self.names and not is_absent(self.fields.get(self.names[name]))]

    def _pair(self, prompt: str, completion: str, form: LineForm, material: str | None = None) -> Conversation:
        if any(_holds_messages(self.fields.get(key)) for key in (prompt, completion)):
            form = "trl"
        before = self._asked(prompt, material)
        answer = self._messages_or_text(completion, "assistant")
        if answer and answer[0].role != "assistant":
            self.record.refuse("begins with no assistant turn", key=word(completion))
        return self._made([*self._history(), *before, *answer], form, word(completion))

    def _asked(self, prompt: str, material: str | None) -> list[Turn]:
        """The turns of a prompt, with what it is about behind it."""
        fields = self.fields
        before = not_learnt(self._messages_or_text(prompt, "user"))
        if material is not None and (about := fields.get(material)) is not None:
            fields.take(material)
            text = text_of(fields, about, word(material), self.ignored, word(material))
            if text.strip() and before[-1].role == "user":
                before[-1] = replace(before[-1], content=f"{before[-1].content}\n\n{text}")
        return before

    def _only_text(self) -> list[str]:
        """The name of the one key that can hold what is asked: `text` and its like, else the only text of the record."""
        beside = {"id", "source", *SYSTEMS, *COMPLETIONS}
        texts = [
            name for name, key in self.names.items() if isinstance(self.fields.get(key), str) and name not in beside
        ]
        return [name for name in TEXTS if name in self.names][:1] or (texts if len(texts) == 1 else [])

    def _history(self) -> list[Turn]:
        """Alpaca's earlier turns: pairs of question and answer."""
        key = self.names.get("history")
        if key is None or self.options.training or not isinstance(self.fields.get(key), list):
            return []
        turns = []
        for place, pair in enumerate(self.fields.take(key)):
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                self.record.refuse("expected a question and its answer", key=f"{word(key)}[{place}]")
            for role, text in zip(ROLES[1:], pair, strict=True):
                turns.append(Turn(role, text_of(self.fields, text, f"{word(key)}[{place}]", self.ignored, word(key))))
        return turns

    def _messages_or_text(self, key: str, role: Literal["user", "assistant"]) -> list[Turn]:
        """The turns under a key: those of its messages, or one of its text."""
        value = self.fields.take(key)
        if _holds_messages(value):
            return read_messages(self.record, value, word(key), self.options, self.ignored)
        if isinstance(value, int) and not isinstance(value, bool) and not self.options.training:
            value = str(value)
        return [Turn(role, text_of(self.fields, value, word(key), self.ignored, word(key)))]

    def _made(self, turns: list[Turn], form: LineForm, key: str) -> Conversation:
        """The conversation with what stands beside its turns: a system message, a weight, a label, its source, `expect`."""
        fields = self.fields
        beside = self._system()
        if beside is not None:
            if turns and turns[0].role == "system":
                if turns[0].content.strip() != beside.strip():
                    self.record.refuse("has two system messages that differ, one beside the turns and one in them")
            else:
                turns = [Turn("system", beside), *turns]
        learn = fields.learn()
        for name in LABELS:
            label = self.names.get(name)
            if label is not None and label not in fields.taken:
                said = fields.get(label)
                if isinstance(said, bool) or (isinstance(said, str) and said.strip().lower() in ("true", "false")):
                    fields.take(label)
                    learn = learn and bool(truth(said))
        if not learn:
            turns = not_learnt(turns)
        source = str(fields.take("source")).strip() if _names(fields.get("source")) else None
        expect = fields.take("expect") if is_expectation(fields.get("expect")) else None
        return Conversation(tuple(turns), form, self.record, source, key, expect)

    def _system(self) -> str | None:
        """The system message beside the turns, None without one."""
        column = self.options.system_column
        if column is not None and not self.fields.has(column):
            self._refuse_absent(column)
        known = ("system",) if self.options.training else SYSTEMS
        for key in (column,) if column is not None else [self.names[name] for name in known if name in self.names]:
            value = self.fields.take(key)
            if isinstance(value, dict) and "parts" in value:
                self.ignored.add([name for name in value if name not in ("parts", "role")], f"{word(key)}.")
                value = value["parts"]
            if is_empty(value):
                continue
            return text_of(self.fields, value, word(key), self.ignored, word(key))
        return None

    def _refuse_absent(self, key: str, remedy: str | None = None) -> None:
        keys = list(self.fields.document)
        if (there := self.names.get(key)) is not None and is_absent(self.fields.get(there)):
            found = "null" if self.fields.get(there) is None else "NaN, which stands for nothing"
            self.record.refuse(f"expected a text, found {found}", key=word(there))
        other = f", only {', '.join(map(word, keys[:5]))}" if keys else ""
        more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
        self.record.refuse(f"has no {word(key)}{other}{more}", key=word(key), remedy=remedy)


def _holds_messages(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and all(isinstance(item, dict) for item in value))


def _names(source: Any) -> bool:
    """True of what can name a document: a text that is not empty, or a whole number."""
    return bool(source.strip()) if isinstance(source, str) else isinstance(source, int) and not isinstance(source, bool)
