"""A fleet whose Ollama answers, for the pictures of the screens that ask it: promotion, adoption, versions, challenge.

The server is the stand-in; jobs, scores and aliases are rows and files of a home, as a runner leaves them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.home import Home
from core.jobfile.bakeoff import CandidateSpec
from core.jobfile.servers import known_servers
from core.progress import Progress
from core.serving.answering import ServedIdentity
from core.staleness.present_servers import ask_servers
from core.store.chains import insert_chain
from core.store.challenges import add_challenge_task, insert_challenge
from core.store.database import transaction
from core.store.fleet import AliasVersion, FleetTask, Target, assign_task
from tests.support.ollama_models import CHATML, Model
from tests.support.ollama_standin import OllamaStandin
from tests.support.promotable import promotable_in
from tests.support.stored import add_job, fresh
from tests.support.stored_fleet import PROJECT, StoredFleet

AUTHOR = "anna@gpubox, console"
INPUTS = 12
NO_THINKING = "<think>\n\n</think>\n\n"
"""With which an answer begins."""
OLD, PRESENT, NEW = "Qwen2.5-7B", "Qwen3-8B", "Qwen3-4B"
SIZES: Mapping[str, int] = {OLD: 15_200_000_000, PRESENT: 8_700_000_000, NEW: 4_300_000_000}
SCORES: Mapping[str, tuple[list[int], list[int]]] = {
    "judge": ([5] * INPUTS, [5] * INPUTS),
    "planner": ([2, 3, 3, 2, 3, 3, 2, 3, 3, 3, 2, 3], [5, 5, 4, 5, 5, 5, 4, 5, 5, 5, 5, 5]),
}
"""By task what the present model and the new one got, of five."""
FREE = ("vault-summarizer", "vault-reflector", "qwen3:8b")
"""What serves and is in no fleet."""


class Qwen(Model):
    """A model that tells of itself what one of its size does."""

    @property
    def details(self) -> dict[str, Any]:
        count = round(self.size_bytes / 1.08e9)
        return {**super().details, "family": "qwen3", "parameter_size": f"{count}.0B"}


class AnsweringFleet(StoredFleet):
    """Three tasks, each with an alias that was two models so far. A third one challenges them."""

    def __init__(self, folder: Path, server: OllamaStandin) -> None:
        self.server = server
        self.home, self.connection = fresh(folder)
        self.made = promotable_in(folder, self.home, self.connection, INPUTS, model=NEW)
        self.made.write("bakehouse.yaml", f"id: {PROJECT}\n")
        models = {model: {"path": str(folder / "m")} for model in (PRESENT, NEW)}
        self.made.write("configs/models.yaml", json.dumps(models))
        for task in ("planner", "quizzer", "summarizer", "reflector"):
            self.made.task(task, INPUTS)

    def has(self, name: str, model: str, **parameters: object) -> None:
        """The server has a model under this name."""
        self.add(name, SIZES[model], CHATML if model == OLD else f"{CHATML}{NO_THINKING}", **parameters)
        self.made.has[name] = self._told(name)

    def add(self, name: str, size_bytes: int, template: str = CHATML, **parameters: object) -> None:
        made = self.server.add_model(name, size_bytes=size_bytes, template=template, parameters=parameters)
        self.server.store.put(Qwen(**vars(made)))

    def _told(self, name: str) -> ServedIdentity:
        server = known_servers(self.made.project.settings)["ollama"]
        asked = CandidateSpec(name=name, form="served", server=server, served_model=name)
        (told,) = ask_servers([asked]).values()
        assert isinstance(told, ServedIdentity)
        return told

    def version(self, task: str, source: str, model: str, number: int, deployment: int | None = None) -> AliasVersion:
        """The alias of a task is another model from now on."""
        name = f"vault-{task}"
        for tag in (name, f"{name}:bakehouse-{number}"):
            self.server.copy_model(source, tag)
        self.made.has[name] = self._told(name)
        now = self.made.has[source]
        digest = self.server.models[f"{name}:latest"].digest
        target = Target(
            source,
            digest,
            now.weights,
            now.template,
            now.version,
            SIZES[model],
            model,
            deployment,
            kept_as=f"{name}:bakehouse-{number}",
        )
        kind, origin = ("adopt", "adopted") if number == 1 else ("promote", "promoted")
        alias = self.alias(name, url=self.server.url)
        return self.becomes(alias, target, kind, origin=origin, task=task, author=AUTHOR)  # type: ignore[arg-type]

    def serve(self, task: str) -> None:
        """Adopted as the 7B, promoted to the 8B."""
        old, present = f"{task}:qwen2.5-7b", f"{task}:qwen3-8b"
        self.has(old, OLD, temperature=0.7)
        self.has(present, PRESENT, temperature=0, num_ctx=4096)
        self.version(task, old, OLD, 1)
        self.made.model = PRESENT
        deployment = self.made.deployed(present, self.made.trained(task), task)
        self.made.model = NEW
        bakeoff = self.made.baked_off({old: [2] * INPUTS, present: SCORES.get(task, ([4] * INPUTS,))[0]}, task)
        self.summarised(bakeoff)
        self.version(task, present, PRESENT, 2, deployment)
        alias = self.alias(f"vault-{task}", url=self.server.url)
        given = FleetTask(PROJECT, str(self.made.project.root), task, alias.id, time.time(), AUTHOR)
        with transaction(self.connection):
            assign_task(self.connection, given)

    def challenged(self, task: str) -> int:
        """The chain of a task whose bake-off is done."""
        new, name = f"{task}:qwen3-4b", f"vault-{task}"
        self.has(new, NEW, temperature=0, num_ctx=4096)
        training = self.made.trained(task)
        deployment = self.made.deployed(new, training, task)
        file = self.home.root.parent / f"{task}.gguf"
        with file.open("wb") as opened:
            opened.truncate(SIZES[NEW])
        with transaction(self.connection):
            self.connection.execute(
                "UPDATE jobs SET result = json_set(result, '$.summary.path', ?) WHERE id = ?", [str(file), deployment]
            )
        before, after = SCORES[task]
        refs, seconds = {new: f"job:{deployment}/served"}, {name: 1.2, new: 0.7}
        bakeoff = self.made.baked_off({name: before, new: after}, task, refs=refs, seconds=seconds)
        self.summarised(bakeoff)
        return self._chain(task, *range(training, deployment + 1), bakeoff)

    def training(self, task: str) -> int:
        """The chain of a task that is at its training."""
        job = self.made.trained(task, state="running")
        progress = Progress(done=30, total=75, unit="steps", eta_seconds=540, loss=0.66, time=time.time())
        with transaction(self.connection):
            self.connection.execute("UPDATE jobs SET progress = ? WHERE id = ?", [progress.to_json(), job])
        rest = [
            add_job(self.connection, kind=kind, title=f"{kind} {task}", project_id=PROJECT, task=task)
            for kind in ("merge", "convert", "quantize", "deploy", "bakeoff")
        ]
        return self._chain(task, job, *rest)

    def _chain(self, task: str, *jobs: int) -> int:
        links = [(job, False) for job in jobs]
        with transaction(self.connection):
            title = f"ship {task} · {NEW} · Q8_0"
            return insert_chain(self.connection, title=title, project_id=PROJECT, author=AUTHOR, links=links)


@contextmanager
def answering(folder: Path) -> Iterator[tuple[Home, str]]:
    """The home, and the address of its Ollama, which answers as long as this lasts."""
    with OllamaStandin() as server:
        os.environ["OLLAMA_HOST"] = server.url
        made = AnsweringFleet(folder, server)
        for task in ("judge", "planner", "quizzer"):
            made.serve(task)
        for name in FREE:
            made.add(name, SIZES[PRESENT if name == "qwen3:8b" else NEW])
        chains = [made.challenged("planner"), made.challenged("judge"), made.training("quizzer")]
        with transaction(made.connection):
            challenge = insert_challenge(made.connection, model=NEW, project_id=PROJECT, author=AUTHOR)
            for task, chain, gain in zip(("planner", "judge", "quizzer"), chains, (0.46, 0.0, 0.2), strict=True):
                add_challenge_task(made.connection, challenge, task=task, chain_id=chain, gain=gain)
        yield made.home, server.url
