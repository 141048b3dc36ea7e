"""A fleet at scale: what its rows take of a core, read again whenever something was written. Takes 10 seconds.

A scratch home of 100 aliases with ten versions each (and of 10 beside it, for comparison), 200 bake-offs that measured them,
5,000 jobs with their lineage, 40 chains under way and 2,000 notes. No server is asked; all of it is written as the runner does.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from core.fleet.history import fleet_history
from core.fleet.rows import fleet_rows
from core.home import Home
from core.reasons import Reason
from core.store.chains import insert_chain
from core.store.database import open_database, transaction
from core.store.fleet import FleetTask, Target, assign_task, insert_alias, insert_version, set_current
from core.store.fleet_changes import add_note, finish_change, open_change
from core.store.jobs import insert_job
from tests.bench.command_line import parser

VERSIONS, BAKEOFFS, JOBS, CHAINS, NOTES, ROUNDS = 10, 200, 5000, 40, 2000, 15
INPUTS = 36


def make(folder: Path, aliases: int) -> Home:
    home = Home(folder / f"home-{aliases}").create()
    connection = open_database(home)
    usual = {"lane": "gpu", "host_memory_bytes": 0, "on_restart": "requeue", "author": "bench", "project_id": "p"}
    with transaction(connection):
        for number in range(JOBS):
            kind = ("train", "merge", "convert", "quantize", "deploy")[number % 5]
            source = None if kind == "train" else f"job:{number}/{kind}"
            insert_job(
                connection,
                kind=kind,
                title=f"{kind} {number}",
                task=f"task-{number % aliases}",
                needs=(),
                model="Qwen3-4B",
                source=source,
                settings={"recipe": "plain", "data": "a.jsonl", "data_sha256": "0" * 64, "rank": 32, "epochs": 5},
                **usual,  # type: ignore[arg-type]
            )
        connection.execute("UPDATE jobs SET reason_code = 'done'")
        for number in range(BAKEOFFS):
            job = insert_job(connection, kind="bakeoff", title="b", task=None, needs=(), **usual)  # type: ignore[arg-type]
            _measured(connection, job, f"task-{number % aliases}", number)
    for state, columns in (("starting", ", attempt = 1"), ("running", ""), ("done", ", ended_at = 1.0")):
        before = {"starting": "ready", "running": "starting", "done": "running"}[state]
        with transaction(connection):
            if state == "starting":
                connection.execute("UPDATE jobs SET state = 'ready'")
            connection.execute(f"UPDATE jobs SET state = '{state}' {columns} WHERE state = '{before}'")
    with transaction(connection):
        for number in range(CHAINS):
            jobs = [
                insert_job(
                    connection,
                    kind=kind,
                    title="c",
                    task=f"task-{number % aliases}",
                    needs=(),
                    model="Qwen3-8B",
                    **usual,
                )  # type: ignore[arg-type]
                for kind in ("train", "merge", "convert", "quantize", "deploy", "bakeoff")
            ]
            insert_chain(connection, title="ship", project_id="p", author="b", links=[(job, False) for job in jobs])
        for number in range(aliases):
            _alias(connection, number)
        for number in range(NOTES):
            add_note(connection, 1 + number % aliases, Reason("alias_changed", {"version": 1, "digest": str(number)}))
    connection.close()
    return home


def _measured(connection, job: int, task: str, number: int) -> None:  # type: ignore[no-untyped-def]
    """A bake-off of the newest two versions of an alias."""
    names = [f"ollama:{task}-{which}" for which in (VERSIONS - 2, VERSIONS - 1)]
    rows = [{"name": name, "form": "served", "score": 0.9, "format_score": 0.9, "content_score": 0.8} for name in names]
    summary = {"task": task, "candidates": rows}
    connection.execute("UPDATE jobs SET result = ? WHERE id = ?", [json.dumps({"summary": summary}), job])
    for line, name in enumerate(names, 1):
        weights = "sha256:" + name.removeprefix("ollama:")
        identity = {
            "api": "ollama",
            "weights": weights,
            "template": "t",
            "version": "0.24.0",
            "parameters": {"x": "y" * 500},
        }
        document = json.dumps({"candidate": name, "identity": identity, "loaded": {"vram_bytes": 5_000_000_000}})
        connection.execute("INSERT INTO measured_candidates VALUES (?, ?, ?, 0, ?)", [job, line, name, document])
        for place in range(INPUTS):
            connection.execute(
                "INSERT INTO answers (job_id, task, candidate, input_id, repeat, key, time, document) VALUES (?,?,?,?,1,?,0,?)",
                [job, task, name, f"i{place}", f"{job}-{name}-{place}", json.dumps({"text": "x" * 500})],
            )


def _alias(connection, number: int) -> None:  # type: ignore[no-untyped-def]
    task = f"task-{number}"
    alias = insert_alias(
        connection, server="ollama", url="http://h", name=f"vault-{number}", name_key=f"vault-{number}"
    )
    before = None
    for which in range(VERSIONS):
        weights = f"sha256:{task}-{which}"
        target = Target(
            f"m-{which}", f"d-{number}-{which}", weights, "t", "0.24.0", 4_000_000_000, "Qwen3-4B", 5 * (number + 1)
        )
        change = open_change(
            connection, alias_id=alias.id, kind="promote", author="b", target=target, from_version=before, task=task
        )
        version = insert_version(connection, alias.id, target, "promoted")
        set_current(connection, alias.id, version.id)
        finish_change(connection, change.id, "done", to_version=version.id)
        before = version.id
    assign_task(connection, FleetTask("p", "/nowhere", task, alias.id, 1.0, "b"))


def main(arguments: Sequence[str] = ()) -> None:
    parser("fleet", __doc__).parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        for aliases in (10, 100):
            home = make(Path(scratch), aliases)
            connection = open_database(home)
            rows_of = partial(fleet_rows, home)
            for name, read in (("rows", rows_of), ("newest 40 of the history", partial(fleet_history, limit=40))):
                took = []
                for _ in range(ROUNDS):
                    began = time.process_time()
                    found = read(connection)  # type: ignore[operator]
                    took.append(time.process_time() - began)
                middle, worst = statistics.median(took) * 1e3, max(took) * 1e3
                print(
                    f"{aliases} aliases, {name}: {len(found)}, median {middle:.1f} ms, worst {worst:.1f} ms", flush=True
                )
            rows = rows_of(connection)
            assert all(row.scores and row.before and row.before.scores and row.lineage.recipe for row in rows)
            connection.close()


if __name__ == "__main__":
    main(sys.argv[1:])
