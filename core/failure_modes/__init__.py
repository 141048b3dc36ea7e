"""What is wrong with one answer, seen without a model: each failure mode has a code and a detector.

A detector knows the answer and what was asked, and no other answer of the candidate. It says nothing where it is not sure: a
code that is absent means that nothing was seen, not that nothing is wrong.
"""

from core.failure_modes.detectors import CODES, find
from core.failure_modes.seen import AnsweredExample, Mode, SeenAnswer, excerpt

__all__ = ["CODES", "AnsweredExample", "Mode", "SeenAnswer", "excerpt", "find"]
