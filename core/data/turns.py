"""From messages as files write them to turns: roles, texts, and which assistant turns may be learnt.

Whatever a message says beside role and text is taken up here, refused, or ends among the ignored keys.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from core.data.learning import LEARN_KEYS, speaks_of_learning, truth
from core.data.records import Ignored, Record, quoted, word

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant")
# What other tools call them.
ROLE_ALIASES: dict[str, Role] = {
    "developer": "system",
    **dict.fromkeys(("human", "prompter", "customer", "question"), "user"),
    **dict.fromkeys(("gpt", "chatgpt", "bot", "model", "ai", "chatbot", "bing", "bard", "answer"), "assistant"),
}
TOOL_ROLES = frozenset({"tool", "function", "function_call", "function_response", "observation", "ipython"})
ROLE_KEYS = ("role", "from", "speaker")
TEXT_KEYS = ("content", "value", "text", "parts")
# A turn of a conversation that holds both sides.
PAIR_KEYS = (("input", "output"), ("question", "answer"), ("human", "assistant"), ("user", "assistant"))
# Their value is part of what the model would see or say; a text alone is another lesson.
PARTS_OF_MEANING = frozenset(
    ("tool_calls", "function_call", "tools", "functions", "image", "images", "video", "videos", "audio", "audios")
)
REASONING_KEYS = frozenset(("reasoning_content", "reasoning", "thinking", "thoughts", "reasoning_details"))
TEXT_PARTS = ("text", "input_text", "output_text")
_LEARN_SET = frozenset(LEARN_KEYS)
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Turn:
    """One message. `learn` is false of an assistant turn that the file says not to learn: it is context. `reasoning`: the
    file gave thoughts beside the text."""

    role: Role
    content: str
    learn: bool = True
    reasoning: bool = False


@dataclass(frozen=True)
class ReadOptions:
    """How records are read where they do not speak for themselves.

    The columns name keys of a record; `ignore` holds keys (of records or messages) that are left out though they would be
    refused. `training`: only the project's own form is read. `prompts`: what is asked is read and no answer is needed; one that
    stands behind it is left out.
    """

    prompt_column: str | None = None
    completion_column: str | None = None
    system_column: str | None = None
    messages_column: str | None = None
    ignore: frozenset[str] = frozenset()
    encoding: str | None = None
    training: bool = False
    prompts: bool = False


class Fields:
    """The keys of one object of the file; what is taken is used, and `close` accounts for the rest.

    `prefix` is how its keys are counted (`messages[].`), `where` how an error names the object (`messages[2]`).
    """

    def __init__(
        self, record: Record, document: Mapping[str, Any], options: ReadOptions, prefix: str = "", where: str = ""
    ) -> None:
        self.record = record
        self.document = document
        self.options = options
        self.prefix = prefix
        self.where = where
        self.taken: set[str] = set()

    def has(self, key: str) -> bool:
        return key in self.document

    def get(self, key: str) -> Any:
        return self.document.get(key)

    def take(self, key: str) -> Any:
        self.taken.add(key)
        return self.document.get(key)

    def name(self, key: str) -> str:
        return f"{self.where}.{word(key)}" if self.where else word(key)

    def learn(self, *, applies: bool = True) -> bool:
        """False when the object says that it is not to be learnt. Where that cannot apply (a user
        turn), only false is taken."""
        learn = True
        if _LEARN_SET.isdisjoint(self.document):
            return learn
        for key in LEARN_KEYS:
            if self.get(key) is None or self._left_out(key):
                continue
            value = truth(self.get(key))
            if value is None:
                self.record.refuse(
                    f"expected 1 or 0 (learn it or not), found {quoted_number(self.get(key))}",
                    key=self.name(key),
                    code="bad_weight",
                    remedy=self.remedy(key),
                )
            if applies or not value:
                self.taken.add(key)
                learn = learn and value
        return learn

    def reasoning(self) -> bool:
        return any(not is_empty(self.document[key]) for key in REASONING_KEYS.intersection(self.document))

    def close(self, ignored: Ignored) -> None:
        """Count what was not taken. InputError for a key that changes what would be learnt."""
        rest = [key for key in self.document if key not in self.taken]
        if not rest:
            return
        for key in rest:
            if is_empty(self.document[key]) or self._left_out(key):
                continue
            if key.lower() in PARTS_OF_MEANING:
                message = "cannot be learnt: without it the text would be another lesson"
                self.record.refuse(message, key=self.name(key), code="not_learnable", remedy=self.remedy(key))
            if speaks_of_learning(key) and not (key in LEARN_KEYS and truth(self.document[key])):
                message = "seems to say what is learnt, in a way that is not known here"
                self.record.refuse(message, key=self.name(key), code="bad_weight", remedy=self.remedy(key))
        ignored.add(rest, self.prefix)

    def remedy(self, key: str) -> str:
        name = word(key)
        return f"take `{name}` out" if self.options.training else f"`--ignore {name}` leaves it out"

    def _left_out(self, key: str) -> bool:
        return key in self.options.ignore or f"{self.prefix}{key}" in self.options.ignore


def is_empty(value: Any) -> bool:
    """True of what says nothing: null, NaN and the empty text, list and object, with which tables fill up columns."""
    return is_absent(value) or (isinstance(value, (str, list, dict)) and not value)


def is_absent(value: Any) -> bool:
    """True of null, and of NaN, which pandas writes in its place."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def quoted_number(value: Any) -> str:
    return f"{value!r:.40}" if isinstance(value, (int, float)) else quoted(value)


def is_expectation(value: Any) -> bool:
    """True of an object that a line of JSON can hold: a table may have dates in it, a text half of a surrogate pair."""
    try:
        return isinstance(value, dict) and bool(json.dumps(value, ensure_ascii=False).encode())
    except (TypeError, ValueError, RecursionError):
        return False


def text_of(fields: Fields, value: Any, key: str, ignored: Ignored, prefix: str) -> str:
    """A text, or the text of a content that is written as a list of text parts. `fields` are those of the object it stands in.

    InputError for anything else, and for parts that say something of what is learnt: an answer is learnt whole.
    """
    record = fields.record
    if isinstance(value, list):
        texts = []
        for place, part in enumerate(value):
            if isinstance(part, dict) and isinstance(part.get("text"), str) and part.get("type", "text") in TEXT_PARTS:
                of_part = Fields(record, part, fields.options, f"{prefix}[].", f"{key}[{place}]")
                if part.get("thought") is True:  # Gemini's
                    message = "holds a thought, which would be learnt as the answer"
                    record.refuse(message, key=of_part.where, code="not_learnable", remedy="take that part out")
                texts.append(of_part.take("text"))
                of_part.take("type")
                of_part.close(ignored)
            elif isinstance(part, str) and len(value) == 1:
                texts.append(part)
            elif isinstance(part, str):
                record.refuse(f"holds {len(value)} texts where one is expected", key=key)
            else:
                kind = part.get("type") if isinstance(part, dict) else None
                of = f", and one is of type {quoted(kind)}" if isinstance(kind, str) else ""
                record.refuse(f"only parts of type text can be learnt from{of}", key=key)
        value = "".join(texts)
    if not isinstance(value, str):
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and not is_absent(value)
        found = "null" if value is None else "NaN, which stands for nothing" if is_absent(value) else quoted(value)
        record.refuse(
            f"expected a text, found {found}", key=key, remedy="a number is written between quotes" if number else None
        )
    if _SURROGATES.search(value):
        record.refuse("holds half of a surrogate pair (\\ud800 to \\udfff): it is no text", key=key)
    return value


def read_messages(
    record: Record, messages: Any, key: str, options: ReadOptions, ignored: Ignored, *, aliases: bool = True
) -> list[Turn]:
    """The turns of a list of messages, in the keys of any known form; with `aliases` false only in `role` and `content`."""
    if isinstance(messages, Mapping):
        messages = [messages]
    if aliases and isinstance(messages, list):
        messages = [part for message in messages for part in _both_turns(record, message, key, options, ignored)]
    if not isinstance(messages, list) or not messages:
        record.refuse("expected a list of messages", key=key)
    return [
        _read_message(record, message, f"{key}[{place}]", key, options, ignored, aliases=aliases)
        for place, message in enumerate(messages)
    ]


def _both_turns(record: Record, message: Any, key: str, options: ReadOptions, ignored: Ignored) -> list[Any]:
    """A message as it is; of an object that holds a question and its answer (Capybara's form), the two messages."""
    if not isinstance(message, dict) or any(name in message for name in ROLE_KEYS):
        return [message]
    for asked, answered in PAIR_KEYS:
        if asked in message and answered in message:
            fields = Fields(record, message, options, f"{key}[].", key)
            texts = (fields.take(asked), fields.take(answered))
            learn = fields.learn()
            fields.close(ignored)
            return [
                {"role": "user", "content": texts[0]},
                {"role": "assistant", "content": texts[1], "weight": int(learn)},
            ]
    return [message]


def _read_message(
    record: Record, message: Any, where: str, key: str, options: ReadOptions, ignored: Ignored, *, aliases: bool
) -> Turn:
    role_key, text_key = message_keys(message) if aliases else ("role", "content")
    if not isinstance(message, dict) or role_key not in message:
        record.refuse("expected an object with role and content", key=where)
    fields = Fields(record, message, options, f"{key}[].", where)
    role = _role(record, fields.take(role_key), fields.name(role_key), aliases=aliases)
    if text_key not in message:
        # What stands in its place (calls of tools) says more than that it is absent.
        fields.close(Ignored())
        record.refuse("expected an object with role and content", key=where)
    if is_empty(message[text_key]):
        fields.taken.add(text_key)
        fields.close(Ignored())
        fields.taken.discard(text_key)
    content = text_of(fields, fields.take(text_key), fields.name(text_key), ignored, f"{key}[].{text_key}")
    learn = fields.learn(applies=role == "assistant")
    reasoning = role == "assistant" and fields.reasoning()
    fields.close(ignored)
    return Turn(role, content, learn or role != "assistant", reasoning)


def message_keys(message: Any) -> tuple[str, str]:
    """Under which keys a message says its role and its text."""
    if not isinstance(message, dict):
        return "role", "content"
    role = next((key for key in ROLE_KEYS if key in message), "role")
    return role, next((key for key in TEXT_KEYS if key in message), "content")


def is_conversation(document: Any) -> bool:
    """True of a bare list of messages."""
    return (
        isinstance(document, list)
        and bool(document)
        and all(isinstance(item, dict) and set(message_keys(item)) <= set(item) for item in document)
    )


def repeats_message(text: Any, messages: Any) -> bool:
    """True of a text that stands in one of the messages, too: some data sets repeat the question beside the conversation."""
    if not isinstance(text, str) or not isinstance(messages, list):
        return False
    said = [item.get(message_keys(item)[1]) for item in messages if isinstance(item, dict)]
    return text.strip() in [content.strip() for content in said if isinstance(content, str)]


def other_messages(messages: Any) -> bool:
    """True of a list whose messages are all written in another form than the project's: other keys, or other roles."""
    if not isinstance(messages, list) or not messages or not all(isinstance(item, dict) for item in messages):
        return False
    keys = {message_keys(item) for item in messages}
    if keys != {("role", "content")}:
        return all(role in item for item in messages for role, _ in [message_keys(item)])
    return False


def _role(record: Record, said: Any, key: str, *, aliases: bool) -> Role:
    if said in ROLES:
        return cast(Role, said)
    name = said.strip().lower() if isinstance(said, str) else ""
    known = name if name in ROLES else ROLE_ALIASES.get(name)
    if aliases and known is not None:
        return known
    if known is not None:
        record.refuse(f"the role {quoted(said)} is that of another form", key=key, code="other_form")
    remedy = "turns of tools cannot be learnt" if name in TOOL_ROLES else None
    return record.refuse(f"the role must be one of {', '.join(ROLES)}, not {quoted(said)}", key=key, remedy=remedy)


def check_turns(record: Record, turns: Sequence[Turn], key: str | None, last: Role = "assistant") -> None:
    """InputError unless user and assistant take turns behind at most one system message, and a turn of `last` is the last."""
    start = 1 if turns and turns[0].role == "system" else 0
    if any(turn.role == "system" for turn in turns[start:]):
        record.refuse("a system message must be the first message", key=key)
    if len(turns) == start:
        record.refuse("has only a system message", key=key)
    expected: Role = "user"
    for position, turn in enumerate(turns[start:], start=start):
        if turn.role != expected:
            record.refuse(
                f"message {position + 1} is of the {turn.role} where one of the {expected} was expected",
                key=key,
                remedy="user and assistant take turns, beginning with user",
            )
        expected = "assistant" if expected == "user" else "user"
    if turns[-1].role != last:
        why = (
            "an assistant turn: it is what is learnt" if last == "assistant" else "of the user: it asks for the answer"
        )
        record.refuse(f"the last message must be {why}", key=key)


def learnt_places(turns: Sequence[Turn], *, every_turn: bool) -> list[int]:
    """The places of the assistant turns that are learnt: each that may be, or the last of them."""
    places = [place for place, turn in enumerate(turns) if turn.role == "assistant" and turn.learn]
    return places if every_turn else places[-1:]


def not_learnt(turns: Iterable[Turn]) -> list[Turn]:
    """The same turns as context: none of them is learnt."""
    return [Turn(turn.role, turn.content, turn.role != "assistant", turn.reasoning) for turn in turns]


def without_answer(turns: Sequence[Turn]) -> Sequence[Turn]:
    """The turns up to the last one of the user."""
    last = max((place for place, turn in enumerate(turns) if turn.role == "user"), default=len(turns) - 1)
    return turns[: last + 1]
