"""The scored answers of a board from the store: columns of numbers, without the texts of the answers."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, islice
from typing import TYPE_CHECKING, Any, TypeVar

from core.scoring.answers import Answer
from core.scoring.scored_answers import (
    FIGURES,
    AnswerColumns,
    Modes,
    ScoredAnswers,
    ShownMode,
    best_shown,
    check_names,
    shown_piece,
)
from core.scoring.scorer import PlannedCheck, Scorer, part_weights, plan_all
from core.scoring.unjudged import with_unknown
from core.store.answer_scores import Kept
from core.store.scores import keep, read_plan

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from core.config.golden import GoldenInput
    from core.config.task import Task

COLUMNS = ("id", "candidate", "input_id", "repeat", "fault", *FIGURES)
# Texts that are read at a time: 10 MB answers exist.
_CHUNK = 200
# Between the texts of a row that are read as one; JSON has no such character.
_BETWEEN = "\x1f"
T = TypeVar("T")


@dataclass(frozen=True)
class StoredAnswers:
    """The answers of one task: those of each candidate that are scored, and how many there are in all (`answered`).

    `strangers` are to no golden input. `outdated`: some of the scores are of a check that this version does in another way.
    """

    by_candidate: Mapping[str, ScoredAnswers]
    strangers: int
    outdated: bool
    answered: int


def read_stored_answers(
    connection: sqlite3.Connection,
    job_id: int,
    number: int,
    task: Task,
    inputs: Sequence[GoldenInput],
    names: Iterable[str],
) -> StoredAnswers:
    """The answers of a task under the scores of a scoring, for the candidates `names` first, then the others that answered.

    A score belongs to the check of its name and part, as it was stored with the result that it belongs to: a result stays what
    it was when the code of a check has changed since.
    """
    import numpy as np

    cursor = connection.cursor()
    cursor.row_factory = None  # plain tuples: they are taken apart at once
    rows = cursor.execute(
        f"""
        SELECT {", ".join(f"a.{name}" for name in COLUMNS)}, a.finish = 'length', s.plan_id,
               s.points || char(31) || s.details || char(31) || s.faulty, s.fault, s.compared, s.thinks_aloud, s.modes
        FROM answers a INDEXED BY answer_figures
        LEFT JOIN scores s ON s.job_id = a.job_id AND s.rescoring = ? AND s.answer_id = a.id
        WHERE a.job_id = ? AND a.task = ? ORDER BY a.job_id, a.task, a.candidate, a.input_id, a.repeat
        """,
        [number, job_id, task.name],
    ).fetchall()
    plans = plan_all(task, inputs)
    order = {item.id: place for place, item in enumerate(inputs)}
    columns = _Columns(connection, rows, plans)
    columns.complete(job_id, number, task, inputs)
    places = np.array([order.get(name, -1) for name in columns.of("input_id")], np.intp)
    scored = columns.scored & (places >= 0)
    servers = np.array([fault == "server" for fault in columns.of("fault")], bool)
    candidates = columns.of("candidate")
    strangers = int((places < 0).sum())
    left: dict[str, Counter[str]] = {}
    for at in np.flatnonzero(~scored & (places >= 0)).tolist():
        left.setdefault(candidates[at], Counter())["server" if servers[at] else "unscored"] += 1
    sections: dict[str, NDArray[np.intp]] = {}
    everyone = list(dict.fromkeys([*names, *candidates]))
    codes = {name: code for code, name in enumerate(everyone)}
    of_candidate = np.array([codes[name] for name in candidates], np.intp)
    # By candidate, then in the order of the golden set; rows come with their repeats in order.
    sequence = np.lexsort((places, of_candidate))
    sequence = sequence[(scored & ~servers)[sequence]]
    for name, code in codes.items():
        first, behind = np.searchsorted(of_candidate[sequence], [code, code + 1])
        sections[name] = sequence[first:behind]
    checks, weights = check_names(plans), part_weights(task)
    of_answers = {name: columns.of_answers(places, chosen) for name, chosen in sections.items()}
    found = {
        name: ScoredAnswers(
            candidate=name,
            inputs=tuple(order),
            checks=checks,
            weights=weights,
            columns=of_answers[name],
            unscored=left.get(name, Counter())["unscored"],
            server_faults=left.get(name, Counter())["server"],
            parsed=_taken(columns.compared, chosen),
            shown=columns.shown(chosen, of_answers[name]),
        )
        for name, chosen in sections.items()
    }
    return StoredAnswers(with_unknown(task, found), strangers, columns.outdated, len(rows))


def _taken(values: Sequence[Hashable], chosen: NDArray[np.intp]) -> Callable[[], Sequence[Hashable]]:
    return lambda: [values[at] for at in chosen.tolist()]


class _Columns:
    """All rows of a task as columns; the few different texts of points and details are read once each."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        rows: Sequence[tuple[Any, ...]],
        plans: Mapping[str, Sequence[PlannedCheck]],
    ) -> None:
        import numpy as np

        self.connection, self.plans = connection, plans
        names = (*COLUMNS, "cut", "plan_id", "said", "model_fault", "compared", "thinks_aloud", "modes")
        values = list(zip(*rows, strict=True)) if rows else [()] * len(names)
        self._columns: dict[str, Sequence[Any]] = dict(zip(names, values, strict=True))
        self.number = len(rows)
        self.figures = {name: np.array(self.of(name), float) for name in FIGURES}
        # Answers of before there were tries were asked for once.
        self.figures["tries"] = np.nan_to_num(self.figures["tries"], nan=1.0)
        self.cut = np.array(self.of("cut"), bool)
        self.aloud = np.array(self.of("thinks_aloud"), bool)
        read = {text: None if text is None else tuple(json.loads(text)) for text in set(self.of("modes"))}
        self.modes: list[Modes] = [read[text] for text in self.of("modes")]
        self.compared: list[Hashable] = list(self.of("compared"))
        self.faults: list[Any] = [
            fault or stored for fault, stored in zip(self.of("fault"), self.of("model_fault"), strict=True)
        ]
        self.outdated = False
        self._read_scores()

    def of(self, name: str) -> Sequence[Any]:
        return self._columns[name]

    def _read_scores(self) -> None:
        """Points, faults and details in the order of the task's checks; `scored` where an answer has them all."""
        import numpy as np

        wanted = [(check.id, check.part) for check in next(iter(self.plans.values()), ())]
        stored = {plan: read_plan(self.connection, plan) for plan in set(self.of("plan_id")) - {None}}
        planned = {check.hash for plan in self.plans.values() for check in plan}
        turned = {plan: _turned(wanted, checks, planned) for plan, checks in stored.items()}
        self._find_outdated(stored, turned)

        def read(plan: int | None, said: str) -> tuple[Any, Any, Any] | None:
            places = None if plan is None else turned[plan]
            if places is None:
                return None
            given, words, could_not = map(json.loads, said.split(_BETWEEN))
            return (
                [given[at] for at in places],
                tuple((column, words[str(at)]) for column, at in enumerate(places) if str(at) in words),
                [at in could_not for at in places],
            )

        # Plans differ by input, but hardly in how their checks are turned: what is read is keyed by that.
        ways = {places: plan for plan, places in turned.items()}
        way_of = {plan: ways[places] for plan, places in turned.items()} | {None: None}
        keys = list(zip(map(way_of.__getitem__, self.of("plan_id")), self.of("said"), strict=True))
        different = list(dict.fromkeys(keys))
        results = [read(*key) for key in different]
        nothing = ([np.nan] * len(wanted), (), [False] * len(wanted))
        table = [nothing if result is None else result for result in results]
        code_of = {key: code for code, key in enumerate(different)}
        codes = np.fromiter(map(code_of.__getitem__, keys), np.intp, len(keys))
        self.scored = _picked([result is not None for result in results], codes, bool)
        self.points = _picked([row[0] for row in table], codes, float).reshape(self.number, len(wanted))
        self.faulty = _picked([row[2] for row in table], codes, bool).reshape(self.number, len(wanted))
        details = [row[1] for row in table]
        self.details = [details[code] for code in codes.tolist()]

    def _find_outdated(
        self, stored: Mapping[int, Sequence[tuple[str, str, str]]], turned: Mapping[int, tuple[int, ...] | None]
    ) -> None:
        for plan, input_id in set(zip(self.of("plan_id"), self.of("input_id"), strict=True)):
            places = None if plan is None else turned[plan]
            if places is not None and input_id in self.plans:
                hashes = [stored[plan][at][2] for at in places]
                self.outdated |= hashes != [check.hash for check in self.plans[input_id]]

    def complete(self, job_id: int, number: int, task: Task, inputs: Sequence[GoldenInput]) -> None:
        """Work out from the texts what the scoring of an older version did not keep: the fault, what is compared, and
        whether the answer seems to begin with thinking. It is kept, so that this is done once."""
        known = {item.id for item in inputs}
        lacking = [
            at
            for at, (compared, fault, input_id) in enumerate(
                zip(self.compared, self.of("fault"), self.of("input_id"), strict=True)
            )
            if compared is None and self.scored[at] and fault != "server" and input_id in known
        ]
        if not lacking:
            return
        names = [check.id for check in next(iter(self.plans.values()), ())]
        place_of = {self.of("id")[at]: at for at in lacking}
        scorer = Scorer(task, inputs)
        found: dict[int, Kept] = {}
        waiting = iter(place_of)
        while chunk := list(islice(waiting, _CHUNK)):
            marks = ", ".join("?" * len(chunk))
            for answer_id, text in self.connection.execute(
                f"SELECT id, document FROM answers WHERE id IN ({marks})", chunk
            ):
                at = place_of[answer_id]
                kept = scorer.keep(Answer.from_json(json.loads(text)), compress(names, self.faulty[at]))
                self.faults[at], self.aloud[at], self.compared[at] = kept.fault, kept.thinks_aloud, kept.compared
                found[answer_id] = kept
        keep(self.connection, job_id, number, found)

    def of_answers(self, places: NDArray[np.intp], chosen: NDArray[np.intp]) -> AnswerColumns:
        listed = chosen.tolist()
        return AnswerColumns(
            place=places[chosen],
            points=self.points[chosen],
            faulty=self.faulty[chosen],
            details=[self.details[at] for at in listed],
            faults=[self.faults[at] for at in listed],
            cut=self.cut[chosen],
            aloud=self.aloud[chosen],
            figures={name: values[chosen] for name, values in self.figures.items()},
            modes=[self.modes[at] for at in listed],
        )

    def shown(self, chosen: NDArray[np.intp], answers: AnswerColumns) -> dict[str, ShownMode]:
        """The answers of a candidate that show its failure modes: these are the only texts that a board reads."""
        best = {code: int(chosen[at]) for code, at in best_shown(answers).items()}
        if not best:
            return {}
        ids = sorted({self.of("id")[at] for at in best.values()})
        marks = ", ".join("?" * len(ids))
        texts = {
            answer_id: (text or "", thinking)
            for answer_id, text, thinking in self.connection.execute(
                "SELECT id, json_extract(document, '$.text'), json_extract(document, '$.thinking') "
                f"FROM answers WHERE id IN ({marks})",
                ids,
            )
        }
        return {
            code: ShownMode(
                self.of("input_id")[at], self.of("repeat")[at], shown_piece(code, *texts[self.of("id")[at]])
            )
            for code, at in best.items()
        }


def _turned(
    wanted: Sequence[tuple[str, str]], stored: Sequence[tuple[str, str, str]], planned: Collection[str]
) -> tuple[int, ...] | None:
    """Where each check of the task is among those that were stored; None where one is missing.

    Homes of an older version can hold several definitions of one check: the one that was planned goes first.
    """
    places: dict[tuple[str, str], int] = {}
    for at, (name, part, digest) in enumerate(stored):
        if (name, part) not in places or digest in planned:
            places[name, part] = at
    if any(check not in places for check in wanted):
        return None
    return tuple(places[check] for check in wanted)


def _picked(values: Sequence[Any], codes: NDArray[np.intp], kind: type) -> NDArray[Any]:
    import numpy as np

    return np.array(values, kind)[codes] if len(codes) else np.array([], kind)
