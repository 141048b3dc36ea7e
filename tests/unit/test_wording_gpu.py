"""The words of the lease's codes: every code has some, foreign names are text in them, and a few are here as they are read."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.format import clock
from core.gpu_lease.phases import Phase
from core.reasons import Reason
from core.store.job_reasons import about_the_gpu
from core.wording.gpu import WORDS, gpu_phase_words, gpu_words
from core.wording.jobs import reason_words

CHECKOUT = Path(__file__).parents[2]
NOW = 1_700_000_000.0
HOLDER = {"name": "blender", "pid": 52110, "user": "ben", "held_bytes": 9_100_000_000, "since": NOW}


def codes_of(room: str) -> set[str]:
    """Every code that stands in the room's source as `Reason("…")`."""
    found = set()
    for file in (CHECKOUT / room).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Reason":
                code = node.args[0]
                options = [code.body, code.orelse] if isinstance(code, ast.IfExp) else [code]
                found |= {one.value for one in options if isinstance(one, ast.Constant)}
    return found


def test_every_code_has_words_and_every_word_a_code() -> None:
    made = codes_of("core/gpu_lease") | codes_of("core/serving")
    made |= {"model_tag_deleted", "model_tag_replaced"}  # one call makes both
    assert made == set(WORDS)


@pytest.mark.parametrize(
    ("code", "values", "words"),
    [
        ("measuring_idle_memory", {}, "Measuring idle GPU memory…"),
        ("held_by_program", HOLDER, "blender (pid 52110, ben) holds 9.1 GB since {time}"),
        (
            "held_by_program",
            {**HOLDER, "user": None, "since": None, "more_programs": 2, "more_bytes": 3_000_000_000},
            "blender (pid 52110) holds 9.1 GB, 2 more hold 3.0 GB",
        ),
        ("held_by_other_home", {"job_id": 7, "home": "/srv/ben"}, "In use by job 7 of /srv/ben"),
        ("held_by_other_home", {"job_id": None, "home": None}, "In use by another home"),
        (
            "job_too_large",
            {"needed_bytes": 13e9, "usable_bytes": 12.1e9, "total_bytes": 17e9, "beside_models": False},
            "Needs 13.0 GB; only 12.1 of 17.0 GB is usable. Reduce batch size, rank or max_length.",
        ),
        (
            "clients_active",
            {"model": "judge", "seconds": 30.0},
            "Paused: clients are using judge. Resumes after 30 s without requests.",
        ),
        (
            "model_does_not_fit",
            {"model": "planner", "others": ["judge", "seeder"]},
            "Not reloading planner: not enough GPU memory alongside judge and seeder.",
        ),
        ("memory_unknown", {}, "GPU memory usage is unavailable; starting without a memory check."),
        ("lock_not_regular", {"path": "/run/lock/x"}, "GPU lock file /run/lock/x is not a regular file"),
        (
            "model_not_loaded",
            {"model": "judge", "problem": "server_refused", "status": 500, "said": "no memory", "url": "http://box"},
            "Could not reload judge: no memory",
        ),
        ("models_returned", {"count": 1}, "1 served model restored"),
    ],
)
def test_they_read_well(code: str, values: dict[str, Any], words: str) -> None:
    assert gpu_words(Reason(code, values), NOW) == words.format(time=clock(NOW))


def test_a_job_that_waits_for_the_gpu_says_so() -> None:
    why = Reason("held_by_program", HOLDER)
    stored = about_the_gpu("gpu_lease", why)
    assert stored.values["why"] == "held_by_program" and stored.values["pid"] == 52110
    assert reason_words(stored).startswith("GPU: blender (pid 52110, ben) holds 9.1 GB")
    client = Reason("model_loaded_by_client", {"model": "judge", "job_id": 3, "policy": "pause"})
    assert reason_words(about_the_gpu("stopping_for_client", client)) == (
        "Stopping at the next step: judge was loaded by a client"
    )
    stopped = Reason("preempted", {**about_the_gpu("stopping_for_client", client).values, "step": 40})
    assert reason_words(stopped) == "Stopped because judge was loaded by a client; will resume from step 40"
    elsewhere = about_the_gpu("slot_held_elsewhere", Reason("lock_not_regular", {"path": "/x"}), slot="cpu")
    assert reason_words(elsewhere) == "CPU: GPU lock file /x is not a regular file"


def test_no_remedy_is_a_reset_of_the_gpu() -> None:
    """It can take the machine down."""
    for code in ("restart_after_driver_death", "find_hidden_holder"):
        words = gpu_words(Reason(code))
        assert "restart the machine" in words and "reset" not in words


@pytest.mark.parametrize("phase", get_args(Phase))
def test_every_phase_has_words(phase: Phase) -> None:
    assert phase == "free" or gpu_phase_words(phase, 7) != phase


def test_a_code_of_another_version_is_shown_as_it_is_called() -> None:
    assert gpu_words(Reason("waits_for_the_moon", {"phase": "full"})) == "waits for the moon, phase full"
    assert gpu_words(Reason("held_by_program", {"colour": "red"})) == "held by program, colour red"
    assert gpu_phase_words("warming", None) == "warming" and gpu_words(None) == ""


NASTY = st.text(st.characters(), max_size=30) | st.sampled_from(
    ["\x1b[2J", "\x1b]52;c;aGk=\x07", "a\nb", "\u202e", "{}"]
)


@given(
    code=st.sampled_from(sorted(WORDS)) | NASTY,
    values=st.dictionaries(
        st.sampled_from(
            ["model", "models", "name", "url", "said", "home", "path", "others", "command", "problem", "x"]
        ),
        NASTY | st.lists(NASTY, max_size=3) | st.none() | st.integers(),
        max_size=6,
    ),
)
def test_whatever_the_values_are_the_words_are_text(code: str, values: dict[str, Any]) -> None:
    assert gpu_words(Reason(code, {**HOLDER, "left_bytes": 1, "job_id": 1, "seconds": 1, **values})).isprintable()
