"""A bake-off of served models on the real path: real llama-servers with the real small model, base and tuned, a real runner.

Two models in two ways each, at two tasks, three repeats, once undisturbed and once with a SIGKILL of the job, of the runner and
of the server half-way: the same tables, nothing asked twice, one load a model and one more for each kill of its server. First
the job starts the llama-servers itself, then they stand behind the stand-in with Ollama's API.
"""

from __future__ import annotations

import contextlib
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from core.bakeoff.measured import read_measured
from core.config.golden import GoldenInput
from core.config.model import ModelEntry
from core.config.project import shipped
from core.config.task import Sampling, Task
from core.home import Home, RunDir
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec, ExampleTurn, ServerUnderTest, TaskUnderTest, Variant
from core.results.load import load_bakeoff
from core.scoring.answers import Answer, read_answers
from core.submission.enqueue import store
from core.submission.input_store import keep_document
from tests.support.greetings import SYSTEM, greeting_task
from tests.support.llama_cpp import gguf_of, llama_cpp, small_q8_0, started
from tests.support.ollama_standin import OllamaStandin
from tests.support.queueing import AUTHOR, Queue, kill
from tests.support.waiting import wait_until
from tests.train.conftest import Taught

pytestmark = pytest.mark.train

REPEATS = 3
NAMES = ("Ines", "Jonas")
MODELS = ("base", "tuned")
EXAMPLES = [
    [
        ExampleTurn(role="user", content=name),
        ExampleTurn(role="assistant", content=f"Good morning, {name}. It is ready."),
    ]
    for name in ("Otto", "Pia")
]
WITH_EXAMPLES = Variant(written="few_shot=2", few_shot=2)
ANSWERS = len(MODELS) * 2 * 2 * len(NAMES) * REPEATS
WHOLE_ANSWER = re.compile(r"print_timing: .* total time =")


@dataclass(frozen=True)
class Box:
    """What stands on the machine: a home's queue, and llama-server with the two models' files."""

    queue: Queue
    program: Path
    files: Mapping[str, Path]

    def submit(self, candidates: Callable[[str], dict[str, Any]]) -> int:
        """A bake-off of both models, as they are and with two examples; `candidates` says where one is."""
        home = self.queue.home
        golden = keep_document(
            home,
            [GoldenInput(id=name, input=name, expect={}).model_dump(mode="json") for name in NAMES],
            "golden.json",
            "golden.yaml",
        )
        greet = greeting_task().model_copy(
            update={"sampling": Sampling(temperature=0.2, max_new_tokens=16, context_length=256)}
        )
        short = Task(
            name="short",
            system=f"{SYSTEM} Use one short sentence.",
            sampling=Sampling(temperature=0.0, max_new_tokens=12, context_length=512),
            format=[{"check": "regex", "pattern": r"\A[^.]+\.\s*\Z"}],
        )
        spec = BakeoffSpec(
            tasks=[
                TaskUnderTest(task=task, golden=golden, repeats=REPEATS, examples=EXAMPLES) for task in (greet, short)
            ],
            candidates=[
                CandidateSpec(name=f"{name}{way.written and f' @{way.written}'}", variant=way, **candidates(name))
                for name in MODELS
                for way in (Variant(), WITH_EXAMPLES)
            ],
            llama_server=str(self.program),
        )
        return store(home, shipped(), spec, author=AUTHOR).id

    def run(self, job_id: int) -> RunDir:
        return self.queue.home.run_dir(job_id)

    def answers(self, job_id: int) -> list[Answer]:
        return read_answers(self.run(job_id).answers)

    def wait_for_answers(self, job_id: int, count: int) -> None:
        wait_until(
            lambda: len(self.answers(job_id)) >= count, what=lambda: f"{count} answers: {self.queue.job(job_id)}"
        )

    def finish(self, job_id: int) -> None:
        job = self.queue.wait_for(job_id)
        assert job.state == "done", self.queue.attempt(job_id).log.read_text()

    def finish_whatever_is_killed(self, job_id: int, kill_server: Callable[[], object]) -> None:
        """Let a bake-off come to its end though job, runner and server get a SIGKILL on the way."""
        self.wait_for_answers(job_id, 5)
        kill(self.queue.process(job_id))
        self.queue.wait_for(job_id, "failed")
        self.queue.ask("retry", job_id)
        self.wait_for_answers(job_id, 12)
        self.queue.kill_runner()
        self.queue.start_runner()
        self.wait_for_answers(job_id, 30)
        kill_server()
        self.finish(job_id)

    def assert_same(self, job_id: int, other: int) -> None:
        """The same answers, and the same said of them."""
        assert self.texts(job_id) == self.texts(other)
        assert self.tables(job_id) == self.tables(other)

    def tables(self, job_id: int) -> dict[str, Any]:
        """What the boards say, without what the clock does: scores, and who is told from whom."""
        with self.queue.database() as connection:
            boards = load_bakeoff(self.queue.home, connection, job_id).leaderboards()
        return {
            task: (
                [(row.name, row.format_score, row.consistency, row.missing, dict(row.faults)) for row in board.rows],
                board.tied_set,
                [(one.candidate, one.difference, one.p_adjusted, one.verdict) for one in board.comparisons],
            )
            for task, board in boards.items()
        }

    def texts(self, job_id: int) -> dict[tuple[str, str, str, int], str]:
        return {(one.candidate, one.task, one.input_id, one.repeat): one.text for one in self.answers(job_id)}


@pytest.fixture(scope="module")
def files(taught: Taught, model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The small model in Q8_0, and the same after it has learnt the greeting."""
    merged = ModelEntry(name="tuned", path=str(taught.merged))
    tuned = gguf_of(merged, tmp_path_factory.mktemp("gguf") / "tuned-Q8_0.gguf")
    return {"base": small_q8_0(model_cache), "tuned": tuned}


@pytest.fixture
def box(files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    (tmp_path / "config/bakehouse").mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("BAKEHOUSE_LEASE_DIR", str(tmp_path))
    monkeypatch.setenv("BAKEHOUSE_GPU_SOURCE", "none")
    monkeypatch.setenv("BAKEHOUSE_RUNNER_IDLE_SECONDS", "600")
    queue = Queue(Home(tmp_path / "home").create(), sys.executable, shipped())
    yield Box(queue, llama_cpp().require("llama-server"), files)
    queue.close()


def test_models_that_the_job_serves_itself_whatever_is_killed(box: Box) -> None:
    def candidate(name: str) -> dict[str, Any]:
        return {"form": "gguf", "path": str(box.files[name])}

    quiet = box.submit(candidate)
    box.finish(quiet)
    loads = Counter(one.candidate.partition(" ")[0] for one in read_measured(box.run(quiet).candidates))
    assert loads == {"base": 2, "tuned": 2}, "one load for both ways of a model, noted of each"
    assert whole_answers(box.run(quiet)) == ANSWERS + len(MODELS), "and a warm-up for each model"

    killed = box.submit(candidate)
    box.finish_whatever_is_killed(killed, lambda: kill(llama_server_of(box.queue.process(killed))))
    box.assert_same(killed, quiet)
    noted = [one for one in read_measured(box.run(killed).candidates) if " " not in one.candidate]
    assert len(noted) == len(MODELS) + 2, "with the job its server is gone, too"
    assert whole_answers(box.run(killed)) <= ANSWERS + len(noted) + 2, (
        "what was on its way at a kill, and nothing else, twice"
    )
    assert all(one.fault != "server" for one in box.answers(killed))


def test_models_of_an_ollama_whatever_is_killed(box: Box, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        ollama = stack.enter_context(OllamaStandin(version="0.33.0-rc2", load_seconds=0.2, token_seconds=0.0))
        runners: set[tuple[str, int]] = set()
        ollama.on_residents_changed = lambda held: runners.update((name, pid) for name, _, pid in held)
        for name, file in box.files.items():
            url = stack.enter_context(served(file, tmp_path / f"{name}.log"))
            ollama.add_model(name, generates=lambda prompt, options, url=url: completion(url, prompt, options))
        (tmp_path / "config/bakehouse/settings.yaml").write_text(f"ollama: {{url: '{ollama.url}'}}\n")
        server = ServerUnderTest(name="ollama", api="ollama", url=ollama.url)

        def candidate(name: str) -> dict[str, Any]:
            return {"form": "served", "server": server, "served_model": name}

        quiet = box.submit(candidate)
        box.finish(quiet)
        assert Counter(name for name, _ in runners) == {"base:latest": 1, "tuned:latest": 1}
        asked = asked_of(ollama)
        assert len(asked) == ANSWERS and set(asked.values()) == {1}
        assert windows_of(ollama) == {512}, "one window for a model, the largest that a task wants"

        runners.clear()
        ollama.requests.clear()
        killed = box.submit(candidate)
        box.finish_whatever_is_killed(
            killed, lambda: ollama.kill_runner("tuned" if "tuned:latest" in ollama.listed() else "base")
        )
        box.assert_same(killed, quiet)
        twice = {question: count for question, count in asked_of(ollama).items() if count > 1}
        assert len(asked_of(ollama)) == ANSWERS and len(twice) <= 2 and all(count == 2 for count in twice.values())
        assert 3 <= len(runners) <= 4, (
            "a load a model, one for the killed server, and one where the killed job's model had gone"
        )
        wait_until(lambda: not ollama.listed(), what="an Ollama that holds what it held before: nothing")


def whole_answers(run: RunDir) -> int:
    """How many answers the llama-servers of a job gave to their end, by their own logs."""
    logs = [log for attempt in run.attempts() for log in attempt.path.glob("llama-server*.log")]
    assert logs
    return sum(len(WHOLE_ANSWER.findall(log.read_text(errors="replace"))) for log in logs)


def llama_server_of(job: int) -> int:
    """The pid of the llama-server that a job has running."""

    def found() -> int | None:
        children = psutil.Process(job).children(recursive=True)
        return next((child.pid for child in children if child.name() == "llama-server"), None)

    return wait_until(found, what="the job's llama-server") or 0


def asked_of(ollama: OllamaStandin) -> Counter[tuple[Any, ...]]:
    """How often each answer was asked for; a warm-up wants fewer tokens and is none."""
    bodies = [asked.body or {} for asked in ollama.requests if asked.path == "/api/chat"]
    return Counter(
        (body["model"], str(body["messages"]), body["options"]["seed"])
        for body in bodies
        if body.get("messages") and body["options"]["num_predict"] > 4
    )


def windows_of(ollama: OllamaStandin) -> set[int]:
    bodies = [asked.body or {} for asked in ollama.requests if asked.path in {"/api/chat", "/api/generate"}]
    return {body["options"]["num_ctx"] for body in bodies if "num_ctx" in body.get("options", {})}


@contextlib.contextmanager
def served(file: Path, log: Path) -> Iterator[str]:
    """The address of a llama-server that the test started."""
    url, process = started(file, log, "-c", "512", "-np", "1")
    try:
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def completion(url: str, prompt: str, options: Mapping[str, Any]) -> str:
    """The real model's continuation, computed from the first token on, so that it depends on nothing before it."""
    request = {
        "prompt": prompt,
        "n_predict": options["num_predict"],
        "cache_prompt": False,
        "stop": ["<|im_end|>"],
        **{key: options[key] for key in ("temperature", "seed", "repeat_penalty", "top_k", "top_p") if key in options},
    }
    reply = httpx.post(f"{url}/completion", json=request, timeout=None)
    return str(reply.raise_for_status().json()["content"])
