"""What commands print, in every encoding and with every state of stdout and stderr: read, or said to be lost; no crash."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.cli import output
from core.cli.output import PLAIN, STAND_INS, print_json, say

CORE = Path(__file__).parents[2] / "core"
WITH_TEXTS = ("cli", "wording", "doctor", "staleness", "results", "bakeoff", "statistics", "scoring", "runner", "store")
"""Rooms whose texts commands print."""
ENCODINGS = ["ascii", "latin-1", "cp1252", "koi8-r", "iso8859-15", "shift_jis", "utf-8"]


def printed(encoding: str, text: str, monkeypatch: pytest.MonkeyPatch | None = None) -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors=STAND_INS, write_through=True)
    say(text, file=stream)
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize(
    ("encoding", "text", "shown"),
    [
        ("ascii", "rank 16 · 3 × 2 → 5 ± 1 ≤ 8 – ok…", "rank 16 - 3 x 2 -> 5 +/- 1 <= 8 - ok..."),
        ("latin-1", "rank 16 · 3 × 2 → 5 ± 1 ≤ 8 – café", "rank 16 · 3 × 2 -> 5 ± 1 <= 8 - café"),
        ("cp1252", "✓ done │ “a” ≥ b", "+ done | “a” >= b"),
        ("ascii", "Łódź, naïve ﬁsh ½ Ⅳ", "?odz, naive fish 12 IV"),
        ("ascii", "日本 🚀 ⣿", "?? ? ."),
    ],
)
def test_signs_that_an_encoding_lacks_have_readable_stand_ins(encoding: str, text: str, shown: str) -> None:
    got = printed(encoding, text).rstrip("\n")
    assert got.replace("1/2", "12").replace("1?2", "12") == shown


@given(st.text(max_size=50), st.sampled_from(ENCODINGS))
def test_any_text_is_printed_in_any_encoding(text: str, encoding: str) -> None:
    assert printed(encoding, text).endswith("\n")


def test_every_stand_in_can_be_written_in_every_encoding() -> None:
    assert all(value.isascii() for value in PLAIN.values())


def test_every_sign_that_commands_print_has_a_stand_in() -> None:
    """A `?` where we write ourselves would be a table nobody can read."""
    missing = set()
    for room in WITH_TEXTS:
        for path in (CORE / room).rglob("*.py"):
            tree = ast.parse(path.read_text("utf-8"))
            texts = (
                node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
            )
            missing |= {sign for text in texts for sign in text if not sign.isascii() and output._in_ascii(sign) == "?"}
    assert not missing


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_json_is_the_same_to_a_parser_in_every_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    document = {"text": "→ é 日本 🚀 \x1b", "n": 1.5}
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding, errors=STAND_INS, write_through=True))
    print_json(document)
    assert json.loads(raw.getvalue().decode(encoding)) == {"schema": 1, **document}


def test_json_holds_no_secret_and_data_stays_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"url": "http://me:secret@h"})
    print_json({"answer": "http://me:secret@h"}, data=True)
    first, second = capsys.readouterr().out.strip().split("\n}\n")
    assert "secret" not in first and "me:secret@h" in second
    say("see http://me:secret@h")
    say("see http://me:secret@h", data=True)
    assert capsys.readouterr().out == "see http://***@h\nsee http://me:secret@h\n"


# The real streams of a real process.

BAKEHOUSE = [sys.executable, "-c", "import sys; from core.cli.main import main; main(sys.argv[1:])"]


def bakehouse(
    home: Path, shell: str, *, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    env = {**os.environ, "BAKEHOUSE_HOME": str(home), "BAKEHOUSE_GPU_SOURCE": "none", **(environment or {})}
    return subprocess.run(["bash", "-c", shell, "bash", *BAKEHOUSE], capture_output=True, env=env, check=False)


@pytest.mark.process
@pytest.mark.parametrize(
    ("shell", "code"),
    [
        ('"$@" queue list >&-', {0}),
        ('"$@" queue list 2>&-', {0}),
        ('"$@" <&-', {2}),
        ('"$@" data inspect - <&- 2>&-', {2}),  # nothing to read is nothing to learn
        ('"$@" queue list <&- >&- 2>&-', {0}),
        ('"$@" runs show 99 2>&-', {4}),
        ('"$@" runs show 99 --json >&-', {4}),
        ('"$@" --help >/dev/full', {1}),
        ('"$@" models list --json >/dev/full', {1}),
        ('"$@" runs show 99 2>/dev/full', {4}),
        ('"$@" models list --json | true; exit ${PIPESTATUS[0]}', {0}),
        ('"$@" --help | head -1; exit ${PIPESTATUS[0]}', {0}),
    ],
)
def test_whatever_stdout_and_stderr_are_there_is_an_exit_code_and_no_traceback(
    tmp_path: Path, shell: str, code: set[int]
) -> None:
    done = bakehouse(tmp_path / "home", shell)
    assert done.returncode in code, done
    assert b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr
    if "/dev/full" in shell and "2>" not in shell:
        assert b"space" in done.stderr


@pytest.mark.process
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "utf-16"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"LC_ALL": "no_SUCH.ISO-8859-1", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
    ids=lambda value: ",".join(value.values()),
)
def test_a_command_prints_in_every_encoding(tmp_path: Path, environment: dict[str, str]) -> None:
    done = bakehouse(tmp_path / "home", '"$@" models list && "$@" plan --help', environment=environment)
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr
    assert done.stdout


@pytest.mark.process
def test_nothing_that_is_opened_later_stands_in_for_a_stream_that_is_closed(tmp_path: Path) -> None:
    """With stdout closed the next file would be descriptor 1, and libraries would print into the database."""
    done = bakehouse(tmp_path / "home", '"$@" queue list <&- >&- 2>&-; "$@" queue list --json')
    assert json.loads(done.stdout)["jobs"] == []
    assert (tmp_path / "home/bakehouse.db").read_bytes().startswith(b"SQLite format 3")
