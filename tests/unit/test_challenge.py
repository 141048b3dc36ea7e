"""A new base model held against the whole fleet: what is queued, in which order, made like what, and what is left out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.cli.main import main
from core.config.recipe import FewShot
from core.errors import BakehouseError, InputError, NotFoundError
from core.fleet.challenge import by_gain
from core.jobfile.bakeoff import BakeoffSpec
from core.jobfile.deploy import DeploySpec
from core.jobfile.quantize import QuantizeSpec
from core.jobfile.spec import JobFile, Spec
from core.jobfile.train import FittedKey, TrainSpec
from core.store.chains import Chain, get_chain
from core.store.challenges import list_challenges
from core.store.jobs import list_jobs
from core.submission.challenge import ChallengePlan, WantedChallenge, plan_challenge, submit_challenge
from tests.support.challenged import NEW, OLD, TASKS, Challenged, challenged_home
from tests.support.commands import called


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Challenged:
    return challenged_home(tmp_path, monkeypatch)


def planned(home: Challenged, **told: Any) -> ChallengePlan:
    return plan_challenge(home.home, home.project, WantedChallenge(NEW, **told))


def submitted(home: Challenged, plan: ChallengePlan) -> ChallengePlan:
    return submit_challenge(home.home, home.project, plan, author="tester")[1]


def chains(home: Challenged) -> dict[str, Chain]:
    (known,) = list_challenges(home.connection, home.project.id)
    return {one.task: get_chain(home.connection, one.chain_id or 0) for one in known.tasks}


def specs(home: Challenged, chain: Chain) -> dict[str, Spec]:
    return {link.job.kind: JobFile.load(home.home.run_dir(link.job.id)).spec for link in chain.links}


def test_what_is_not_known_could_gain_all_and_goes_before_what_is_known_to() -> None:
    told = {"a": 0.2, "b": None, "c": 1.0, "d": 0.9, "e": 0.2}
    assert by_gain(told, lambda name: (name, told[name])) == ["b", "c", "d", "a", "e"]


def test_each_task_is_trained_and_made_as_what_serves_was_and_held_against_it_where_it_serves(home: Challenged) -> None:
    trained = home.training("judge", rank=24, batch_size=1)
    fitted = trained.model_copy(update={"fitted": [FittedKey(key="batch_size", before=4, after=1)]})
    home.set_version("judge", deploy_job_id=home.deployed(fitted, "vault-judge"))
    home.job(home.training("planner", rank=12))  # what serves is of unknown origin, the task was trained for
    plan = submitted(home, planned(home, recipe="lora-bf16"))
    found = chains(home)
    assert list(found) == [one.task for one in plan.tasks] == sorted(TASKS), "equals stand by name"
    sources = {one.task: (one.recipe_source, one.recipe, one.quantization) for one in plan.tasks}
    assert sources == {
        "judge": ("lineage", "demo", "Q4_K_M"),
        "planner": ("task", "demo", "Q8_0"),
        "tidy": ("fallback", "lora-bf16", "Q8_0"),
    }
    for task, chain in found.items():
        told, alias = specs(home, chain), home.aliases[task]
        assert list(told) == ["train", "merge", "convert", "quantize", "deploy", "bakeoff"]
        assert not any(link.taken for link in chain.links) and chain.title.startswith(f"challenge {task} · {NEW}")
        train, quantize, deploy, bakeoff = (told[kind] for kind in ("train", "quantize", "deploy", "bakeoff"))
        assert isinstance(train, TrainSpec) and train.model.name == NEW and train.task.name == task
        assert isinstance(quantize, QuantizeSpec) and quantize.quantization == sources[task][2]
        assert isinstance(deploy, DeploySpec) and deploy.name != alias.name
        assert deploy.to == ("llama-server" if task == "tidy" else "ollama")
        assert isinstance(bakeoff, BakeoffSpec)
        base, new, old = bakeoff.candidates
        assert (base.form, base.model and base.model.name) == ("base", NEW)
        assert new.ref == f"job:{chain.links[4].job.id}/served"
        assert (old.served_model, bakeoff.incumbent) == (alias.name, old.name), (
            "what serves is the incumbent of the board"
        )
        assert (old.server and old.server.name) == ("served" if task == "tidy" else "ollama")
        assert bakeoff.stops == ((deploy.name,) if task == "tidy" else ()), "Ollama unloads by itself"
    judge, planner = (specs(home, found[task])["train"] for task in ("judge", "planner"))
    assert isinstance(judge, TrainSpec) and (judge.recipe.rank, judge.recipe.batch_size) == (24, 4), (
        "as it was asked for"
    )
    assert isinstance(planner, TrainSpec) and planner.recipe.rank == 12
    first = [link.job.id for link in found["judge"].links]
    assert max(first) < min(link.job.id for link in found["planner"].links), "the queue has them in this order"


def test_what_serves_is_asked_as_its_clients_ask_and_the_new_one_with_what_its_deployment_says(
    home: Challenged,
) -> None:
    shots = FewShot(count=1, share=1.0)
    known = home.deployed(home.training("judge", few_shot=shots), "vault-judge")
    home.set_version("judge", deploy_job_id=known)
    home.job(
        home.training("planner", few_shot=shots)
    )  # what serves is of unknown origin: nothing says that it needs any
    submitted(home, planned(home))
    asked = {}
    for task, chain in chains(home).items():
        told = specs(home, chain)
        deploy, bakeoff = told["deploy"], told["bakeoff"]
        assert isinstance(deploy, DeploySpec) and isinstance(bakeoff, BakeoffSpec)
        asked[task] = [one.variant.few_shot for one in bakeoff.candidates]
        assert deploy.served.examples == tuple(map(tuple, bakeoff.tasks[0].examples)), (
            "the gate holds them to each other"
        )
    assert asked == {"judge": [1, 1, 1], "planner": [1, 1, 0], "tidy": [0, 0, 0]}


def test_the_task_that_could_gain_most_goes_first(home: Challenged) -> None:
    for task, score in (("judge", 0.9), ("planner", 0.2)):
        home.measured(task, score, f"sha256:{task}")
        home.set_version(task, weights=f"sha256:{task}")
    plan = submitted(home, planned(home))
    assert list(chains(home)) == ["tidy", "planner", "judge"]
    assert [one.gain for one in plan.tasks] == [None, pytest.approx(0.8), pytest.approx(0.1)]
    (known,) = list_challenges(home.connection)
    assert [(one.place, one.gain) for one in known.tasks] == [
        (1, None),
        (2, pytest.approx(0.8)),
        (3, pytest.approx(0.1)),
    ]


def test_a_task_that_cannot_be_challenged_is_told_and_stops_no_other(home: Challenged) -> None:
    (home.project.root / "data/judge.jsonl").unlink()
    (home.project.root / "configs/recipes").mkdir()
    text = json.dumps({**home.project.recipe("demo").model_dump(mode="json", exclude={"name"}), "targets": ["no_proj"]})
    (home.project.root / "configs/recipes/odd.yaml").write_text(text)
    plan = planned(home, recipes={"planner": "odd"})
    assert [one.task for one in plan.tasks] == ["tidy"]
    assert [(one.task, one.error.code) for one in plan.left_out] == [
        ("judge", "missing_file"),
        ("planner", "no_such_layer"),
    ]
    submitted(home, plan)
    assert list(chains(home)) == ["tidy"]

    for task in TASKS:
        (home.project.root / f"data/{task}.jsonl").unlink(missing_ok=True)
    before = len(list_jobs(home.connection))
    with pytest.raises(InputError) as refused:
        planned(home, again=False, tasks=("judge", "planner"))
    assert "judge:" in refused.value.message and "planner:" in refused.value.message
    assert len(list_jobs(home.connection)) == before
    with pytest.raises(NotFoundError) as unknown:
        planned(home, tasks=("nobody",))
    assert unknown.value.code == "no_alias"


def test_what_the_queue_refuses_leaves_nothing_of_its_task_and_where_nothing_is_left_nothing_at_all(
    home: Challenged,
) -> None:
    plan = planned(home)

    def refused(chain: Any) -> None:
        chain.add(plan.tasks[0].prepared.training)
        raise BakehouseError("no room", code="a_test")

    first, *others = plan.tasks
    bad = replace(first, prepared=replace(first.prepared, write=refused))
    left = submitted(home, replace(plan, tasks=(bad, *others)))
    assert [(one.task, one.error.code) for one in left.left_out] == [(first.task, "a_test")]
    assert list(chains(home)) == [one.task for one in others] == [one.task for one in left.tasks]
    assert {job.task for job in list_jobs(home.connection)} == {one.task for one in others}

    before = len(list_jobs(home.connection))
    with pytest.raises(InputError):
        submitted(home, replace(plan, tasks=(bad,)))
    assert len(list_jobs(home.connection)) == before and len(list_challenges(home.connection)) == 1


def test_two_askers_queue_each_task_once_and_again_replaces_what_has_ended(home: Challenged) -> None:
    one, two = planned(home), planned(home, tasks=("judge",))
    submitted(home, two)
    late = submitted(home, one)
    assert [task.task for task in late.tasks] == ["planner", "tidy"], "what the other has queued is not queued twice"
    before = chains(home)
    assert sorted(before) == sorted(TASKS)
    assert planned(home, again=True).tasks == (), "all of it is on its way"
    for link in before["tidy"].links:
        home.end(link.job.id, "cancelled")
    anew = submitted(home, planned(home, again=True))
    assert [task.task for task in anew.tasks] == ["tidy"]
    after = chains(home)
    assert after["tidy"].id != before["tidy"].id and after["judge"].id == before["judge"].id


def test_an_alias_of_several_tasks_is_baked_off_at_all_of_them(home: Challenged) -> None:
    home.assign("tidy", home.aliases["judge"])
    submitted(home, planned(home, tasks=("judge",)))
    bakeoff = specs(home, chains(home)["judge"])["bakeoff"]
    assert isinstance(bakeoff, BakeoffSpec) and [one.name for one in bakeoff.tasks] == ["judge", "tidy"]


@pytest.mark.parametrize(
    "options",
    [["--recipe", "lora-bf16"], ["--recipe", "judge=lora-bf16"], ["--quantize", "Q4_K_M"]],
    ids=["for all", "for a task", "quantisation"],
)
def test_how_tasks_are_made_is_not_taken_and_forgotten_of_what_is_queued_already(
    home: Challenged, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    where = ["--project", str(home.project.root)]
    submitted(home, planned(home, tasks=("judge",)))
    count = len(list_jobs(home.connection))
    for more in (
        [],
        ["--dry-run", "--task", "judge"],
        ["--task", "judge", "--task", "planner"],
        ["--task", "judge", "--json"],
    ):
        code, out, err = called(capsys, ["challenge", NEW, *options, *more, *where])
        said = out + err
        assert code == 2 and "is queued already" in said and " ".join(options) in said, (more, said)
        assert f"`bakehouse challenge {NEW}" in said and "--again`" in said
    assert len(list_jobs(home.connection)) == count and list(chains(home)) == ["judge"]

    again = ["challenge", NEW, "--task", "judge", *options, "--again", *where]
    code, _, err = called(capsys, again)
    assert code == 2 and "only tasks whose chains have ended" in err, "it is on its way"
    for link in chains(home)["judge"].links:
        home.end(link.job.id, "cancelled")
    code, out, err = called(capsys, again)
    assert code == 0 and "1 chain queued" in out, err
    (code, out, err) = called(capsys, ["challenge", NEW, "--task", "planner", "--quantize", "Q4_K_M", *where])
    assert code == 0 and "1 chain queued" in out, err


def test_the_command_queues_once_then_shows_and_names_what_the_fleet_has_got_since(
    home: Challenged, capsys: pytest.CaptureFixture[str]
) -> None:
    project = ["--project", str(home.project.root)]
    code, out, _ = called(capsys, ["challenge", *project])
    assert code == 0 and "no challenge yet" in out
    code, out, err = called(capsys, ["challenge", NEW, "--task", "judge", "--dry-run", "--json", *project])
    assert code == 0, err
    document = json.loads(out)
    (told,) = document["plan"]["tasks"]
    assert (told["task"], told["alias"], told["incumbent"], told["score"]) == ("judge", "vault-judge", OLD, None)
    assert document["challenge"] is None and not list_jobs(home.connection)

    code, out, err = called(capsys, ["challenge", NEW, "--task", "judge", *project])
    assert code == 0 and "1 chain queued" in out and "score of what serves unknown" in out, err
    count = len(list_jobs(home.connection))
    code, out, err = called(capsys, ["challenge", NEW, *project])
    assert code == 0 and len(list_jobs(home.connection)) == count, "asked again, it shows"
    assert "0 of 1 task measured" in out and "0 of 6 done" in out
    command = out.partition("planner and tidy; `")[2].partition("`")[0]
    assert command == f"bakehouse challenge {NEW} --task planner --task tidy"
    code, out, err = called(capsys, [*command.split()[1:], *project])
    assert code == 0 and "2 chains queued" in out, err
    code, out, _ = called(capsys, ["challenge", NEW, "--dry-run", *project])
    assert code == 0 and "no chain would be queued, every task is in its challenge already" in out
    code, out, _ = called(capsys, ["challenge", "--json", *project])
    (listed,) = json.loads(out)["challenges"]
    assert [one["stage"] for one in listed["tasks"]] == ["queued"] * 3 and listed["model"] == NEW
    with pytest.raises(SystemExit) as leave:
        main(["challenge", "no-such-model", *project])
    assert leave.value.code == 4
