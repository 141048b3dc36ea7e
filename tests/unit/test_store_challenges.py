"""Challenges as they are stored, and parts of one transaction."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import NotFoundError
from core.store.chains import insert_chain
from core.store.challenges import (
    ChallengeTask,
    add_challenge_task,
    get_challenge,
    insert_challenge,
    list_challenges,
    newest_challenge,
)
from core.store.database import savepoint, transaction
from tests.support.stored import add_job, fresh


def test_a_task_keeps_its_place_when_it_is_queued_again_and_outlives_its_chain(tmp_path: Path) -> None:
    _, connection = fresh(tmp_path)
    job = add_job(connection)
    with transaction(connection):
        first, second = (
            insert_chain(connection, title="t", project_id="p", author="a", links=[(job, False)]) for _ in range(2)
        )
        other = insert_challenge(connection, model="m", project_id="q", author="a")
        made = insert_challenge(connection, model="m", project_id="p", author="a")
        add_challenge_task(connection, made, task="judge", chain_id=first, gain=0.5)
        add_challenge_task(connection, made, task="tidy", chain_id=second, gain=None)
        add_challenge_task(connection, made, task="judge", chain_id=second, gain=0.25)
    assert [one.id for one in list_challenges(connection)] == [made, other]
    found = newest_challenge(connection, "m", "p")
    assert found is not None and found == get_challenge(connection, made) and found.model == "m"
    assert found.tasks == (ChallengeTask("judge", second, 1, 0.25), ChallengeTask("tidy", second, 2, None))
    assert newest_challenge(connection, "n", "p") is None
    with transaction(connection):
        connection.execute("DELETE FROM chains")
    assert [one.chain_id for one in get_challenge(connection, made).tasks] == [None, None]
    with pytest.raises(NotFoundError):
        get_challenge(connection, 99)


def test_a_part_of_a_transaction_that_fails_leaves_the_rest(tmp_path: Path) -> None:
    _, connection = fresh(tmp_path)
    with transaction(connection):
        insert_challenge(connection, model="kept", project_id="p", author="a")
        with pytest.raises(ValueError, match="no"), savepoint(connection):
            insert_challenge(connection, model="lost", project_id="p", author="a")
            with savepoint(connection):
                insert_challenge(connection, model="lost as well", project_id="p", author="a")
            raise ValueError("no")
        with savepoint(connection):
            insert_challenge(connection, model="kept as well", project_id="p", author="a")
    assert [one.model for one in list_challenges(connection)] == ["kept as well", "kept"]
