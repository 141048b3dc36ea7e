"""A served model asked for many answers: what is asked, in which order, and what becomes of faults."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.bakeoff.measured import read_measured
from core.config.golden import GoldenInput
from core.config.model import ModelEntry
from core.config.task import Sampling, Task
from core.errors import BakehouseError
from core.files import read_lines, write_json
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec, ExampleTurn, ServerUnderTest, TaskUnderTest, Variant
from core.jobfile.spec import InputFile
from core.scoring.answers import read_answers
from core.serving.answering import Capabilities
from core.serving.errors import ServerError
from jobs.bakeoff.asking import MOST_INPUTS_IN_A_ROW
from jobs.bakeoff.in_flight import InFlight
from jobs.bakeoff.job import models_in_turn, run, tally_of
from jobs.bakeoff.record import AnswerRecord
from jobs.bakeoff.served import answer_served
from jobs.context import JobContext, StopRequested
from tests.support.job_files import job_file
from tests.support.scripted_model import BUSY, DOWN, REFUSED, ScriptedModel

GOLDEN = InputFile(path="/golden.json", sha256="0" * 64, source="golden.yaml")
SERVER = ServerUnderTest(name="s", api="ollama", url="http://127.0.0.1:1")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are the policy's, which has tests of its own; how often and how it is asked again is tested here."""
    monkeypatch.setattr("jobs.bakeoff.asking.pause_before_retry", _at_once)
    monkeypatch.setattr("jobs.patience.pause_before_retry", _at_once)


def _at_once(error: ServerError, tries: int, source: object) -> float | None:
    return 0.0 if error.is_transient and tries < 5 else None


def task(name: str, inputs: int, repeats: int = 2, **more: Any) -> tuple[TaskUnderTest, tuple[GoldenInput, ...]]:
    sampling = Sampling(context_length=more.pop("context", 512), max_new_tokens=64)
    examples = more.pop("examples", [])
    one = Task(name=name, system=f"do {name}", sampling=sampling, **more)
    golden = tuple(GoldenInput(id=f"i{number}", input=f"{name} {number}") for number in range(inputs))
    return TaskUnderTest(task=one, golden=GOLDEN, repeats=repeats, examples=examples), golden


def candidate(**variant: Any) -> CandidateSpec:
    written = "@".join(f"{key}={value}" for key, value in variant.items())
    name = "m" + (f" @{written}" if written else "")
    return CandidateSpec(
        name=name, form="served", server=SERVER, served_model="m", variant=Variant(written=written, **variant)
    )


class Bench:
    """A bake-off's job without its process: the real record, the real files."""

    def __init__(self, home: Home, *tasks: tuple[TaskUnderTest, tuple[GoldenInput, ...]], **more: Any) -> None:
        self.candidates = more.pop("candidates", None) or [candidate()]
        self.spec = BakeoffSpec(tasks=[one for one, _ in tasks], candidates=self.candidates, **more)
        self.inputs = {one.name: golden for one, golden in tasks}
        self.run_dir = home.run_dir(1)
        attempt = self.run_dir.attempt(1)
        attempt.path.mkdir(parents=True, exist_ok=True)
        job_file(home, self.spec, 1).save(self.run_dir)
        self.context = JobContext.open(self.run_dir, attempt)

    def go(self, model: ScriptedModel) -> list[Any]:
        """One attempt; the answers that are there afterwards."""
        record = AnswerRecord(self.context, self.spec, self.inputs)
        tally = tally_of(self.context, self.spec, self.inputs)
        answer_served(self.context, self.spec, self.candidates, model, self.inputs, record, tally)
        return read_answers(self.run_dir.answers)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    yield Home(tmp_path / "home").create()


def asked_by(model: ScriptedModel) -> list[tuple[str, int]]:
    """What was asked behind the warm-up: (last message, seed)."""
    return [(question.messages[-1][1], question.seed) for question in model.asked[1:]]


def test_each_answer_is_asked_for_once_the_tasks_in_turn_and_the_repeats_of_an_input_together(home: Home) -> None:
    bench = Bench(home, task("judge", 3), task("plan", 2, repeats=3))
    model = ScriptedModel()
    answers = bench.go(model)
    assert len(answers) == 3 * 2 + 2 * 3
    texts = [text for text, _ in asked_by(model)]
    assert texts == [*["judge 0"] * 2, *["judge 1"] * 2, *["judge 2"] * 2, *["plan 0"] * 3, *["plan 1"] * 3]
    assert model.asked[0].max_new_tokens < 64, "the warm-up is short"
    assert set(model.answered.values()) <= {1, 2} and sum(model.answered.values()) == 13
    seeds = {(answer.task, answer.input_id, answer.repeat): answer.seed for answer in answers}
    assert seeds["judge", "i0", 1] == seeds["plan", "i0", 1] != seeds["judge", "i0", 2]


def test_one_window_for_all_tasks_and_one_load_and_each_option_is_sent(home: Home) -> None:
    bench = Bench(
        home,
        task("judge", 1, context=512),
        task("plan", 1, context=2048),
        candidates=[candidate(), candidate(sampling={"temperature": 0.7}), candidate(think="on")],
    )
    model = ScriptedModel(able=Capabilities(thinking=True))
    bench.go(model)
    assert model.loads == [2048]
    assert {question.context_length for question in model.asked} == {2048}
    assert [question.temperature for question in model.asked[1:]] == [0.0] * 4 + [0.7] * 4 + [0.0] * 4
    assert [question.think for question in model.asked[1:]] == [False] * 8 + [True] * 4


def test_examples_stand_between_the_system_text_and_the_input_and_another_system_text_in_its_place(home: Home) -> None:
    example = [ExampleTurn(role="user", content="q"), ExampleTurn(role="assistant", content="a")]
    bench = Bench(
        home,
        task("judge", 1, repeats=1, examples=[example, example]),
        candidates=[candidate(), candidate(few_shot=1), candidate(system="other")],
    )
    model = ScriptedModel()
    bench.go(model)
    plain, shown, other = (question.messages for question in model.asked[1:])
    assert plain == (("system", "do judge"), ("user", "judge 0"))
    assert shown == (("system", "do judge"), ("user", "q"), ("assistant", "a"), ("user", "judge 0"))
    assert other == (("system", "other"), ("user", "judge 0"))


def test_a_system_text_goes_into_the_user_message_where_the_template_takes_no_system_message(home: Home) -> None:
    bench = Bench(home, task("judge", 1, repeats=1, system_role="user"))
    model = ScriptedModel()
    bench.go(model)
    ((role, text),) = model.asked[1].messages
    assert role == "user" and "do judge" in text and "judge 0" in text


def test_a_fault_for_a_moment_is_asked_for_again_and_one_for_good_leaves_a_hole_that_the_next_attempt_fills(
    home: Home,
) -> None:
    bench = Bench(home, task("judge", 2, repeats=1))
    model = ScriptedModel(faults=deque([None, BUSY, None, REFUSED]))
    first, second = bench.go(model)
    assert (first.fault, first.tries) == (None, 2)
    assert (second.fault, second.problem) == ("server", "no such thing")
    again = ScriptedModel()
    answers = {answer.input_id: answer for answer in bench.go(again)}
    assert [text for text, _ in asked_by(again)] == ["judge 1"], "what is there is not asked for again"
    assert {name: answer.fault for name, answer in answers.items()} == {"i0": None, "i1": None}


def test_a_server_that_died_is_loaded_again_once_whoever_saw_it(home: Home) -> None:
    bench = Bench(home, task("judge", 4, repeats=2), concurrency=4)
    together = threading.Barrier(4)

    def all_at_once(number: int) -> None:
        if 2 <= number <= 5:
            together.wait(60)

    model = ScriptedModel(faults=deque([None, DOWN, DOWN, DOWN, DOWN]), at_ask=all_at_once)
    answers = bench.go(model)
    assert len(answers) == 8 and {answer.fault for answer in answers} == {None}
    assert len(model.loads) == 2, "1 + kills of the server"
    assert len(read_measured(bench.run_dir.candidates)) == 2


def test_a_candidate_that_its_server_does_not_serve_is_not_asked_to_the_end(home: Home) -> None:
    bench = Bench(home, task("judge", 20, repeats=1))
    model = ScriptedModel(faults=deque([None, *[REFUSED] * 30]))
    answers = bench.go(model)
    assert len(answers) == MOST_INPUTS_IN_A_ROW and {answer.fault for answer in answers} == {"server"}


def test_as_many_are_asked_for_at_a_time_as_is_said_and_each_costs_its_share(home: Home) -> None:
    bench = Bench(home, task("judge", 9, repeats=1), concurrency=3)
    together = threading.Barrier(3)
    model = ScriptedModel(at_ask=lambda number: None if number == 1 else (together.wait(60), None)[1])
    answers = bench.go(model)
    assert model.most_at_once == 3
    assert len(answers) == 9 and {answer.batch_size for answer in answers} <= {1, 2, 3}


def test_a_model_that_changes_half_way_is_asked_again_for_what_the_former_one_answered(home: Home) -> None:
    bench = Bench(home, task("judge", 3, repeats=1))
    model = ScriptedModel()
    model.at_ask = lambda number: model.becomes(version="2") if number == 3 else None
    answers = bench.go(model)
    newest = {answer.input_id: answer for answer in answers}
    assert {answer.identity for answer in newest.values()} == {model.who.sha256}
    assert len(asked_by(model)) == 3 + 1 + 3, "each once of either version, and the second warm-up"
    assert len(model.loads) == 2


def test_a_stop_gives_up_what_is_on_its_way_and_writes_none_of_it_down(home: Home) -> None:
    bench = Bench(home, task("judge", 4, repeats=1), concurrency=2)
    hold = threading.Event()
    hold.set()

    def stop_in_the_third(number: int) -> None:
        if number == 4:
            hold.clear()
            write_json(bench.context.attempt.stop_request, {"why": "cancel"})

    model = ScriptedModel(at_ask=stop_in_the_third, hold=hold)
    with pytest.raises(StopRequested):
        bench.go(model)
    assert all(answer.fault is None for answer in read_answers(bench.run_dir.answers))
    bench.context.attempt.stop_request.unlink()
    model.hold, before = None, sum(model.answered.values())
    answers = bench.go(model)
    assert len(answers) == 4 and {answer.fault for answer in answers} == {None}
    assert before >= 1


def test_thinking_that_the_server_keeps_apart_is_kept_apart_and_no_fault(home: Home) -> None:
    bench = Bench(home, task("judge", 1, repeats=1))
    (answer,) = bench.go(ScriptedModel(thinking="hm, let me see"))
    assert (answer.thinking, answer.thinking_apart, answer.fault) == ("hm, let me see", True, None)
    from core.scoring.scorer import fault_of

    assert fault_of(bench.spec.tasks[0].task, answer) is None


def test_thinking_within_the_text_is_a_fault_where_the_task_does_not_think(home: Home) -> None:
    bench = Bench(home, task("judge", 1, repeats=1))
    (answer,) = bench.go(ScriptedModel(write=lambda question: "<think>hm</think>PASS"))
    assert (answer.text, answer.thinking, answer.fault) == ("PASS", "hm", "thinking")


def test_a_variant_that_thinks_is_not_faulted_for_what_its_task_forbids(home: Home) -> None:
    from core.scoring.scorer import fault_of

    bench = Bench(home, task("judge", 1, repeats=1), candidates=[candidate(think="on")])
    (answer,) = bench.go(ScriptedModel(write=lambda question: "<think>hm</think>PASS"))
    assert (answer.asked_thinking, answer.fault) == ("on", None)
    assert fault_of(bench.spec.tasks[0].task, answer) is None


def test_answers_of_an_earlier_bakeoff_are_taken_over_where_the_same_is_asked_of_the_same_model(home: Home) -> None:
    first = Bench(home, task("judge", 2, repeats=1))
    first.go(ScriptedModel())
    earlier = home.root / "earlier.jsonl"
    first.run_dir.answers.rename(earlier)
    copy = InputFile(path=str(earlier), sha256="0" * 64, source="answers.jsonl")
    extended = Bench(home, task("judge", 3, repeats=2), earlier=copy, extends=1)
    model = ScriptedModel()
    answers = extended.go(model)
    assert len(answers) == 6
    assert len(asked_by(model)) == 4, "two were there"
    changed = Bench(home, task("judge", 2, repeats=1), earlier=copy, extends=1)
    changed.run_dir.answers.unlink()
    other = ScriptedModel()
    other.becomes(template="another")
    changed.go(other)
    assert len(asked_by(other)) == 2, "they are another model's"


def test_what_is_shared_is_told_only_where_it_can_be_seen(home: Home) -> None:
    for others in (True, False, None):
        bench = Bench(home, task("judge", 1, repeats=1))
        bench.run_dir.answers.unlink(missing_ok=True)
        (answer,) = bench.go(ScriptedModel(others=others))
        assert answer.shared is others


def test_the_time_is_divided_among_the_answers_on_their_way() -> None:
    now = 0.0
    in_flight = InFlight(lambda: now)
    first = in_flight.start()
    now = 1.0
    second = in_flight.start()
    now = 3.0
    assert in_flight.end(first) == (2.0, 2)
    now = 4.0
    assert in_flight.end(second) == (2.0, 2), "all of it together is the four seconds that passed"


def checked(name: str, inputs: int, **more: Any) -> tuple[TaskUnderTest, tuple[GoldenInput, ...]]:
    """A task whose answers pass when they say yes."""
    return task(name, inputs, repeats=1, format=[{"check": "regex", "pattern": "^yes"}], **more)


def test_a_candidate_that_cannot_reach_the_incumbent_is_not_asked_on_and_the_incumbent_is_asked_first(
    home: Home,
) -> None:
    others = [candidate(sampling={"temperature": 0.9}), candidate()]
    bench = Bench(home, checked("judge", 10), checked("plan", 10), candidates=others, incumbent="m", curtail=True)

    def write(question: Any) -> str:
        hot, judging = question.temperature > 0.5, question.messages[-1][1].startswith("judge")
        return "no" if hot and judging else "yes"

    model = ScriptedModel(write=write)
    bench.candidates = models_in_turn(bench.spec)[0]
    bench.go(model)
    hot = [question.messages[-1][1] for question in model.asked[1:] if question.temperature > 0.5]
    plain = [question.messages[-1][1] for question in model.asked[1:] if question.temperature < 0.5]
    assert len(plain) == 20 and model.asked[1].temperature < 0.5
    # The incumbent has 10 of 10: with one wrong answer 0.9 is the best that is left, below 1.0 less the margin of 0.05. The
    # next question is on its way by then.
    assert hot == ["judge 0", "judge 1", *(f"plan {number}" for number in range(10))]
    again = ScriptedModel(write=write)
    bench.go(again)
    assert again.asked == [], "nor is it asked on by a later attempt"


def test_the_models_are_asked_in_turn_the_incumbents_first(home: Home) -> None:
    entry = ModelEntry(name="b", path="/b")
    base = CandidateSpec(name="b base", form="base", model=entry)
    file = CandidateSpec(name="g", form="gguf", path="/g.gguf")
    served = candidate()
    hot = candidate(sampling={"temperature": 0.9})
    spec = BakeoffSpec(tasks=[task("judge", 1)[0]], candidates=[base, served, file, hot], incumbent="g")
    turns = [[one.name for one in turn] for turn in models_in_turn(spec)]
    assert turns == [["g"], ["b base"], [served.name, hot.name]]
    assert spec.model_copy(update={"incumbent": None}).against == "b base"


@pytest.mark.process  # its manifest asks git
def test_a_bakeoff_without_any_answer_fails_with_what_the_server_said(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = home.root / "golden.json"
    golden.write_text('[{"id": "i0", "input": "judge 0"}]')
    under_test, _ = task("judge", 1, repeats=1, format=[{"check": "regex", "pattern": "."}])
    copy = InputFile(path=str(golden), sha256="0" * 64, source="golden.yaml")
    bench = Bench(home, (under_test.model_copy(update={"golden": copy}), ()))
    model = ScriptedModel(faults=deque([None, REFUSED]))
    monkeypatch.setattr("jobs.bakeoff.job.opened", lambda server, name: model)
    with pytest.raises(BakehouseError) as failed:
        run(bench.context, bench.spec)
    assert failed.value.code == "not_served" and "no such thing" in failed.value.message
    assert not bench.run_dir.result.exists()
    model.faults.clear()
    run(bench.context, bench.spec)
    assert bench.run_dir.result.exists(), "the retry has what it asked for"


def test_a_server_that_stays_away_is_not_asked_for_its_other_candidates(home: Home) -> None:
    bench = Bench(home, task("judge", 20, repeats=1), candidates=[candidate(), candidate(few_shot=0, system="other")])
    model = ScriptedModel(faults=deque([None, *[DOWN] * 200]))
    with pytest.raises(ServerError) as gone:
        bench.go(model)
    assert gone.value.code == "server_down"
    assert {answer.candidate for answer in read_answers(bench.run_dir.answers)} == {"m"}
    again = ScriptedModel()
    assert len(bench.go(again)) == 40


def test_room_is_made_before_a_load_and_not_where_every_answer_is_there(home: Home) -> None:
    bench = Bench(home, task("judge", 1, repeats=1))
    model, loads_at = ScriptedModel(), []
    for _ in range(2):
        record, tally = (
            AnswerRecord(bench.context, bench.spec, bench.inputs),
            tally_of(bench.context, bench.spec, bench.inputs),
        )
        answer_served(
            bench.context,
            bench.spec,
            bench.candidates,
            model,
            bench.inputs,
            record,
            tally,
            lambda: loads_at.append(len(model.loads)),
        )
    assert (loads_at, len(model.loads)) == ([0], 1)


def test_a_server_that_does_not_let_the_model_go_takes_no_answer_away(home: Home) -> None:
    bench = Bench(home, task("judge", 2, repeats=1))
    model = ScriptedModel()

    def unload() -> None:
        raise BUSY

    model.unload = unload  # type: ignore[method-assign]
    assert [answer.fault for answer in bench.go(model)] == [None, None]
    assert "not_unloaded" in {code for code, _ in _warnings(bench)}


def _warnings(bench: Bench) -> list[tuple[str, str]]:
    events = (event for event, _ in read_lines(bench.context.attempt.events))
    return [(event["code"], event["message"]) for event in events if event["kind"] == "warning"]
