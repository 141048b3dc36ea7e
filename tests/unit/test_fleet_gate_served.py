"""The gate where an alias is a served model of this home, and where somebody else's hand was at the alias."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from core.errors import InputError
from core.files import write_json
from core.fleet.promotion import Promotion, promotion_gate
from core.jobfile.bakeoff import CandidateSpec
from core.jobfile.deploy import DeploySpec
from core.jobfile.servers import home_server, served_model_of
from core.jobfile.spec import InputFile
from core.served.record import ServedModelRecord, read_record, write_record
from core.serving.answering import ServedIdentity
from core.staleness.present_servers import served_model
from core.store.database import transaction
from core.store.fleet import LLAMA_SERVER, FleetTask, Target, assign_task, insert_alias, insert_version, set_current
from tests.support.promotable import Promotable, identity, ready, the
from tests.support.promotable_sixty import ALL, HALF, N, made

__all__ = ["made"]


def served(made: Promotable, name: str, port: int) -> ServedModelRecord:
    """A served model with a file of its own, and what its llama-server tells."""
    file = made.folder / f"{name}.gguf"
    file.write_bytes(name.encode())
    weights = f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"
    record = ServedModelRecord(name, file, weights, "judge", "small", 1, ("/x/llama-server",), port, 512)
    write_record(made.home, record)
    made.has[name] = ServedIdentity("openai", name, "served", "b6000-abc", weights, "t" * 64)
    return record


def alias_of_home(made: Promotable, name: str, model: str) -> None:
    """`name` is a served model with the file of `model`, and does `judge`."""
    record = replace(read_record(made.home, model), name=name, port=18100)
    write_record(made.home, record)
    made.has[name] = replace(made.has[model], model=name)
    with transaction(made.connection):
        alias = insert_alias(made.connection, server=LLAMA_SERVER, url="", name=name, name_key=name)
        target = Target(model, record.weights, weights=record.weights, model=model)
        version = insert_version(made.connection, alias.id, target, "adopted")
        set_current(made.connection, alias.id, version.id)
        given = FleetTask(made.project.id, str(made.project.root), "judge", alias.id, 1.0, "anna@box, command")
        assign_task(made.connection, given)


def deployed_here(made: Promotable, name: str, source: str, **summary: object) -> int:
    own = made.project
    spec = DeploySpec(
        source=source,
        to="llama-server",
        name=name,
        program="/x/llama-server",
        model=own.model("small"),
        served={"task": own.task("judge")},
        golden=InputFile(path="/g", sha256="0" * 64, source="/g"),
    )
    weights = made.has[name].weights
    job_id = made.job(spec, summary={"to": "llama-server", "name": name, "weights": weights, **summary})
    document = {"passed": True, "weights": weights, "cases": [{"same": True}], "findings": []}
    write_json(made.home.run_dir(job_id).parity, document)
    return job_id


def asked(made: Promotable, candidate: str) -> Promotion:
    """By what servers would say, with the files as they are on the disk."""
    told = {}
    for name, now in made.has.items():
        record = read_record(made.home, name)
        for server in (home_server(made.home, record), served_model_of(made.home, name)):
            spec = CandidateSpec(name=name, form="served", server=server, served_model=name)
            told[served_model(spec)] = now
    return promotion_gate(made.home, made.connection, made.project, "judge", candidate, told=told)


@pytest.mark.parametrize("by", ["new", "served:new", "llama-server:new", "job"])
def test_a_served_model_becomes_an_alias_of_this_home(made: Promotable, by: str) -> None:
    for name, port in (("old", 18101), ("new", 18102)):
        served(made, name, port)
    job = deployed_here(made, "new", f"job:{made.trained()}/gguf")
    alias_of_home(made, "vault", "old")
    made.baked_off({"old": HALF, "new": ALL})
    found = asked(made, f"job:{job}" if by == "job" else by)
    assert found.gate.outcome == "pass"
    weights = made.has["new"].weights
    assert (found.target.digest, found.target.source, found.target.deploy_job_id) == (weights, "new", job)
    assert found.target.record is not None and found.target.record["port"] == 18102
    with pytest.raises(InputError) as error:
        asked(made, "ollama:new")
    assert error.value.code == "other_server"


def test_a_file_that_was_written_over_is_not_what_was_deployed(made: Promotable) -> None:
    for name, port in (("old", 18101), ("new", 18102)):
        served(made, name, port)
    deployed_here(made, "new", f"job:{made.trained()}/gguf")
    alias_of_home(made, "vault", "old")
    made.baked_off({"old": HALF, "new": ALL})
    (made.folder / "new.gguf").write_bytes(b"another")
    made.has["new"] = replace(made.has["new"], weights=f"sha256:{hashlib.sha256(b'another').hexdigest()}")
    gate = asked(made, "new").gate
    assert gate.outcome == "cannot_tell"
    assert {the(gate, code).values["why"] for code in ("measured", "parity")} == {"no_bakeoff", "not_checked"}


def test_a_file_that_was_deployed_by_its_path_leads_to_its_training(made: Promotable) -> None:
    for name, port in (("old", 18101), ("new", 18102)):
        served(made, name, port)
    learnt = "A text that everybody knew before, long enough to be told apart."
    made.deployed("in-ollama", made.trained(data=[learnt]))
    del made.has["in-ollama"]
    file = made.connection.execute("SELECT max(id) FROM jobs WHERE kind = 'convert'").fetchone()[0]
    sha = str(made.has["new"].weights).removeprefix("sha256:")
    with transaction(made.connection):
        made.connection.execute(
            "UPDATE jobs SET result = json_object('summary', json_object('file_sha256', ?)) WHERE id = ?", [sha, file]
        )
    deployed_here(made, "new", str(made.folder / "new.gguf"), file_sha256=sha)
    alias_of_home(made, "vault", "old")
    made.golden(N, g3=learnt)
    made.baked_off({"old": HALF, "new": ALL})
    found = the(asked(made, "new").gate, "no_leak")
    assert (found.outcome, found.values["inputs"]) == ("fail", ["g3"])


@pytest.mark.parametrize("change", [{"weights": "sha256:" + "9" * 64}, {"template": "8f" * 32}])
def test_an_alias_that_somebody_else_moved_is_put_right_first(made: Promotable, change: dict[str, str]) -> None:
    ready(made, HALF, ALL)
    with transaction(made.connection):
        made.connection.execute("UPDATE alias_versions SET template = ?", [made.has["old"].template])
    made.has["vault"] = replace(identity("vault"), weights=made.has["old"].weights)
    assert made.gate("new").outcome == "pass"
    made.has["vault"] = replace(made.has["vault"], **change)
    with pytest.raises(InputError) as error:
        made.promotion("new")
    assert error.value.code == "alias_changed" and "fleet rollback judge" in (error.value.remedy or "")
