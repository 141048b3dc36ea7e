"""Which pair of answers a person marks next: what tells two candidates apart, and an honest share drawn by chance.

Before anything is looked at, half of the inputs are drawn by chance and put in an order of chance (`split`). Of three pairs
that are offered, the third is the next of those, whatever was answered to it: a sample of the inputs from which rates,
differences and their spread can be estimated. The other two are the most useful ones of the other half (`Level`, then
`_value`), on which the candidates disagree: they show sooner that two candidates differ, and say nothing of how much
(docs/statistics.md).

What an offer depends on is the same when the two candidates change places. So of two equal candidates each has the same chance
to be the better one on every input that is chosen, and a test by flipping signs keeps its level.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

from core.config.golden import Chosen
from core.scoring.scorer import Compared, compared_by

RANDOM_EVERY = 3
"""The third of three offers is one drawn by chance."""
RANDOM_SHARE = 0.5
"""Of the inputs: so many are kept for those offers."""
LAMBDA = 0.5
"""How much of an offer's value is that the answers differ; the rest is that its input is none of those marked already."""
SAME = 98.0
"""Percent of signs from which on two answers say the same."""
COMPARED = 4_000
"""Characters of an answer that likeness is worked out of."""
COMPARED_INPUT = 1_000
"""Those of an input, which is compared with every one that is known."""


class Level(IntEnum):
    """How much a mark tells, the most first."""

    CAPTURES = 0
    """The checks read different things in the two answers: what the content is compared by."""
    CHECKS = 1
    """The same things, and a check says of one answer what it does not say of the other."""
    TEXT = 2
    """Nothing but words differs."""
    OBVIOUS = 3
    """What is wrong with an answer is seen without a person: empty, cut, an echo."""
    ALIKE = 4
    """The two answers say the same."""


@dataclass(frozen=True)
class AnswerSide:
    """One candidate's answer. `captures` by the names of their groups; `checks` are values of the checks that need no
    expectation; `modes` are codes of what is wrong with it, as far as that is seen without a person."""

    candidate: str
    text: str
    sha256: str
    captures: Mapping[str, Sequence[str]]
    checks: Sequence[float] = ()
    modes: Sequence[str] = ()

    @property
    def compared(self) -> Compared:
        """What the two are compared by: what the checks of the content read."""
        return compared_by(self.captures, "")


@dataclass(frozen=True)
class Pair:
    """Two answers to one input. `text` is what inputs are compared by; `bound`: its source is kept to confirm by."""

    input_id: str
    text: str
    one: AnswerSide
    other: AnswerSide
    bound: bool = False

    @cached_property
    def likeness(self) -> float:
        """Of the two answers, from 0 to 100: rapidfuzz's `ratio`, the same for both orders."""
        from rapidfuzz import fuzz

        first, second = sorted((self.one.text[:COMPARED], self.other.text[:COMPARED]))
        return fuzz.ratio(first, second)

    @cached_property
    def level(self) -> Level:
        if self.one.text.strip() == self.other.text.strip():
            return Level.ALIKE
        if self.one.modes or self.other.modes:
            return Level.OBVIOUS
        if self.one.compared != self.other.compared:
            return Level.CAPTURES
        if list(self.one.checks) != list(self.other.checks):
            return Level.CHECKS
        return Level.ALIKE if self.likeness >= SAME else Level.TEXT


@dataclass(frozen=True)
class MarkingOffer:
    """What is offered, how it came to be, and whether the other candidate stands on the left."""

    pair: Pair
    chosen: Chosen
    flipped: bool

    @property
    def left(self) -> AnswerSide:
        return self.pair.other if self.flipped else self.pair.one

    @property
    def right(self) -> AnswerSide:
        return self.pair.one if self.flipped else self.pair.other


def split(inputs: Sequence[str], seed: int) -> list[str]:
    """The inputs that are offered by chance, in their order: half of all, by the seed and the ids alone."""
    shuffled = sorted(inputs)
    random.Random(f"split {seed}").shuffle(shuffled)
    return shuffled[: round(len(shuffled) * RANDOM_SHARE)]


def next_offer(
    pairs: Sequence[Pair],
    done: Sequence[str],
    seed: int,
    known: Sequence[str] = (),
    *,
    only_random: bool = False,
) -> MarkingOffer | None:
    """The next pair; None when all were offered. `done` are the inputs that were marked or skipped, in any order; `known` the
    texts of the inputs that the task has.

    One of chance is due when fewer than a third of those done were of chance; where one kind is used up the other takes its
    turns.
    """
    drawn = split([pair.input_id for pair in pairs], seed)
    of_chance, gone = set(drawn), set(done)
    by_id = {pair.input_id: pair for pair in pairs}
    waiting = next((name for name in drawn if name not in gone), None)
    useful = [pair for pair in pairs if pair.input_id not in of_chance and pair.input_id not in gone and not pair.bound]
    best = (
        None if only_random else _most_useful(useful, [*known, *(by_id[name].text for name in done if name in by_id)])
    )
    so_far = sum(name in of_chance for name in gone)
    due = RANDOM_EVERY * so_far < len(gone) - (RANDOM_EVERY - 2)
    told_apart = best is not None and best.level < Level.OBVIOUS
    if waiting is not None and (due or not told_apart):
        return offer_of(by_id[waiting], of_chance, seed)
    return None if best is None else offer_of(best, of_chance, seed)


def offer_of(pair: Pair, drawn: Collection[str], seed: int) -> MarkingOffer:
    """A pair as it is offered whenever that is; `drawn` are the inputs that are offered by chance (`split`)."""
    flipped = random.Random(f"side {seed} {pair.input_id}").random() < 0.5
    return MarkingOffer(pair, "random" if pair.input_id in drawn else "disagreement", flipped)


def _most_useful(pairs: Sequence[Pair], marked: Collection[str]) -> Pair | None:
    """The first of the best level that there is, by maximal marginal relevance.

    λ·(1 − likeness of the answers) − (1 − λ)·likeness of the input to the nearest one that is known (Carbonell and Goldstein,
    SIGIR 1998).
    """
    if not pairs:
        return None
    level = min(pair.level for pair in pairs)
    best = [pair for pair in pairs if pair.level == level]
    return max(best, key=lambda pair: (_value(pair, marked), pair.input_id))


def _value(pair: Pair, marked: Collection[str]) -> float:
    from rapidfuzz import fuzz, process

    text = pair.text[:COMPARED_INPUT]
    near = process.extractOne(text, [one[:COMPARED_INPUT] for one in marked], scorer=fuzz.ratio) if marked else None
    return LAMBDA * (1 - pair.likeness / 100) - (1 - LAMBDA) * (0.0 if near is None else near[1] / 100)
