"""Bad input gets one clear line and exit code 2; nothing is queued or left half done."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from core.authoring.scaffold import new_project
from core.cli.main import bakehouse, commands
from core.home import Home
from core.store.database import open_database
from core.store.jobs import list_jobs
from tests.support.commands import called
from tests.support.needs import need

TASK = """\
name: titles
system: Give the recipe a title.
sampling: {max_new_tokens: 64, context_length: 512}
golden: golden/titles.yaml
data: {train: configs/data/titles.train.jsonl}
format:
  - {check: regex, pattern: '^TITLE: .+$'}
"""
GOLDEN = "".join(f"- {{id: g{number}, input: 'golden dish number {number}, simmered'}}\n" for number in range(6))
DATA = "".join(
    json.dumps({"prompt": f"training dish {number}, roasted", "completion": f"TITLE: Dish {number}"}) + "\n"
    for number in range(12)
)


class Case:
    """A project of its own and an empty home; commands run in this process."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = folder / "kitchen"
        self.home = Home(folder / "home")
        self.capsys = capsys
        new_project(self.root)
        self.write("configs/tasks/titles.yaml", TASK)
        self.write("golden/titles.yaml", GOLDEN)
        self.write("configs/data/titles.train.jsonl", DATA)

    def write(self, name: str, text: str | bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)

    def replace(self, name: str, old: str, new: str) -> None:
        text = (self.root / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def run(self, *words: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of a command."""
        return called(self.capsys, words)

    def train(self, *options: str) -> tuple[int, str, str]:
        return self.run(
            "train", "titles", "--model", "SmolLM2-135M", "--recipe", "demo", "--project", str(self.root), *options
        )

    def nothing_queued(self) -> bool:
        if not self.home.database.exists():
            return True
        connection = open_database(self.home)
        rows = list_jobs(connection)
        connection.close()
        return rows == [] and list(self.home.runs.iterdir()) == []


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Case:
    monkeypatch.setenv("BAKEHOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    # A submission that goes through would start a runner; these tests are about those that don't.
    monkeypatch.setattr("core.submission.enqueue.ensure_runner", lambda home: None)
    return Case(tmp_path, capsys)


BROKEN: dict[str, tuple[Callable[[Case], None], str]] = {
    "YAML that is none": (
        lambda case: case.replace("configs/tasks/titles.yaml", "data: {train", "data: {{train"),
        "titles.yaml:6: not valid YAML",
    ),
    "an unknown key": (
        lambda case: case.replace("configs/tasks/titles.yaml", "sampling:", "samplings:"),
        "did you mean `sampling`?",
    ),
    "a doubled key": (
        lambda case: case.replace("configs/tasks/titles.yaml", "system:", "name: titles\nsystem:"),
        "titles.yaml:2",
    ),
    "a data file that is not there": (
        lambda case: (case.root / "configs/data/titles.train.jsonl").unlink(),
        "titles.train.jsonl",
    ),
    "an empty data set": (lambda case: case.write("configs/data/titles.train.jsonl", ""), "titles.train.jsonl"),
    "a line of data that is no JSON": (
        lambda case: case.write("configs/data/titles.train.jsonl", DATA + "{broken\n"),
        "titles.train.jsonl:13",
    ),
    "data that is no text": (
        lambda case: case.write("configs/data/titles.train.jsonl", b"\xff\xfe\x00"),
        "titles.train.jsonl",
    ),
    "a golden file that is not there": (lambda case: (case.root / "golden/titles.yaml").unlink(), "golden/titles.yaml"),
    "a value of the wrong kind": (
        lambda case: case.replace("configs/tasks/titles.yaml", "max_new_tokens: 64", "max_new_tokens: many"),
        "expected a whole number",
    ),
    "a check that does not exist": (
        lambda case: case.replace("configs/tasks/titles.yaml", "check: regex", "check: regexp"),
        "did you mean `regex`?",
    ),
    "a pattern that is none": (
        lambda case: case.replace("configs/tasks/titles.yaml", "'^TITLE: .+$'", "'^TITLE: (.+$'"),
        "titles.yaml:7",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_gets_one_line_and_exit_code_2(case: Case, what: str) -> None:
    damage, said = BROKEN[what]
    damage(case)
    code, out, err = case.train()
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1 and err.startswith("bakehouse: ")
    assert said in err
    assert case.nothing_queued()


@pytest.mark.parametrize("what", BROKEN)
def test_config_check_finds_the_same(case: Case, what: str) -> None:
    damage, said = BROKEN[what]
    damage(case)
    code, out, _ = case.run("config", "check", "--project", str(case.root))
    assert code == 2
    assert said in out


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("absent", lambda path: None, "no such model folder"),
        ("torn", lambda path: torn_model(path), "torn"),
        ("pickled", lambda path: pickled_model(path), "safetensors or GGUF only"),
        ("fake.gguf", lambda path: path.write_bytes(b"not a model at all"), "no GGUF file"),
    ],
)
def test_an_unreadable_model_is_refused_before_anything_is_queued(
    case: Case, name: str, make: Callable[[Path], None], said: str
) -> None:
    need("torch")  # without it any training is refused
    make(case.root / name)
    case.write("configs/models.yaml", f"mine: {{path: {name}}}\n")
    code, _, err = case.run("train", "titles", "--model", "mine", "--recipe", "demo", "--project", str(case.root))
    assert code == 2
    assert said in err and err.count("\n") == 1
    assert case.nothing_queued()


def torn_model(folder: Path) -> None:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 8)


def pickled_model(folder: Path) -> None:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")


def test_a_golden_input_in_the_training_data_is_refused_by_the_gate(case: Case) -> None:
    leak = json.dumps({"prompt": "golden dish number 3, simmered", "completion": "TITLE: Stew"})
    case.write("configs/data/titles.train.jsonl", DATA + leak + "\n")
    code, _, err = case.train()
    assert code == 3
    assert "titles.train.jsonl:13: " in err and "`g3`" in err
    assert case.nothing_queued()


def test_an_override_is_checked_as_the_recipe_is(case: Case) -> None:
    code, _, err = case.train("--set", "lr=fast")
    assert code == 2 and "lr" in err and "a number" in err
    code, _, err = case.train("--set", "learning_rate=1e-4")
    assert code == 2 and "did you mean `lr`?" in err
    assert case.nothing_queued()


def test_an_error_with_json_is_one_document_on_stdout(case: Case) -> None:
    code, out, err = case.run("train", "titels", "--model", "x", "--json", "--project", str(case.root))
    assert code == 4 and err == ""
    error = json.loads(out)["error"]
    assert error["code"] == "task_not_found" and "titles" in error["remedy"]
    assert set(error) == {"code", "message", "file", "line", "key", "remedy"}


def test_wrong_usage_is_exit_code_2_and_says_what_was_meant(case: Case) -> None:
    code, _, err = case.run("bakeof")
    assert code == 2 and "did you mean `bakeoff`?" in err
    code, out, _ = case.run("train", "--json")
    assert code == 2 and json.loads(out)["error"]["code"] == "usage"


def test_the_console_without_a_terminal_says_so(case: Case) -> None:
    code, _, err = case.run()
    assert code == 2 and "needs a terminal" in err


@pytest.mark.process
def test_a_good_submission_is_stored_with_copies_of_what_was_there(case: Case) -> None:
    code, out, _ = case.train("--rank", "4", "--set", "lr=5e-5", "--json")
    assert code == 0
    job = json.loads(out)["job"]
    assert job["state"] == "waiting" and job["title"] == "train titles · SmolLM2-135M"
    from core.jobfile.spec import JobFile
    from core.jobfile.train import TrainSpec

    spec = JobFile.load(case.home.run_dir(job["id"])).spec
    assert isinstance(spec, TrainSpec)
    assert (spec.recipe.rank, spec.recipe.lr) == (4, 5e-5)
    case.write("configs/data/titles.train.jsonl", "changed since\n")
    assert Path(spec.train.path).read_text() == DATA


def every_command() -> list[list[str]]:
    import click

    context = click.Context(bakehouse)
    paths = []
    for name in commands():
        command = bakehouse.get_command(context, name)
        if isinstance(command, click.Group):
            paths += [[name, sub] for sub in command.list_commands(context)]
        else:
            paths.append([name])
    return paths


@pytest.mark.parametrize("path", every_command(), ids=" ".join)
def test_every_command_has_help_with_an_example_and_json(case: Case, path: list[str]) -> None:
    code, out, _ = case.run(*path, "--help")
    assert code == 0
    assert f"Example: bakehouse {' '.join(path)}" in " ".join(out.split())
    assert "--json" in out
