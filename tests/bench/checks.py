"""What scoring an answer takes, in the program and in a process that can be killed, one beside the other.

    python -m tests.bench.checks [--answers N] [--rounds N]

For each shipped task with training data its completions are scored as answers. Then single checks: in the program, in the
worker, and a function of a project's file. Rounds are interleaved, so that a busy machine slows all of them alike; the median
is told.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

from core.checks import JsonSchemaCheck, PythonCheck, RegexCheck, build
from core.checks.isolated import ISOLATED_FROM, score_isolated
from core.config.project import shipped
from core.data.examples import load_examples
from core.isolation import client
from core.scoring.scorer import Scorer
from tests.support.invented_answers import answer

DOCUMENT = '{"verdict": "PASS", "steps": [' + ", ".join(f'{{"title": "Step {place}"}}' for place in range(20)) + "]}"
STEP = {"type": "object", "required": ["title"], "properties": {"title": {"type": "string", "pattern": "^[A-Z]"}}}
SCHEMA = {"type": "object", "required": ["verdict", "steps"], "properties": {"steps": {"items": STEP}}}


def ways() -> dict[str, Callable[[int], object]]:
    """What is measured, by its name: a function of the number of the answer."""
    found: dict[str, Callable[[int], object]] = {}
    project = shipped()
    for name in project.task_names():
        task = project.task(name)
        if task.data.train is None:
            continue
        golden = project.golden(task).inputs
        texts = [example.completion for example in load_examples(project.train_file(task), task)[0]]
        answers = [answer("one", name, golden[at % len(golden)].id, 1, text) for at, text in enumerate(texts)]
        scorer = Scorer(task, golden)
        found[f"{name}: {len(task.format) + len(task.content)} checks"] = lambda at, scorer=scorer, answers=answers: (
            scorer.score(answers[at % len(answers)])
        )
    schema = JsonSchemaCheck.model_validate({"check": "json_schema", "schema": SCHEMA})
    pattern = build(RegexCheck(check="regex", pattern="x{5}y"))
    function = build(PythonCheck(check="python", file="x.py", code="def score(text, expect, captures): return True"))
    found["json_schema in the program"] = lambda at: build(schema).score(DOCUMENT, {})
    found["json_schema in the worker"] = lambda at: score_isolated(schema, DOCUMENT, {}, {}, 1.0)
    found[f"regex, {ISOLATED_FROM - 1:,} characters, in the program"] = lambda at: pattern.score(
        "x" * (ISOLATED_FROM - 1), {}
    )
    found[f"regex, {ISOLATED_FROM:,} characters, in the worker"] = lambda at: pattern.score("x" * ISOLATED_FROM, {})
    found["python"] = lambda at: function.score("text", {})
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.checks", description=__doc__)
    parser.add_argument("--answers", type=int, default=100, help="of each in a round")
    parser.add_argument("--rounds", type=int, default=5)
    said = parser.parse_args(arguments)
    start = time.perf_counter()
    score_isolated(RegexCheck(check="regex", pattern="x"), "x", {}, {}, 1.0)
    print(f"the start of keeper and worker: {time.perf_counter() - start:.2f} s")
    measured: dict[str, list[float]] = {}
    for _ in range(said.rounds):
        for name, score in ways().items():
            score(0)
            start = time.perf_counter()
            for at in range(said.answers):
                score(at)
            measured.setdefault(name, []).append((time.perf_counter() - start) / said.answers)
    for name, seconds in measured.items():
        print(f"{statistics.median(seconds) * 1000:8.2f} ms  {name}")
    client.stop()


if __name__ == "__main__":
    main()
