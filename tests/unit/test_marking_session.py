"""A decision becomes two marks and a golden input, or nothing of it: and can be taken back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.bakeoff.ranking import build_leaderboard
from core.config.golden import GoldenInput
from core.config.project import Project
from core.config.task import Task
from core.errors import GateError, InputError, NotFoundError
from core.home import Home
from core.marking.additions import use_of
from core.marking.answered import text_sha256
from core.marking.session import Decided, Decision, Session, decide, open_session, reread, undo
from core.marking.usefulness import Level
from core.scoring.scorer import score_answers
from core.store.database import open_database
from core.store.marks import list_marks
from core.store.results import list_bakeoffs
from tests.support.drafted import GOLDEN, LETTERS, ONE, OTHER, SAID, drafted_home, letters_project
from tests.support.invented_answers import answer

AUTHOR = "anna@box"


@pytest.fixture
def drafted(tmp_path: Path) -> Iterator[tuple[Home, Project, int]]:
    yield drafted_home(tmp_path)


def right_of(session: Session, input_id: str, candidate: str) -> Decision:
    """The decision that this candidate's answer is the right one, wherever it stands."""
    return "left" if session.offer_of(input_id).left.candidate == candidate else "right"


def mark(home: Home, session: Session, input_id: str, candidate: str, **values: object) -> Decided:
    offer = session.offer_of(input_id)
    return decide(home, session, offer, right_of(session, input_id, candidate), author=AUTHOR, **values)  # type: ignore[arg-type]


def marks(home: Home, project: Project) -> dict[tuple[str, str], float]:
    with contextlib.closing(open_database(home)) as connection:
        return {(one.input_id, one.answer_sha256): one.value for one in list_marks(connection, project.id, "letters")}


def test_pairs_are_read_as_the_checks_read_them(drafted: tuple[Home, Project, int]) -> None:
    home, project, job = drafted
    session = open_session(home, project, job)
    levels = {pair.input_id: pair.level for pair in session.pairs}
    assert levels == {
        "piano": Level.CAPTURES,
        "bees": Level.ALIKE,
        "ferry": Level.TEXT,
        "seeds": Level.CAPTURES,
        "clock": Level.CAPTURES,
        "lamp": Level.OBVIOUS,
        "minutes": Level.CAPTURES,
        "fee": Level.CAPTURES,
    }
    assert session.names == (ONE, OTHER) and session.left == len(LETTERS)


def test_a_decision_is_two_marks_and_a_golden_input_with_what_the_right_answer_shows(
    drafted: tuple[Home, Project, int],
) -> None:
    home, project, job = drafted
    session = open_session(home, project, job)
    done = mark(home, session, "piano", OTHER)
    file = project.root / "golden/letters.yaml"
    assert file.read_text().startswith(GOLDEN)
    (added,) = project.golden(project.task("letters")).inputs[2:]
    assert added == done.added
    assert (added.id, added.input, added.expect) == ("piano", LETTERS["piano"], {"verdict": "ASKS", "days": 4})
    assert added.chosen in ("disagreement", "random") and added.use in ("choose", "confirm")
    assert marks(home, project) == {
        ("piano", text_sha256(SAID[OTHER]["piano"])): 1.0,
        ("piano", text_sha256(SAID[ONE]["piano"])): 0.0,
    }
    assert "piano" in done.session.done and done.session.left == len(LETTERS) - 1
    again = open_session(home, project, job)
    assert again.done == ("piano",)


def test_what_was_decided_last_can_be_taken_back_until_others_have_written_the_file(
    drafted: tuple[Home, Project, int],
) -> None:
    home, project, job = drafted
    session = open_session(home, project, job)
    file = project.root / "golden/letters.yaml"
    done = mark(home, session, "piano", OTHER)
    assert undo(home, done).done == () and file.read_text() == GOLDEN and not marks(home, project)
    done = mark(home, session, "piano", ONE)
    theirs = file.read_text() + "# seen by Ole\n"
    file.write_text(theirs)
    with pytest.raises(InputError) as refused:
        undo(home, done)
    assert refused.value.code == "changed_meanwhile"
    assert file.read_text() == theirs and len(marks(home, project)) == 2


def test_a_file_that_was_changed_is_refused_and_read_again_and_nothing_is_lost(
    drafted: tuple[Home, Project, int],
) -> None:
    home, project, job = drafted
    session = open_session(home, project, job)
    file = project.root / "golden/letters.yaml"
    theirs = GOLDEN + "- {id: theirs, input: A letter of somebody else, expect: {verdict: TELLS, days: 0}}\n"
    file.write_text(theirs)
    with pytest.raises(InputError) as refused:
        mark(home, session, "piano", ONE)
    assert refused.value.code == "changed_meanwhile"
    assert file.read_text() == theirs and not marks(home, project)
    mark(home, reread(session), "piano", ONE)
    assert [one.id for one in project.golden(project.task("letters")).inputs] == ["roof", "thanks", "theirs", "piano"]


def test_both_neither_and_skip(drafted: tuple[Home, Project, int]) -> None:
    home, project, job = drafted
    session = open_session(home, project, job)
    both = decide(home, session, session.offer_of("ferry"), "both", author=AUTHOR)
    assert both.added is not None and both.added.expect == {"verdict": "TELLS", "days": 0}
    with pytest.raises(InputError) as refused:
        decide(home, both.session, session.offer_of("clock"), "both", author=AUTHOR)
    assert refused.value.code == "open_expectations"
    wanted = {"verdict": "TELLS", "days": 3}
    settled = decide(home, both.session, session.offer_of("clock"), "both", expect=wanted, author=AUTHOR)
    assert settled.added is not None and settled.added.expect == wanted
    neither = decide(home, settled.session, session.offer_of("seeds"), "neither", author=AUTHOR)
    assert neither.added is None and neither.why
    assert {value for (name, _), value in marks(home, project).items() if name == "seeds"} == {0.0}
    skipped = decide(home, neither.session, session.offer_of("fee"), "skip", author=AUTHOR)
    assert skipped.added is None and "fee" in skipped.session.done
    assert not [name for name, _ in marks(home, project) if name == "fee"]
    assert len(project.golden(project.task("letters")).inputs) == 4


def test_an_answer_that_does_not_show_what_is_expected_asks_for_the_expectations(
    drafted: tuple[Home, Project, int],
) -> None:
    home, project, job = drafted
    session = open_session(home, project, job)
    with pytest.raises(InputError) as refused:
        mark(home, session, "fee", ONE)
    assert refused.value.code == "open_expectations" and "verdict" in refused.value.message
    with pytest.raises(InputError) as refused:
        mark(home, session, "fee", ONE, expect={"verdict": "ASKS"})
    assert refused.value.code == "open_expectations" and "days" in refused.value.message
    assert not marks(home, project) and (project.root / "golden/letters.yaml").read_text() == GOLDEN
    assert mark(home, session, "fee", ONE, expect={"verdict": "ASKS", "days": 2}).added is not None


def test_nothing_that_is_learnt_or_golden_already_becomes_a_golden_input(tmp_path: Path) -> None:
    letters = {
        "leak": "The gate creaks so loudly that the choir stops. Please oil it today.",
        "near": "The roof of the boat house leaks again! Could somebody look at it before the regatta??",
    }
    said = {one: dict.fromkeys(letters, "VERDICT: ASKS\nDAYS: 1") for one in (ONE, OTHER)}
    home, project, job = drafted_home(tmp_path, said, letters)
    session = open_session(home, project, job)
    with pytest.raises(GateError) as refused:
        decide(home, session, session.offer_of("leak"), "both", author=AUTHOR)
    assert refused.value.code == "leak"
    with pytest.raises(InputError) as doubled:
        decide(home, session, session.offer_of("near"), "both", author=AUTHOR)
    assert doubled.value.code == "golden_already"
    assert not marks(home, project) and (project.root / "golden/letters.yaml").read_text() == GOLDEN


def test_a_third_of_the_inputs_confirm_and_none_of_them_was_chosen_for_a_disagreement() -> None:
    golden: list[GoldenInput] = []
    for number in range(30):
        chosen = "random" if number % 3 == 2 else "disagreement"
        use = use_of(golden, chosen, None)
        assert use == "choose" or chosen == "random"
        golden.append(GoldenInput(id=str(number), input="x", chosen=chosen, use=use))
    assert sum(one.use == "confirm" for one in golden) == 10
    own = [GoldenInput(id="a", input="x", source="diary", use="confirm"), GoldenInput(id="b", input="y", source="log")]
    assert use_of(own, "disagreement", "diary") == "confirm"
    assert use_of(own, "random", "log") == "choose"


def test_a_pair_that_is_named_is_what_it_is_when_it_is_offered(drafted: tuple[Home, Project, int]) -> None:
    """Else nothing that is marked by the command line would be of chance, and its countdown would stand still."""
    home, project, job = drafted
    first = session = open_session(home, project, job)
    chosen = []
    while offer := session.offer:
        assert first.offer_of(offer.pair.input_id) == offer
        chosen.append(offer.chosen)
        session = decide(home, session, offer, "skip", author=AUTHOR).session
    assert chosen.count("random") == chosen.count("disagreement") == len(LETTERS) // 2


def test_the_countdown_counts_what_stands_for_production(drafted: tuple[Home, Project, int]) -> None:
    home, project, job = drafted
    session = open_session(home, project, job, difference=0.2)
    assert session.needs.why == "no_pairs" and session.needs.more is None and session.needs.have == 2
    seen = []
    for input_id, candidate in (("piano", OTHER), ("bees", ONE), ("minutes", ONE), ("ferry", ONE), ("clock", OTHER)):
        session = mark(home, session, input_id, candidate).session
        seen.append((session.needs.have, session.needs.disagreement, session.needs.paired))
    assert [one.chosen == "random" for one in session.golden.inputs[2:]] == [True, False, True, False, False]
    assert seen == [(3, 0, 1), (3, 1, 1), (4, 1, 2), (4, 2, 2), (4, 3, 2)]
    counted = session.needs
    assert counted.deviation == pytest.approx(2**0.5), "a difference of 1 and one of -1"
    assert (counted.needed, counted.more) == (395, 391), "(1.96 + 0.84)² · 2 / 0.2² = 392, and three for Student's t"
    assert open_session(home, project, job, difference=0.2).needs == counted


def test_a_board_says_that_inputs_were_chosen_for_a_disagreement() -> None:
    task = Task.model_validate({"name": "t", "format": [{"check": "contains_any", "values": ["yes"]}]})
    chosen = ("disagreement", "random", None)
    inputs = [GoldenInput(id=str(number), input="x", chosen=one) for number, one in enumerate(chosen)]
    answers = [answer(name, "t", item.id, 1, "yes") for name in ("a", "b") for item in inputs]
    board = build_leaderboard(task, inputs, answers, score_answers(task, inputs, answers))
    assert any(note.startswith("1 of 3 inputs were chosen because two candidates disagreed") for note in board.notes)
    plain = build_leaderboard(task, inputs[1:], answers, score_answers(task, inputs, answers))
    assert not any("disagreed" in note for note in plain.notes)
    # A copy of inputs that were not chosen by marking has the hash that it always had.
    assert "chosen" in inputs[0].model_dump(mode="json") and "chosen" not in inputs[2].model_dump(mode="json")


def test_of_sources_that_confirm_only_what_chance_offers_is_still_to_be_marked(
    drafted: tuple[Home, Project, int],
) -> None:
    session = open_session(*drafted)
    bound = replace(session, pairs=tuple(replace(pair, bound=True) for pair in session.pairs))
    for left in range(len(session.pairs) // 2, 0, -1):
        assert bound.left == left and bound.offer is not None
        bound = replace(bound, done=(*bound.done, bound.offer.pair.input_id))
    assert bound.left == 0 and bound.offer is None


def test_drafts_are_no_bake_off(drafted: tuple[Home, Project, int]) -> None:
    """No list of bake-offs has them, so nothing that looks for the newest one of a task finds them."""
    home, _, job = drafted
    with contextlib.closing(open_database(home)) as connection:
        assert connection.execute("SELECT count(*) FROM answers WHERE job_id = ?", [job]).fetchone()[0] == 16
        assert list_bakeoffs(connection) == []


def test_a_job_of_another_kind_or_another_project_is_refused(
    drafted: tuple[Home, Project, int], tmp_path: Path
) -> None:
    home, project, job = drafted
    with pytest.raises(NotFoundError):
        open_session(home, project, job, candidates=(ONE, "nobody"))
    elsewhere = letters_project(tmp_path / "elsewhere")
    (elsewhere.root / "bakehouse.yaml").write_text("id: another\n")
    with pytest.raises(InputError) as refused:
        open_session(home, Project.find(explicit=elsewhere.root), job)
    assert refused.value.code == "other_project"
