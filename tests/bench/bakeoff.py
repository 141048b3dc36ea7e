"""What a bake-off adds to the time that a server needs for its answers: whole processes side by side against one llama-server.

Each round runs, one after the other: a bare loop over httpx, the bake-off's job, and promptfoo and inspect_ai where they are
installed (PROMPTFOO and INSPECT name their programs, else PATH is searched). All ask the same questions with the same options,
one at a time. `answers` is the time from the first question to the last answer, `whole` that of the process. Needs
llama-server (LLAMA_CPP_DIR or PATH) and a GGUF file (`--model`, else the small model of the tests). Takes 5 to 15 minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from core.config.golden import GoldenInput
from core.config.task import Sampling, Task
from core.files import read_json, read_lines, write_json
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec, ServerUnderTest, TaskUnderTest
from core.scoring.questions import answer_seed
from core.submission.input_store import keep_document
from tests.bench.command_line import parser
from tests.support.forked import CHECKOUT
from tests.support.job_files import job_file

SYSTEM = "You answer in one sentence."
QUESTIONS = (
    "Why is the sky blue",
    "What does a compiler do",
    "How is bread made",
    "What is a tide",
    "Name a use of copper",
    "How does a bicycle stay up",
    "What is an adapter of a model",
    "Why do leaves fall",
)
TOKENS = 48


class Course:
    """The questions, and where they are asked."""

    def __init__(self, url: str, model: str, count: int, folder: Path) -> None:
        self.url, self.model, self.folder = url, model, folder
        self.inputs = [
            GoldenInput(id=f"q{number}", input=f"{QUESTIONS[number % len(QUESTIONS)]}, version {number}?", expect={})
            for number in range(count)
        ]

    def messages(self, item: GoldenInput) -> list[dict[str, str]]:
        return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": item.text()}]

    def requests(self) -> list[dict[str, Any]]:
        return [
            {
                "model": self.model,
                "messages": self.messages(item),
                "stream": True,
                "stream_options": {"include_usage": True},
                "temperature": 0.0,
                "seed": answer_seed(0, item.id, 1),
                "max_tokens": TOKENS,
                "repeat_penalty": 1.0,
                "min_p": 0.0,
            }
            for item in self.inputs
        ]


BARE = """
import json, sys, time
import httpx
requests = json.load(open(sys.argv[1]))
out = open(sys.argv[2], "w")
# A connection for each: llama-server closes one that is kept, and a request that meets the end of it is lost.
with httpx.Client(timeout=600, limits=httpx.Limits(max_keepalive_connections=0)) as client:
    started = time.monotonic()
    for request in requests:
        text = []
        with client.stream("POST", sys.argv[3] + "/chat/completions", json=request) as response:
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    for choice in json.loads(line[6:]).get("choices", []):
                        text.append(choice["delta"].get("content") or "")
        out.write(json.dumps("".join(text)) + "\\n")
    print(time.monotonic() - started)
"""


def bare(course: Course, place: Path) -> tuple[float | None, int]:
    """The loop that one would write for a single use: its answers' seconds, and how many there are."""
    write_json(place / "requests.json", course.requests())
    (place / "bare.py").write_text(BARE)
    said = run([sys.executable, place / "bare.py", place / "requests.json", place / "out", course.url], place)
    return float(said), len((place / "out").read_text().splitlines())


def bakehouse(course: Course, place: Path) -> tuple[float | None, int]:
    """The job of a bake-off with one served candidate, as a runner starts it."""
    home = Home(place / "home").create()
    task = Task.model_validate(
        {
            "name": "bench",
            "system": SYSTEM,
            "sampling": Sampling(context_length=1024, max_new_tokens=TOKENS).model_dump(),
            "format": [{"check": "regex", "pattern": "."}],
        }
    )
    golden = keep_document(home, [item.model_dump(mode="json") for item in course.inputs], "golden.json", "bench")
    server = ServerUnderTest(name="bench", api="openai", url=course.url)
    candidate = CandidateSpec(name="model", form="served", server=server, served_model=course.model)
    spec = BakeoffSpec(tasks=[TaskUnderTest(task=task, golden=golden, repeats=1)], candidates=[candidate])
    run_dir = home.run_dir(1)
    attempt = run_dir.attempt(1)
    attempt.path.mkdir(parents=True)
    job_file(home, spec, 1, project_root=str(CHECKOUT)).save(run_dir)
    run([sys.executable, "-P", "-m", "jobs", run_dir.path], place)
    phases = {event["name"]: event["time"] for event, _ in read_lines(attempt.events) if event["kind"] == "phase"}
    return phases["scoring"] - phases["answering"], len(list(read_lines(run_dir.answers)))


def promptfoo(course: Course, place: Path) -> tuple[float | None, int]:
    options = {"temperature": 0, "max_tokens": TOKENS, "apiBaseUrl": course.url, "apiKey": "none"}
    prompt = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "{{question}}"}]
    (place / "prompt.json").write_text(json.dumps(prompt))
    document = {
        "prompts": ["file://prompt.json"],
        "providers": [{"id": f"openai:chat:{course.model}", "config": options}],
        "tests": [
            {"vars": {"question": item.text()}, "assert": [{"type": "regex", "value": "."}]} for item in course.inputs
        ],
    }
    (place / "promptfooconfig.yaml").write_text(yaml.safe_dump(document))
    quiet = {"PROMPTFOO_DISABLE_TELEMETRY": "1", "PROMPTFOO_DISABLE_UPDATE": "1", "PROMPTFOO_CONFIG_DIR": str(place)}
    program = os.environ.get("PROMPTFOO") or "promptfoo"
    run([program, "eval", "--no-cache", "-j", "1", "--no-progress-bar", "--no-table", "-o", "out.json"], place, **quiet)
    results = read_json(place / "out.json")["results"]["results"]
    return None, sum(1 for result in results if result["response"].get("output"))


INSPECT = """
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import pattern
from inspect_ai.solver import generate, system_message
import json, sys
questions, model, tokens = json.load(open(sys.argv[1])), sys.argv[2], int(sys.argv[3])
task = Task([Sample(question, target=".") for question in questions], [system_message(sys.argv[4]), generate()],
            scorer=pattern("(.)"), config=GenerateConfig(temperature=0, max_tokens=tokens))
(log,) = eval(task, model="openai-api/bench/" + model, max_connections=1, display="none", log_dir="logs")
assert log.status == "success", log.error
print(len(log.samples))
"""


def inspect_ai(course: Course, place: Path) -> tuple[float | None, int]:
    write_json(place / "questions.json", [item.text() for item in course.inputs])
    (place / "run.py").write_text(INSPECT)
    interpreter = Path(program("INSPECT", "inspect") or "").with_name("python")
    keys = {"BENCH_API_KEY": "none", "BENCH_BASE_URL": course.url}
    said = run([interpreter, "run.py", "questions.json", course.model, str(TOKENS), SYSTEM], place, **keys)
    return None, int(said.split()[-1])


def program(variable: str, name: str) -> str | None:
    return os.environ.get(variable) or shutil.which(name)


def run(command: list[Any], folder: Path, **variables: str) -> str:
    environment = {**os.environ, "BAKEHOUSE_ATTEMPT": "1", "PYTHONPATH": str(CHECKOUT), **variables}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    # promptfoo ends with 100 where a test failed, which is no failure of its.
    if done.returncode not in (0, 100):
        raise SystemExit(f"{command[0]} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


Contestant = Callable[[Course, Path], tuple[float | None, int]]


def contestants() -> dict[str, Contestant]:
    found: dict[str, Contestant] = {"bare loop": bare, "bake-off": bakehouse}
    if program("PROMPTFOO", "promptfoo"):
        found["promptfoo"] = promptfoo
    if program("INSPECT", "inspect"):
        found["inspect_ai"] = inspect_ai
    return found


@contextmanager
def llama_server(model: Path, folder: Path) -> Iterator[str]:
    """The address of a llama-server with one slot."""
    named = os.environ.get("LLAMA_CPP_DIR")
    places = [Path(named, *parts) for parts in ((), ("bin",), ("build", "bin"))] if named else []
    found = next((str(place / "llama-server") for place in places if (place / "llama-server").is_file()), None)
    server = found or shutil.which("llama-server")
    if server is None:
        raise SystemExit("no llama-server: set LLAMA_CPP_DIR to the folder of llama.cpp, or have it in PATH")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [server, "-m", str(model), "--port", str(port), "-c", "1024", "-np", "1", "--jinja"]
    with (folder / "llama-server.log").open("w") as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=log)
        try:
            while process.poll() is None:
                try:
                    if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                        break
                except httpx.HTTPError:
                    pass
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait()


def main() -> None:
    options = parser("bakeoff", __doc__)
    options.add_argument("--model", type=Path, help="a GGUF file")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--questions", type=int, default=40)
    chosen = options.parse_args(sys.argv[2:] if sys.argv[0].endswith("__main__.py") else None)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = chosen.model or small_gguf(folder)
        with llama_server(model, folder) as url:
            name = httpx.get(f"{url}/models").json()["data"][0]["id"]
            course = Course(url, name, chosen.questions, folder)
            report(course, contestants(), chosen.rounds)


def small_gguf(folder: Path) -> Path:
    from tests.support.small_model import filled_cache

    return next(filled_cache(folder / "pull").rglob("*.gguf"))


def report(course: Course, found: dict[str, Contestant], rounds: int) -> None:
    """Interleaved rounds behind one that is thrown away; medians, and ratios to the bare loop of the same round."""
    whole: dict[str, list[float]] = {name: [] for name in found}
    answers: dict[str, list[float]] = {name: [] for name in found}
    for number in range(rounds + 1):
        for name, contestant in found.items():
            place = course.folder / f"{name.replace(' ', '-')}-{number}"
            place.mkdir()
            began = time.monotonic()
            seconds, given = contestant(course, place)
            passed = time.monotonic() - began
            if given != len(course.inputs):
                raise SystemExit(f"{name} has {given} answers of {len(course.inputs)}")
            if number:
                whole[name].append(passed)
                answers[name] += [] if seconds is None else [seconds]
    print(f"{len(course.inputs)} questions of up to {TOKENS} tokens, one at a time, {rounds} rounds, median of each")
    for name in found:
        ratio = statistics.median(a / b for a, b in zip(whole[name], whole["bare loop"], strict=True))
        line = f"{name:<12} whole {statistics.median(whole[name]):7.2f} s  {ratio:5.3f} ×"
        if answers[name]:
            ratio = statistics.median(a / b for a, b in zip(answers[name], answers["bare loop"], strict=True))
            line += f"   answers {statistics.median(answers[name]):7.2f} s  {ratio:5.3f} ×"
        print(line, flush=True)


if __name__ == "__main__":
    main()
