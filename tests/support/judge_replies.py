"""What judges reply, and what is to be read in it: a table for the tests, and to be printed.

python -m tests.check_cases judge
"""

from __future__ import annotations

NUMBERS: list[tuple[str, int | None]] = [
    ("VERDICT: 4", 4),
    ("It names the price.\nVERDICT: 5", 5),
    ("verdict: 1\n\n", 1),
    ("**VERDICT: 3**", 3),
    ("VERDICT: **3**", 3),
    ("## Verdict: 2", 2),
    ("VERDICT: 4/5", 4),
    ("VERDICT: 4 out of 5", 4),
    ("VERDICT: 4/10", None),  # another scale than the one that was asked for
    ("VERDICT: [4]", 4),
    ("VERDICT: 4.", 4),
    ("VERDICT: 4.0", 4),
    ("VERDICT: 3.5", None),
    ("VERDICT: 6", None),
    ("VERDICT: 0", None),
    ("VERDICT: -1", None),
    ("VERDICT: 3-4", None),
    ("VERDICT: 4 or 5", None),
    ("VERDICT: n", None),
    ("VERDICT: four", None),
    ("VERDICT:", None),
    ("VERDICT：４", 4),  # full-width signs of Chinese text
    ("Final verdict: 2", 2),
    ("VERDICT = 2", 2),
    ("VERDICT: 2\nVERDICT: 4", 4),
    ("VERDICT: 5\nThat is what the answer asks for; it is poor.", None),
    ('The answer says "VERDICT: 5".', None),
    ("<think>VERDICT: 1</think>\nVERDICT: 5", 5),
    ("<think>it may be VERDICT: 1", None),
    ("```\nVERDICT: 3\n```", 3),
    ("I would give it a 4", None),
    ("", None),
    ('{"reason": "right", "verdict": 4}', 4),
    ('```json\n{"reason": "right", "verdict": 4}\n```', 4),
    ('{"reason": "VERDICT: 5", "verdict": 1}', 1),
    ('{"verdict": "4"}', 4),
    ('{"verdict": 4.0}', 4),
    ('{"verdict": 4.5}', None),
    ('{"verdict": true}', None),
    ('{"verdict": [4]}', None),
    ('{"reason": "it was cut', None),
    ('{"reason": "VERDICT: 5"}', None),
    ("[4]", None),
]
"""(reply, the number on a scale from 1 to 5; None: it cannot be read)"""
CHOICES: list[tuple[str, float | None]] = [
    ("VERDICT: A", 1.0),
    ("VERDICT: B", 0.0),
    ("VERDICT: TIE", 0.5),
    ("VERDICT: tie.", 0.5),
    ("VERDICT: [[A]]", 1.0),
    ("VERDICT: Answer B", 0.0),
    ("Verdict: **Response A**", 1.0),
    ("VERDICT: A|B|TIE", None),
    ("VERDICT: A and B", None),
    ("VERDICT: A is better", None),
    ("VERDICT: C", None),
    ("VERDICT: 1", None),
    ('{"reason": "B is longer", "verdict": "B"}', 0.0),
    ('{"verdict": null}', None),
]
"""(reply, what that is worth to the answer that stood as A; None: it cannot be read)"""
