"""A home with one finished bake-off over two tasks of a project: files of a base and an adapter, a served model, and variants.

Nothing is run: the answers are invented, and what was measured is what the files said then.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.authoring.scaffold import new_project
from core.bakeoff.measured import MeasuredCandidate, append_measured
from core.config.golden import GoldenInput
from core.config.project import Project
from core.config.task import Task
from core.files import append_line, sha256_tree, write_json
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec
from core.models.fingerprints import KnownFingerprints, adapter_fingerprint, path_fingerprint
from core.scoring.answers import Answer, repeat_numbers
from core.scoring.scorer import score_answers
from core.serving.answering import Capabilities, LoadedModel, ServedIdentity
from core.store.database import transaction
from core.store.results import import_answers, import_measured, import_result
from tests.support.check_scores import insert_check_scores
from tests.support.invented_answers import answer
from tests.support.job_files import job_file
from tests.support.stored import add_job, fresh, path_to, step

JUDGE: dict[str, Any] = {
    "name": "judge",
    "system": "Judge.",
    "golden": "golden/judge.yaml",
    "data": {"train": "data/judge.jsonl"},
    "repeats": 2,
    "format": [{"check": "regex", "id": "line", "pattern": "^PRICE: (?P<price>.+)$", "count": 1}],
    "content": [{"check": "captured_equals", "name": "price"}],
}
PLAN: dict[str, Any] = {
    "name": "plan",
    "golden": "golden/plan.yaml",
    "repeats": 2,
    "format": [{"check": "regex", "id": "plan", "pattern": "^## ", "multiline": True}],
}
GOLDEN: dict[str, list[dict[str, Any]]] = {
    "judge": [{"id": name, "input": f"A {name}", "expect": {"price": "65"}} for name in ("sofa", "tent")],
    "plan": [{"id": name, "input": f"Plan a {name}"} for name in ("sofa", "trip")],
}
EXAMPLE = [{"role": "user", "content": "A lamp"}, {"role": "assistant", "content": "PRICE: 12"}]
TEXTS = ("PRICE: 65", "## A plan", "no idea")
SERVED = ServedIdentity("ollama", "qwen3:4b", "box", "0.12.6", "sha256:aaaa", "template", {"stop": ["x"]})
SERVER = {"name": "box", "api": "ollama", "url": "http://127.0.0.1:9"}
CANDIDATES = ("m base", "m tuned", "box:qwen3:4b", "m base@few_shot=1", "box:qwen3:4b@system=terse.md")


@dataclass
class MeasuredBakeoff:
    """The folders to change, and the number of the bake-off."""

    home: Home
    project: Path
    model: Path
    job_id: int
    trained: int

    def task(self, name: str, **changes: Any) -> None:
        """Write a task of the project, with changes."""
        document = {**{"judge": JUDGE, "plan": PLAN}[name], **changes}
        (self.project / f"configs/tasks/{name}.yaml").write_text(json.dumps(document))

    def golden(self, name: str, inputs: list[dict[str, Any]]) -> None:
        (self.project / f"golden/{name}.yaml").write_text(json.dumps({"inputs": inputs}))

    @property
    def adapter(self) -> Path:
        return self.home.artefacts / "adapter"


def measured_bakeoff(folder: Path, *, measured: bool = True, gguf: bool = False) -> MeasuredBakeoff:
    """XDG_CONFIG_HOME and BAKEHOUSE_HOME are for the caller to set. Without `measured`: as older versions left it. `gguf`: the
    base model is a GGUF file that the job loads itself."""
    home, connection = fresh(folder)
    project, model = folder / "project", folder / ("model.gguf" if gguf else "model")
    new_project(project)
    for name in ("golden", "data"):
        (project / name).mkdir(exist_ok=True)
    made = MeasuredBakeoff(home, project, model, 0, 0)
    for name in ("judge", "plan"):
        made.task(name)
        made.golden(name, GOLDEN[name])
    (project / "data/judge.jsonl").write_text(json.dumps({"messages": EXAMPLE}) + "\n")
    (project / "terse.md").write_text("Be terse.\n")
    model.write_bytes(b"GGUF weights") if gguf else _model_files(model)
    made.adapter.mkdir(parents=True)
    (made.adapter / "adapter_model.safetensors").write_bytes(b"adapter")
    made.trained = add_job(connection, title="t")
    _trained(made)
    with transaction(connection):
        import_result(connection, made.trained, home.run_dir(made.trained))
    made.job_id = add_job(connection, kind="bakeoff")
    spec = _spec(made, folder)
    _job_file(made, spec)
    run = home.run_dir(made.job_id)
    if measured:
        for name, identity in identities(made).items():
            able = Capabilities()
            append_measured(run.candidates, MeasuredCandidate(name, 1, 1.0, identity, LoadedModel(2.0), able))
    answers = list(_answers(spec))
    for one in answers:
        append_line(run.answers, one.to_json(), durable=False)
    with transaction(connection):
        import_answers(connection, made.job_id, run)
        import_measured(connection, made.job_id, run)
        for under_test in spec.tasks:
            inputs = [GoldenInput.model_validate(item) for item in GOLDEN[under_test.name]]
            own = [answer for answer in answers if answer.task == under_test.name]
            scores = score_answers(under_test.task, inputs, own)
            insert_check_scores(connection, made.job_id, (score.to_json() for score in scores))
    for state in path_to(connection, "done"):
        step(connection, made.job_id, state)
    connection.close()
    return made


def identities(made: MeasuredBakeoff) -> dict[str, ServedIdentity]:
    """Who answers for each candidate as the files are now, and as the server was."""
    base = path_fingerprint(made.model, KnownFingerprints(made.home))
    assert base is not None  # its files are there
    template = hashlib.sha256(b"{{ messages }}").hexdigest()
    own = ServedIdentity("in-process", "m", weights=base, template=template)
    tuned = ServedIdentity(
        "in-process", "m", weights=adapter_fingerprint(base, sha256_tree(made.adapter)), template=template
    )
    by_name: Mapping[str, ServedIdentity] = {"m base": own, "m tuned": tuned, "box:qwen3:4b": SERVED}
    return {name: by_name[name.partition("@")[0]] for name in CANDIDATES}


def _model_files(model: Path) -> None:
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"weights")
    (model / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))


def _trained(made: MeasuredBakeoff) -> None:
    run = made.home.run_dir(made.trained)
    run.path.mkdir(parents=True)
    sha256 = sha256_tree(made.adapter)
    artefact = {"sha256": sha256, "kind": "adapter", "path": str(made.adapter), "bytes": 7, "lineage": {}}
    write_json(run.result, {"schema": 1, "message": "trained", "artefacts": [artefact]})


def _spec(made: MeasuredBakeoff, folder: Path) -> BakeoffSpec:
    tasks = []
    for name, document in (("judge", JUDGE), ("plan", PLAN)):
        copy = folder / f"{name}.golden.json"
        inputs = [GoldenInput.model_validate(item) for item in GOLDEN[name]]
        write_json(copy, [item.model_dump(mode="json") for item in inputs])
        golden = {"path": str(copy), "sha256": "0" * 64, "source": str(copy)}
        examples = [EXAMPLE] if name == "judge" else []
        task = Project.find(made.project).task(name).model_dump(mode="json")
        tasks.append({"task": {**document, **task}, "golden": golden, "repeats": 2, "examples": examples})
    entry = {"name": "m", "path": str(made.model)}
    served = {"form": "served", "server": SERVER, "served_model": "qwen3:4b"}
    terse = {"written": "system=terse.md", "system": "Be terse.", "system_file": "terse.md"}
    candidates: list[dict[str, Any]] = [
        {"form": "base", "model": entry},
        {"form": "adapter", "model": entry, "ref": f"job:{made.trained}/adapter"},
        served,
        {"form": "base", "model": entry, "variant": {"written": "few_shot=1", "few_shot": 1}},
        {**served, "variant": terse},
    ]
    named = [{"name": name, **one} for name, one in zip(CANDIDATES, candidates, strict=True)]
    return BakeoffSpec.model_validate({"kind": "bakeoff", "tasks": tasks, "candidates": named, "incumbent": "m base"})


def _job_file(made: MeasuredBakeoff, spec: BakeoffSpec) -> None:
    run = made.home.run_dir(made.job_id)
    run.path.mkdir(parents=True)
    project = {"project_id": Project.find(made.project).id, "project_root": str(made.project)}
    job_file(made.home, spec, made.job_id, **project).save(run)


def _answers(spec: BakeoffSpec) -> Iterator[Answer]:
    for under_test in spec.tasks:
        for number, candidate in enumerate(spec.candidates):
            for place, item in enumerate(GOLDEN[under_test.name]):
                for repeat in repeat_numbers(2):
                    yield answer(
                        candidate.name,
                        under_test.name,
                        item["id"],
                        repeat,
                        TEXTS[(number + place * repeat) % len(TEXTS)],
                        completion_tokens=4 + number,
                        seconds=1.0 + place,
                        batch_size=1,
                        identity=SERVED.sha256 if candidate.form == "served" else None,
                    )


def judge_task() -> Task:
    return Task.model_validate(JUDGE)
