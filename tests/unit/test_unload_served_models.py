"""The models of a server go before a bake-off loads its own, also where the server wants to know who asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config.task import Task
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec, ServerUnderTest, TaskUnderTest
from core.jobfile.spec import InputFile
from jobs.bakeoff.job import unload_served_models
from jobs.context import JobContext
from tests.support.hostile_server import Connection, hostile
from tests.support.job_files import job_file


@pytest.mark.parametrize(
    ("name", "key_variable", "sent"),
    [("box", "PAN_CAKE", "Bearer pancake-key"), ("ollama", None, "Basic bWU6b3Blbg==")],
)
def test_a_server_with_a_key_or_a_password_is_shown_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, key_variable: str | None, sent: str
) -> None:
    monkeypatch.setattr("core.serving.make_room.SETTLE_SECONDS", 0.0)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PAN_CAKE", "pancake-key")
    home = Home(tmp_path / "home").create()
    with hostile("ollama", Connection.end) as server:
        settings = tmp_path / "config/bakehouse/settings.yaml"
        settings.parent.mkdir(parents=True)
        settings.write_text(f"ollama: {{url: '{server.url.replace('//', '//me:open@')}'}}\n")
        under_test = ServerUnderTest(name=name, api="ollama", url=server.url, key_variable=key_variable)
        spec = BakeoffSpec(
            tasks=[
                TaskUnderTest(
                    task=Task(name="judge", system="Judge."),
                    golden=InputFile(path="/golden.json", sha256="0" * 64, source="golden.yaml"),
                    repeats=1,
                )
            ],
            candidates=[
                CandidateSpec(name="served", form="served", server=under_test, served_model="m"),
                CandidateSpec(name="ours", form="gguf", path="/m.gguf"),
            ],
        )
        attempt = home.run_dir(1).attempt(1)
        attempt.path.mkdir(parents=True)
        job_file(home, spec, 1).save(home.run_dir(1))
        unload_served_models(JobContext.open(home.run_dir(1), attempt), spec)
        heads = [head for path, head, _ in server.asked if path == "/api/ps"]
    assert heads
    assert all(f"Authorization: {sent}" in head for head in heads)
