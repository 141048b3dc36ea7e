"""Hard cases of the detectors, of both kinds: what each has to see, and what looks like it and is none."""

from __future__ import annotations

from typing import Any

import pytest

from core.failure_modes import CODES, AnsweredExample, SeenAnswer, find

PLAN = (
    "You turn a goal into a plan. Write three headings: Goal, Steps, Risks. Each step starts with a verb and takes no longer "
    "than a day. Answer in English."
)
GOAL = (
    "I want to swim across the fjord at the end of August, that is 1.9 km, and at the moment I manage 600 m in the pool "
    "without a break. Open water frightens me, and the water is cold until July."
)
GOOD = (
    "## Goal\nSwim 1.9 km across the fjord in August.\n\n## Steps\n1. Swim 800 m in the pool.\n2. Buy a wetsuit.\n\n"
    "## Risks\n- Cold water until July."
)
OTHER = (
    "## Goal\nRead Middlemarch by Easter.\n\n## Steps\n1. Read 20 pages a day.\n2. Note each family on a card.\n\n"
    "## Risks\n- Evenings of choir practice."
)
THIRD = "## Goal\nBake rye bread.\n\n## Steps\n1. Feed the starter.\n2. Mix the dough.\n\n## Risks\n- A cold kitchen."
SHOWN = (AnsweredExample("I want to read Middlemarch.", OTHER), AnsweredExample("Rye bread, please.", THIRD))
FORM = "Write three questions in this form:\n\nQ1: question\nA1: answer\nQ2: question\nA2: answer\nQ3: question\nA3: answer"
GRADE = "Grade the note in this form:\n\n### NAME — PASS or FAIL (X/5)\n\n| Criterion | Score |\n|---|---|\n\nSUMMARY: one line"
JSON = 'Answer with JSON: {"name": string, "people": number or null}. Unknown values are null.'


def seen(text: str, system: str = PLAN, asked: str = GOAL, **values: Any) -> set[str]:
    return {mode.code for mode in find(SeenAnswer("i", 1, text, system, asked, **values))}


CASES: list[tuple[str, str, dict[str, Any], set[str]]] = [
    # echo_instructions
    (
        "rules, and then an answer",
        f"You turn a goal into a plan. Write three headings: Goal, Steps, Risks.\n\n{GOOD}",
        {},
        {"echo_instructions"},
    ),
    (
        "rules in the first person",
        "I will turn a goal into a plan and write three headings: Goal, Steps, Risks.",
        {},
        {"echo_instructions"},
    ),
    ("a form that is not filled", "### NAME — PASS or FAIL (X/5)", {"system": GRADE}, {"echo_instructions"}),
    (
        "labels with their places",
        "Q1: question\nA1: answer\nQ2: question\nA2: answer",
        {"system": FORM},
        {"echo_instructions"},
    ),
    ("a JSON form as it stands", '{"name": string, "people": number or null}', {"system": JSON}, set()),
    (
        "a filled form",
        "### bees — PASS (4/5)\n\n| Criterion | Score |\n|---|---|\n| Use | 4 |\n\nSUMMARY: sound",
        {"system": GRADE},
        set(),
    ),
    (
        "labels that are filled",
        "Q1: Why?\nA1: Cold.\nQ2: When?\nA2: In July.\nQ3: Who?\nA3: A swimmer.",
        {"system": FORM},
        set(),
    ),
    # echo_input
    ("the input in the past tense", GOAL.replace("want", "wanted").replace("manage", "managed"), {}, {"echo_input"}),
    (
        "its beginning as a list",
        "- I want to swim across the fjord at the end of August, that is 1.9 km, and at the moment I manage.",
        {},
        {"echo_input"},
    ),
    ("a line given back", "The water is cold until July!", {"asked": "The water is cold until July"}, {"echo_input"}),
    ("one sentence of it", "Open water frightens me.", {}, set()),
    (
        "corrected, as examples do",
        "The water is cold until late July.",
        {
            "system": "Correct the text.",
            "asked": "The watr is cold until late July.",
            "references": ("The water is cold until late July.",),
        },
        set(),
    ),
    # echo_example
    ("an example's answer", OTHER, {"examples": SHOWN}, {"echo_example"}),
    ("with another name", OTHER.replace("Middlemarch", "Ulysses"), {"examples": SHOWN}, {"echo_example"}),
    ("the form of the examples", GOOD, {"examples": SHOWN}, set()),
    ("that example was not shown", OTHER, {"examples": SHOWN[1:]}, set()),
    # stopped_early
    ("within JSON", '{"name": "Tom", "people": ', {"system": JSON}, {"stopped_early"}),
    ("within a text of JSON", '{"name": "Tom Ok', {"system": JSON}, {"stopped_early"}),
    ("whole JSON", '{"name": "Tom {Okafor", "people": null}', {"system": JSON}, set()),
    ("within a row", "| Criterion | Score |\n|---|---|\n| Use | 4 |\n| Order | ", {"system": GRADE}, {"stopped_early"}),
    (
        "a table of a head alone",
        "### bees — PASS (4/5)\n\n| Criterion | Score |\n|---|---|",
        {"system": GRADE},
        {"stopped_early"},
    ),
    ("a bare number", GOOD + "\n2.", {}, {"stopped_early"}),
    ("an empty heading", "## Goal\nSwim the fjord.\n\n## Steps", {}, {"stopped_early"}),
    ("headings alone", "## Goal\n## Steps\n## Risks", {}, set()),
    ("behind a colon", "Swim every day. The risks are:", {}, {"stopped_early"}),
    ("within a sentence", "The fjord is 1.9 km wide and the", {}, {"stopped_early"}),
    ("within a bracket", "Swim every day in the pool (at first without the wetsuit", {}, {"stopped_early"}),
    ("an announcement alone", "Sure! Here is your plan!", {}, {"stopped_early"}),
    ("most of the form missing", "## Goal\nSwim the fjord.", {"usual": (OTHER, THIRD)}, {"stopped_early"}),
    ("one part missing", GOOD.partition("## Risks")[0].rstrip(), {"usual": (OTHER, THIRD)}, set()),
    ("without a full stop", "Swim every day, buy a wetsuit, and ask Ines to come along", {}, set()),
    ("far shorter than its reference", "Swim.", {"references": (GOOD,)}, {"stopped_early"}),
    ("a label that is asked for", "FAIL", {"system": "Answer with PASS or FAIL."}, set()),
    ("a title", "What it is for", {"system": "Write a title."}, set()),
    # cut and empty
    ("the limit, whole", GOOD, {"finish": "length"}, {"cut"}),
    (
        "the limit that the server kept to itself",
        "Swim every day in the fjord, and buy",
        {"limit": 8, "completion_tokens": 8},
        {"cut"},
    ),
    ("a whole answer of as many tokens", "Swim every day.", {"limit": 4, "completion_tokens": 4}, set()),
    ("marks alone", "```\n\n```", {}, {"empty"}),
    ("a block with nothing in it", "```json\n```", {}, {"empty"}),
    ("no value where JSON is asked for", "[]", {"system": JSON}, set()),
    # thinking
    ("a tag that was left", f"I should plan.</think>\n{GOOD}", {}, {"thinking_leaked"}),
    ("a scratchpad", f"<scratchpad>600 m now</scratchpad>\n{GOOD}", {}, {"thinking_leaked"}),
    (
        "a scratchpad that the task asks for",
        f"<plan>{GOOD}</plan>",
        {"system": "Write the plan between <plan> and </plan>."},
        set(),
    ),
    ("thinking that was asked for", f"<think>600 m now</think>{GOOD}", {"thinking_asked": True}, set()),
    (
        "speaks of the user",
        f"The user wants a plan for the fjord. I should write three headings.\n\n{GOOD}",
        {},
        {"thinking_aloud"},
    ),
    (
        "takes back",
        f"{GOOD}\n\nWait, that is too far for one day. Let me fix that:\n\n{GOOD} Ines.",
        {},
        {"thinking_aloud"},
    ),
    (
        "steps that are asked for",
        "Let's think step by step. 600 m now.\nAnswer: 2",
        {"system": "Think step by step, then answer."},
        set(),
    ),
    ("a plan in the first person", "First, I need to buy a wetsuit. Then I will swim.", {}, set()),
    # repetition
    (
        "a sentence with other figures",
        "\n".join(f"Day {n}: swim in the pool and rest." for n in range(1, 12)),
        {},
        {"repetition"},
    ),
    ("figures that count on", "Lengths: " + ", ".join(map(str, range(3, 60))), {}, {"repetition"}),
    ("figures of a measurement", "Lengths: " + ", ".join(str(40 + 7 * n * n % 31) for n in range(40)), {}, set()),
    (
        "the answer twice",
        f"{GOOD} Ask Ines to come along in the boat, too.\n\n{GOOD} Ask Ines to come along in the boat, too.",
        {},
        {"repetition"},
    ),
    ("marks over and over", "Swim " + "! " * 90, {}, {"repetition"}),
    (
        "a long table",
        "| Day | Task |\n|---|---|\n" + "".join(f"| {n} | swim {n * 40} m |\n" for n in range(1, 30)),
        {},
        set(),
    ),
    ("a ruler", f"{GOOD}\n\n{'-' * 120}", {}, set()),
    # other_language
    (
        "German",
        "## Ziel\nBis August durch den Fjord schwimmen.\n\n## Schritte\n1. Jeden Tag im Becken trainieren und ruhig atmen.",
        {},
        {"other_language"},
    ),
    (
        "the language of the task",
        GOOD,
        {"asked": "Ich möchte bis Ende August durch den Fjord schwimmen, im Moment schaffe ich 600 m."},
        set(),
    ),
    (
        "that of the input, as it is asked",
        "Jeden Tag im Becken schwimmen und dabei ruhig atmen.",
        {"system": "Answer in the language of the input.", "asked": "Ich möchte bis August durch den Fjord schwimmen."},
        set(),
    ),
    (
        "a translation",
        "Nager tous les jours dans la piscine et respirer calmement.",
        {"system": "Translate into French."},
        set(),
    ),
    (
        "no translation",
        "Swim every day in the pool and breathe calmly.",
        {"system": "Translate into French."},
        {"other_language"},
    ),
    (
        "half of it in Chinese",
        "Swim in the pool every day. 每天在游泳池里游泳，然后在海里练习，注意水温。",
        {},
        {"other_language"},
    ),
    (
        "a quoted sentence",
        "The sign says “Schwimmen ist hier bis auf Weiteres verboten”, so swim elsewhere and ask Ines for a better place.",
        {},
        set(),
    ),
    ("names", "Ines Voss, Hallsund; Paul Merlin, Étaples; Mika Järvinen, Åbo.", {}, set()),
    # preamble
    ("on the same line", f"The plan is: {GOOD}", {}, {"preamble"}),
    (
        "in German, of a German task",
        "Gerne! Hier ist der Plan:\n\nJeden Tag schwimmen und ruhig atmen.",
        {"system": "Schreibe einen Plan für das Ziel, in ganzen Sätzen und ohne Überschrift."},
        {"preamble"},
    ),
    ("thanks", f"Thank you for sharing your goal.\n\n{GOOD}", {}, {"preamble"}),
    ("a refusal", "I will not plan that: swimming alone at night is dangerous. Ask Ines to come along.", {}, set()),
    ("what the text rests on", "From the goal: 600 m in the pool now, 1.9 km in August.", {}, set()),
    ("a bare label", f"Plan:\n{GOOD}", {}, set()),
    (
        "as good answers begin",
        "Here is the plan:\nswim every day.",
        {"usual": ("Here is the plan:\nread every day.",)},
        set(),
    ),
    # fence
    ("a block around all of it", f"```markdown\n{GOOD}\n```", {}, {"fence"}),
    ("a block that never closes", f"```\n{GOOD}", {}, {"fence"}),
    (
        "a block that is forbidden",
        '```json\n{"name": "Tom", "people": 2}\n```',
        {"system": JSON + " No code block."},
        {"fence"},
    ),
    ("a block that is asked for", f"```\n{GOOD}\n```", {"system": "Put the plan into a code block."}, set()),
    ("a program", "```python\nprint(1)\n```", {"system": "Write a program."}, set()),
    ("a block within the answer", f"{GOOD}\n\n```\nswim\n```", {}, set()),
    # frame_shown
    (
        "a turn that it made up",
        f"{GOOD}\n\nUSER: And now a plan for rye bread.\nASSISTANT: Gladly.",
        {},
        {"frame_shown"},
    ),
    ("a heading of Alpaca", f"{GOOD}\n\n### Response:\n{THIRD}", {}, {"frame_shown"}),
    ("a role as the answer", "user", {"system": "Who wrote it? Answer with user or admin."}, set()),
    ("a user among labels", "Name: Tom\nUser: okafor\nPeople: 2", {}, set()),
    (
        "a dialogue that was shown",
        "User: Good morning.\nAssistant: Hello.",
        {"asked": "User: Good morning. Continue.\nAssistant: …\nUser: Bye."},
        set(),
    ),
]


@pytest.mark.parametrize(("name", "text", "values", "codes"), CASES, ids=[one[0] for one in CASES])
def test_a_hard_case(name: str, text: str, values: dict[str, Any], codes: set[str]) -> None:
    assert seen(text, **values) == codes


def test_each_code_has_cases_of_both_kinds() -> None:
    """A detector that says yes, or no, to everything fails here, whatever is added."""
    assert set().union(*(codes for *_, codes in CASES)) == set(CODES)
    assert sum(not codes for *_, codes in CASES) >= len(CASES) // 3
