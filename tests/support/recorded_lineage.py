"""The records of a lineage without any process: a training, its merge, GGUF files, parity checks, bake-offs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.bakeoff.measured import MeasuredCandidate, append_measured
from core.config.project import shipped
from core.config.task import Task
from core.files import sha256_json, write_json
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec, ExampleTurn, ServerUnderTest, TaskUnderTest, Variant
from core.jobfile.convert import ConvertSpec
from core.jobfile.deploy import DeploySpec, Target
from core.jobfile.merge import MergeSpec
from core.jobfile.parity import ParitySpec
from core.jobfile.quantize import QuantizeSpec
from core.jobfile.served_as import ServedAs
from core.jobfile.spec import InputFile, Spec
from core.jobfile.train import TrainSpec
from core.scoring.answers import Answer, repeat_numbers
from core.scoring.scorer import score_answers
from core.serving.answering import Capabilities, LoadedModel, ServedIdentity
from core.store.database import transaction
from core.store.jobs import State
from core.store.results import import_answers
from tests.support.check_scores import insert_check_scores
from tests.support.gguf_bytes import file, header
from tests.support.invented_answers import answer
from tests.support.job_files import add_job_of, job_file
from tests.support.stored import fresh, step_to
from tests.support.stored_tasks import INPUTS, golden, task_named, written
from tests.support.tokenizers import CHATML

BASE, ADAPTER, MERGED, F16, Q8_0 = "SmolLM2 base", "SmolLM2 tuned", "SmolLM2 merged", "SmolLM2 F16", "SmolLM2 Q8_0"
LOSSES = tuple(round(2.4 - 0.06 * number, 3) for number in range(30))
OLLAMA = ServerUnderTest(name="ollama", api="ollama", url="http://127.0.0.1:11434")
EOS = 2
SUMMARY = {"examples": 71, "skipped": 0, "cut": 0, "steps": len(LOSSES), "first_loss": 2.4, "last_loss": 0.66}
SURVIVAL = {"dtype": "bf16", "share": 0.98, "updated": 60, "unchanged": 0, "worst": {"tensor": "a", "share": 0.9}}
GOOD, BAD = 0.95, 0.1
Write = Callable[[str, str, int], str]
"""From candidate, golden input and repeat to the answer."""
Shown = tuple[tuple[ExampleTurn, ...], ...]
"""Examples that are shown before an input."""


@dataclass
class Records:
    """A home to which jobs are added that have ended, with the files that such a job leaves."""

    folder: Path
    template: str = CHATML
    """By which the training rendered."""
    of_project: Mapping[str, Any] = field(default_factory=dict)
    """What the job files say of their project."""
    home: Home = field(init=False)
    connection: sqlite3.Connection = field(init=False)

    def __post_init__(self) -> None:
        self.home, self.connection = fresh(self.folder)

    def train(
        self,
        *,
        task: Task | None = None,
        data: InputFile | None = None,
        losses: Sequence[float] = LOSSES,
        recipe: Mapping[str, Any] | None = None,
        **summary: Any,
    ) -> int:
        known = shipped().recipe("demo").model_copy(update=dict(recipe or {}))
        spec = TrainSpec(
            task=task or task_named("judge"),
            model=shipped().model("SmolLM2-135M"),
            recipe=known,
            train=data or nowhere(),
        )
        lineage = {"task": "judge", "chat_template_sha256": sha256_json(self.template), "thinking": spec.task.thinking}
        job_id = self.put(spec, summary={**SUMMARY, "steps": len(losses), **summary}, lineage=lineage, kind="adapter")
        attempt = self.home.run_dir(job_id).attempt(1)
        write_json(attempt.manifest, {"model": {"config": {"eos_token_id": EOS}}})
        events = [{"seq": n, "kind": "step", "step": n, "loss": loss} for n, loss in enumerate(losses, 1)]
        attempt.events.write_text("".join(json.dumps(one) + "\n" for one in events))
        return job_id

    def merge(
        self, training: int, *, base_weights: Any = "original", keeps_template: bool = False, **survival: Any
    ) -> int:
        """`keeps_template`: the merged model is still there, with the template that trained."""
        spec = MergeSpec(
            adapter=f"job:{training}/adapter",
            model=shipped().model("SmolLM2-135M"),
            task="judge",
            base_weights=base_weights,
        )
        folder = self.folder / f"merged-{training}-{len(list(self.folder.iterdir()))}"
        if keeps_template:
            folder.mkdir()
            (folder / "chat_template.jinja").write_text(self.template)
        return self.put(spec, summary={"survival": {**SURVIVAL, **survival}}, kind="merged", path=str(folder))

    def convert(self, merge: int, *, template: str | None = "", keys: Mapping[str, Any] | None = None) -> int:
        """`template`: of the file; the trained one where it is empty, none where it is None."""
        spec = ConvertSpec(
            source=f"job:{merge}/merged",
            model=shipped().model("SmolLM2-135M"),
            task="judge",
            format="f16",
            converter="/nowhere/convert_hf_to_gguf.py",
        )
        return self.file_of(spec, template, keys)

    def quantize(
        self, convert: int, *, template: str | None = "", keys: Mapping[str, Any] | None = None, **summary: Any
    ) -> int:
        spec = QuantizeSpec(
            source=f"job:{convert}/gguf",
            model=shipped().model("SmolLM2-135M"),
            task="judge",
            tuned=True,
            program="/nowhere/llama-quantize",
        )
        return self.file_of(spec, template, keys, **summary)

    def file_of(self, spec: Spec, template: str | None, keys: Mapping[str, Any] | None, **more: Any) -> int:
        written_template = self.template if template == "" else template
        usual = {"general.architecture": "llama", "general.file_type": 1, "tokenizer.ggml.eos_token_id": EOS}
        told = {} if written_template is None else {"tokenizer.chat_template": written_template}
        place = self.folder / f"model-{len(list(self.folder.iterdir()))}.gguf"
        place.write_bytes(file(header({**usual, **told, **(keys or {})})))
        summary = {"path": str(place), "chat_template": written_template is not None, **more}
        return self.put(spec, summary=summary, kind="gguf")

    def parity(self, gguf: int, document: Mapping[str, Any], *, task: Task | None = None) -> int:
        spec = ParitySpec(
            source=f"job:{gguf}/gguf",
            model=shipped().model("SmolLM2-135M"),
            task=task or task_named("judge"),
            golden=nowhere(),
            program="/nowhere/llama-server",
        )
        job_id = self.put(spec, state="done" if document["passed"] else "failed")
        write_json(self.home.run_dir(job_id).parity, {"schema": 1, **document})
        return job_id

    def deploy(
        self,
        gguf: int,
        name: str,
        *,
        document: Mapping[str, Any] | None = None,
        state: State = "done",
        task: Task | None = None,
        to: Target = "ollama",
        sent: Shown = (),
        **summary: Any,
    ) -> int:
        """A deployment to the Ollama `OLLAMA`, or to a served model of the home; `document` is its
        `parity.json`, `sent` are the examples that requests have to send."""
        place: dict[str, Any] = {"server": OLLAMA, "staging": f"{name}-staging"}
        spec = DeploySpec(
            source=f"job:{gguf}/gguf",
            to=to,
            name=name,
            **(place if to == "ollama" else {"program": "/nowhere/llama-server"}),
            model=shipped().model("SmolLM2-135M"),
            served=ServedAs(task=task or task_named("judge"), examples=sent),
            golden=nowhere(),
        )
        job_id = self.put(spec, summary={"to": to, "name": name, **summary} if state == "done" else None, state=state)
        write_json(
            self.home.run_dir(job_id).parity, {"schema": 1, "passed": state == "done", "cases": [], **(document or {})}
        )
        return job_id

    def bakeoff(
        self,
        jobs: Mapping[str, int],
        *,
        quality: Mapping[str, float] | None = None,
        write: Write | None = None,
        task: Task | None = None,
        variants: Mapping[str, Variant] | None = None,
        with_base: bool = True,
        inputs: Sequence[str] = INPUTS,
        values: Mapping[str, Mapping[str, Any] | Callable[[str], Mapping[str, Any]]] | None = None,
        served: Mapping[str, ServedIdentity] | None = None,
        shown: Shown = (),
    ) -> int:
        """`jobs` by candidate; `quality` and further `values` of their answers by candidate, the same for
        all or by golden input. `write` gives their text. `served` are models that `OLLAMA` has, by
        candidate, with what it tells of each. `shown` are the task's examples."""
        small, asked = shipped().model("SmolLM2-135M"), task or task_named("judge")
        made = [CandidateSpec(name=BASE, form="base", model=small)] if with_base else []
        forms: dict[str, Any] = {"train": "adapter", "merge": "merged", "convert": "gguf", "quantize": "gguf"}
        for name, job_id in jobs.items():
            form = forms[self.connection.execute("SELECT kind FROM jobs WHERE id = ?", [job_id]).fetchone()[0]]
            variant = (variants or {}).get(name, Variant())
            made.append(CandidateSpec(name=name, form=form, model=small, ref=f"job:{job_id}/{form}", variant=variant))
        for name, identity in (served or {}).items():
            folder = str(self.home.served_dir(identity.model).path) if identity.api != "ollama" else None
            place = OLLAMA if folder is None else OLLAMA.model_copy(update={"api": "openai", "served_dir": folder})
            variant = (variants or {}).get(name, Variant())
            made.append(
                CandidateSpec(name=name, form="served", server=place, served_model=identity.model, variant=variant)
            )
        questions = golden(asked.name, inputs)
        place = self.folder / f"golden-{asked.name}-{len(inputs)}.json"
        write_json(place, [item.model_dump(mode="json") for item in questions])
        digest = sha256_json(list(inputs))
        under_test = TaskUnderTest(
            task=asked,
            golden=InputFile(path=str(place), sha256=digest, source=place.name),
            repeats=2,
            examples=list(map(list, shown)),
        )
        spec = BakeoffSpec(tasks=[under_test], candidates=made, incumbent=made[0].name)
        good = dict.fromkeys([*jobs, *(served or {})], GOOD) | {BASE: 0.3} | dict(quality or {})
        every: list[Answer] = []
        for one in made:
            for input_id in inputs:
                for repeat in repeat_numbers(2):
                    text = (write or (lambda *_: ""))(one.name, input_id, repeat)
                    text = text or written(one.name, asked.name, input_id, repeat, good[one.name])
                    given = (values or {}).get(one.name, {})
                    more = dict(given(input_id) if callable(given) else given)
                    by = more.pop("more_prompt_tokens", 0)
                    usual = {"prompt_tokens": 40 + len(input_id) + by, "completion_tokens": 40 + len(text) // 5}
                    every.append(answer(one.name, asked.name, input_id, repeat, text, **{**usual, **more}))
        job_id = self.put(spec, finished=False)
        run = self.home.run_dir(job_id)
        for name, identity in (served or {}).items():
            loaded = LoadedModel(1.0, was_resident=False)
            append_measured(run.candidates, MeasuredCandidate(name, 1, 1.0, identity, loaded, Capabilities()))
        run.answers.write_text("".join(json.dumps(one.to_json()) + "\n" for one in every))
        with transaction(self.connection):
            import_answers(self.connection, job_id, run)
            scores = score_answers(asked, questions, every)
            insert_check_scores(self.connection, job_id, (score.to_json() for score in scores))
        self.end(job_id, "done")
        return job_id

    def put(
        self,
        spec: Spec,
        *,
        summary: Mapping[str, Any] | None = None,
        lineage: Mapping[str, Any] | None = None,
        kind: str | None = None,
        state: State = "done",
        finished: bool = True,
        path: str = "/nowhere",
    ) -> int:
        job_id = add_job_of(self.connection, spec, needs=spec.needs)
        run = self.home.run_dir(job_id)
        run.attempt(1).path.mkdir(parents=True)
        job_file(self.home, spec, job_id, **self.of_project).save(run)
        if summary is not None:
            made = [{"kind": kind, "sha256": "0" * 64, "path": path, "bytes": 1, "lineage": dict(lineage or {})}]
            write_json(run.result, {"message": "", "artefacts": made, "summary": dict(summary)})
        if finished:
            self.end(job_id, state)
        return job_id

    def end(self, job_id: int, state: State) -> None:
        step_to(self.connection, job_id, state)


def nowhere() -> InputFile:
    return InputFile(path="/nowhere.jsonl", sha256="0" * 64, source="judge.train.jsonl")


def whole_chain(records: Records, **of_file: Any) -> tuple[int, int, int, int]:
    """A training, its merge, an F16 file and a Q8_0 file; `of_file` goes to both files."""
    training = records.train()
    merged = records.merge(training)
    converted = records.convert(merged, **of_file)
    return training, merged, converted, records.quantize(converted, **of_file)
