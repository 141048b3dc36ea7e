"""A judge at the stand-in of Ollama, with real runners and jobs: killed, away, asked later, rescored, its rubric changed."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.files import read_lines
from core.scoring.verdicts import answer_sha256
from core.store.database import transaction
from core.store.marks import Mark, insert_mark
from core.store.verdicts import JudgeVerdict, list_verdicts
from tests.support.commands import called
from tests.support.ollama_requests import Asked
from tests.support.ollama_standin import OllamaStandin
from tests.support.projects import write_files
from tests.support.queueing import Queue, kill
from tests.support.waiting import wait_until

INPUTS = 4
VERDICTS = 3 * INPUTS
WRITER, GRADER = "writer", "grader"
RIGHT = '{"reason": "It fits.", "verdict": %s}'
PATIENCE = 120.0


def task(rubric: str = "Is it true to the note?") -> str:
    return f"""\
system: Answer in one line.
repeats: 1
sampling: {{temperature: 0.0, max_new_tokens: 20, context_length: 512}}
golden: golden/notes.yaml
format:
  - {{check: regex, pattern: "^answer: "}}
content:
  - {{check: judge, id: graded, model: "served:{GRADER}", rubric: {rubric}}}
  - {{check: judge, id: compared, model: "served:{GRADER}", rubric: {rubric}, against: expect.reference}}
"""


class Judged:
    """A project whose task is judged, a server with a writer and a grader, and what the grader was asked."""

    def __init__(self, queue: Queue, folder: Path, server: OllamaStandin) -> None:
        self.queue, self.server, self.root = queue, server, folder / "project"
        golden = "".join(
            f"- {{id: g{number}, input: Note {number}., expect: {{reference: 'answer: {number}'}}}}\n"
            for number in range(INPUTS)
        )
        write_files(
            self.root,
            {"bakehouse.yaml": "id: vault\n", "configs/tasks/notes.yaml": task(), "golden/notes.yaml": golden},
        )
        self.stands_at: int | None = None
        self.go_on = threading.Event()
        self.asked: list[str] = []
        self._lock = threading.Lock()
        server.add_model(WRITER, load_seconds=0.05, answer="answer: so it is")
        self.grade()

    def grade(self) -> None:
        """The grader is there."""
        self.server.add_model(GRADER, load_seconds=0.05, answer=self._verdict)

    def _verdict(self, prompt: str) -> str:
        with self._lock:
            self.asked.append(prompt)
            number = len(self.asked)
        if self.stands_at is not None and number > self.stands_at:
            self.go_on.wait(PATIENCE)
        # What stands first is better, whatever it is; else a number by the note.
        return RIGHT % ('"A"' if "ANSWER B" in prompt else "5" if "Note 0" in prompt else "2")

    def run(self, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
        code, out, _ = called(capsys, [*words, "--json"])
        return code, json.loads(out)

    def verdicts(self) -> list[JudgeVerdict]:
        with self.queue.database() as connection:
            return list_verdicts(connection)


@pytest.fixture
def judged(machine: Path, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> Iterator[Judged]:
    monkeypatch.setenv("BAKEHOUSE_HOME", str(queue.home.root))
    with OllamaStandin("0.31.0", token_seconds=0.0) as server, contextlib.ExitStack() as end:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        made = Judged(queue, machine, server)
        monkeypatch.chdir(made.root)
        end.callback(made.go_on.set)
        yield made


def test_a_killed_bakeoff_asks_its_judge_nothing_twice_and_its_verdicts_are_its_content(
    judged: Judged, capsys: pytest.CaptureFixture[str]
) -> None:
    judged.stands_at = 5
    _, document = judged.run(capsys, "bakeoff", "notes", f"served:{WRITER}")
    job = document["job"]["id"]
    file = judged.queue.home.run_dir(job).verdicts
    wait_until(lambda: len(judged.asked) == 6 and len(list(read_lines(file))) == 5, what="a judge in the middle")
    wait_until(lambda: len(judged.verdicts()) == 5, what="verdicts in the store while the job runs")
    kill(judged.queue.process(job))
    judged.queue.wait_for(job, "failed", "lost", "interrupted")
    with file.open("a") as torn:
        torn.write('{"key": "torn')
    judged.stands_at = None
    judged.go_on.set()
    judged.queue.ask("retry", job)
    judged.queue.wait_for(job, "done")
    asked = Counter(judged.asked)
    assert len(asked) == VERDICTS and sum(asked.values()) == VERDICTS + 1, "the one that nobody heard is asked again"
    found = judged.verdicts()
    assert len(found) == VERDICTS and {one.bakeoff_job_id for one in found} == {job}
    assert {(one.ask_order, one.value) for one in found} == {("AB", 1.0), ("BA", 0.0), ("", 1.0), ("", 0.25)}

    _, shown = judged.run(capsys, "results", str(job))
    (row,) = shown["leaderboard"]["rows"]
    assert row["content_score"] == pytest.approx((0.5 + (1.0 + 3 * 0.25) / 4) / 2) and row["unjudged"] == 0
    graded, compared = shown["leaderboard"]["judges"]
    assert graded["judged"] == INPUTS and graded["marks"] is None
    assert compared["orders"]["share"] == 0 and compared["orders"]["kappa"] <= 0
    # Another bake-off that answers the same asks for nothing.
    judged.run(capsys, "bakeoff", "notes", f"served:{WRITER}", "--wait")
    assert len(judged.asked) == VERDICTS + 1 and len(judged.verdicts()) == 2 * VERDICTS


def test_a_judge_that_is_away_is_asked_later_and_a_changed_rubric_is_asked_for_by_nobody(
    judged: Judged, capsys: pytest.CaptureFixture[str]
) -> None:
    judged.server.remove_model(GRADER)
    code, document = judged.run(capsys, "bakeoff", "notes", f"served:{WRITER}")
    assert code == 4 and "grader" in document["error"]["message"], "a model that its server does not have is no judge"

    # It goes between submission and its turn.
    judged.grade()

    def goes(asked: Asked) -> None:
        if asked.path == "/api/chat" and f"{GRADER}:latest" in judged.server.models:
            judged.server.remove_model(GRADER)

    judged.server.on_request = goes
    code, document = judged.run(capsys, "bakeoff", "notes", f"served:{WRITER}", "--wait")
    assert code == 0 and document["job"]["state"] == "done", "the bake-off is scored all the same"
    job = document["job"]["id"]
    (row,) = document["leaderboard"]["rows"]
    assert (row["format_score"], row["content_score"], row["unjudged"]) == (1.0, None, INPUTS)
    judged.server.on_request = None
    code, told, _ = called(capsys, ["results", str(job)])
    assert code == 0
    assert f"{INPUTS} of {INPUTS} answers are not judged" in told.replace("\n  ", " ")
    assert f"`bakehouse results {job} --judge`" in told.replace("\n  ", " ")
    assert not judged.asked

    judged.grade()
    code, document = judged.run(capsys, "results", str(job), "--judge", "--wait")
    assert code == 0 and document["job"]["kind"] == "judging", document
    (row,) = document["leaderboard"]["rows"]
    assert row["unjudged"] == 0 and row["content_score"] == pytest.approx((0.5 + (1.0 + 3 * 0.25) / 4) / 2)
    assert document["scoring"]["number"] == 1 and {one["kind"] for one in document["scoring"]["changes"]} == {"judged"}
    assert len(judged.asked) == VERDICTS
    code, document = judged.run(capsys, "results", str(job), "--judge")
    assert code == 2 and document["error"]["code"] == "nothing_to_judge"

    # What a person says of the answers is beside it from now on.
    with judged.queue.database() as connection, transaction(connection):
        for number in range(INPUTS):
            text = answer_sha256("answer: so it is")
            insert_mark(
                connection, Mark("vault", "notes", f"i{number}", f"g{number}", text, float(number < 2), "", "anna", 1.0)
            )
    _, shown = judged.run(capsys, "results", str(job))
    assert shown["leaderboard"]["judges"][0]["marks"]["pairs"] == INPUTS
    assert shown["leaderboard"]["judges"][0]["marks"]["share"] == 0.75

    (judged.root / "configs/tasks/notes.yaml").write_text(task("Is it short?"))
    _, shown = judged.run(capsys, "results", str(job), "--rescore")
    (row,) = shown["leaderboard"]["rows"]
    assert row["unjudged"] == INPUTS and row["content_score"] is None
    assert shown["leaderboard"]["judges"][0]["outdated"] == VERDICTS
    assert len(judged.asked) == VERDICTS, "rescoring asks nobody"
    (judged.root / "configs/tasks/notes.yaml").write_text(task())
    _, shown = judged.run(capsys, "results", str(job), "--rescore")
    assert shown["leaderboard"]["rows"][0]["unjudged"] == 0, "what was said of the former rubric counts again"
    assert len(judged.asked) == VERDICTS
