"""What goes wrong on the way of an alias, and what is there afterwards: each fault alone, then all of them in any order."""

from __future__ import annotations

import contextlib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.runner.commands import RefusedError
from core.store.store_error import StoreError
from core.wording.fleet import change_reason_words
from tests.support.depth import example_count
from tests.support.played_fleet import PlayedFleet
from tests.support.played_ollama import Fate, digest_of

PLACING = "copy judge"


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlayedFleet:
    """`judge` serves qwen-7b; a 4b and an 8b are there."""
    made = PlayedFleet(tmp_path, monkeypatch)
    populate(made)
    return made


def populate(fleet: PlayedFleet) -> None:
    for name, model in {"judge": "qwen-7b", "judge-8b": "qwen-8b", "judge-4b": "qwen-4b"}.items():
        fleet.server.put(name, model)
    fleet.adopt("judge", "judge")
    fleet.settle()


def meets(fleet: PlayedFleet, request: str, *fates: Fate) -> None:
    """The next requests like this one meet these fates."""
    left = list(fates)
    fleet.befall = lambda point, what: left.pop(0) if what == request and left else "done"


def ended(fleet: PlayedFleet) -> tuple[str, str | None, str | None]:
    """(state, code of the reason, what is under the alias)."""
    fleet.settle()
    fleet.check()
    change = fleet.last("judge")
    return change.state, None if change.reason is None else change.reason.code, fleet.server.model("judge")


def test_what_an_alias_was_and_becomes_is_kept_before_it_is_touched(fleet: PlayedFleet) -> None:
    """An adopted model is kept at once: there is a way back from whatever somebody else does."""
    assert fleet.server.model("judge:bakehouse-1") == "qwen-7b"
    fleet.promote("judge", "judge-4b")
    begun = len(fleet.server.requests)
    assert ended(fleet) == ("done", None, "qwen-4b")
    asked = fleet.server.requests[begun:]
    assert asked.index("copy judge:bakehouse-2") < asked.index(PLACING)
    first, second = fleet.versions("judge")
    assert (first.kept_as, second.kept_as, second.origin) == ("judge:bakehouse-1", "judge:bakehouse-2", "promoted")
    assert second.server_version == "0.24.0" and second.weights is not None and second.template is not None
    fleet.server.other_deletes("judge-4b")
    fleet.rollback("judge")
    assert ended(fleet) == ("done", None, "qwen-7b")
    fleet.rollback("judge", to_version=second.id)
    assert ended(fleet) == ("done", None, "qwen-4b"), "though the candidate's own tag is gone"
    assert len(fleet.versions("judge")) == 2


def test_the_former_model_leaves_the_memory_where_no_other_alias_is_it(fleet: PlayedFleet) -> None:
    fleet.server.load("judge")
    fleet.promote("judge", "judge-4b")
    ended(fleet)
    assert fleet.server.resident is None
    fleet.server.put("second", "qwen-4b")
    fleet.adopt("second", "title")
    fleet.server.load("judge")
    fleet.promote("judge", "judge-8b")
    assert ended(fleet) == ("done", None, "qwen-8b")
    assert fleet.server.resident == "judge:latest", "`second` is the same model, which somebody may be using"


@pytest.mark.parametrize(
    ("fate", "result"),
    [
        ("disk_full", ("taken_back", "move_refused", "qwen-7b")),
        ("refused", ("taken_back", "move_refused", "qwen-7b")),
        ("lost", ("done", None, "qwen-4b")),
        ("down", ("done", None, "qwen-4b")),
    ],
)
def test_a_fault_while_the_alias_is_placed(fate: Fate, result: tuple[str, str | None, str], fleet: PlayedFleet) -> None:
    """What the server refuses is taken back; of what may have been done it is looked whether it was."""
    fleet.promote("judge", "judge-4b")
    meets(fleet, PLACING, fate)
    assert ended(fleet) == result
    taken_back = result[0] == "taken_back"
    assert (fleet.server.model("judge:bakehouse-2") is None) == taken_back, "what was made for it goes again"
    if taken_back:
        assert fleet.current("judge") == fleet.versions("judge")[0]
        fleet.promote("judge", "judge-4b")
        assert ended(fleet) == ("done", None, "qwen-4b")
        assert fleet.versions("judge")[-1].number == 3, "the number of what came to nothing is not given again"


def test_a_source_that_is_replaced_while_it_is_placed_is_taken_back(fleet: PlayedFleet) -> None:
    """The digest is verified afterwards: what came to serve is what was proved, or what served before."""
    fleet.promote("judge", "judge-4b")

    def replaced(point: int, what: str) -> Fate:
        if what == PLACING:
            fleet.server.other_puts("judge:bakehouse-2", "another")
        return "done"

    fleet.befall = replaced
    assert ended(fleet) == ("taken_back", "digest_differs", "qwen-7b")
    reason = fleet.last("judge").reason
    assert reason is not None and digest_of("another")[:12] in change_reason_words(reason)


def test_a_server_that_is_away_before_anything_is_done_ends_the_change(fleet: PlayedFleet) -> None:
    fleet.promote("judge", "judge-4b")
    fleet.befall = lambda point, what: "down"
    fleet.settle()
    change = fleet.last("judge")
    assert (change.state, change.reason and change.reason.code) == ("failed", "server_away")
    assert fleet.server.model("judge") == "qwen-7b"


def test_a_server_that_goes_away_in_the_middle_is_waited_for_however_long(fleet: PlayedFleet) -> None:
    fleet.promote("judge", "judge-4b")
    since: list[int] = []

    def gone(point: int, what: str) -> Fate:
        since.extend([point] if what == PLACING and not since else [])
        return "down" if since and point < since[0] + 12 else "done"

    fleet.befall = gone
    waited: list[str] = []
    for _ in range(20):
        fleet.keeper.tick()
        fleet.clock.pass_time(1.0)
        waited.append(fleet.last("judge").phase)
    assert "waiting_server" in waited
    with pytest.raises(RefusedError) as refused:
        fleet.promote("judge", "judge-8b")
    assert refused.value.code == "change_open"
    assert ended(fleet) == ("done", None, "qwen-4b")


def test_a_source_that_is_gone_or_another_by_then_is_not_placed(fleet: PlayedFleet) -> None:
    fleet.promote("judge", "judge-4b")
    fleet.server.other_deletes("judge-4b")
    assert ended(fleet) == ("failed", "source_gone", "qwen-7b")
    fleet.promote("judge", "judge-8b")
    fleet.server.other_puts("judge-8b", "another")
    assert ended(fleet) == ("failed", "source_changed", "qwen-7b")


def test_somebody_elses_model_under_the_alias_is_left_alone(fleet: PlayedFleet) -> None:
    fleet.promote("judge", "judge-4b")
    fleet.server.other_puts("judge", "somebody's")
    assert ended(fleet) == ("failed", "alias_changed", "somebody's")
    assert fleet.current("judge") == fleet.versions("judge")[0], "what was recorded stays recorded"

    fleet.server.other_puts("vault", "theirs")
    fleet.promote("vault", "judge-4b", "vault")
    fleet.settle()
    assert (fleet.last("vault").state, fleet.last("vault").reason and fleet.last("vault").reason.code) == (
        "failed",
        "name_taken",
    )
    fleet.check()


def test_a_rollback_over_somebody_elses_model_keeps_that_as_a_version(fleet: PlayedFleet) -> None:
    fleet.server.put("judge", "somebody's")
    fleet.rollback("judge", found={"source": "judge", "digest": digest_of("somebody's")})
    assert ended(fleet) == ("done", None, "qwen-7b")
    first, found = fleet.versions("judge")
    assert fleet.current("judge") == first and found.origin == "found"
    assert fleet.server.model("judge:bakehouse-2") == "somebody's"


def test_a_name_that_is_to_keep_a_version_and_is_somebody_elses_is_not_taken(fleet: PlayedFleet) -> None:
    fleet.server.other_puts("judge:bakehouse-2", "theirs")
    fleet.promote("judge", "judge-4b")
    assert ended(fleet) == ("done", None, "qwen-4b")
    kept = fleet.versions("judge")[-1].kept_as
    assert kept == f"judge:bakehouse-2-{digest_of('qwen-4b')[:12]}" and fleet.server.model(kept) == "qwen-4b"

    fleet.server.other_puts("judge:bakehouse-3", "theirs")
    fleet.server.other_puts(f"judge:bakehouse-3-{digest_of('qwen-8b')[:12]}", "theirs")
    fleet.promote("judge", "judge-8b")
    assert ended(fleet) == ("failed", "move_refused", "qwen-4b")


def test_a_version_whose_tag_somebody_deleted_comes_back_by_any_tag_that_has_it(fleet: PlayedFleet) -> None:
    """And is kept again."""
    fleet.promote("judge", "judge-4b")
    ended(fleet)
    fleet.server.other_puts("judge:bakehouse-1", "theirs")
    fleet.server.put("old", "qwen-7b")
    fleet.rollback("judge")
    assert ended(fleet) == ("done", None, "qwen-7b")
    assert fleet.versions("judge")[0].kept_as == f"judge:bakehouse-1-{digest_of('qwen-7b')[:12]}"
    fleet.server.other_deletes("judge:bakehouse-2")
    fleet.server.other_deletes("judge-4b")
    fleet.rollback("judge", to_version=fleet.versions("judge")[1].id)
    assert ended(fleet) == ("failed", "source_gone", "qwen-7b")


def test_a_name_that_somebody_takes_once_it_is_chosen_is_left_to_them(fleet: PlayedFleet) -> None:
    fleet.promote("judge", "judge-4b")

    def taken(point: int, what: str) -> Fate:
        if what == "transaction" and "judge:bakehouse-2" not in fleet.server.others:
            fleet.server.other_puts("judge:bakehouse-2", "theirs")
        return "done"

    fleet.befall = taken
    assert ended(fleet) == ("failed", "move_refused", "qwen-7b")


def test_a_store_without_room_is_tried_again_and_nothing_is_done_twice(fleet: PlayedFleet) -> None:
    """The alias is moved and the row cannot be written: it is as soon as there is room, also by the next runner."""
    fleet.promote("judge", "judge-4b")
    moved: list[str] = []

    def full(point: int, what: str) -> Fate:
        moved.extend([what] if what == PLACING else [])
        return "disk_full" if moved and what == "transaction" and point < 60 else "done"

    fleet.befall = full
    for _ in range(3):
        with contextlib.suppress(StoreError):
            fleet.keeper.tick()
        fleet.clock.pass_time(1.0)
    assert fleet.server.model("judge") == "qwen-4b" and fleet.last("judge").state == "open"
    fleet.befall = lambda point, what: "killed_before" if not fleet.kills else "done"
    assert ended(fleet) == ("done", "finished_after_restart", "qwen-4b")
    assert moved == [PLACING]


def test_an_alias_that_somebody_deleted_is_promoted_all_the_same(fleet: PlayedFleet) -> None:
    fleet.server.other_deletes("judge")
    fleet.promote("judge", "judge-4b")
    assert ended(fleet) == ("done", None, "qwen-4b")


MODELS = ("qwen-4b", "qwen-8b", "qwen-14b")
FAULTS: list[Fate] = ["down", "lost", "refused", "disk_full", "killed_before", "killed_after"]
ACTS = st.sampled_from(["other_changes", "other_takes_kept", "other_deletes_source"])


@settings(max_examples=example_count(60), deadline=None)
@given(data=st.data())
def test_whatever_happens_an_alias_serves_and_there_is_one_truth(data: st.DataObject) -> None:
    """Faults and deaths at any points of any changes of two aliases, somebody else at work between any two requests:
    `PlayedOllama` refuses whatever would take a served name away or replace somebody else's model, and afterwards store and
    server agree."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        fleet = PlayedFleet(Path(folder), patch)
        populate(fleet)
        fleet.server.put("title", "qwen-1b")
        fleet.adopt("title", "title")
        for _ in range(data.draw(st.integers(1, 4), "changes")):
            fates = data.draw(st.dictionaries(st.integers(1, 45), st.sampled_from(FAULTS), max_size=5), "fates")
            others = data.draw(st.dictionaries(st.integers(1, 45), ACTS, max_size=1), "others")
            _one_change(fleet, data, fates, others)
            fleet.befall = lambda point, what: "done"
            fleet.settle()
            fleet.check()
            assert fleet.server.model("judge") is not None and fleet.server.model("title") is not None, "each serves"
            assert [tuple(row) for row in fleet.connection.execute("PRAGMA integrity_check")] == [("ok",)]
        fleet.connection.close()


def _one_change(fleet: PlayedFleet, data: st.DataObject, fates: dict[int, Fate], others: dict[int, str]) -> None:
    asked, server = fleet.point, fleet.server
    source = data.draw(st.sampled_from(MODELS), "source")
    server.put("candidate", source)
    foreign = server.others.get("judge:latest")
    found = {} if foreign is None else {"found": {"source": "judge", "digest": digest_of(foreign)}}
    try:
        if foreign is not None or data.draw(st.booleans(), "back"):
            server.others.pop("judge:latest", None)  # whoever asks has seen it, and wants it replaced
            fleet.rollback("judge", **found)
        else:
            fleet.promote("judge", "candidate")
    except RefusedError as refused:
        assert refused.code in ("already_current", "no_former_version")
    if data.draw(st.booleans(), "title as well"):
        server.put("title-candidate", f"qwen-{fleet.point}")
        fleet.promote("title", "title-candidate", "title")

    def befall(point: int, what: str) -> Fate:
        # Not between the last look and the copy: Ollama has no request that copies only where nobody else has.
        if what == "version" and (due := [at for at in others if at <= point - asked]):
            _other(fleet, others.pop(due[0]))
        return fates.get(point - asked, "done")

    fleet.befall = befall
    fleet.settle()


def _other(fleet: PlayedFleet, act: str) -> None:
    match act:
        case "other_changes":
            fleet.server.other_puts("judge", f"somebody's {fleet.point}")
        case "other_takes_kept":
            number = fleet.versions("judge")[-1].number + 1
            if fleet.server.model(f"judge:bakehouse-{number}") is None:
                fleet.server.other_puts(f"judge:bakehouse-{number}", "theirs")
        case "other_deletes_source":
            fleet.server.other_deletes("candidate")
