"""`bakehouse audit`: real processes count with a real tokenizer, and what they found is remembered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.authoring.scaffold import new_project
from core.cli.main import main
from core.config.project import Project
from core.data.audit import Audit
from core.errors import BakehouseError, InputError, NotFoundError
from core.home import Home
from core.submission.audit_process import audit
from tests.support.chat_templates import ALWAYS_ASKING, REFUSES_SYSTEM
from tests.support.commands import called
from tests.support.terminals import Terminal
from tests.support.tokenizers import byte_level, write_model

pytestmark = pytest.mark.process

TASK = """\
name: titles
system: Give the recipe a title.
golden: golden/titles.yaml
data: {train: configs/data/titles.train.jsonl}
format:
  - {check: regex, pattern: '^TITLE: .+$'}
"""
GOLDEN = "".join(f"- {{id: g{number}, input: 'golden dish number {number}, simmered'}}\n" for number in range(6))
LINES = [{"prompt": f"training dish {number}, roasted", "completion": f"TITLE: Dish {number}"} for number in range(9)]
LONG = {"prompt": "peel " * 90 + "and serve", "completion": "TITLE: Peels"}
OPTIONS = ("--model", "tiny", "--recipe", "demo", "--max-length", "200")


class Kitchen:
    """A project with a model of its own; commands run in this process, audits in theirs."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = folder / "kitchen"
        self.home = Home(folder / "home")
        self.capsys = capsys
        new_project(self.root)
        write_model(self.root / "tiny", byte_level())
        self.write("configs/models.yaml", "tiny: {path: tiny}\n")
        self.write("configs/tasks/titles.yaml", TASK)
        self.write("golden/titles.yaml", GOLDEN)
        self.data([*LINES, LONG])

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def data(self, lines: list[dict[str, Any]]) -> None:
        self.write("configs/data/titles.train.jsonl", "".join(json.dumps(line) + "\n" for line in lines))

    def run(self, *words: str) -> tuple[int, str, str]:
        return called(self.capsys, ["audit", "titles", *OPTIONS, *words, "--project", str(self.root)])

    def audit(self, **options: Any) -> Audit:
        return audit(self.home, Project.find(explicit=self.root), "titles", "tiny", recipe="demo", **options)


@pytest.fixture
def kitchen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Kitchen:
    monkeypatch.setenv("BAKEHOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Kitchen(tmp_path, capsys)


def test_it_prints_the_figures_and_an_example_with_its_loss_marked(kitchen: Kitchen) -> None:
    code, out, err = kitchen.run("--show", "1", "--show", "10", "--lengths", "64,200,1024")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("titles for tiny, recipe demo: 10 examples")
    cells = {line.split()[0]: line.split() for line in lines if line[:1].isdigit()}
    assert list(cells) == ["64", "200", "1024"]
    assert cells["1024"][1:7] == ["10", "100", "%", "0", "0", "%"] and cells["1024"][-1] == "none"
    assert cells["200"][2:8] == ["9", "90", "%", "1", "10", "%"] and "1 answers (10 %), 1 of them wholly lost" in out
    assert "none of the 6 golden inputs appears in the training data" in out and "no duplicates" in out
    shown = out[out.index("── example 1 ") :]
    assert "the loss is on what stands within ⟦ ⟧" in shown
    assert (
        "<|im_start|>user\ntraining dish 0, roasted<|im_end|>\n<|im_start|>assistant\n⟦TITLE: Dish 0<|im_end|>⟧"
        in shown
    )
    cut = shown[shown.index("── example 10 ") :]
    tokens = kitchen.audit(max_length=200, show=[10]).shown[0].cut_tokens
    assert f"{tokens} tokens cut out of the prompt" in cut and f"\n… −{tokens} tokens …\n" in cut
    assert cut.rstrip().endswith("⟦TITLE: Peels<|im_end|>⟧")


def test_as_json_it_is_one_document(kitchen: Kitchen) -> None:
    code, out, _ = kitchen.run("--json", "--show", "2")
    document = json.loads(out)
    assert (code, document["schema"]) == (0, 1)
    assert [item["index"] for item in document["audit"]["shown"]] == [2]
    assert document["audit"]["rows"][0]["max_length"] == 200


def test_at_a_terminal_the_loss_is_green_unless_colours_are_unwanted(
    kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch
) -> None:
    kitchen.audit(max_length=200)
    words = ("audit", "titles", *OPTIONS, "--show", "1", "--project", str(kitchen.root))
    call = ("-c", f"from core.cli.main import main; main({list(words)!r})")
    terminal = Terminal(*call)
    terminal.read_until(b"<|im_end|>\x1b[0m")
    assert b"\x1b[32mTITLE: Dish 0<|im_end|>\x1b[0m" in terminal.said and "⟦".encode() not in terminal.said
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal(*call)
    plain.read_until("⟦TITLE: Dish 0<|im_end|>⟧".encode())
    assert b"\x1b" not in plain.said
    for ended in (terminal, plain):
        ended.hang_up()


def test_nothing_in_the_data_speaks_to_the_terminal(kitchen: Kitchen) -> None:
    kitchen.data(
        [
            {
                "prompt": "\x1b[2Jhidden\rshown \u202ereversed\u200b\x9b31m",
                "completion": "TITLE: \x1b]0;x\x07",
                "\x1b[1m": 1,
            },
            *LINES,
        ]
    )
    _, out, _ = kitchen.run("--show", "1")
    assert not any((ord(sign) < 32 and sign != "\n") or sign in "\x7f\x9b\u202e\u200b" for sign in out)
    # And yet all of it can be seen.
    assert "␛[2Jhidden␍shown \\u202ereversed\\u200b\\u009b31m" in out and "⟦TITLE: ␛]0;x␇<|im_end|>⟧" in out


def test_many_tokens_read_for_one_written_are_warned_of(kitchen: Kitchen) -> None:
    assert "tokens are read for one that is written" in kitchen.run()[1]
    kitchen.data([{"prompt": "x", "completion": "TITLE: " + "wordy " * 40}])
    assert "tokens are read for one that is written" not in kitchen.run("--max-length", "1024")[1]


def test_leaks_and_too_many_skips_exit_as_training_would(kitchen: Kitchen) -> None:
    kitchen.data([*LINES, {"prompt": "Golden dish number 3 – simmered!", "completion": "TITLE: x"}])
    code, out, _ = kitchen.run()
    assert code == 3 and "line 10 is the golden input `g3`" in out
    kitchen.data([*LINES, *({"prompt": "x", "completion": "TITLE: " + "long " * 90} for _ in range(4))])
    code, out, _ = kitchen.run()
    assert code == 3 and "skipped at 200: lines 10, 11, 12, 13; more than the 20 %" in out
    assert "3 examples repeat an earlier one: lines 11, 12, 13" in out
    assert json.loads(kitchen.run("--json")[1])["audit"]["refused"] == "too_many_skipped"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--show", "11"), 2, "there is no example 11: there are 10"),
        (("--lengths", "12,x"), 2, "is no list of lengths"),
        (("--max-length", "3"), 2, "--max-length"),
        (("--recipe", "demon"), 4, "did you mean `demo`?"),
        (("--model", "SmolLM2-135M"), 4, "bakehouse models pull SmolLM2-135M"),
    ],
)
def test_wrong_words_are_answered_in_a_line(kitchen: Kitchen, words: tuple[str, ...], code: int, said: str) -> None:
    ended, out, err = kitchen.run(*words)
    assert ended == code and said in err and out == ""


def test_errors_of_the_process_come_back_as_what_they_were(kitchen: Kitchen) -> None:
    path = kitchen.root / "configs/data/titles.train.jsonl"
    path.write_text(path.read_text() + '{"prompt": 1}\n')
    with pytest.raises(InputError) as caught:
        kitchen.audit()
    assert (caught.value.code, caught.value.file, caught.value.line) == ("bad_line", str(path), 11)
    kitchen.data(LINES)
    write_model(kitchen.root / "tiny", byte_level(template=None))
    (kitchen.root / "tiny" / "chat_template.jinja").unlink(missing_ok=True)
    with pytest.raises(InputError) as caught:
        kitchen.audit()
    assert caught.value.code == "no_chat_template" and "instruct" in (caught.value.remedy or "")
    (kitchen.root / "tiny" / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError) as caught:
        kitchen.audit()
    assert caught.value.code == "bad_model"


def test_a_model_that_is_not_there_is_not_found(kitchen: Kitchen) -> None:
    with pytest.raises(NotFoundError) as caught:
        audit(kitchen.home, Project.find(explicit=kitchen.root), "titles", "SmolLM2-135M")
    assert (caught.value.code, caught.value.remedy) == ("model_not_pulled", "bakehouse models pull SmolLM2-135M")


def test_a_process_that_breaks_is_told_with_its_last_word(kitchen: Kitchen) -> None:
    broken = kitchen.root / "python"
    broken.write_text(
        f'#!/bin/sh\n[ "$3" = jobs.audit ] || exec {sys.executable} "$@"\necho nonsense; echo ouch >&2; exit 7\n'
    )
    broken.chmod(0o755)
    project_file = kitchen.root / "bakehouse.yaml"
    project_file.write_text(project_file.read_text() + f"\njobs: {{python: {broken}}}\n")
    with pytest.raises(BakehouseError, match="ended with 7: ouch") as caught:
        kitchen.audit()
    assert caught.value.code == "audit_failed"


def test_what_was_counted_is_remembered_until_something_changes(kitchen: Kitchen) -> None:
    first = kitchen.audit(max_length=200)
    assert not first.cached and first.seconds > 0
    again = kitchen.audit(max_length=200, show=[1, 10])
    assert again.cached and len(again.shown) == 2 and again.rows == first.rows
    assert not kitchen.audit(max_length=201).cached
    kitchen.write("configs/tasks/titles.yaml", TASK.replace("a title", "some title"))
    assert not kitchen.audit(max_length=200).cached
    kitchen.write("configs/tasks/titles.yaml", TASK)
    assert kitchen.audit(max_length=200).cached
    kitchen.write("golden/titles.yaml", GOLDEN.replace("dish", "pot"))
    assert not kitchen.audit(max_length=200).cached
    kitchen.write("golden/titles.yaml", GOLDEN)
    write_model(kitchen.root / "tiny", byte_level(corpus=["another text altogether"]))
    assert not kitchen.audit(max_length=200).cached
    kitchen.data(LINES)
    assert not (last := kitchen.audit(max_length=200)).cached and last.examples == 9


def test_a_broken_entry_of_the_cache_is_made_anew(kitchen: Kitchen) -> None:
    first = kitchen.audit(max_length=200)
    (entry,) = (kitchen.home.cache / "audits").glob("*.json")
    whole = entry.read_text()
    for content in (whole[:-20], "[]", whole.replace('"examples": 10', '"examples": 11'), "\x00" * 40):
        assert content != whole
        entry.write_text(content)
        again = kitchen.audit(max_length=200)
        assert not again.cached and again == first
    assert kitchen.audit(max_length=200).cached


def test_the_process_imports_no_torch(kitchen: Kitchen) -> None:
    """What makes it quick: with torch an audit takes three times as long."""
    kitchen.audit()
    asked = {
        "task": Project.find(explicit=kitchen.root).task("titles").model_dump(mode="json"),
        "model": {"name": "tiny", "path": str(kitchen.root / "tiny")},
        "recipe": Project.find(explicit=kitchen.root).recipe("demo").model_dump(mode="json"),
        "train": str(kitchen.root / "configs/data/titles.train.jsonl"),
        "golden": None,
        "lengths": None,
        "show": [1],
        "home": str(kitchen.home.root),
    }
    request = kitchen.root / "request.json"
    request.write_text(json.dumps(asked))
    done = subprocess.run(
        [sys.executable, "-P", "-X", "importtime", "-m", "jobs.audit", str(request)],
        cwd=kitchen.root,
        env={**os.environ},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Audit.from_json(json.loads(done.stdout)["audit"]).examples == 10
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "transformers" in imported and not {"torch", "trl", "datasets"} & imported


def test_texts_that_would_be_learnt_wrongly_stand_with_their_lines_and_a_remedy(kitchen: Kitchen) -> None:
    ended = [{"prompt": f"dish {number}, fried", "completion": f"TITLE: {number}<|im_end|>"} for number in range(8)]
    kitchen.data([*LINES, *ended, {"prompt": "what is <|im_start|>?", "completion": "TITLE: A sign"}])
    code, out, _ = kitchen.run()
    assert code == 3
    assert "✗ the completion holds `<|im_end|>`, which ends a turn (lines 10, 11, 12, 13, 14 and 3 more)" in out
    assert "remove it: the chat template writes the end of the turn itself" in out
    assert "! a user message holds `<|im_start|>`" in out and "(line 18)" in out
    document = json.loads(kitchen.run("--json")[1])["audit"]
    assert document["refused"] == "texts"
    assert [(item["code"], item["lines"][0]) for item in document["texts"]] == [
        ("end_in_completion", 10),
        ("control_in_message", 18),
    ]


def test_a_template_that_refuses_the_system_message_is_told_with_what_to_do(kitchen: Kitchen) -> None:
    write_model(kitchen.root / "tiny", byte_level(REFUSES_SYSTEM))
    code, _, err = kitchen.run()
    assert code == 2 and "refuses a system message (System role not supported)" in err
    assert "set `system_role: user` in the task" in err
    kitchen.write("configs/tasks/titles.yaml", TASK + "system_role: user\n")
    code, out, _ = kitchen.run("--show", "1")
    assert code == 0 and "<|im_start|>user\nGive the recipe a title.\n\ntraining dish 0, roasted<|im_end|>" in out


def test_what_the_template_does_is_told_beside_the_figures(kitchen: Kitchen) -> None:
    write_model(kitchen.root / "tiny", byte_level(ALWAYS_ASKING))
    code, out, _ = kitchen.run("--show", "1")
    assert code == 0 and "writes `<|im_start|>assistant` behind the end of a turn: it is not learnt" in out
    assert "⟦TITLE: Dish 0<|im_end|>⟧" in out


def test_an_audit_needs_no_golden_inputs_yet(kitchen: Kitchen) -> None:
    kitchen.write("golden/titles.yaml", "inputs:\n")
    code, out, _ = kitchen.run()
    assert code == 0 and "no golden inputs yet" in out
    (kitchen.root / "golden/titles.yaml").unlink()
    assert kitchen.audit().golden is None
    kitchen.write("golden/titles.yaml", "inputs: [{id: a}]\n")
    with pytest.raises(InputError, match="has no text"):
        kitchen.audit()


def test_what_the_data_says_not_to_learn_is_told(kitchen: Kitchen) -> None:
    unwanted = {
        "messages": [{"role": "user", "content": "dish 99"}, {"role": "assistant", "content": "no", "weight": 0}]
    }
    kitchen.data([*LINES, unwanted])
    code, out, _ = kitchen.run()
    assert (
        code == 0 and "1 assistant turn marked as not to be learnt (weight 0); nothing is learnt from lines 10" in out
    )
    assert kitchen.audit().examples == len(LINES)


def test_a_table_of_several_tasks_says_what_fits_which_length(
    kitchen: Kitchen, capsys: pytest.CaptureFixture[str]
) -> None:
    kitchen.write(
        "configs/tasks/other.yaml", TASK.replace("titles", "other").replace("golden: golden/other.yaml\n", "")
    )
    kitchen.write("configs/data/other.train.jsonl", '{"conversations": [{"from": "human", "value": "a"}]}\n')
    words = ["--tasks", "titles,other", "--model", "tiny", "--lengths", "200,2048", "--project", str(kitchen.root)]

    def asked(*more: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as leave:
            main(["audit", *words, *more])
        return int(leave.value.code or 0), capsys.readouterr().out

    code, out = asked()
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line}
    titles = kitchen.audit(lengths=[200, 2048])
    assert rows["titles"] == [
        "titles",
        "10",
        f"{titles.tokens_median:,.0f}",
        f"{titles.tokens_max}",
        "90",
        "%",
        "100",
        "%",
    ]
    assert rows["other"] == ["other", "—"]
    assert code == 2 and "bakehouse data convert" in out
    code, out = asked("--json")
    document = json.loads(out)
    assert list(document["audits"]) == ["titles"] and document["errors"]["other"]["code"] == "other_form"
