"""Answers and scores put in their places: candidate, input, repeat. What has no place is counted, never guessed.

A board of 100,000 answers is made of columns, a number an answer; texts are read only where they are shown.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress
from typing import TYPE_CHECKING

from core.checks.judge import NOT_JUDGED
from core.failure_modes import excerpt
from core.scoring.answers import Answer, Fault
from core.scoring.scorer import (
    Part,
    PlannedCheck,
    Score,
    fault_of,
    parse_answer,
    part_weights,
    plan_all,
)
from core.scoring.unjudged import with_unknown
from core.thinking import seems_to_think_aloud

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from core.config.golden import GoldenInput
    from core.config.task import Task

    Floats = NDArray[np.float64]

FIGURES = (
    "seconds",
    "completion_tokens",
    "characters",
    "batch_size",
    "thinking_tokens",
    "first_token_seconds",
    "shared",
    "tries",
)
"""What of an answer's measurements a board is made of, by the fields of `Answer`."""
Details = tuple[tuple[int, str], ...]
"""(place of a check, words) of the checks that had something to say of an answer."""
Modes = tuple[str, ...] | None


@dataclass(frozen=True)
class ShownMode:
    """The answer that shows a failure mode best, and an excerpt of it."""

    input_id: str
    repeat: int
    excerpt: str


@dataclass(frozen=True, eq=False)
class AnswerColumns:
    """The scored answers of one candidate as columns, in the order of the golden set, repeats in theirs.

    `place` is the place of the answer's input in the golden set, `points` has a column for each check of the task. `figures`
    holds `FIGURES`, not a number where nothing was measured; `cut` answers ended at the limit. `modes` are the failure modes of
    each answer, None where an older scoring did not look for them: of such, `aloud` ones seem to begin with thinking.
    """

    place: NDArray[np.intp]
    points: Floats
    faulty: NDArray[np.bool_]
    details: Sequence[Details]
    faults: Sequence[Fault | None]
    cut: NDArray[np.bool_]
    aloud: NDArray[np.bool_]
    figures: Mapping[str, Floats]
    modes: Sequence[Modes]

    def __len__(self) -> int:
        return len(self.place)

    def measured(self, figure: str) -> Floats:
        """The numbers of a figure, without the answers of which it was not measured."""
        import numpy as np

        values = self.figures[figure]
        return values[~np.isnan(values)]


@dataclass(frozen=True, eq=False)
class ScoredAnswers:
    """The scored answers of one candidate. `inputs` are the ids of the golden set, `checks` those of the task's checks.

    `weights` are those of the checks by part (None where the task has no such part). `unscored` answers lack the score of a
    check as it is defined now; `server_faults` are places that stayed open. `parsed` tells what each answer is compared with
    the other repeats by. `unknown` says of each answer whether its content is unknown, as it is not judged (`with_unknown`);
    None: of none. Such an answer has no content score, and none by the checks in `judges`.
    """

    candidate: str
    inputs: tuple[str, ...]
    checks: tuple[str, ...]
    weights: Mapping[Part, Floats | None]
    columns: AnswerColumns
    unscored: int
    server_faults: int
    parsed: Callable[[], Sequence[Hashable]]
    answers: Sequence[ScoredAnswer] = field(default=())
    """The answers themselves, where they were at hand."""
    shown: Mapping[str, ShownMode] = field(default_factory=dict)
    """By the code of each failure mode that an answer has."""
    judges: frozenset[str] = frozenset()
    unknown: NDArray[np.bool_] | None = None

    @cached_property
    def by_input(self) -> dict[str, list[ScoredAnswer]]:
        """The answers of each input, where they were at hand."""
        found: dict[str, list[ScoredAnswer]] = {name: [] for name in self.inputs}
        for one in self.answers:
            found[one.answer.input_id].append(one)
        return found

    @cached_property
    def spans(self) -> list[tuple[str, int, int]]:
        """Of each input that has a scored answer: its id, and from where to where its answers are in the columns."""
        import numpy as np

        edges = np.searchsorted(self.columns.place, np.arange(len(self.inputs) + 1)).tolist()
        return [
            (name, first, behind)
            for name, first, behind in zip(self.inputs, edges, edges[1:], strict=False)
            if behind > first
        ]

    @cached_property
    def _scores(self) -> dict[Part, Floats]:
        """The score of each part, an answer a number; the parts that the task has."""
        import numpy as np

        found = {}
        for part, weights in self.weights.items():
            if weights is not None:
                total = self.columns.points[:, weights > 0] @ weights[weights > 0] / weights.sum()
                # A sum of fractions can end in other last bits; a full score is 1.
                found[part] = np.minimum(1.0, np.round(total, 15))
        return found

    @cached_property
    def _by_part(self) -> dict[Part, dict[str, list[float]]]:
        return {part: self._by_input(values, self._known(part)) for part, values in self._scores.items()}

    @cached_property
    def _means(self) -> dict[Part, dict[str, float]]:
        return {part: self._mean_by_input(values, self._known(part)) for part, values in self._scores.items()}

    def _known(self, part: Part) -> NDArray[np.bool_] | None:
        """Which answers have a score of this part; None: all of them."""
        return None if part == "format" or self.unknown is None else ~self.unknown

    def _known_of(self, check_id: str) -> NDArray[np.bool_] | None:
        if check_id not in self.judges:
            return None
        known: NDArray[np.bool_] = ~self.columns.faulty[:, self.checks.index(check_id)]
        return known if self.unknown is None else known & ~self.unknown

    @property
    def unjudged(self) -> int:
        """Answers whose content is unknown."""
        return 0 if self.unknown is None else int(self.unknown.sum())

    @cached_property
    def unjudged_by_input(self) -> Mapping[str, int]:
        """The same by input; inputs without one are not there."""
        unknown = self.unknown
        counted = {} if unknown is None else {name: int(unknown[a:b].sum()) for name, a, b in self.spans}
        return {name: count for name, count in counted.items() if count}

    def _mean_by_input(self, values: Floats, known: NDArray[np.bool_] | None = None) -> dict[str, float]:
        """The mean of a number an answer, by input, over the answers of which it is known."""
        import numpy as np

        if known is not None:
            return {name: math.fsum(kept) / len(kept) for name, kept in self._by_input(values, known).items()}
        names, first, counts = self._groups
        if not names:
            return {}
        return dict(zip(names, (np.add.reduceat(values, first) / counts).tolist(), strict=True))

    @cached_property
    def _groups(self) -> tuple[list[str], NDArray[np.intp], NDArray[np.intp]]:
        """The inputs that have a scored answer, where the answers of each begin, and how many they are."""
        import numpy as np

        first = np.array([first for _, first, _ in self.spans], np.intp)
        return [name for name, _, _ in self.spans], first, np.diff([*first, len(self.columns)])

    def _by_input(self, values: Floats, known: NDArray[np.bool_] | None = None) -> dict[str, list[float]]:
        """A number an answer, by input; an input of whose answers none is known is not there."""
        listed = values.tolist()
        if known is None:
            return {name: listed[first:behind] for name, first, behind in self.spans}
        kept = {
            name: list(compress(listed[first:behind], known[first:behind].tolist()))
            for name, first, behind in self.spans
        }
        return {name: values for name, values in kept.items() if values}

    def part(self, part: Part) -> dict[str, list[float]]:
        """The scores of a part by input, a number for each repeat; inputs without an answer are not there."""
        return self._by_part.get(part, {})

    def means(self, part: Part) -> dict[str, float]:
        """The mean over the repeats of each input; empty when the task has no such part."""
        return self._means.get(part, {})

    def worst(self, part: Part) -> dict[str, float]:
        """The worst repeat of each input; empty when the task has no such part."""
        return self._worst_by_input(self._scores[part], self._known(part)) if part in self._scores else {}

    @cached_property
    def _check_means(self) -> list[dict[str, float]]:
        columns = zip(self.checks, self.columns.points.T, strict=True)
        return [self._mean_by_input(column, self._known_of(name)) for name, column in columns]

    def check_means(self, check_id: str) -> dict[str, float]:
        """The mean value of one check over the repeats of each input; inputs without an answer are not there."""
        return self._check_means[self.checks.index(check_id)]

    def check_worst(self, check_id: str) -> dict[str, float]:
        """The worst value of one check over the repeats of each input; inputs without an answer are not there."""
        return self._worst_by_input(self.columns.points[:, self.checks.index(check_id)], self._known_of(check_id))

    def _worst_by_input(self, values: Floats, known: NDArray[np.bool_] | None = None) -> dict[str, float]:
        import numpy as np

        if known is not None:
            return {name: min(kept) for name, kept in self._by_input(values, known).items()}
        names, first, _ = self._groups
        return dict(zip(names, np.minimum.reduceat(values, first).tolist(), strict=True)) if names else {}

    @cached_property
    def _reasons(self) -> dict[int | None, Counter[str]]:
        """Details by how many answers have them: of each check by its place, and of all checks under None."""
        found: dict[int | None, Counter[str]] = {None: Counter()}
        for said, count in Counter(self.columns.details).items():
            # What is not judged has lost nothing.
            details = [one for one in said if one[1] != NOT_JUDGED]
            for at, words in details:
                found.setdefault(at, Counter())[words] += count
            for words in dict.fromkeys(words for _, words in details):
                found[None][words] += count
        return found

    def reasons(self, check_id: str | None = None) -> list[tuple[str, int]]:
        """Details (of one check, or of all) by how many answers have them, the most frequent first.

        An answer counts once for a reason.
        """
        place = None if check_id is None else self.checks.index(check_id)
        return self._reasons.get(place, Counter()).most_common()


@dataclass(frozen=True)
class ScoredAnswer:
    """One scored answer with the score of each check by id."""

    answer: Answer
    fault: Fault | None
    checks: Mapping[str, Score]


def place(
    task: Task,
    inputs: Sequence[GoldenInput],
    answers: Iterable[Answer],
    scores: Iterable[Score],
    names: Iterable[str],
    modes: Mapping[tuple[str, str], Modes] | None = None,
) -> tuple[dict[str, ScoredAnswers], int]:
    """The scored answers by candidate (those of `names` first, then as they turn up), and how many answers are to no input.

    A retry of what the server spoiled takes the place of the spoiled one; of two good answers for one place the later
    counts. `modes` are the failure modes of answers, by their key and candidate.
    """
    plans = plan_all(task, inputs)
    by_answer: dict[tuple[str, str], dict[str, Score]] = {}
    for score in scores:
        by_answer.setdefault((score.answer_key, score.candidate), {})[score.check_hash] = score
    placed: dict[str, dict[tuple[str, int], Answer]] = {name: {} for name in names}
    strangers = 0
    for answer in answers:
        if answer.input_id not in plans:
            strangers += 1
            continue
        taken = placed.setdefault(answer.candidate, {})
        before = taken.get((answer.input_id, answer.repeat))
        if before is None or answer.fault != "server" or before.fault == "server":
            taken[(answer.input_id, answer.repeat)] = answer
    found = {
        name: _of_candidate(task, name, inputs, plans, taken, by_answer, modes or {}) for name, taken in placed.items()
    }
    return with_unknown(task, found), strangers


def _of_candidate(
    task: Task,
    candidate: str,
    inputs: Sequence[GoldenInput],
    plans: Mapping[str, Sequence[PlannedCheck]],
    taken: Mapping[tuple[str, int], Answer],
    by_answer: Mapping[tuple[str, str], Mapping[str, Score]],
    modes: Mapping[tuple[str, str], Modes],
) -> ScoredAnswers:
    import numpy as np

    items = {item.id: item for item in inputs}
    order = {name: number for number, name in enumerate(items)}
    found: list[ScoredAnswer] = []
    left: Counter[str] = Counter()
    for (input_id, _), answer in sorted(taken.items(), key=lambda item: (order[item[0][0]], item[0][1])):
        plan = plans[input_id]
        fault = fault_of(task, answer)
        known = by_answer.get((answer.key, candidate)) or by_answer.get((answer.key, ""), {})
        if fault == "server":
            left["server"] += 1
        elif any(check.hash not in known for check in plan):
            left["unscored"] += 1
        else:
            found.append(ScoredAnswer(answer, fault, {check.id: known[check.hash] for check in plan}))

    def parsed() -> list[Hashable]:
        return [
            parse_answer(
                task, items[one.answer.input_id], one.answer, [name for name, s in one.checks.items() if s.faulty]
            )
            for one in found
        ]

    checks = check_names(plans)
    scored = [list(one.checks.values()) for one in found]
    columns = AnswerColumns(
        place=np.array([order[one.answer.input_id] for one in found], np.intp),
        points=np.array([[score.value for score in row] for row in scored], float).reshape(len(found), len(checks)),
        faulty=np.array([[score.faulty for score in row] for row in scored], bool).reshape(len(found), len(checks)),
        details=[tuple((at, score.detail) for at, score in enumerate(row) if score.detail) for row in scored],
        faults=[one.fault for one in found],
        cut=np.array([one.answer.finish == "length" for one in found], bool),
        aloud=np.array([seems_to_think_aloud(one.answer.text) for one in found], bool),
        figures={name: np.array([getattr(one.answer, name) for one in found], float) for name in FIGURES},
        modes=[modes.get((one.answer.key, candidate)) for one in found],
    )
    shown = {
        code: ShownMode(answer.input_id, answer.repeat, shown_piece(code, answer.text, answer.thinking))
        for code, at in best_shown(columns).items()
        if (answer := found[at].answer)
    }
    return ScoredAnswers(
        candidate,
        tuple(items),
        checks,
        part_weights(task),
        columns,
        left["unscored"],
        left["server"],
        parsed,
        found,
        shown,
    )


def best_shown(columns: AnswerColumns) -> dict[str, int]:
    """The answer that shows each failure mode best, by its place in the columns.

    It is of the input most of whose answers have the mode, and has as few other modes as can be; of several the first.
    """
    by_input: Counter[tuple[str, int]] = Counter()
    places = columns.place.tolist()
    for at, codes in zip(places, columns.modes, strict=True):
        by_input.update((code, at) for code in codes or ())
    best: dict[str, tuple[int, int, int]] = {}
    for number, (at, codes) in enumerate(zip(places, columns.modes, strict=True)):
        for code in codes or ():
            rank = (-by_input[code, at], len(codes or ()), number)
            best[code] = min(best.get(code, rank), rank)
    return {code: number for code, (*_, number) in best.items()}


def shown_piece(code: str, text: str, thinking: str | None) -> str:
    """The excerpt of an answer that shows a failure mode; of its thinking where there is no other text."""
    return excerpt(code, text if text.strip() else thinking or "")


def check_names(plans: Mapping[str, Sequence[PlannedCheck]]) -> tuple[str, ...]:
    """The ids of a task's checks, which are the same for each of its inputs."""
    return tuple(check.id for check in next(iter(plans.values()), ()))
