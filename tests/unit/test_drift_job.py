"""A check for drift with a scripted server: what is asked, what is compared, and when a loss is told."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.config.golden import GoldenInput
from core.config.model import ModelEntry
from core.config.task import Sampling, Task
from core.drift.loss import PartChange, score_change
from core.drift.smoke import MOST_INPUTS, MOST_TOKENS, smoke_file
from core.errors import BakehouseError
from core.files import read_json
from core.home import Home, RunDir
from core.jobfile.bakeoff import CandidateSpec, ServerUnderTest, TaskUnderTest
from core.jobfile.drift import CheckedVersion, DriftSpec, StoredVerdict
from core.jobfile.spec import InputFile
from core.parity.gate import ParityReport
from core.reasons import Reason
from core.serving.answering import Question
from core.serving.errors import ServerError
from core.wording.drift import drift_words, smoke_words
from jobs.context import JobContext, StopRequested
from jobs.drift import check_drift
from jobs.parity import Checked
from tests.support.job_files import job_file
from tests.support.scripted_model import REFUSED, ScriptedModel

SERVER = ServerUnderTest(name="s", api="ollama", url="http://127.0.0.1:1")
ALIAS = CandidateSpec(name="vault-judge", form="served", server=SERVER, served_model="vault-judge")
RIGHT = "verdict: yes"
TRAINED = ModelEntry(name="small", path="/nowhere")
CHECK = [{"check": "regex", "pattern": "^verdict: "}]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.bakeoff.asking.pause_before_retry", lambda error, tries, source: None)
    monkeypatch.setattr("jobs.patience.pause_before_retry", lambda error, tries, source: None)


class Check:
    """A home with one alias, its golden inputs and a verdict of full scores; each check is a job of its own."""

    def __init__(self, folder: Path, inputs: int = 12, temperature: float = 0.7) -> None:
        self.home = Home(folder / "home").create()
        golden = [GoldenInput(id=f"i{number}", input=f"text {number}") for number in range(inputs)]
        path = folder / "golden.json"
        path.write_text(json.dumps([item.model_dump(mode="json") for item in golden]))
        file = InputFile(path=str(path), sha256="0" * 64, source="golden.yaml")
        sampling = Sampling(temperature=temperature, context_length=512, max_new_tokens=256)
        task = Task(name="judge", system="judge", sampling=sampling, format=CHECK, margin=0.1)
        self.under_test = TaskUnderTest(task=task, golden=file, repeats=2)
        self.verdict: StoredVerdict | None = StoredVerdict(
            bakeoff=7, candidate="m", scores={"format": {item.id: 1.0 for item in golden}}
        )
        self.version = CheckedVersion(
            alias_id=1, version_id=4, number=2, weights="w", template=None, server_version="1.0"
        )
        self.model = ScriptedModel(write=lambda question: RIGHT)
        self.model.becomes(version="1.0")
        self.jobs = 0
        self.baseline: RunDir | None = None

    def run(self, *, attempt: int = 1, again: bool = False, **more: Any) -> dict[str, Any]:
        """One check to its end; the summary of its result. `again`: another attempt of the last job."""
        self.jobs += 0 if again else 1
        run = self.home.run_dir(self.jobs)
        folder = run.attempt(attempt)
        folder.path.mkdir(parents=True, exist_ok=True)
        baseline = None
        if self.baseline is not None:
            baseline = InputFile(path=str(smoke_file(self.baseline)), sha256="0" * 64, source="smoke.json")
        spec = DriftSpec(
            version=self.version,
            asked=ALIAS,
            under_test=self.under_test,
            **({} if "model" in more else {"not_checked": "no_lineage"}),
            baseline=baseline,
            verdict=self.verdict,
            **more,
        )
        job_file(self.home, spec, self.jobs).save(run)
        check_drift(JobContext.open(run, folder), spec, lambda: self.model)  # type: ignore[arg-type, return-value]
        result = read_json(run.result)
        assert result["kind"] == "drift" and result["message"]
        summary: dict[str, Any] = result["summary"]
        return summary

    def take_baseline(self) -> None:
        assert self.run()["outcome"] == "baseline_taken"
        self.baseline = self.home.run_dir(self.jobs)
        self.model.asked.clear()

    def asked(self, *, greedy: bool) -> list[Question]:
        """What was asked for, without warm-ups."""
        return [one for one in self.model.asked if (one.temperature == 0) is greedy and one.max_new_tokens > 4]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    return Check(tmp_path)


def wrong_in(check: Check, runs: set[str]) -> Callable[[Question], str]:
    """Answers that are wrong in the greedy set, the first run of all inputs, or the second, told apart by seeds."""
    first: set[int] = set()

    def write(question: Question) -> str:
        if question.temperature == 0:
            return "no" if "smoke" in runs else RIGHT
        # The first run has 24 questions with a seed each, and those of the second are others.
        if len(first) < 24:
            first.add(question.seed)
        run = "first" if question.seed in first else "second"
        return "no" if run in runs else RIGHT

    return write


def test_the_first_check_stores_few_greedy_answers_and_asks_nothing_else(check: Check) -> None:
    summary = check.run()
    assert (summary["outcome"], summary["asked_all"], summary["first"]) == ("baseline_taken", False, None)
    asked = check.asked(greedy=True)
    assert len(asked) == MOST_INPUTS and {one.max_new_tokens for one in asked} == {MOST_TOKENS}
    assert check.asked(greedy=False) == []
    assert smoke_words(summary["smoke"]) == "5 greedy answers stored: later checks are held to them"
    stored = read_json(smoke_file(check.home.run_dir(1)))
    assert [one["text"] for one in stored["answers"]] == [RIGHT] * MOST_INPUTS
    assert check.model.unloads > 0


def test_the_same_answers_are_no_drift_also_on_another_version_of_the_server(check: Check) -> None:
    check.take_baseline()
    check.model.becomes(version="2.0")
    summary = check.run()
    assert (summary["outcome"], summary["changed"], summary["asked_all"]) == ("same", ["version"], False)
    assert summary["server_version"] == "2.0" and len(summary["smoke"]["same"]) == MOST_INPUTS


def test_another_answer_has_all_inputs_asked_and_is_no_loss_where_the_scores_are_those_of_before(check: Check) -> None:
    check.take_baseline()
    check.model.write = lambda question: f"{RIGHT}, now"
    summary = check.run()
    assert (summary["outcome"], len(summary["smoke"]["differing"])) == ("differs_no_loss", MOST_INPUTS)
    assert smoke_words(summary["smoke"]) == "5 of 5 greedy answers differ"
    found = summary["first"]["parts"]["format"]
    assert (found["before"], found["now"], found["is_loss"], found["inputs"]) == (1.0, 1.0, False, 12)
    assert not found["no_worse"], "12 inputs do not rule out a loss of a tenth"
    assert summary["second"] is None and len(check.asked(greedy=False)) == 24


@pytest.mark.parametrize(
    ("wrong", "outcome"),
    [({"smoke", "first", "second"}, "loss"), ({"smoke", "first"}, "differs_no_loss")],
    ids=["both runs", "the first alone"],
)
def test_a_loss_is_told_only_when_a_second_run_shows_it(check: Check, wrong: set[str], outcome: str) -> None:
    check.take_baseline()
    check.model.write = wrong_in(check, wrong)
    summary = check.run()
    assert summary["outcome"] == outcome
    assert summary["first"]["parts"]["format"]["is_loss"]
    assert summary["second"]["parts"]["format"]["is_loss"] is (outcome == "loss")
    assert summary["lost"] == (["format"] if outcome == "loss" else [])
    seeds = [one.seed for one in check.asked(greedy=False)]
    assert len(seeds) == 48 and not set(seeds[:24]) & set(seeds[24:])


def test_a_model_changed_before_the_first_check_has_all_inputs_asked(check: Check) -> None:
    check.model.becomes(weights="other")
    summary = check.run()
    assert (summary["outcome"], summary["changed"]) == ("differs_no_loss", ["weights"])
    check.verdict = None
    summary = check.run()
    assert (summary["outcome"], summary["asked_all"]) == ("differs_unknown", False)


def test_on_request_all_inputs_are_asked_though_nothing_differs(check: Check) -> None:
    check.take_baseline()
    summary = check.run(full=True)
    assert (summary["outcome"], summary["first"]["parts"]["format"]["difference"]) == ("same", 0.0)
    check.verdict = None
    summary = check.run(full=True)
    assert (summary["outcome"], summary["asked_all"]) == ("same", False), "there is nothing to hold them to"


def test_other_prompts_than_in_training_have_all_inputs_asked_and_are_told(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    check.take_baseline()
    report = ParityReport((), (Reason("lost_bos"),))
    checked = Checked(None, "s:vault-judge", "w", "1.0")
    monkeypatch.setattr("jobs.drift.check_served", lambda *given: (checked, report))
    summary = check.run(model=TRAINED)
    assert (summary["outcome"], summary["asked_all"], summary["lost"]) == ("prompts_differ", True, [])
    assert summary["prompts"]["finding"] == {"code": "lost_bos", "values": {}}
    assert "beginning-of-text token" in drift_words(summary)
    assert read_json(check.home.run_dir(check.jobs).parity)["passed"] is False


def test_a_server_that_shows_no_prompts_is_checked_without_them(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    def shows_none(*given: object) -> None:
        raise ServerError("shows none", code="no_render")

    monkeypatch.setattr("jobs.drift.check_served", shows_none)
    summary = check.run(model=TRAINED)
    assert (summary["outcome"], summary["prompts"]["checked"], summary["prompts"]["why"]) == (
        "baseline_taken",
        False,
        "no_render",
    )


def test_what_cannot_be_compared_is_unknown(check: Check) -> None:
    check.take_baseline()
    task = check.under_test.task.model_copy(update={"system": "judge well"})
    check.under_test = check.under_test.model_copy(update={"task": task})
    summary = check.run()
    assert set(summary["smoke"]["unknown"].values()) == {"asked_otherwise"}
    assert summary["outcome"] == "baseline_taken"


def changed(differences: list[float], margin: float = 0.1) -> PartChange:
    """What is said of one part of which each input has changed so."""
    golden = [GoldenInput(id=f"i{number}", input="") for number in range(len(differences))]
    task = Task.model_validate({"name": "t", "margin": margin, "format": CHECK})
    full = 1.0 if min(differences) < 0 else 0.0
    before = {item.id: full for item in golden}
    now = {item.id: full + change for item, change in zip(golden, differences, strict=True)}
    return score_change(task, golden, {"format": before}, {"format": now}).parts["format"]


@pytest.mark.parametrize(
    ("differences", "is_loss", "no_worse"),
    [
        ([-0.5] * 3, False, False),  # so few that chance may do it
        ([-1.0] * 4 + [0.0] * 8, False, False),  # one chance in sixteen that none of them went up
        ([-0.12] * 12, True, False),  # a little at each
        ([-0.5] * 4 + [0.0] * 16, False, False),
        ([-0.5] * 8 + [0.0] * 8, True, False),
        ([0.0] * 12, False, False),  # none seen, and one in five could be lost
        ([0.0] * 40, False, True),
        ([-0.02] * 200, False, True),  # less than the margin
        ([0.3] * 12, False, True),
    ],
)
def test_a_loss_is_shown_ruled_out_or_neither(differences: list[float], is_loss: bool, no_worse: bool) -> None:
    found = changed(differences)
    assert (found.is_loss, found.no_worse) == (is_loss, no_worse) and found.low <= found.difference


def test_what_is_not_answered_now_counts_as_lost_before_a_loss_is_ruled_out() -> None:
    golden = [GoldenInput(id=f"i{number}", input="") for number in range(60)]
    task = Task.model_validate({"name": "t", "margin": 0.05, "format": CHECK})
    before = {item.id: 1.0 for item in golden}
    answered = {name: score for name, score in before.items() if name != "i7"}
    whole, holed = (score_change(task, golden, {"format": before}, {"format": now}) for now in (before, answered))
    assert whole.parts["format"].no_worse and not holed.parts["format"].no_worse and holed.missing == 1
    assert holed.parts["format"].difference == 0 and holed.parts["format"].low < whole.parts["format"].low


def test_another_attempt_asks_for_what_is_missing(check: Check) -> None:
    check.take_baseline()
    check.model.write = lambda question: "no"
    run = check.home.run_dir(check.jobs + 1)

    def stop(number: int) -> None:
        if len(check.asked(greedy=False)) == 30:
            attempt = run.attempt(1)
            attempt.stop_request.write_text('{"why": "cancel"}')

    check.model.at_ask = stop
    with pytest.raises(StopRequested):
        check.run()
    asked_before = len(check.asked(greedy=False)), len(check.asked(greedy=True))
    assert asked_before[0] < 48 and asked_before[1] == MOST_INPUTS
    summary = check.run(attempt=2, again=True)
    assert summary["outcome"] == "loss"
    asked = [(one.messages, one.seed) for one in check.asked(greedy=False)]
    assert len(set(asked)) == 48 and len(asked) <= 49, "at most the one that was on its way is asked for again"
    assert len(check.asked(greedy=True)) == MOST_INPUTS


def test_a_model_that_is_replaced_meanwhile_is_not_judged(check: Check) -> None:
    check.take_baseline()
    check.model.at_ask = lambda number: check.model.becomes(weights="other") if number == 4 else None
    with pytest.raises(ServerError, match="changed while it was checked"):
        check.run()


def test_a_server_that_answers_nothing_fails_the_check(check: Check) -> None:
    check.model.faults = deque([REFUSED] * 50)
    with pytest.raises(BakehouseError) as raised:
        check.run()
    assert raised.value.code in ("not_served", "server_refused")
