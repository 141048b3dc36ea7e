"""Chat templates: those that TRL ships in the installed package, and our own that have one habit each."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from tests.support.needs import need
from tests.support.tokenizers import CHATML

GENERATION = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
TURNS = CHATML.removesuffix(GENERATION)

# Writes what stands in a list of parts, and nothing of a string.
LIST_ONLY = (
    TURNS.replace("{{ message.content }}", "{% for part in message.content %}{{ part.text }}{% endfor %}") + GENERATION
)
# The same of users alone, and of all but the system message.
LISTS_OF_USERS = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% if message.role == 'user' %}"
    "{% for part in message.content %}{{ part.text }}{% endfor %}{% else %}{{ message.content }}{% endif %}<|im_end|>\n"
    "{% endfor %}" + GENERATION
)
LISTS_OF_TURNS = LISTS_OF_USERS.replace("message.role == 'user'", "message.role != 'system'")
# Writes the generation prompt whether it is asked for or not.
ALWAYS_ASKING = TURNS + "{{ '<|im_start|>assistant\n' }}"
# The same in a frame of plain words, of which no sign is a token.
PLAIN_WORDS = (
    "{% for message in messages %}### {{ message.role | capitalize }}:\n{{ message.content }}\n(end)\n\n{% endfor %}"
)
ALWAYS_ASKING_PLAINLY = PLAIN_WORDS + "{{ '### Assistant:\n' }}"
ASKING_PLAINLY = PLAIN_WORDS + "{% if add_generation_prompt %}### Assistant:\n{% endif %}"
# Closes the whole text with a frame of its own.
FRAMED = TURNS + GENERATION + "{% if not add_generation_prompt %}<|end_of_chat|>\n{% endif %}"
DROPS_SYSTEM = (
    "{% for message in messages if message.role != 'system' %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}" + GENERATION
)
REFUSES_SYSTEM = "{{ raise_exception('System role not supported') if messages[0].role == 'system' }}" + CHATML
# As Mistral's: the system text stands in front of the last user message.
MOVES_SYSTEM = (
    "{% set system = messages[0].content if messages[0].role == 'system' else '' %}"
    "{% for message in messages if message.role != 'system' %}<|im_start|>{{ message.role }}\n"
    "{% if system and loop.last and message.role == 'user' %}{{ system }}\n\n{% endif %}{{ message.content }}<|im_end|>\n"
    "{% endfor %}" + GENERATION
)
NEWEST_FIRST = CHATML.replace("in messages", "in messages | reverse")
LAST_TWO = CHATML.replace("in messages", "in messages[-2:]")
TWICE = CHATML.replace("{{ message.content }}", "{{ message.content }} {{ message.content if message.role == 'user' }}")
LOWERED = CHATML.replace("message.content", "message.content | lower")
TRIMMED = CHATML.replace("message.content", "message.content | trim")
CUT_SHORT = CHATML.replace("message.content", "message.content[:200]")
ENDLESS = TURNS.replace("<|im_end|>\n", "") + GENERATION
# As DeepSeek's: whatever an assistant thought is dropped from the history.
FORGETS_THOUGHTS = CHATML.replace("{{ message.content }}", "{{ message.content.split('</think>')[-1] | trim }}")
# As R1's: every prompt opens thoughts, and no past turn shows them.
ALWAYS_THINKS = FORGETS_THOUGHTS.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
# Writes an empty block of thoughts into answers, and never into a prompt.
BLOCK_IN_ANSWERS = CHATML.replace(
    "{{ message.content }}",
    "{% if message.role == 'assistant' and '<think>' not in message.content %}<think>\n\n</think>\n\n{% endif %}"
    "{{ message.content }}",
)
ENDS_LAST_OTHERWISE = (
    TURNS.replace(
        "<|im_end|>\n", "{% if loop.last and message.role == 'assistant' %}<|return|>{% else %}<|im_end|>\n{% endif %}"
    )
    + GENERATION
)

# What comes through, each with what ends its turn.
SOUND = {
    "chatml": (CHATML, "<|im_end|>"),
    "list only": (LIST_ONLY, "<|im_end|>"),
    "lists of users": (LISTS_OF_USERS, "<|im_end|>"),
    "lists of turns": (LISTS_OF_TURNS, "<|im_end|>"),
    "always asking": (ALWAYS_ASKING, "<|im_end|>"),
    "always asking, plain words": (ALWAYS_ASKING_PLAINLY, "(end)"),
    "plain words": (ASKING_PLAINLY, "(end)"),
    "framed": (FRAMED, "<|im_end|>"),
    "moves the system message": (MOVES_SYSTEM, "<|im_end|>"),
    "trimmed": (TRIMMED, "<|im_end|>"),
    "forgets thoughts": (FORGETS_THOUGHTS, "<|im_end|>"),
    "block in answers": (BLOCK_IN_ANSWERS, "<|im_end|>"),
    "ends the last otherwise": (ENDS_LAST_OTHERWISE, "<|return|>"),
}


def trl_templates() -> dict[str, str]:
    """The templates of the installed TRL by file name, read without importing it."""
    need("trl")
    spec = find_spec("trl")
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent / "chat_templates"
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.jinja"))}
