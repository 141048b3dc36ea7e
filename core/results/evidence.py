"""What the bake-offs of this home decided between trained models: stronger than any rule of ours."""

from __future__ import annotations

import sqlite3

from core.errors import BakehouseError
from core.home import Home
from core.jobfile.bakeoff import CandidateSpec
from core.results.load import bakeoff_file, stored_leaderboards
from core.results.trainings import training_of
from core.store.results import list_bakeoffs
from core.vram.plan import Verdict

NEWEST = 20


def verdicts(connection: sqlite3.Connection, home: Home) -> list[Verdict]:
    """The decisions of finished bake-offs, newest first: the best against each trained candidate outside of the tied set."""
    found: list[Verdict] = []
    for bakeoff in list_bakeoffs(connection, NEWEST):
        if bakeoff.state == "done":
            try:
                found += decided(connection, home, bakeoff.job_id)
            except BakehouseError:
                # Its files were cleaned away or are of another version: it decides nothing any more.
                continue
    return found


def decided(connection: sqlite3.Connection, home: Home, job_id: int) -> list[Verdict]:
    """The decisions of one bake-off between candidates that were trained from different models or by other methods."""
    _, spec = bakeoff_file(home, job_id)
    # Asked in another way a model shows what the way does, not what its training did.
    plain = [candidate for candidate in spec.candidates if candidate.variant.is_plain]
    trained = {candidate.name: key for candidate in plain if (key := trained_as(home, candidate))}
    if len(set(trained.values())) < 2:
        return []
    found: list[Verdict] = []
    for task, board in stored_leaderboards(home, connection, job_id).items():
        winner = trained.get(board.best or "")
        if winner is None or not board.complete:
            continue
        # Who was stopped is censored: nothing is learnt from it.
        judged = {name: key for name, key in trained.items() if name not in board.curtailed}
        losers = {key for name, key in judged.items() if name not in board.tied_set and key != winner}
        found += [Verdict(job_id, task, winner, loser) for loser in sorted(losers)]
    return found


def trained_as(home: Home, candidate: CandidateSpec) -> tuple[str, str] | None:
    """(model, method) of a candidate that a job of this home trained; None for a base model."""
    trained = training_of(home, candidate)
    return None if trained is None else (trained[1].model.name, trained[1].recipe.method)
