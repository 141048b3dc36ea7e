"""`bakehouse data`: what a person sees of a file, and what becomes of it on the disk."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from core.authoring.scaffold import new_project
from core.config.task import Task
from core.data.examples import load_examples
from tests.support.commands import called
from tests.support.tokenizers import byte_level, write_model

SHARE: dict[str, Any] = {
    "id": "x",
    "conversations": [
        {"from": "human", "value": "Why salt?"},
        {"from": "gpt", "value": "No idea.", "weight": 0, "name": "bot"},
        {"from": "human", "value": "Please."},
        {"from": "gpt", "value": "It keeps yeast in check."},
    ],
}


class Shell:
    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys

    def file(self, name: str, *records: Any) -> Path:
        path = self.folder / name
        text = "".join(record if isinstance(record, str) else json.dumps(record) + "\n" for record in records)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    def run(self, *words: object) -> tuple[int, str, str]:
        return called(self.capsys, ["data", *map(str, words)])


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.setenv("BAKEHOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return Shell(tmp_path, capsys)


def test_inspect_says_what_is_there_learnt_and_ignored(shell: Shell) -> None:
    code, out, _ = shell.run("inspect", shell.file("chats.jsonl.gz", SHARE))
    assert code == 0
    for said in (
        "JSON lines, gzip, UTF-8",
        "ShareGPT",
        "1 answer; 1 assistant turn marked as not to be learnt",
        "conversations[].name (1), id (1)",
        "learnt    It keeps yeast in check.",
    ):
        assert said in out


def test_inspect_names_the_first_bad_records_and_their_count(shell: Shell) -> None:
    code, out, _ = shell.run("inspect", shell.file("x.jsonl", SHARE, *['{"prompt": "a"}\n'] * 8))
    assert code == 2
    assert "9 lines, 8 cannot be used" in out and "✗ lines 2, 3, 4, 5, 6: completion: has no completion" in out
    assert out.count("has no completion") == 1  # one reason is said once
    assert "and 3 more lines" in out
    code, out, _ = shell.run("inspect", "x.jsonl", "--json")
    document = json.loads(out)["data"]
    assert (document["bad"], document["usable"], len(document["problems"])) == (8, 1, 5)
    assert document["learnt_every"] == document["learnt_last"] == 1


def test_inspect_of_empty_prompts_warns(shell: Shell) -> None:
    _, out, _ = shell.run("inspect", shell.file("x.csv", "question,answer\n,a\n,b\n"))
    assert "Every prompt is empty" in out


def test_convert_writes_what_can_be_trained_on_and_says_what_is_left_out(shell: Shell) -> None:
    code, out, _ = shell.run("convert", shell.file("chats.jsonl.gz", SHARE))
    written = shell.folder / "chats.converted.jsonl"
    assert code == 0 and str(written) in out and "ignored  conversations[].name (1), id (1)" in out
    (example,), report = load_examples(written, Task(name="t"))
    assert (example.completion, report.unlearnt_turns, report.further_keys) == ("It keeps yeast in check.", 1, {})
    assert written.stat().st_mode & 0o777 == 0o666 & ~os.umask(os.umask(0o022))


def test_convert_never_writes_over_a_file_and_leaves_nothing_half_done(shell: Shell) -> None:
    source = shell.file("x.json", [SHARE, {"prompt": "a"}])
    target = shell.file("out.jsonl", "mine")
    before = sorted(shell.folder.iterdir())
    code, _, err = shell.run("convert", source, "-o", target)
    assert code == 2 and "entry 2: has no completion" in err
    code, _, err = shell.run("convert", source, "-o", target, "--skip-bad")
    assert code == 2 and "is there already" in err
    code, _, err = shell.run("convert", source, "-o", "absent/out.jsonl", "--skip-bad")
    assert code == 2 and "cannot be written" in err
    assert target.read_text() == "mine" and sorted(shell.folder.iterdir()) == before
    code, out, _ = shell.run("convert", source, "-o", "new.jsonl", "--skip-bad")
    assert code == 0 and "left out 1 entry that cannot be used: 2" in out


def test_convert_of_a_pipe_wants_a_place(shell: Shell) -> None:
    for words, code in ((("-o", "piped.jsonl"), 0), ((), 2)):
        reading, writing = os.pipe()
        os.write(writing, json.dumps(SHARE).encode())
        os.close(writing)
        found, _, err = shell.run("convert", f"/dev/fd/{reading}", *words)
        os.close(reading)
        assert found == code and ("-o FILE" in err) == (code == 2)


def test_convert_can_write_to_stdout_and_says_the_rest_on_stderr(shell: Shell) -> None:
    nasty = {"question": "q\x9b2J\u2028é", "answer": "a", "id": 1}
    code, out, err = shell.run("convert", shell.file("x.json", [nasty, nasty]), "-o", "-")
    lines = out.split("\n")
    assert code == 0 and lines[2:] == [""] and "ignored  id (2)" in err
    assert json.loads(lines[0]) == {"prompt": nasty["question"], "completion": "a"}
    assert "\x9b" not in out and not (shell.folder / "-").exists()


def test_columns_can_be_named_and_keys_left_out(shell: Shell) -> None:
    table = shell.file("x.tsv", "Frage\tAntwort\tanswer\tweight\nq\ta\tno\theavy\n")
    code, _, err = shell.run("convert", table)
    assert code == 2 and "--prompt-column" in err
    words = ("--prompt-column", "Frage", "--completion-column", "Antwort")
    code, _, err = shell.run("convert", table, *words)
    assert code == 2 and "--ignore weight" in err
    code, out, _ = shell.run("convert", table, *words, "--ignore", "weight")
    assert code == 0 and "ignored  answer (1), weight (1)" in out
    assert json.loads((shell.folder / "x.converted.jsonl").read_text()) == {"prompt": "q", "completion": "a"}


def test_what_a_file_says_never_speaks_to_the_terminal(shell: Shell) -> None:
    nasty = {"prompt": "\x1b[2Jq\u202e", "completion": "\x1b]0;x\x07a", "\x1b[31mkey": 1}
    _, out, err = shell.run("inspect", shell.file("x\x1b[2J.jsonl", nasty, '{"\x07prompt": 1}\n'))
    assert "\x1b" not in out + err and "\x07" not in out + err and "\u202e" not in out


@pytest.mark.process
def test_tokens_are_counted_where_a_model_can_be_had(shell: Shell) -> None:
    root = shell.folder / "kitchen"
    new_project(root)
    write_model(root / "tiny", byte_level())
    (root / "configs/models.yaml").write_text("tiny: {path: tiny}\n")
    file = shell.file("chats.jsonl", SHARE)
    code, out, _ = shell.run("inspect", file, "--model", "tiny", "--project", root, "--json")
    tokens = json.loads(out)["tokens"]
    text = SHARE["conversations"][-1]["value"]
    assert (
        code == 0 and tokens["completion"]["longest"] == len(byte_level()(text)["input_ids"]) + 1
    )  # the end of the turn
    code, out, _ = shell.run("inspect", file, "--model", "absent", "--project", root)
    assert code == 0 and "tokens      unknown: no model `absent`" in out
