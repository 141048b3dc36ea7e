"""What a model thought, parted from what it answered, where a server left both in one text.

The forms are those that models in the field write and servers know (as of 2026): the reasoning parsers of vLLM, the chat
templates that llama.cpp carries, the tags that Open WebUI looks for, and OpenAI's harmony format.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

# Marks that stand for nothing else. They are cut out wherever they stand.
_PAIRS = (
    ("<think>", "</think>"),  # DeepSeek R1, Qwen3, GLM-4.5, MiniMax M2, Nemotron, Hunyuan, … (vLLM: the usual parser)
    ("[THINK]", "[/THINK]"),  # Magistral (vLLM: mistral)
    ("◁think▷", "◁/think▷"),  # Kimi-VL, Kimi-Dev (Open WebUI)
    ("<seed:think>", "</seed:think>"),  # Seed-OSS (vLLM: seed_oss)
    ("<mm:think>", "</mm:think>"),  # MiniMax M3 (llama.cpp: its template)
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A Reasoning (llama.cpp: its template)
    ("<|begin_of_thought|>", "<|end_of_thought|>"),  # OpenThoughts, Sky-T1 (Open WebUI)
    ("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus (llama.cpp: its template)
    ("<|channel>thought", "<channel|>"),  # Gemma 4 (llama.cpp: its template)
)
# What the same models put around the answer that follows.
_AROUND = re.compile(r"<\|(?:START_RESPONSE|END_RESPONSE|begin_of_solution|end_of_solution)\|>")
# Words that a task may as well ask for in an answer (`<reasoning>…</reasoning><score>…`): cut out at the very beginning only,
# and not where the task itself speaks of them. EXAONE Deep writes <thought>; the others are of fine-tunes (Open WebUI).
_WORDS = re.compile(r"\s*<(thinking|thought|reasoning|reason)>", re.IGNORECASE)
# gpt-oss: https://developers.openai.com/cookbook/articles/openai-harmony. A server that drops special tokens leaves the names.
_CHANNEL = re.compile(
    r"<\|channel\|>\s{0,9}(\w{1,30})(?:(?!<\|message\|>).){0,99}<\|message\|>(.*?)(?=<\|(?:end|return|call|start|channel)\|>|\Z)",
    re.DOTALL,
)
_CHANNEL_NAMES = re.compile(r"\s*analysis(?=[A-Z])(.*?)assistantfinal(.*)", re.DOTALL)
# Granite 3.2 and 3.3 (vLLM: granite).
_GRANITE = re.compile(
    r"\s*Here(?:'s| is) my thought process:(.*?)(?:Here(?:'s| is) my response:(.*)|\Z)", re.DOTALL | re.IGNORECASE
)
_MARKED = re.compile(
    "|".join(re.escape(mark) for pair in _PAIRS for mark in pair)
    + r"|<\|channel\|>|\A\s*(?:analysis[A-Z]|here(?:'s| is) my thought process:|<(?:thinking|thought|reasoning|reason)>)",
    re.IGNORECASE,
)
# How models begin to think aloud where nothing marks it. An answer can begin so, too.
_ALOUD = re.compile(
    r"[\s*#]*(?:thinking process\s*:|here(?:'s| is) (?:a|my) thinking process|let me think|let's think step by step"
    r"|(?:okay|ok|alright|hmm+|well|so|first|now)[,.…]*\s+(?:so[,.]?\s+)?"
    r"(?:let me|let's (?:see|think|break|tackle|start)|the user)"
    # A plan in the first person begins so ("First, I need to buy flour"): told by its first word, or by one of thinking.
    r"|(?:okay|ok|alright|hmm+)[,.…]*\s+(?:so[,.]?\s+)?(?:i|we) (?:need to|have to|should)"
    r"|(?:well|so|first|now)[,.…]*\s+(?:so[,.]?\s+)?(?:i|we) (?:need to|have to|should) (?:figure|think|analy[sz]e"
    r"|understand|determine|look at|check|consider|grade|answer|respond|output)"
    r"|(?:okay|ok|alright|hmm+)[,.…]* so\b|(?:we|i)(?: are|'re| am|'m) (?:asked|given|supposed) "
    r"|the user (?:is asking|asks|asked|wants|has asked|has provided|provided)"
    r"|(?:i|we) need to (?:figure out|think|analy[sz]e|determine)|<(?:thinking|thought|reasoning|reason)>)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Split:
    """What a model wrote, parted: the answer and its thinking (None without a block). `open`: the block never ended."""

    text: str
    thinking: str | None
    open: bool = False


def split_thinking(raw: str, asked_for: Callable[[], str] | None = None) -> Split:
    """Part what is marked as thinking from the answer.

    A closing mark alone ends a block that the prompt had opened; an opening mark alone runs to the end of the text.
    `asked_for` gives the text of the task: a tag such as `<reasoning>` that stands in it belongs to the answer.

    Thinking without any mark is left where it is: see `seems_to_think_aloud`.
    """
    if not _MARKED.search(raw):
        return Split(raw, None)
    thoughts: list[str] = []
    text, is_open = raw, False
    for part in (_channels, _granite):
        if (found := part(text)) is not None:
            thoughts.append(found.thinking or "")
            text, is_open = found.text, is_open or found.open
    for opening, closing in _PAIRS:
        if opening in text or closing in text:
            text, is_open = _blocks(text, opening, closing, thoughts, is_open)
    if (word := _WORDS.match(text)) is not None:
        tag = word[1]
        if asked_for is None or f"<{tag}>".lower() not in asked_for().lower():
            text, is_open = _first_block(text[word.end() :], tag, thoughts, is_open)
    if not thoughts:
        return Split(raw, None)
    thinking = "\n".join(thought.strip() for thought in thoughts).strip()
    return Split(_AROUND.sub("", text).strip(), thinking, is_open)


def seems_to_think_aloud(text: str) -> bool:
    """Whether an answer, its marked thinking cut out, begins as models begin to think aloud ("Okay, let me …").

    That is a suspicion and no more: without marks nothing tells thinking from an answer for certain, so that such a text is
    counted and left as it is.
    """
    return _ALOUD.match(text) is not None


def _blocks(text: str, opening: str, closing: str, thoughts: list[str], is_open: bool) -> tuple[str, bool]:
    before, closed, after = text.partition(closing)
    if closed and opening not in before:
        thoughts.append(before)
        text = after
    # By hand: a pattern would look for the end anew from each opening mark, and a model can repeat that for ever.
    kept, place = [], 0
    while (start := text.find(opening, place)) >= 0:
        end = text.find(closing, start + len(opening))
        if end < 0:
            break
        kept.append(text[place:start])
        thoughts.append(text[start + len(opening) : end])
        place = end + len(closing)
    text, opened, rest = "".join((*kept, text[place:])).partition(opening)
    if opened:
        thoughts.append(rest)
    return text, is_open or bool(opened)


def _first_block(rest: str, tag: str, thoughts: list[str], is_open: bool) -> tuple[str, bool]:
    closing = re.search(rf"</{tag}>", rest, re.IGNORECASE)
    if closing is None:
        thoughts.append(rest)
        return "", True
    thoughts.append(rest[: closing.start()])
    return rest[closing.end() :], is_open


def _channels(text: str) -> Split | None:
    """Harmony: the channel `final` is the answer, all others are not for its reader."""
    parts = _CHANNEL.findall(text)
    if parts:
        final = "".join(content for name, content in parts if name == "final")
        thought = "\n".join(content for name, content in parts if name != "final")
        return Split(final, thought, all(name != "final" for name, _ in parts))
    if (named := _CHANNEL_NAMES.match(text)) is not None:
        return Split(named[2], named[1])
    return None


def _granite(text: str) -> Split | None:
    found = _GRANITE.match(text)
    return None if found is None else Split(found[2] or "", found[1], found[2] is None)
