"""The unit of a served model as its text is written, and the words for all that a served model may do."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from core.cli.output import PLAIN
from core.errors import InputError
from core.home import Home, ServedDir
from core.reasons import Reason
from core.served.record import ServedModelRecord
from core.served.shim import LONGEST_PAUSE_SECONDS, seconds_before_retry
from core.served.state import PHASES, ServedState
from core.served.unit import folder_of_unit, has_unit, install_unit, quoted, unit_file, unit_name, unit_text
from core.wording.served import SIGNS, note_words, served_words, state_words

RECORD = ServedModelRecord("t-m-1", Path("/m.gguf"), "ab", "t", "m", 1, ("/llama-server",), 18080, 512)
HOSTILE = {
    "plain": ("/srv/models", '"/srv/models"'),
    "space": ("/my models/x", '"/my models/x"'),
    "percent": ("/100%h", '"/100%%h"'),
    "quotes": ("/a\"b'c", '"/a\\"b\'c"'),
    "backslash": ("/a\\n", '"/a\\\\n"'),
    "newline": ("/a\n[Service]\nExecStart=/bin/sh", '"/a\\x0a[Service]\\x0aExecStart=/bin/sh"'),
    "umlaut": ("/für", '"/f\\xc3\\xbcr"'),
    "no UTF-8": ("/x\udcff", '"/x\\xff"'),
    "dollar": ("/a$b", '"/a$b"'),
}


@pytest.mark.parametrize(("word", "written"), HOSTILE.values(), ids=HOSTILE)
def test_a_word_is_quoted_as_systemd_reads_it(word: str, written: str) -> None:
    assert quoted(word) == written


def test_what_is_run_has_its_paths_and_variables_quoted_and_nothing_of_a_job_or_a_secret() -> None:
    folder = ServedDir(Path('/home/ann a/100%/$HOME "q"/served/t-m-1'))
    environ = {
        "PATH": "/a b:/c%d", "BAKEHOUSE_LEASE_DIR": "/run", "BAKEHOUSE_JOB": "/runs/1", "HF_TOKEN": "secret", "LANG": "C",
        "BAKEHOUSE_HOME": "/another",
    }  # fmt: skip
    lines = unit_text(folder, RECORD, environ).splitlines()

    assert [line for line in lines if line.startswith("Environment=")] == [
        'Environment="BAKEHOUSE_HOME=/home/ann a/100%%/$HOME \\"q\\""',
        'Environment="BAKEHOUSE_LEASE_DIR=/run"',
        'Environment="PATH=/a b:/c%%d"',
    ]
    (start,) = [line for line in lines if line.startswith("ExecStart=")]
    assert start == (
        f'ExecStart={quoted(sys.executable)} "-P" "-m" "core.served.shim" "--foreground" '
        '"/home/ann a/100%%/$$HOME \\"q\\"/served/t-m-1"'
    )
    assert lines[0] == "# Written by Bakehouse; `bakehouse served remove t-m-1` takes it away."


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return Home(tmp_path / "home").create()


def test_a_unit_is_of_one_folder_whatever_its_path_is(home: Home, tmp_path: Path) -> None:
    folder = ServedDir(tmp_path / 'a\n[x] "%h' / "served" / "t-m-1")
    file = unit_file("t-m-1")
    assert file == tmp_path / "config/systemd/user" / "bakehouse-served-t-m-1.service"
    assert not has_unit(folder) and folder_of_unit(file) is None
    file.parent.mkdir(parents=True)
    file.write_text(unit_text(folder, RECORD, {}))
    assert folder_of_unit(file) == folder.path
    assert has_unit(folder) and not has_unit(home.served_dir("t-m-1"))


@pytest.mark.parametrize("other", ["of another home", "of somebody else"])
def test_a_unit_of_the_name_that_is_another_s_is_left_alone(home: Home, tmp_path: Path, other: str) -> None:
    folder = ServedDir(tmp_path / "home 2" / "served" / "t-m-1")
    folder.path.mkdir(parents=True)
    file = unit_file("t-m-1")
    file.parent.mkdir(parents=True)
    text = unit_text(folder, RECORD, {}) if other == "of another home" else "[Service]\nExecStart=/bin/true\n"
    file.write_text(text)
    with pytest.raises(InputError) as refused:
        install_unit(home.served_dir("t-m-1"), RECORD)
    assert (refused.value.code, file.read_text()) == ("name_taken", text)


def test_every_name_that_a_served_model_may_have_is_one_of_a_unit() -> None:
    assert re.fullmatch(r"[A-Za-z0-9:_.\\-]+\.service", unit_name("aZ09._-"))
    assert len(unit_name("x" * 100)) < 255


STATES = {
    "serving": (ServedState("serving", 0.0), "serving since .*, 127.0.0.1:18080, 1.2 GB"),
    "loading": (ServedState("loading", 0.0), "loading since .*, 127.0.0.1:18080"),
    "died": (
        ServedState("loading", 0.0, reason=Reason("died", {"said": "llama-server ended with 1", "retry_seconds": 4.0})),
        "loading since .*: llama-server ended with 1; next try after 4 s",
    ),
    "away": (ServedState("away", 0.0, reason=Reason("away", {"jobs": [7]})), "away for job 7"),
    "away for two": (ServedState("away", 0.0, reason=Reason("away", {"jobs": [7, 9]})), "away for jobs 7 and 9"),
    "away for none": (ServedState("away", 0.0, reason=Reason("away", {"jobs": [0]})), "away for a job"),
    "port": (
        ServedState("failed", 0.0, reason=Reason("port_taken", {"port": 18080, "retry_seconds": 5.0})),
        "failed: port 18080 is taken by another program; next try after 5 s",
    ),
    "stopped": (ServedState("stopped", 0.0, reason=Reason("by_person")), "stopped: on request"),
    "restarted": (ServedState("stopped", 0.0, reason=Reason("restarted")), "stopped: the machine was restarted"),
}  # fmt: skip


@pytest.mark.parametrize(("state", "words"), STATES.values(), ids=STATES)
def test_what_a_served_model_does_in_words(state: ServedState, words: str) -> None:
    assert re.fullmatch(words, state_words(RECORD, state, 1_200_000_000))


def test_every_phase_has_a_sign_that_every_terminal_can_show() -> None:
    assert set(SIGNS) == set(PHASES)
    assert set(SIGNS.values()) <= set(PLAIN)


def test_every_code_of_the_room_has_words() -> None:
    """Whatever `Reason("…")` stands in its files."""
    folder = Path(__file__).parents[2] / "core" / "served"
    codes = {code for file in folder.glob("*.py") for code in re.findall(r'Reason\(\s*"(\w+)"', file.read_text())}
    notes = {"no_linger", "ends_at_logout"}
    values = {
        "said": "s", "port": 1, "signal": "SIGTERM", "jobs": [1], "at_boot": True, "retry_seconds": 1.0,
    }  # fmt: skip
    kinds = {"died", "out_of_memory", "refused"}
    assert notes < codes
    for code in (codes | kinds) - notes - {"moved"}:
        assert served_words(Reason(code, values))
    for code in notes:
        assert note_words(Reason(code, values))


def test_a_pause_grows_and_stays_bounded_however_often_it_died() -> None:
    pauses = [seconds_before_retry("died", deaths) for deaths in (1, 2, 3, 20, 10_000)]
    assert pauses == [1.0, 2.0, 4.0, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS]
