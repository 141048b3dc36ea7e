"""Every code that the queue stores has words, and the words are for people. The only place that knows them word for word."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from core.reasons import Reason
from core.runner.commands import COMMANDS, RefusedError
from core.store.job_reasons import JobReasonCode, RefusalCode
from core.store.jobs import QueueState, State
from core.wording.jobs import JOB_WORDS, REFUSAL_WORDS, phase_words, reason_words, refused, why_not_offered
from tests.support.stored import fresh, job_in

VALUES: dict[str, Any] = {
    "note": "gaming tonight",
    "step": 40,
    "jobs": [41, 42],
    "job": 12,
    "state": "failed",
    "states": ["waiting", "ready"],
    "free_bytes": 1_900_000_000,
    "needed_bytes": 2_000_000_000,
    "slot": "cpu",
    "message": "no step for 90 s",
    "finding": "hang",
    "signal": "SIGKILL",
    "after_seconds": 60.0,
    "author": "anna@gpubox, console",
    "exit_code": 1,
    "last_line": "ValueError: no",
    "error": "KeyError('x')",
    "file": "train.jsonl",
    "line": 7,
    "remedy": "write them",
    "gate": True,
    "command": "cancel",
    "place": "sideways",
    "places": ["first", "last"],
    "why": "gpu_not_read_yet",
    "attempts": 3,
    "variable": "PYTORCH_NO_HIP_MEMORY_CACHING",
    "at_step": 61,
    "count": 2,
    "kind": "bakeoff",
    "chain": 3,
    "alias": "vault-judge",
}
"""Each value that any code carries."""


def test_every_code_has_words_and_no_words_are_left_over() -> None:
    assert set(JOB_WORDS) == set(get_args(JobReasonCode))
    assert set(REFUSAL_WORDS) == set(get_args(RefusalCode))
    assert not set(JOB_WORDS) & set(REFUSAL_WORDS)


@pytest.mark.parametrize("code", [*JOB_WORDS, *REFUSAL_WORDS])
def test_the_words_of_a_code_are_a_line_without_codes_and_templates(code: str) -> None:
    said = reason_words(Reason(code, VALUES))
    assert said or code == "running"
    assert said.isprintable() or not said
    assert not re.search(r"[{}]|None|_|  ", said), said
    assert said[:1].upper() == said[:1] or code in {"launch_failed", "done", "watchdog"}, said


@pytest.mark.parametrize("code", ["wormhole", "after", "wrong_state"])
def test_a_code_or_values_of_another_version_are_shown_as_they_are(code: str) -> None:
    assert reason_words(Reason(code, {"depth": 3})) == f"{code} depth=3"


def test_what_others_wrote_says_nothing_to_the_terminal() -> None:
    said = reason_words(Reason("exit_code", {"exit_code": 1, "last_line": "\x1b]0;owned\x07\x1b[2J boom"}))
    assert "\x1b" not in said and "\x07" not in said and "boom" in said


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (Reason("held"), "Held"),
        (Reason("held", {"note": "data not ready", "step": 40}), "Held at step 40: data not ready"),
        (Reason("after", {"jobs": [41]}), "After job 41"),
        (Reason("after", {"jobs": [41, 42]}), "After jobs 41 and 42"),
        (Reason("need_failed", {"job": 3, "state": "failed"}), "Job 3 failed: retry job 3, or cancel this one"),
        (Reason("disk_low", VALUES), "Disk: 1.9 GB free, 2.0 GB needed"),
        (Reason("slot_held", {"slot": "gpu", "job": 41}), "Waiting for the GPU (job 41)"),
        (
            Reason("slot_held_asking", {"slot": "gpu", "job": 41, "kind": "bakeoff"}),
            "Waiting for the GPU: a bake-off (job 41) uses the model server",
        ),
        (Reason("signal_sent", {"signal": "SIGINT", "after_seconds": 60.0}), "Did not stop within 60 s; SIGINT sent"),
        (
            Reason("still_running", {"signal": "SIGTERM", "job": 12}),
            "Still running after SIGTERM. Force-kill it with `bakehouse queue kill 12`.",
        ),
        (
            Reason("machine_restarted", {"step": 40}),
            "Interrupted by a restart of the machine; retry resumes from step 40",
        ),
        (Reason("end_unseen"), "Lost: exit status unknown; retry starts from the beginning"),
        (
            Reason("job_error", {"message": "no messages", "file": "train.jsonl", "line": 7, "remedy": "write them"}),
            "train.jsonl:7: no messages; write them",
        ),
        (
            Reason("wrong_state", {"command": "retry", "job": 12, "state": "done", "states": ["failed", "lost"]}),
            "Job 12 is done. `retry` needs one that is failed or lost.",
        ),
        (Reason("cancelled_in_queue", {"attempts": 3}), "Cancelled in the queue after 3 attempts"),
    ],
)
def test_some_words_as_a_person_reads_them(reason: Reason, words: str) -> None:
    assert reason_words(reason) == words


def test_a_refused_command_is_an_error_with_its_code_and_its_words() -> None:
    error = refused(RefusedError(Reason("not_held", {"job": 12})))
    assert (error.code, error.message) == ("not_held", "Job 12 is not held.")


@pytest.mark.parametrize(
    ("command", "state", "words"),
    [
        ("retry", "running", "Job {id} is running. Only a job that ended without a result can be retried."),
        ("cancel", "done", "Job {id} is done. Only a job that has not ended can be cancelled."),
        ("hold", "failed", "Job {id} has failed. Only a job that has not ended can be held."),
        ("kill", "running", "Job {id} is running. Only a job that was asked to stop can be force-killed."),
        ("move", "starting", "Job {id} is starting. Only a waiting job can be moved."),
        ("release", "waiting", "Job {id} is not held."),
        ("cancel", "stopping", "Job {id} is already being cancelled."),
    ],
)
def test_a_command_that_is_not_offered_says_when_it_would_be(
    tmp_path: Path, command: str, state: State, words: str
) -> None:
    _, connection = fresh(tmp_path)
    job = job_in(connection, state)
    assert why_not_offered(COMMANDS[command], job, QueueState(False, "", "")) == words.format(id=job.id)
    connection.close()


def test_every_command_of_the_queue_that_is_not_offered_says_why(tmp_path: Path) -> None:
    _, connection = fresh(tmp_path)
    jobs = [None, *(job_in(connection, state) for state in get_args(State))]
    for command in COMMANDS.values():
        for job in jobs:
            for paused in (False, True):
                queue = QueueState(paused, "", "")
                on_queue = command.on_job is None and not command.queue_is_needless(queue)
                if not (on_queue or command.offered_for(job)):
                    said = why_not_offered(command, job, queue)
                    assert said.endswith(".") and "wrong_state" not in said and "would change nothing" not in said
    connection.close()


def test_a_phase_of_the_runner_has_words_and_one_of_a_job_is_words_already() -> None:
    assert phase_words("restarting_with_less_memory") == "restarting with less memory"
    assert phase_words("loading the model") == "loading the model"
