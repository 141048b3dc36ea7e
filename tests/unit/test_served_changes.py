"""A served model that is replaced while it is asked: each answer belongs to the model that gave it, and no result is of two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.files import read_lines
from core.home import Home
from core.jobfile.spec import InputFile
from core.scoring.answers import read_answers
from core.serving.errors import ServerError
from core.store.results import import_answers
from jobs.bakeoff import in_flight
from jobs.bakeoff.in_flight import SameModel
from jobs.bakeoff.job import tally_of
from jobs.bakeoff.record import AnswerRecord
from jobs.bakeoff.served import answer_served
from tests.support.clock import FakeClock
from tests.support.scripted_model import DOWN, REFUSED, ScriptedModel
from tests.support.stored import add_job, fresh
from tests.unit.test_served_candidates import Bench, checked, task


@pytest.fixture(autouse=True)
def _looks_behind_each_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.patience.pause_before_retry", lambda *_: None)
    monkeypatch.setattr(in_flight, "SECONDS_BETWEEN_STAMPS", 0.0)
    monkeypatch.setattr(in_flight, "MOST_SHARE_OF_STAMPS", 1e9)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    yield Home(tmp_path / "home").create()


def model_that(**at: dict[str, str]) -> ScriptedModel:
    """`at_4={"weights": "b"}`: with the fourth request, the warm-up's included, it becomes that. Answers name its weights."""
    model = ScriptedModel()
    model.write = lambda question: f"{model.who.weights}: {question.messages[-1][1]}"

    def becomes(number: int) -> None:
        if (changed := at.get(f"at_{number}")) is not None:
            model.becomes(**changed)

    model.at_ask = becomes
    return model


def stored(bench: Bench, folder: Path) -> list[dict[str, Any]]:
    """The answers as the database has them, read in pieces as the runner reads them."""
    _, connection = fresh(folder)
    job_id = add_job(connection)
    offset = 0
    for _ in range(len(bench.run_dir.answers.read_bytes().splitlines())):
        offset = import_answers(connection, job_id, bench.run_dir, offset)
    rows = connection.execute(
        "SELECT candidate, fault, identity, json_extract(document, '$.text') AS text FROM answers"
    )
    found = [dict(row) for row in rows]
    connection.close()
    return found


def test_one_that_changes_and_changes_back_has_its_own_answers_and_none_of_the_other(
    home: Home, tmp_path: Path
) -> None:
    bench = Bench(home, task("judge", 6, repeats=1))
    # 1 is the warm-up; 2 and 3 are a's. b is seen behind 4, asked for i0 to i2, and a is back with its third.
    model = model_that(at_4={"weights": "b"}, at_8={"weights": "w"})
    first = model.who.sha256
    bench.go(model)
    assert model.who.sha256 == first
    record = AnswerRecord(bench.context, bench.spec, bench.inputs)
    assert len(record.answers) == 6
    assert {answer.identity for answer in record.answers} == {first}
    assert {answer.text[:2] for answer in record.answers} == {"w:"}, "what b said is in no answer of a's"
    rows = stored(bench, tmp_path / "stored")
    assert len(rows) == 6 and {(row["fault"], row["identity"]) for row in rows} == {(None, first)}
    assert {row["text"][:2] for row in rows} == {"w:"}
    for answer in read_answers(bench.run_dir.answers):
        assert answer.fault == "server" or (answer.text[:2] == "w:") == (answer.identity == first)
    answered = [question.messages[-1][1] for question in model.asked if question.max_new_tokens == 64]
    assert (answered.count("judge 0"), answered.count("judge 1")) == (2, 2), "once a and once b: not asked for again"
    assert answered.count("judge 2") == 3, "as the model changed, and by each at its time"


def test_a_change_that_was_over_before_anybody_looked_costs_only_what_came_meanwhile(
    home: Home, tmp_path: Path
) -> None:
    bench = Bench(home, task("judge", 5, repeats=1))
    model = model_that()

    def there_and_back(number: int) -> None:
        if number == 4:
            model.becomes(weights="b")

    def write(question: Any) -> str:
        said = f"{model.who.weights}: {question.messages[-1][1]}"
        if model.who.weights == "b":
            model.becomes(weights="w")
        return said

    model.at_ask, model.write = there_and_back, write
    answers = {answer.input_id: answer for answer in bench.go(model)}
    assert [answers[f"i{number}"].text for number in range(5)] == [f"w: judge {number}" for number in range(5)]
    assert {answer.identity for answer in answers.values()} == {model.who.sha256}
    asked = [question.messages[-1][1] for question in model.asked if question.max_new_tokens == 64]
    assert [asked.count(f"judge {number}") for number in range(5)] == [1, 1, 2, 1, 1]
    assert {row["fault"] for row in stored(bench, tmp_path / "stored")} == {None}


def test_an_answer_that_was_taken_back_is_no_answer_of_an_extension(home: Home) -> None:
    bench = Bench(home, task("judge", 3, repeats=1))
    model = model_that(at_3={"weights": "b"}, at_5={"weights": "c"}, at_7={"weights": "d"})
    model.faults.extend([None] * 7 + [REFUSED] * 50)
    bench.go(model)
    for answer in read_answers(bench.run_dir.answers):
        assert answer.fault == "server" or answer.text[0] in "wbcd"
    earlier = home.root / "earlier.jsonl"
    bench.run_dir.answers.rename(earlier)
    copy = InputFile(path=str(earlier), sha256="0" * 64, source="answers.jsonl")
    extended = Bench(home, task("judge", 3, repeats=1), earlier=copy, extends=1)
    again = model_that()
    answers = {answer.input_id: answer for answer in extended.go(again)}
    assert {answer.text for answer in answers.values()} == {f"w: judge {number}" for number in range(3)}


def test_one_that_never_stays_the_same_is_given_up_and_what_it_said_is_kept_apart(home: Home) -> None:
    bench = Bench(home, task("judge", 4, repeats=1))
    model = ScriptedModel()
    model.at_ask = lambda number: model.becomes(version=str(number))
    with pytest.raises(ServerError) as caught:
        bench.go(model)
    assert "keeps changing" in caught.value.message and caught.value.remedy
    assert all(answer.fault == "server" for answer in read_answers(bench.run_dir.answers)), (
        "nobody knows whose they were"
    )


def test_what_the_former_model_scored_does_not_curtail_the_present_one(home: Home) -> None:
    from tests.unit.test_served_candidates import candidate

    both = [candidate(), candidate(sampling={"temperature": 0.9})]
    bench = Bench(home, checked("judge", 10), candidates=both, incumbent="m", curtail=True)
    model = ScriptedModel()

    def write(question: Any) -> str:
        hot = question.temperature > 0.5
        if hot and len(model.asked) == 13:
            model.becomes(weights="b")
        return "no" if hot and model.who.weights == "w" else "yes"

    model.write = write
    bench.go(model)
    record = AnswerRecord(bench.context, bench.spec, bench.inputs)
    record.begin_with("m", model.who.sha256)
    hot = [answer for answer in record.answers if answer.candidate != "m"]
    assert len(hot) == 10 and {answer.text for answer in hot} == {"yes"}


def test_what_is_wanted_again_is_counted_again(home: Home) -> None:
    bench = Bench(home, task("judge", 6, repeats=1))
    record, tally = (
        AnswerRecord(bench.context, bench.spec, bench.inputs),
        tally_of(bench.context, bench.spec, bench.inputs),
    )
    model = model_that(at_4={"weights": "b"}, at_8={"weights": "w"})
    answer_served(bench.context, bench.spec, bench.candidates, model, bench.inputs, record, tally)
    assert (tally.done, tally.total) == (6, 6)
    told = [event for event, _ in read_lines(bench.context.attempt.events) if event["kind"] == "progress"]
    assert all(0 <= event["done"] <= event["total"] for event in told)


def test_the_server_is_asked_every_other_second_or_less_often_where_that_is_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    clock, model = FakeClock(), ScriptedModel()
    looks: list[float] = []
    cost = 0.0

    def stamp() -> str:
        looks.append(clock.monotonic())
        clock.pass_time(cost)
        return "same"

    model.stamp = stamp  # type: ignore[method-assign]
    same = SameModel(model, "same", clock.monotonic)
    for _ in range(100):
        clock.pass_time(0.1)
        same.look()
    assert 4 <= len(looks) <= 5
    cost, before = 0.3, len(looks)
    for _ in range(600):
        clock.pass_time(0.1)
        same.look()
    assert len(looks) - before <= 5, "a server over the sea: not more than a fiftieth of the time"
    assert not same.changed and same.sure_until == looks[-1]
    same.look(at_once=True)
    assert same.sure_until == looks[-1] == max(looks)


def test_a_server_that_does_not_tell_leaves_it_open() -> None:
    model = ScriptedModel()

    def stamp() -> str:
        raise DOWN

    model.stamp = stamp  # type: ignore[method-assign]
    same = SameModel(model, "same")
    before = same.sure_until
    same.look(at_once=True)
    assert not same.changed and same.sure_until == before
