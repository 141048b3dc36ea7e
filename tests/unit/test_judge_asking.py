"""A judge asked for its verdicts: each once, written down as they come, whatever becomes of it meanwhile."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.config.golden import GoldenInput
from core.config.task import Sampling, Task
from core.files import read_json, read_lines, write_json
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec, ServerUnderTest, TaskUnderTest
from core.jobfile.spec import InputFile
from core.scoring.verdicts import GivenVerdict, append_verdict, read_verdicts
from core.serving.answering import Capabilities, Question
from core.serving.errors import ServerError
from jobs.bakeoff.job import run
from jobs.bakeoff.judges import MOST_FAILURES_IN_A_ROW
from jobs.context import JobContext, StopRequested
from tests.support.job_files import job_file
from tests.support.scripted_model import BUSY, DOWN, REFUSED, ScriptedModel

SERVER = ServerUnderTest(name="s", api="ollama", url="http://127.0.0.1:1", is_local=False)
JUDGE = {"check": "judge", "model": "s:judge", "rubric": "Is it right?"}
AGAINST = {**JUDGE, "id": "against", "against": "expect.reference"}
INPUTS = 4


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are the policy's, which has tests of its own."""

    def at_once(error: ServerError, tries: int, source: object) -> float | None:
        return 0.0 if error.is_transient and tries < 4 else None

    for module in ("jobs.patience", "jobs.bakeoff.judges", "jobs.bakeoff.asking"):
        monkeypatch.setattr(f"{module}.pause_before_retry", at_once)


def says(verdict: str) -> Callable[[Question], str]:
    return lambda question: f"So it is.\nVERDICT: {verdict}"


def served(name: str, model: str) -> CandidateSpec:
    return CandidateSpec(name=name, form="served", server=SERVER, served_model=model)


class JudgedBench:
    """A bake-off of one served candidate with its judge, without their processes: the real job, record and files."""

    def __init__(self, home: Home, monkeypatch: pytest.MonkeyPatch, *content: dict[str, Any], **more: Any) -> None:
        golden = [
            {"id": f"i{number}", "input": f"note {number}", "expect": {"reference": f"65 for {number}"}}
            for number in range(INPUTS)
        ]
        file = home.root / "golden.json"
        write_json(file, [GoldenInput.model_validate(one).model_dump() for one in golden])
        task = Task.model_validate(
            {
                "name": "t",
                "repeats": 1,
                "sampling": Sampling(context_length=512, max_new_tokens=64).model_dump(),
                "format": [{"check": "regex", "id": "line", "pattern": "answer"}],
                "content": list(content or [JUDGE]),
            }
        )
        under_test = TaskUnderTest(task=task, golden=InputFile(path=str(file), sha256="0" * 64, source="g"), repeats=1)
        self.spec = BakeoffSpec(
            tasks=[under_test], candidates=[served("c", "cand")], judges=[served("s:judge", "judge")], **more
        )
        self.run_dir = home.run_dir(1)
        self.run_dir.path.mkdir(parents=True)
        job_file(home, self.spec, 1).save(self.run_dir)
        self.candidate, self.judge = ScriptedModel(), ScriptedModel(write=says("4"))
        self.attempts = 0
        models = {"cand": lambda: self.candidate, "judge": lambda: self.judge}
        # The manifest asks git, in a process of its own.
        for name in ("start_manifest", "extend_manifest"):
            monkeypatch.setattr(f"jobs.bakeoff.job.{name}", lambda context, **values: None)
        for module in ("jobs.bakeoff.job", "jobs.bakeoff.judges"):
            monkeypatch.setattr(f"{module}.opened", lambda server, model: models[model]())

    def go(self) -> dict[str, Any]:
        """One attempt; what came of it."""
        self.attempts += 1
        attempt = self.run_dir.attempt(self.attempts)
        attempt.path.mkdir()
        run(JobContext.open(self.run_dir, attempt), self.spec)
        result: dict[str, Any] = read_json(self.run_dir.result)["summary"]
        return result

    @property
    def verdicts(self) -> list[GivenVerdict]:
        return read_verdicts(self.run_dir.verdicts)

    @property
    def content(self) -> float | None:
        value: float | None = read_json(self.run_dir.result)["summary"]["candidates"][0]["content_score"]
        return value

    def asked(self) -> Counter[tuple[str, str]]:
        """How often the judge was asked each question."""
        return Counter((question.messages[0][1], question.messages[1][1]) for question in self.judge.asked)

    def warnings(self) -> list[str]:
        """The codes of the last attempt."""
        events = (event for event, _ in read_lines(self.run_dir.attempt(self.attempts).events))
        return [event["code"] for event in events if event["kind"] == "warning"]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


def test_the_judge_is_asked_last_loaded_once_and_its_verdicts_are_the_content(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = JudgedBench(home, monkeypatch)
    order: list[str] = []
    bench.candidate.at_ask = lambda number: order.append("candidate")
    bench.judge.at_ask = lambda number: order.append("judge")
    result = bench.go()
    assert order == ["candidate"] * (1 + INPUTS) + ["judge"] * INPUTS, "one warm-up of the candidate, none of the judge"
    assert len(bench.judge.loads) == 1 and bench.judge.unloads == 1
    assert {verdict.value for verdict in bench.verdicts} == {0.75} and bench.content == 0.75
    assert result["judges"][0]["judge"] == "s:judge" and result["judges"][0]["verdicts"] == INPUTS
    assert {question.temperature for question in bench.judge.asked} == {0.0}


def test_both_orders_and_each_ask_are_asked_once(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A judge that always prefers what it reads first has no say."""
    bench = JudgedBench(home, monkeypatch, {**AGAINST, "asks": 2})
    bench.judge.write = says("A")
    bench.go()
    places = Counter((verdict.ask_order, verdict.ask) for verdict in bench.verdicts)
    assert places == {(order, ask): INPUTS for order in ("AB", "BA") for ask in (1, 2)}
    assert {(verdict.ask_order, verdict.value) for verdict in bench.verdicts} == {("AB", 1.0), ("BA", 0.0)}
    assert bench.content == 0.5
    assert set(bench.asked().values()) == {2}, "each order once greedily, once sampled"


def test_the_same_text_of_several_answers_is_judged_once(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = JudgedBench(home, monkeypatch)
    bench.spec = bench.spec.model_copy(update={"candidates": [served("c", "cand"), served("d", "cand")]})
    bench.candidate.write = lambda question: "answer"
    bench.go()
    assert len(bench.judge.asked) == INPUTS and bench.content == 0.75


@pytest.mark.parametrize(
    ("able", "reply"), [(Capabilities(), "Good."), (Capabilities(formats=frozenset({"schema"})), '{"rea')]
)
def test_what_cannot_be_read_is_asked_once_more_and_then_unknown(
    home: Home, monkeypatch: pytest.MonkeyPatch, able: Capabilities, reply: str
) -> None:
    bench = JudgedBench(home, monkeypatch)
    bench.judge.able, bench.judge.write = able, lambda question: reply
    bench.go()
    assert len(bench.judge.asked) == 2 * INPUTS
    assert [question.output is None for question in bench.judge.asked] == [not able.formats] * (2 * INPUTS)
    assert [(verdict.value, verdict.tries) for verdict in bench.verdicts] == [(None, 2)] * INPUTS
    assert bench.content is None and "unread_verdicts" in bench.warnings()
    bench.go()
    assert len(bench.judge.asked) == 2 * INPUTS, "one job does not ask for it again"


def test_a_second_reply_that_can_be_read_counts(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = JudgedBench(home, monkeypatch)
    bench.judge.write = lambda question: "VERDICT: 2" if question.max_new_tokens < 100 else "Let me think about it."
    bench.go()
    assert bench.content == 0.25 and {verdict.tries for verdict in bench.verdicts} == {2}


def test_a_reply_that_was_cut_is_no_verdict(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """`VERDICT: 1` may have gone on as 10."""
    bench = JudgedBench(home, monkeypatch, {**JUDGE, "scale": [0, 10]})
    bench.judge.write, bench.judge.finish = says("1"), "length"
    bench.go()
    assert bench.content is None


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_judge_that_was_stopped_goes_on_and_is_asked_nothing_twice(
    home: Home, monkeypatch: pytest.MonkeyPatch, concurrency: int
) -> None:
    bench = JudgedBench(home, monkeypatch, JUDGE, AGAINST, concurrency=concurrency)
    bench.judge.write = lambda question: "VERDICT: A" if "ANSWER B" in question.messages[1][1] else "VERDICT: 4"

    def stop(number: int) -> None:
        if number == 6:
            write_json(bench.run_dir.attempt(1).stop_request, {"why": "pause"})

    bench.judge.at_ask = stop
    with pytest.raises(StopRequested):
        bench.go()
    there = {verdict.key for verdict in bench.verdicts}
    assert 0 < len(there) < 3 * INPUTS
    before = len(bench.judge.asked)
    bench.judge.at_ask = lambda number: None
    bench.go()
    assert len(bench.verdicts) == 3 * INPUTS and there < {verdict.key for verdict in bench.verdicts}
    assert len(bench.judge.asked) - before == 3 * INPUTS - len(there)
    bench.go()
    assert len(bench.judge.asked) - before == 3 * INPUTS - len(there), "nor a judge that has said it all"


def test_a_judge_whose_server_is_away_costs_the_content_and_nothing_else(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = JudgedBench(home, monkeypatch, JUDGE, {"check": "contains_any", "values": ["answer"]})
    bench.judge.faults = deque([None] + [DOWN] * 100)
    bench.go()
    (row,) = read_json(bench.run_dir.result)["summary"]["candidates"]
    assert row["format_score"] == 1.0 and row["answers"] == INPUTS
    assert row["content_score"] == pytest.approx((0.75 + 1) / 2), "of the one that was judged"
    assert "not_judged" in bench.warnings() and len(bench.verdicts) == 1
    # Four requests each that the policy allows, and then it is let alone.
    assert len(bench.judge.asked) <= 1 + 4 * MOST_FAILURES_IN_A_ROW
    bench.judge.faults.clear()
    bench.go()
    assert len(bench.verdicts) == INPUTS and bench.content == pytest.approx((0.75 + 1) / 2)


def test_a_judge_that_nobody_can_open_is_told_and_the_bakeoff_is_scored(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = JudgedBench(home, monkeypatch)

    def gone(server: object, model: str) -> ScriptedModel:
        raise ServerError("no such model", code="model_not_found")

    monkeypatch.setattr("jobs.bakeoff.judges.opened", gone)
    bench.go()
    assert bench.content is None and "not_judged" in bench.warnings()


def test_what_a_server_does_wrong_for_a_moment_is_asked_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = JudgedBench(home, monkeypatch)
    bench.judge.faults = deque([BUSY, None, BUSY, BUSY, None, REFUSED])
    bench.go()
    assert len(bench.verdicts) == INPUTS - 1, "what it refuses is missing, and the others are not"


def test_a_judge_that_is_replaced_half_way_is_asked_for_all_of_it_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = JudgedBench(home, monkeypatch)
    monkeypatch.setattr("jobs.bakeoff.in_flight.SECONDS_BETWEEN_STAMPS", 0.0)

    def replaced(number: int) -> None:
        if number == 3:
            bench.judge.write = says("1")
            bench.judge.becomes(weights="others")

    bench.judge.at_ask = replaced
    bench.go()
    assert bench.content == 0.0, "of the judge that is there now"
    assert "judge_changed" in bench.warnings()
    assert len([one for one in bench.verdicts if one.judge_identity == bench.judge.who.sha256]) == INPUTS
    assert len(bench.judge.loads) == 2


def test_a_window_that_is_shorter_than_the_longest_question_might_need_is_no_reason_not_to_ask(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = JudgedBench(home, monkeypatch)

    def short(context_length: int) -> None:
        raise ServerError("a window of 512", code="context_overflow")

    monkeypatch.setattr(bench.judge, "load", short)
    bench.go()
    assert bench.content == 0.75


def test_what_another_bakeoff_was_told_is_not_asked_for_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = JudgedBench(home, monkeypatch)
    bench.go()
    first = bench.verdicts
    kept = home.root / "kept.jsonl"
    for number, verdict in enumerate(first):
        append_verdict(kept, replace(verdict, value=None if number == 0 else verdict.value, candidate="x"))
    bench.run_dir.verdicts.unlink()
    bench.run_dir.answers.unlink()
    bench.spec = bench.spec.model_copy(
        update={"earlier_verdicts": InputFile(path=str(kept), sha256="0" * 64, source="v")}
    )
    before = len(bench.judge.asked)
    result = bench.go()
    assert len(bench.judge.asked) - before == 1, "the one that could not be read"
    assert result["judges"][0]["verdicts"] == 1, "what a verdict takes is reckoned by those that were asked for"
    assert {(one.key, one.candidate) for one in bench.verdicts} == {(one.key, "c") for one in first}
