"""Under which names the keys of a record are known, and which key of a record is meant by each."""

from __future__ import annotations

from core.data.records import word
from core.data.turns import Fields, is_empty

CHAT_KEYS = ("messages", "conversations", "conversation", "dialogue", "dialog", "chat", "turns", "contents")
PROMPTS = (
    "prompt",
    "question",
    "query",
    "instruction",
    "problem",
    "request",
    "user",
    "human",
    "q",
    "inputs",
    "input",
    "context",
)
COMPLETIONS = (
    "completion",
    "answer",
    "response",
    "output",
    "solution",
    "reply",
    "assistant",
    "target",
    "targets",
    "ideal",
    "a",
)
# What a question or an instruction is about: it follows behind an empty line, as Alpaca's own template has it.
MATERIAL = ("input", "context")
TEXTS = ("text", "content", "document", "body", "note")
"""What may hold a prompt where only prompts are read."""
SYSTEMS = ("system", "system_prompt", "system_message", "systeminstruction", "system_instruction")
# KTO's: false of an answer that is not to be given.
LABELS = ("label", "kto_tag")
READ_NAMES = frozenset((*CHAT_KEYS, *PROMPTS, *COMPLETIONS, *SYSTEMS, "chosen", "history"))
# A list of messages in a cell may be in Python's notation, of which so many characters are read.
MOST_LITERAL_CHARACTERS = 1_000_000


def names_of(fields: Fields) -> dict[str, str]:
    """The keys of a record by their names, whatever their case: `System Prompt` is `system_prompt`.

    Of two keys with one name the one that says something. InputError (`ambiguous`) when each says something else and the name
    is one that is read.
    """
    options, names = fields.options, dict[str, str]()
    named = {options.prompt_column, options.completion_column, options.system_column, options.messages_column}
    for key in fields.document:
        if key in options.ignore:
            continue
        name = key.strip().lower().replace(" ", "_").replace("-", "_")
        other = names.setdefault(name, key)
        if other == key or is_empty(fields.get(key)):
            continue
        if is_empty(fields.get(other)):
            names[name] = key
        elif name in READ_NAMES and fields.get(other) != fields.get(key) and not named & {key, other}:
            fields.record.refuse(
                f"says {word(other)} and {word(key)}, which differ",
                key=word(key),
                code="ambiguous",
                remedy=fields.remedy(other),
            )
    return names
