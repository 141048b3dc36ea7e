"""A home with a project whose task `judge` is scored of five, deployments of trained models, bake-offs of given scores, and an
alias that one of the models is: what the gate of a promotion is asked about. No process runs, and no server is asked."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from core.aliases.places import Placed
from core.bakeoff.measured import MeasuredCandidate, append_measured
from core.config.project import Project, load_project
from core.files import write_json
from core.fleet.gate import Condition, Gate
from core.fleet.meant import Meant
from core.fleet.promotion import Promotion, promotion_gate
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec, ExampleTurn, TaskUnderTest, Variant
from core.jobfile.convert import ConvertSpec
from core.jobfile.deploy import DeploySpec
from core.jobfile.merge import MergeSpec
from core.jobfile.parity import ParitySpec
from core.jobfile.servers import known_servers
from core.jobfile.spec import InputFile, Spec
from core.jobfile.train import TrainSpec
from core.scoring.answers import Answer
from core.scoring.scorer import score_answers
from core.serving.answering import Capabilities, LoadedModel, ServedIdentity
from core.staleness.present_servers import ServedModelKey, Told
from core.store.database import transaction
from core.store.fleet import FleetTask, Target, assign_task, find_alias, insert_alias, insert_version, set_current
from core.store.jobs import State
from core.store.results import import_answers, import_measured, import_result
from core.wording.promotion import basis_words, condition_head, condition_words
from tests.support.check_scores import insert_check_scores
from tests.support.invented_answers import answer
from tests.support.job_files import put_job
from tests.support.model_folders import config_of, write_folder
from tests.support.projects import write_files
from tests.support.stored import fresh, step_to

LINES = ("ONE", "TWO", "THREE", "FOUR", "FIVE")
VERSION, TEMPLATE = "0.24.0", "7e" * 32
Scores = Sequence[int | None]
"""Of five, an input each; None: no answer."""
Shown = Sequence[str]
"""Examples, told by their questions."""


def turns(examples: Shown) -> list[list[ExampleTurn]]:
    return [[ExampleTurn(role="user", content=one), ExampleTurn(role="assistant", content="ONE")] for one in examples]


def identity(model: str, **changes: Any) -> ServedIdentity:
    """What the Ollama tells of a model: its weights are named after it."""
    digest = model.encode().hex().ljust(64, "0")[:64]
    return replace(ServedIdentity("ollama", model, "ollama", VERSION, f"sha256:{digest}", TEMPLATE), **changes)


def digest(now: ServedIdentity) -> str:
    """Of the whole model, as the server tells it."""
    return f"d-{now.weights}"


@dataclass
class Promotable:
    """`has` is what the server says that it has now, by name."""

    folder: Path
    home: Home
    connection: sqlite3.Connection
    model: str = "small"
    """The base model of every training."""
    has: dict[str, ServedIdentity] = field(default_factory=dict)
    silent: bool = False

    @property
    def project(self) -> Project:
        return load_project(self.folder / "project")

    def write(self, name: str, text: str) -> None:
        write_files(self.folder / "project", {name: text})

    def golden(self, n: int, task: str = "judge", confirm: Sequence[int] = (), **more: str) -> None:
        listed = [
            {
                "id": f"g{i}",
                "input": more.get(f"g{i}", f"The golden {task} input {i}, which is long enough to be told."),
            }
            | ({"use": "confirm"} if i in confirm else {})
            for i in range(n)
        ]
        self.write(f"golden/{task}.yaml", json.dumps(listed))

    def task(self, name: str, n: int, confirm: Sequence[int] = (), **told: Any) -> None:
        checks = [{"check": "regex", "id": line.lower(), "pattern": f"(?m)^{line}$"} for line in LINES]
        document = {
            "system": f"You {name} notes.",
            "repeats": 1,
            "sampling": {"temperature": 0, "max_new_tokens": 16, "context_length": 512},
            "format": checks,
            "golden": f"golden/{name}.yaml",
            "data": {"train": f"data/{name}.jsonl"},
            **told,
        }
        self.write(f"configs/tasks/{name}.yaml", json.dumps(document))
        self.golden(n, name, confirm)

    def job(self, spec: Spec, state: State = "done", summary: Mapping[str, Any] | None = None) -> int:
        job_id, run = put_job(self.home, self.connection, self.project, spec)
        step_to(self.connection, job_id, state)
        if summary is not None:
            write_json(run.result, {"message": "", "artefacts": [], "summary": dict(summary)})
            with transaction(self.connection):
                import_result(self.connection, job_id, run)
        return job_id

    def trained(self, task: str = "judge", data: Sequence[str] = ("Another note.",), state: State = "done") -> int:
        file = self.folder / f"data-{len(list(self.folder.glob('data-*')))}.jsonl"
        file.write_text("\n".join(json.dumps({"prompt": text, "completion": "ONE"}) for text in data))
        told = InputFile(path=str(file), sha256="0" * 64, source=f"data/{task}.jsonl")
        own = self.project
        spec = TrainSpec(task=own.task(task), model=own.model(self.model), recipe=own.recipe("demo"), train=told)
        return self.job(spec, state)

    def deployed(
        self, name: str, training: int | None = None, task: str = "judge", *, sent: Shown = (), **parity: Any
    ) -> int:
        """A model of the Ollama: trained (else a base model as it came), converted, deployed. `parity` is of `parity.json`,
        `sent` are the examples that requests have to send."""
        own, source = self.project, None
        if training is not None:
            merge = MergeSpec(adapter=f"job:{training}/adapter", model=own.model(self.model), task=task)
            source = f"job:{self.job(merge)}/merged"
        gguf = self.job(
            ConvertSpec(source=source, model=own.model(self.model), converter="/x/convert.py", format="f16")
        )
        server, now = known_servers(own.settings)["ollama"], self.has.setdefault(name, identity(name))
        spec = DeploySpec(
            source=f"job:{gguf}/gguf",
            to="ollama",
            name=name,
            server=server,
            staging=f"{name}-staging-1",
            model=own.model(self.model),
            served={"task": own.task(task), "examples": turns(sent)},
            golden=InputFile(path="/g", sha256="0" * 64, source="/g"),
        )
        told = {"blob": now.weights, "template_sha256": now.template, "server": now.version, "digest": digest(now)}
        job_id = self.job(spec, summary={"to": "ollama", "name": name, **told})
        document = {"passed": True, "weights": now.weights, "cases": [{"same": True}] * 3, "findings": [], **parity}
        write_json(self.home.run_dir(job_id).parity, document)
        return job_id

    def checked(self, name: str, *, passed: bool, task: str = "judge", finding: str = "template_differs") -> int:
        """A check of the prompts of what the server has under a name."""
        own, now = self.project, self.has[name]
        spec = ParitySpec(
            server=known_servers(own.settings)["ollama"],
            served_model=name,
            model=own.model(self.model),
            task=own.task(task),
            golden=InputFile(path="/g", sha256="0" * 64, source="/g"),
        )
        job_id = self.job(spec, "done" if passed else "failed")
        run = self.home.run_dir(job_id)
        attempt = run.attempt(1)
        attempt.path.mkdir(parents=True, exist_ok=True)
        write_json(attempt.manifest, {"server": now.__dict__})
        findings = [] if passed else [{"code": finding, "values": {}}]
        write_json(run.parity, {"passed": passed, "weights": now.weights, "cases": [], "findings": findings})
        return job_id

    def baked_off(
        self,
        scores: Mapping[str, Scores],
        task: str = "judge",
        state: State = "done",
        then: Mapping[str, ServedIdentity] | None = None,
        variant: str = "",
        curtail: bool = False,
        base: tuple[str, str] = ("", ""),
        refs: Mapping[str, str] | None = None,
        seconds: Mapping[str, float] | None = None,
        shots: Mapping[str, int] | None = None,
        shown: Shown = (),
    ) -> int:
        """A bake-off of what the server has (`then`: had), with these scores of five for each of the task's inputs. `base`: the
        name of a candidate that is an untrained model, and that model's. `refs`: the references of what jobs of a chain
        made. `seconds`: how long an answer of a candidate took. `shots`: before the inputs of a candidate stood so many of the
        examples `shown`."""
        own = self.project
        of_task, inputs = own.task(task), own.golden(own.task(task)).inputs
        file = self.folder / f"golden-{len(list(self.folder.glob('golden-*')))}.json"
        write_json(file, [item.model_dump(mode="json") for item in inputs])
        copy = InputFile(path=str(file), sha256="0" * 64, source=f"golden/{task}.yaml")
        server = known_servers(own.settings)["ollama"]
        counts = shots or {}
        called = {name: name + (f"@few_shot={counts[name]}" if counts.get(name) else variant) for name in scores}
        made = [
            CandidateSpec(
                name=shown_name,
                form="served",
                server=server,
                served_model=name,
                variant=Variant(written=shown_name.partition("@")[2], few_shot=counts.get(name, 0)),
                ref=(refs or {}).get(name),
            )
            if name != base[0]
            else CandidateSpec(name=name, form="base", model=own.model(self.model).model_copy(update={"name": base[1]}))
            for name, shown_name in called.items()
        ]
        spec = BakeoffSpec(
            tasks=[TaskUnderTest(task=of_task, golden=copy, repeats=1, examples=turns(shown))],
            candidates=made,
            incumbent=made[0].name,
            curtail=curtail,
        )
        job_id = self.job(spec, state)
        run, given = self.home.run_dir(job_id), list[Answer]()
        for name, marks in scores.items():
            was = (then or {}).get(name) or self.has.get(name) or identity(name)
            load = LoadedModel(1.0, False, 5_000_000_000)
            append_measured(run.candidates, MeasuredCandidate(called[name], 1, 0.0, was, load, Capabilities()))
            for item, mark in zip(inputs, marks, strict=True):
                if mark is not None:
                    text = "\n".join(LINES[:mark]) or "nothing"
                    took = {"seconds": seconds[name], "tokens_per_second": 50 / seconds[name]} if seconds else {}
                    made_of = answer(called[name], task, item.id, 0, text, identity=was.sha256, **took)
                    given.append(made_of)
        run.answers.write_text("".join(json.dumps(one.to_json()) + "\n" for one in given))
        with transaction(self.connection):
            import_answers(self.connection, job_id, run)
            import_measured(self.connection, job_id, run)
            found = score_answers(of_task, inputs, given)
            insert_check_scores(self.connection, job_id, (score.to_json() for score in found))
        return job_id

    def serves(self, alias: str, model: str, *tasks: str) -> None:
        """The alias is a model by now, and does these tasks."""
        url = known_servers(self.project.settings)["ollama"].url
        self.has.setdefault(model, identity(model))
        self.has[alias] = replace(self.has[model], model=alias)
        with transaction(self.connection):
            found = find_alias(self.connection, "ollama", url, f"{alias}:latest") or insert_alias(
                self.connection, server="ollama", url=url, name=alias, name_key=f"{alias}:latest"
            )
            target = Target(source=model, digest=digest(self.has[model]), weights=self.has[model].weights, model=model)
            version = insert_version(self.connection, found.id, target, "adopted")
            set_current(self.connection, found.id, version.id)
            for task in tasks:
                given = FleetTask(self.project.id, str(self.project.root), task, found.id, 1.0, "anna@box, command")
                assign_task(self.connection, given)

    def promotion(self, candidate: str, task: str = "judge", alias: str | None = None) -> Promotion:
        told = dict[ServedModelKey, Told]()
        url = known_servers(self.project.settings)["ollama"].url
        for name, one in self.has.items():
            told["ollama", url, name] = "no_answer" if self.silent else one

        def look(home: Home, asked: Meant) -> Placed | None:
            name = asked.candidate.served_model or ""
            now = self.has.get(name)
            return None if now is None else Placed(digest(now), now.weights, now.template, now.version, 5_000_000_000)

        return promotion_gate(
            self.home, self.connection, self.project, task, candidate, alias=alias, told=told, look=look
        )

    def gate(self, candidate: str, task: str = "judge") -> Gate:
        return self.promotion(candidate, task).gate


def of(gate: Gate, code: str) -> list[Condition]:
    return [one for one in gate.conditions if one.code == code]


def the(gate: Gate, code: str) -> Condition:
    (found,) = of(gate, code)
    return found


def gate_lines(gate: Gate) -> list[str]:
    """The evidence as a person reads it, a condition a line, then what it rests on."""
    return [*(condition_head(one) + condition_words(one) for one in gate.conditions), *basis_words(gate)]


def promotable(folder: Path, monkeypatch: pytest.MonkeyPatch, n: int = 60, confirm: Sequence[int] = ()) -> Promotable:
    """The task `judge` with `n` inputs, and nothing else."""
    for variable, value in {
        "XDG_CONFIG_HOME": folder / "config",
        "BAKEHOUSE_HOME": folder / "home",
        "OLLAMA_HOST": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(variable, str(value))
    home, connection = fresh(folder)
    return promotable_in(folder, home, connection, n, confirm)


def promotable_in(
    folder: Path,
    home: Home,
    connection: sqlite3.Connection,
    n: int = 60,
    confirm: Sequence[int] = (),
    model: str = "small",
) -> Promotable:
    """The same in a home that is there."""
    made = Promotable(folder, home, connection, model)
    made.write("bakehouse.yaml", "id: kiln\n")
    models = {model: {"path": str(write_folder(folder / "m", config_of("llama")))}}
    made.write("configs/models.yaml", json.dumps(models))
    made.task("judge", n, confirm)
    return made


def ready(made: Promotable, old: Scores, new: Scores) -> str:
    """A promotion of `new` over `old` of which every other condition holds; the candidate."""
    made.deployed("new", made.trained())
    made.serves("vault", "old", "judge")
    made.baked_off({"old": old, "new": new})
    return "new"
