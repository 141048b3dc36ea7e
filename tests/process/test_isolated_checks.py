"""Checks that hang, crash, eat memory or spoil what they can: the scoring goes on, its scores are right, no process is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from core.checks import RegexCheck, build
from core.checks.base import AskedInput
from core.checks.isolated import FEW_KILLS, ISOLATED_FROM, Kills
from core.config.golden import GoldenInput
from core.config.task import Task
from core.isolation import client
from core.scoring.scorer import Scorer
from tests.support.hostile_functions import DEAF, HOSTILE, LONG, hostile, python
from tests.support.invented_answers import answer

PATIENCE_SECONDS = 60


def workers() -> list[psutil.Process]:
    """The processes below the keeper."""
    keeper = client.keeper_pid()
    return [] if keeper is None else psutil.Process(keeper).children(recursive=True)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    client.stop()
    yield
    alive = workers()
    client.stop()
    assert not psutil.wait_procs(alive, timeout=PATIENCE_SECONDS)[1]


@pytest.mark.parametrize("what", HOSTILE)
def test_whatever_a_function_does_is_said_and_the_next_answer_is_scored(what: str) -> None:
    check = build(python(hostile(what), timeout=0.3, memory="64MB"))
    assert check.score("good", {}).value == 1
    faulty = check.score("bad", {})
    assert (faulty.value, faulty.faulty) == (0, True)
    assert HOSTILE[what] in faulty.detail
    assert check.score("good", {}).value == 1
    other = check.score("other", {})
    assert (other.value, other.faulty, other.detail) == (0, False, "another text")
    assert len(workers()) == 1, "what the function started is gone with it"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import nothing_there", "cannot be loaded: ModuleNotFoundError: No module named 'nothing_there' (line 1)"),
        ("raise SystemExit(4)", "cannot be loaded: SystemExit: 4 (line 1)"),
        ("import os\nos._exit(4)", "could not be loaded: its process ended (4)"),
        ("import os, time\nwhile True:\n if os.fork() == 0: time.sleep(1000)", "started a crowd of processes"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_said_to_be_that(code: str, said: str) -> None:
    check = build(python(f"{code}\ndef score(text, expect, captures): return True"))
    assert said in check.score("good", {}).detail
    assert build(python(hostile("pass"))).score("good", {}).value == 1
    assert len(workers()) <= 2


def test_a_process_that_loading_has_left_is_gone_and_scores_nothing() -> None:
    code = "import os, time\nif os.fork() == 0: time.sleep(1000)\nos.fork()\n" + hostile("pass")
    check = build(python(code))
    assert [check.score(text, {}).value for text in ("good", "other", "good")] == [1, 0, 1]
    assert len(workers()) == 1


def test_no_answer_sees_what_another_one_left_behind() -> None:
    code = "import random\nseen = []\ndef score(text, expect, captures):\n    seen.append(text)\n"
    check = build(python(code + "    return random.random() / len(seen), ' '.join(seen)\n"))
    first, second = check.score("a", {}), check.score("b", {})
    assert first.value == second.value and (first.detail, second.detail) == ("a", "b")


def test_a_function_is_given_what_is_expected_and_captured_and_nothing_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BAKEHOUSE_SECRET", "key")
    code = "import os\ndef score(text, expect, captures):\n"
    code += (
        "    return expect == {'n': [1, None]} and captures == {'v': ['x']} and 'BAKEHOUSE_SECRET' not in os.environ"
    )
    assert build(python(code)).score("a", {"n": [1, None]}, {"v": ["x"]}).value == 1


def test_a_function_is_given_the_input_by_the_names_of_its_parameters() -> None:
    head = "def score(text, expect, captures, conversation, *, asked):\n"
    code = (
        head
        + "    return asked == 'now?' and [turn['role'] for turn in conversation] == ['user', 'assistant', 'user']\n"
    )
    asked = AskedInput.of([("system", "s"), ("user", "then?"), ("assistant", "no"), ("user", "now?")])
    assert build(python(code)).score("a", {}, {}, asked).value == 1
    inputs = [GoldenInput(id="a", input="7 eggs"), GoldenInput(id="b", input="8 eggs")]
    own = python("def score(text, expect, captures, asked): return text in asked", id="own").model_dump(mode="json")
    scorer = Scorer(Task.model_validate({"name": "t", "content": [own]}), inputs)
    found = [scorer.score(answer("one", "t", name, 1, "7")) for name in ("a", "b", "a")]
    assert [one.points for one in found if one is not None] == [(1.0,), (0.0,), (1.0,)]


def test_two_hundred_answers_are_scored_rightly_while_a_check_does_its_worst() -> None:
    """One answer in ten makes the check come to harm, each time in another way."""
    ways = [way for way in HOSTILE if way not in ("while True: pass", LONG, DEAF) and "re.search" not in way]
    body = "\n".join(
        f"if text == 'bad {number}':\n{textwrap.indent(way.strip(), '    ')}" for number, way in enumerate(ways)
    )
    code = hostile("pass").replace("    if text == 'bad':\n        pass\n", textwrap.indent(body, "    ") + "\n")
    made = python(code, memory="64MB", id="plan").model_dump(mode="json")
    task = Task.model_validate(
        {"name": "t", "format": [{"check": "regex", "pattern": "o", "id": "o"}], "content": [made]}
    )
    texts = [
        f"bad {number // 10 % len(ways)}" if number % 10 == 0 else ("good", "other")[number % 2]
        for number in range(200)
    ]
    golden = [GoldenInput(id=f"i{number}", input="x") for number in range(len(texts))]
    scorer = Scorer(task, golden)
    scorer._kills = Kills(1000, 1000)
    found = [scorer.score(answer("one", "t", f"i{number}", 1, text)) for number, text in enumerate(texts)]
    for text, one in zip(texts, found, strict=True):
        assert one is not None
        assert one.points == (float("o" in text), float(text == "good"))
        assert bool(one.faulty) == text.startswith("bad")


def test_a_check_that_is_killed_too_often_is_not_done_on_the_rest_which_says_so() -> None:
    task = Task.model_validate(
        {
            "name": "t",
            "format": [{"check": "regex", "pattern": "bad", "id": "bad"}],
            "content": [python(hostile(LONG), timeout=0.05, id="plan").model_dump(mode="json")],
        }
    )
    scorer = Scorer(task, [GoldenInput(id="a", input="x")])
    found = [scorer.score(answer("one", "t", "a", repeat, "bad")) for repeat in range(1_000)]
    said = [one.details[1] for one in found if one is not None]
    killed = "score of checks/plan.py ran longer than 0.05 s"
    assert said[:FEW_KILLS] == [killed] * FEW_KILLS
    given_up = f"not done on these answers any more, for on {FEW_KILLS} of {FEW_KILLS} {killed}"
    assert set(said[FEW_KILLS:]) == {given_up} and len(said) == 1_000
    assert {one.points for one in found if one is not None} == {(1.0, 0.0)}


def test_a_long_answer_is_scored_where_it_can_do_no_harm_and_the_same_is_said_of_it() -> None:
    text = "## Goal\n" + "a line of it\n" * (ISOLATED_FROM // 10)
    for keys in (
        {"check": "regex", "pattern": "(?P<word>Goal)"},
        {"check": "heading", "level": 2, "pattern": "(?P<word>.*)"},
    ):
        check = build(Task.model_validate({"name": "t", "format": [keys]}).format[0])
        long, short = check.score(text, {}), check.score(text[:1_000], {})
        assert (long, long.captures) == (short, {"word": ["Goal"]})
    assert len(workers()) == 1


def test_a_pattern_that_fills_the_memory_is_stopped() -> None:
    definition = RegexCheck(check="regex", pattern="(?=(?P<rest>.*))", flags=("dotall",))
    result = build(definition, 60).score("x" * 150_000, {})
    assert (result.value, result.faulty) == (0, True)
    assert "memory" in result.detail or "matches more than" in result.detail
    assert build(definition).score("x", {}).value == 1


def test_the_keeper_and_its_workers_go_with_the_program_however_that_ends() -> None:
    script = """
        from core.checks import PythonCheck, build
        from core.isolation import client
        def check(code): return build(PythonCheck(check="python", file="x.py", code=code, timeout=60))
        check("def score(text, expect, captures): return True").score("", {})
        print(client.keeper_pid(), flush=True)
        check("import time\\ndef score(text, expect, captures): time.sleep(1000)").score("", {})
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        keeper = psutil.Process(int(program.stdout.readline()))
        processes = [keeper]
        while len(processes) < 4:  # the keeper, the first worker, the second and its child
            processes = [keeper, *keeper.children(recursive=True)]
        program.kill()
    assert not psutil.wait_procs(processes, timeout=PATIENCE_SECONDS)[1]


def test_a_keeper_that_somebody_killed_is_started_anew() -> None:
    check = build(python(hostile("pass")))
    assert check.score("good", {}).value == 1
    first, alive = client.keeper_pid(), workers()
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert not psutil.wait_procs(alive, timeout=PATIENCE_SECONDS)[1], "its workers go with it"
    assert check.score("good", {}).value == 1
    assert client.keeper_pid() != first


def test_an_answer_that_nobody_waits_for_any_more_is_not_taken_for_the_next_one() -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    check = build(python("import time\ndef score(text, expect, captures): return time.sleep(len(text)), text"))
    assert build(python(hostile("pass"))).score("good", {}).value == 1
    former = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            check.score("x" * 1_000, {})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
    assert build(python(hostile("pass"))).score("good", {}).value == 1


def test_threads_of_one_program_share_the_keeper() -> None:
    check = build(python(hostile("pass")))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda place: check.score(("good", "other")[place % 2], {}).value, range(40)))
    assert found == [1, 0] * 20


def test_a_forked_program_has_a_keeper_of_its_own() -> None:
    check = build(python(hostile("pass")))
    assert check.score("good", {}).value == 1
    child = os.fork()
    if child == 0:
        os._exit(0 if client.keeper_pid() is None and check.score("good", {}).value == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert check.score("good", {}).value == 1


def test_config_check_says_what_runs_and_tries_it_within_bounds(tmp_path: Path) -> None:
    """A function that hangs, one that is right about a completion, and one that raises whatever it is given."""
    (tmp_path / "bakehouse.yaml").write_text("id: probe\n")
    for folder in ("checks", "configs/tasks", "configs/data"):
        (tmp_path / folder).mkdir(parents=True)
    bodies = {"hang": "while True: pass", "right": "return text == 'good'", "raises": "raise KeyError('steps')"}
    for name, body in bodies.items():
        (tmp_path / f"checks/{name}.py").write_text(f"def score(text, expect, captures):\n    {body}\n")
    lines = [f"  - {{check: python, file: checks/{name}.py, timeout: 0.1}}\n" for name in bodies]
    (tmp_path / "configs/tasks/plan.yaml").write_text(
        f"data: {{train: configs/data/plan.jsonl}}\nformat:\n{''.join(lines)}"
    )
    completions = [json.dumps({"prompt": f"p{n}", "completion": "other" if n else "good"}) for n in range(50)]
    (tmp_path / "configs/data/plan.jsonl").write_text("\n".join(completions))
    command = [sys.executable, "-m", "core.cli", "config", "check", "--project", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS)
    assert "plan runs checks/hang.py, checks/right.py, checks/raises.py here, with your rights" in done.stderr
    found = {one["line"]: one["message"] for one in json.loads(done.stdout)["warnings"] if one["code"] == "idle_check"}
    assert set(found) == {3, 5}
    assert "cannot be done on any of 50 completions" in found[3] and "ran longer than 0.1 s" in found[3]
    assert "raised KeyError: 'steps' (line 2)" in found[5]
