"""A command of the queue is one object: what is put into the registry is a command, a key and an act of the runner at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from core.cli.queue import click_command
from core.reasons import Reason
from core.runner.commands import COMMANDS, QueueCommand, RefusedError, Request, carry_out
from core.runner.commands.base import Argument, Key, applies_to
from core.store.commands import get_command, insert_command
from core.store.jobs import JobRow, get_job, set_reason
from tests.support.stored import add_job, fresh, job_in
from tui.screens.job_actions import queue_commands


def label(request: Request, job: JobRow) -> None:
    set_reason(request.connection, job.id, Reason("labelled", {"word": request.arguments["word"]}))


LABEL = QueueCommand(
    name="label",
    help="Write a word beside a waiting job.",
    example="bakehouse queue label 12 urgent",
    refusal=applies_to("label", "waiting"),
    on_job=label,
    done=lambda job, arguments: f"labelled {arguments['word']}",
    arguments=(Argument("word", choices=("urgent", "later")),),
    keys=(Key("W", "W", "urgent", "Mark as urgent", rank=0, arguments={"word": "urgent"}),),
)


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> QueueCommand:
    monkeypatch.setitem(COMMANDS, "label", LABEL)
    return LABEL


def test_the_runner_carries_it_out_and_refuses_it_by_its_rule(added: QueueCommand, tmp_path: Path) -> None:
    home, connection = fresh(tmp_path)
    waiting, running = add_job(connection), job_in(connection, "running").id
    for job_id in (waiting, running):
        asked = get_command(connection, insert_command(connection, "label", job_id, {"word": "urgent"}, "anna"))
        if job_id == waiting:
            carry_out(home, connection, asked)
            assert get_job(connection, job_id).reason == Reason("labelled", {"word": "urgent"})
        else:
            with pytest.raises(RefusedError) as refused:
                carry_out(home, connection, asked)
            assert refused.value.reason == added.refusal(get_job(connection, job_id))


def test_the_command_line_has_its_arguments_and_its_help(added: QueueCommand) -> None:
    told = CliRunner().invoke(click_command(added), ["--help"]).output
    assert "JOB|chain:ID... {urgent|later}" in told and added.help in told and added.example in told
    refused = CliRunner().invoke(click_command(added), ["12", "sideways"])
    assert refused.exit_code == 2 and "sideways" in refused.output


def test_the_console_has_its_key_where_its_rule_allows_it(added: QueueCommand, tmp_path: Path) -> None:
    _, connection = fresh(tmp_path)
    waiting, running = job_in(connection, "waiting"), job_in(connection, "running")
    (key,) = [item for item in queue_commands(lambda test: test, whole_queue=True) if item.label == "urgent"]
    assert (key.shown, key.help, key.action) == ("W", "Mark as urgent", "ask_queue('label', 0)")
    assert key.calls == {("ask_queue", ("label", 0))}
    assert key.when(waiting) and not key.when(running) and not key.when(None)


def test_the_keys_of_the_queue_are_each_bound_once() -> None:
    """Two commands share a key only where one is possible exactly when the other is not."""
    bound = [(name, key.keys) for name, item in COMMANDS.items() for key in item.keys]
    twice = {keys for _, keys in bound if sum(keys == other for _, other in bound) > 1}
    assert twice == {"P"}, "pause and resume"
