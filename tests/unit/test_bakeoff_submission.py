"""What a bake-off is told when it is queued: tasks, candidates with their variants, examples; and what is refused before."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator

import pytest

from core.errors import BakehouseError, InputError, NotFoundError
from core.jobfile.spec import JobFile
from tests.support.commands import called
from tests.support.kitchen import CHECK, GOLDEN, Kitchen, kitchen
from tests.support.ollama_standin import OllamaStandin

__all__ = ["kitchen"]


@pytest.fixture
def server(kitchen: Kitchen) -> Iterator[OllamaStandin]:
    """An Ollama with `judge:v1` and `planner`, as the person's settings name it."""
    with OllamaStandin(load_seconds=0.01) as server:
        server.add_model("judge:v1")
        server.add_model("planner")
        settings = kitchen.root.parent / "config/bakehouse/settings.yaml"
        settings.parent.mkdir(parents=True)
        settings.write_text(f"ollama: {{url: '{server.url}'}}\n")
        yield server


def refused(kitchen: Kitchen, *candidates: str, **more: object) -> BakehouseError:
    with pytest.raises((InputError, NotFoundError)) as caught:
        kitchen.submit(kitchen.wanted(*candidates, **more))  # type: ignore[arg-type]
    assert len(str(caught.value).splitlines()) == 1
    assert not list(kitchen.home.runs.glob("*")), "nothing is half queued"
    return caught.value


def test_variants_stand_in_the_names_of_candidates(kitchen: Kitchen) -> None:
    job = kitchen.submit(kitchen.wanted("plain", "plain@few_shot=2@think=on", "../models/other@temperature=0.7"))
    spec = kitchen.spec(job)
    assert [one.name for one in spec.candidates] == [
        "plain base",
        "plain base @think=on@few_shot=2",
        "other @temperature=0.7",
    ]
    assert [one.variant.few_shot for one in spec.candidates] == [0, 2, 0]
    assert len(spec.tasks[0].examples) == 2
    assert spec.pattern_timeout_seconds == kitchen.project.settings.bakeoff.pattern_timeout_seconds


def test_all_candidates_get_the_first_of_the_same_examples(kitchen: Kitchen) -> None:
    three = kitchen.spec(kitchen.submit(kitchen.wanted("plain@few_shot=1", "plain@few_shot=3"))).tasks[0].examples
    two = kitchen.spec(kitchen.submit(kitchen.wanted("plain@few_shot=2"))).tasks[0].examples
    assert len(three) == 3
    assert three[:2] == two
    assert not {example[0].content for example in three} & set(GOLDEN)


@pytest.mark.parametrize(
    ("candidates", "code", "words"),
    [
        (("plain", "plain"), "doubled_candidate", "twice"),
        (("plain", "plain@think=off"), "doubled_candidate", "would be asked the same"),
        (("plain", "plain@few_shot=0"), "doubled_candidate", ""),
        (("plain", "plain@temperature=0"), "doubled_candidate", "would be asked the same"),
        (("plain@system=a.txt", "plain@system=b.txt"), "doubled_candidate", "b.txt` are the same candidate"),
        (("plain", "../models/plain"), "doubled_candidate", "`../models/plain` are the same candidate"),
        (("plain@few_shot=40",), "too_few_examples", "12 examples can be shown"),
        (("plain@max_new_tokens=9000",), "bad_sampling", "do not fit into a context"),
        (("plain@format=json",), "no_format", "served:NAME"),
        (("plane",), "model_not_found", "did you mean `plain`?"),
        (("olama:x",), "bad_candidate", "did you mean `ollama:x`?"),
        (("qwen3:4b",), "bad_candidate", "did you mean `served:qwen3:4b`?"),
        (("served:",), "bad_candidate", "no model is named"),
        ((), "no_candidate", "at least one"),
        (("served:x@format=g.gbnf",), "no_format", "JSON schema"),
    ],
)
def test_what_cannot_be_asked_is_refused(kitchen: Kitchen, candidates: tuple[str, ...], code: str, words: str) -> None:
    for name in ("a.txt", "b.txt"):
        kitchen.write(name, "Be brief.")
    kitchen.write("g.gbnf", 'root ::= "x"')
    error = refused(kitchen, *candidates)
    assert error.code == code
    assert words in str(error)


def test_examples_need_training_data(kitchen: Kitchen) -> None:
    error = refused(kitchen, "plain", "plain@few_shot=1", tasks=("jam",))
    assert error.code == "no_train_data"
    assert "plain base @few_shot=1 is shown examples" in str(error)


def test_a_variant_that_only_one_task_makes_the_same_is_two_candidates(kitchen: Kitchen) -> None:
    kitchen.task("jam", more=f"sampling: {{temperature: 0.7}}\n{CHECK}")
    spec = kitchen.spec(kitchen.submit(kitchen.wanted("plain", "plain@temperature=0", tasks=("bread", "jam"))))
    assert [one.name for one in spec.candidates] == ["plain base", "plain base @temperature=0"]


def test_all_are_the_project_s_own_tasks_that_can_be_scored(kitchen: Kitchen) -> None:
    kitchen.task("scoreless", more="")
    kitchen.write("configs/tasks/askless.yaml", f"system: x\n{CHECK}")
    kitchen.write("configs/tasks/torn.yaml", "system: [")
    remarks: list[str] = []
    spec = kitchen.spec(kitchen.submit(kitchen.wanted("plain", tasks=(), every_task=True), remarks))
    assert [task.name for task in spec.tasks] == ["bread", "jam"]
    assert [task.repeats for task in spec.tasks] == [2, 2]
    told = "\n".join(remarks)
    assert "scoreless is left out: the task has no checks" in told
    assert "askless is left out: the task `askless` names no golden inputs" in told
    assert "torn is left out:" in told
    assert "judge" not in told, "the shipped demo is no task of this project"


def test_tasks_are_named_once(kitchen: Kitchen) -> None:
    assert refused(kitchen, "plain", tasks=("bread", "bread")).code == "doubled_task"
    assert refused(kitchen, "plain", tasks=("bred",)).remedy == "did you mean `bread`?"


def test_a_served_model_and_its_variants(kitchen: Kitchen, server: OllamaStandin) -> None:
    kitchen.write("s.json", '{"type": "object"}')
    wanted = kitchen.wanted(
        "served:judge:v1", "ollama:planner:latest@format=s.json@temperature=0.5", incumbent="judge:v1"
    )
    remarks: list[str] = []
    spec = kitchen.spec(kitchen.submit(wanted, remarks))
    assert [one.name for one in spec.candidates] == ["judge:v1", "planner @format=s.json@temperature=0.5"]
    assert [one.served_model for one in spec.candidates] == ["judge:v1", "planner"]
    assert {one.server.url for one in spec.candidates if one.server} == {server.url}
    assert spec.incumbent == "judge:v1"
    assert not remarks
    ways = kitchen.submit(kitchen.wanted("served:planner", "served:planner@top_k=3"))
    assert ways.model == "planner", "one model, however it is asked"


def test_what_the_server_says_it_cannot_is_refused(kitchen: Kitchen, server: OllamaStandin) -> None:
    missing = refused(kitchen, "served:planer")
    assert (missing.code, missing.remedy, missing.exit_code) == ("model_not_found", "did you mean `planner:latest`?", 4)
    assert refused(kitchen, "served:planner@think=on").code == "no_thinking"
    assert refused(kitchen, "served:planner", "ollama:planner:latest").code == "doubled_candidate"
    server.copy_model("planner", "prod")
    assert "one model by two names" in refused(kitchen, "served:planner", "served:prod").message
    kitchen.submit(kitchen.wanted("served:planner", "served:prod@top_k=3"))


def test_a_server_that_does_not_answer_is_asked_by_the_job(kitchen: Kitchen, server: OllamaStandin) -> None:
    server.down()
    remarks: list[str] = []
    kitchen.submit(kitchen.wanted("served:planner@think=on"), remarks)
    assert len(remarks) == 1
    assert remarks[0].startswith("ollama was not asked what it can do:")


def test_a_server_of_the_settings_and_a_key_that_is_not_set_here(kitchen: Kitchen) -> None:
    servers = "servers: {lab: {api: openai, url: 'http://127.0.0.1:1/v1', key_env: LAB_KEY_NOT_SET}}"
    kitchen.write("bakehouse.yaml", f"id: kitchen\n{servers}\n")
    remarks: list[str] = []
    spec = kitchen.spec(kitchen.submit(kitchen.wanted("lab:qwen/qwen3-4b@think=on"), remarks))
    (candidate,) = spec.candidates
    assert (candidate.name, candidate.served_model) == ("lab:qwen/qwen3-4b @think=on", "qwen/qwen3-4b")
    assert candidate.server is not None
    assert candidate.server.name == "lab"
    assert "LAB_KEY_NOT_SET" in remarks[0]


def test_a_path_with_an_at_and_a_key_in_it_is_a_path(kitchen: Kitchen) -> None:
    folder = kitchen.root.parent / "models/plain"
    folder.rename(folder.with_name("plain@v=2"))
    spec = kitchen.spec(kitchen.submit(kitchen.wanted("../models/plain@v=2")))
    assert spec.candidates[0].variant.is_plain


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    return called(capsys, ["bakeoff", *words])


def test_the_command_takes_one_task_or_several(
    kitchen: Kitchen, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(kitchen.root)
    code, out, _ = run(capsys, "bread", "plain", "--json")
    assert code == 0
    assert json.loads(out)["job"]["settings"]["tasks"] == ["bread"]
    code, out, _ = run(
        capsys, "--tasks", "jam,bread", "--models", "plain,other", "plain@top_k=5", "--repeats", "4", "--json"
    )
    assert code == 0
    settings = json.loads(out)["job"]["settings"]
    assert settings["tasks"] == ["jam", "bread"]
    assert settings["candidates"] == ["plain base @top_k=5", "plain base", "other base"]
    assert settings["repeats"] == 4
    code, out, _ = run(capsys, "--tasks", "all", "plain", "--concurrency", "3", "--curtail")
    assert code == 0
    assert "2 tasks" in out
    code, out, _ = run(capsys, "--json")
    assert code == 2
    assert "TASK" in json.loads(out)["error"]["message"]


def test_a_task_and_a_model_of_one_name(
    kitchen: Kitchen, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kitchen.task("plain")
    monkeypatch.chdir(kitchen.root)
    assert run(capsys, "plain", "plain")[0] == 0
    code, out, _ = run(capsys, "--tasks", "bread", "plain", "--json")
    assert code == 0
    assert json.loads(out)["job"]["task"] == "bread"
    assert run(capsys, "plain")[0] == 2


def test_the_command_of_a_wish_asks_for_the_same(
    kitchen: Kitchen, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(kitchen.root)
    for wanted in (
        kitchen.wanted("plain", "plain@system=a b.txt"),
        kitchen.wanted("plain", tasks=("bread", "jam"), repeats=3, incumbent="plain", concurrency=2, curtail=True),
        kitchen.wanted("plain", tasks=(), every_task=True),
    ):
        kitchen.write("a b.txt", "x")
        words = shlex.split(wanted.command())
        assert words[:2] == ["bakehouse", "bakeoff"]
        code, out, _ = run(capsys, *words[2:], "--json")
        assert code == 0
        by_hand = kitchen.spec(kitchen.submit(wanted))
        by_command = kitchen.home.run_dir(json.loads(out)["job"]["id"])
        assert JobFile.load(by_command).spec == by_hand
