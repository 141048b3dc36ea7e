"""A project is found from where one stands, and the shipped objects stand behind its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import core
from core.config.golden import check_golden, load_golden
from core.config.project import Project, shipped
from core.errors import InputError, NotFoundError

CHECKOUT = Path(core.__file__).parent.parent
TASK = "golden: golden/mine.yaml\ndata: {train: data/mine.jsonl}\n"


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The person's settings file, in a folder of this test; it is not there unless the test writes it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    file = tmp_path / "config" / "bakehouse" / "settings.yaml"
    file.parent.mkdir(parents=True)
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for place in ("configs/tasks", "configs/recipes", "golden", "data"):
        (root / place).mkdir(parents=True)
    (root / "bakehouse.yaml").write_text("id: mine-1\nname: Mine\n")
    (root / "configs/tasks/mine.yaml").write_text(TASK)
    (root / "golden/mine.yaml").write_text("- {id: a, input: one}\n- {id: b, file: golden/b.txt, source: book}\n")
    (root / "golden/b.txt").write_text("two\n")
    (root / "data/mine.jsonl").write_text('{"prompt": "p", "completion": "c"}\n')
    return root


def test_the_nearest_project_upwards_is_found(folder: Path) -> None:
    deep = folder / "configs" / "tasks"
    project = Project.find(deep)
    assert (project.root, project.id, project.name) == (folder, "mine-1", "Mine")


def test_a_named_project_wins_over_the_one_around(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "bakehouse.yaml").write_text("id: other\n")
    assert Project.find(folder, explicit=other).id == "other"
    assert Project.find(folder, explicit=other / "bakehouse.yaml").name == "other"


def test_without_any_project_the_shipped_one_stands_alone(tmp_path: Path) -> None:
    project = Project.find(tmp_path)
    assert (project.id, project.is_shipped) == ("shipped", True)
    assert {"SmolLM2-135M", "Qwen3-4B"} <= set(project.model_names())


def test_a_named_folder_that_is_no_project_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no project: it has no bakehouse\.yaml"):
        Project.find(explicit=tmp_path)


def test_the_id_of_the_shipped_project_cannot_be_taken(folder: Path) -> None:
    (folder / "bakehouse.yaml").write_text("name: x\nid: shipped\n")
    with pytest.raises(InputError) as caught:
        Project.find(folder)
    assert (caught.value.line, caught.value.key) == (2, "id")


def test_own_objects_come_first_and_hide_shipped_ones_of_the_same_name(folder: Path) -> None:
    (folder / "configs/models.yaml").write_text("Qwen3-4B: {path: weights/mine}\nLocal: {hub: me/local}\n")
    project = Project.find(folder)
    assert project.task_names()[0] == "mine"
    assert project.model_names()[:2] == ["Qwen3-4B", "Local"]
    assert project.model("Qwen3-4B").path == str(folder / "weights/mine")
    assert project.model("Qwen3-8B").hub == "Qwen/Qwen3-8B"
    assert len({model.name for model in project.models()}) == len(project.model_names())


def test_an_object_knows_its_file_and_its_paths_start_at_its_own_project(folder: Path) -> None:
    project = Project.find(folder)
    mine, lent = project.task("mine"), project.recipe("lora-bf16")
    assert project.origin(mine) == folder / "configs/tasks/mine.yaml"
    assert project.owner(mine).id == "mine-1"
    assert project.owner(lent).id == "shipped"
    assert project.resolve("golden/x.yaml", mine) == folder / "golden/x.yaml"
    assert project.resolve("golden/x.yaml", lent) == shipped().root / "golden/x.yaml"
    assert project.resolve("/absolute", mine) == Path("/absolute")


def test_a_project_inside_the_shipped_folder_owns_its_own_objects(tmp_path: Path) -> None:
    """As when someone tries Bakehouse out inside its checkout."""
    around = Project(tmp_path, "shipped", "around", shipped().settings)
    inside = Project(tmp_path / "sub", "sub", "inside", shipped().settings, around)
    file = tmp_path / "sub/configs/tasks/t.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("system: x\n")
    assert inside.owner(inside.task("t")).id == "sub"


@pytest.mark.parametrize(
    ("kind", "name", "remedy"),
    [
        ("task", "mien", "`mine`"),
        ("model", "qwen3-4b", "`Qwen3-4B`"),
        ("recipe", "zzz", "lora-bf16"),
        ("task", "../mine", ""),
    ],
)
def test_a_name_that_is_not_there_gets_a_suggestion_and_code_4(folder: Path, kind: str, name: str, remedy: str) -> None:
    project = Project.find(folder)
    with pytest.raises(NotFoundError) as caught:
        getattr(project, kind)(name)
    assert caught.value.exit_code == 4
    assert caught.value.code == f"{kind}_not_found"
    assert remedy in str(caught.value.remedy)


def test_a_broken_neighbour_does_not_hide_a_task(folder: Path) -> None:
    (folder / "configs/tasks/broken.yaml").write_text("a: [\n")
    assert Project.find(folder).task("mine").name == "mine"


def test_a_name_other_than_the_files_is_refused(folder: Path) -> None:
    (folder / "configs/tasks/mine.yaml").write_text(f"{TASK}name: yours\n")
    with pytest.raises(InputError, match="the name of the file, `mine`, found the text 'yours'") as caught:
        Project.find(folder).task("mine")
    assert caught.value.line == 3


def test_golden_inputs_are_read_with_their_files(folder: Path) -> None:
    project = Project.find(folder)
    golden = project.golden(project.task("mine"))
    assert [(item.text(), item.cluster) for item in golden.inputs] == [("one", "a"), ("two\n", "book")]
    assert golden.file == folder / "golden/mine.yaml"


def test_all_mistakes_of_a_golden_file_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "golden.yaml"
    file.write_text(
        "- id: a\n  input: x\n  expec: {}\n"  # an unknown key
        "- id: a\n  input: y\n"  # an id twice
        "- id: c\n"  # no text
        "- id: d\n  file: none.txt\n"  # a file that is not there
        "- id: e\n  input: 5\n"
        "- 7\n"
    )
    golden, wrong = check_golden(file, tmp_path)
    assert golden is None
    assert [problem.line for problem in wrong] == [3, 4, 6, 8, 10, 11]


def test_a_missing_golden_or_data_file_is_reported_where_the_task_names_it(folder: Path) -> None:
    project = Project.find(folder)
    task = project.task("mine")
    (folder / "golden/mine.yaml").unlink()
    (folder / "data/mine.jsonl").unlink()
    for ask, line, key in ((project.golden, 1, "golden"), (project.train_file, 2, "data.train")):
        with pytest.raises(InputError, match="there is no file") as caught:
            ask(task)
        assert (caught.value.file, caught.value.line, caught.value.key) == (str(task.file), line, key)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("- {id: a, input: x}\n- {id: b}\n", 2, "`b` has no text"),
        ("- {id: a, input: x, file: y}\n", 1, "exactly one may be"),
        ("- {id: a, input: x, messages: [{role: user, content: y}]}\n", 1, "exactly one may be"),
        ("- id: a\n  messages: [{role: user, content: x}, {role: assistant, content: y}]\n", 2, "must be of the user"),
        (
            "- id: a\n  messages: [{role: user, content: x}, {role: user, content: y}]\n",
            2,
            "an assistant message was expected",
        ),
        (
            "- id: a\n  messages: [{role: user, content: x}, {role: system, content: y}]\n",
            2,
            "a system message is the first",
        ),
        ("- id: a\n  messages: [{role: human, content: x}]\n", 2, "user"),
        ("- {id: a, messages: []}\n", 1, "`a` has no text"),
        ("- {id: a, input: x}\n\n- {id: a, input: y}\n", 3, "that of input 1"),
        ("- {id: a, input: x}\n- id: b\n  file: golden/none.txt\n", 3, "there is no such file"),
        ("- {id: a, input: x}\n- id: b\n  inptu: y\n", 3, "did you mean `input`?"),
        ("inputs:\n  - {id: a, input: 3}\n", 2, "expected text"),
        ("inputs:\n  # none\n", 1, "no golden inputs yet"),
        ("[]\n", 1, "no golden inputs yet"),
        ("just text\n", 1, "expected a list"),
        ("- just text\n", 1, "expected a mapping of keys"),
    ],
)
def test_a_wrong_golden_file_says_which_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    file = tmp_path / "golden.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        load_golden(file, tmp_path)
    assert caught.value.line == line
    assert words in str(caught.value)


def test_a_pipe_as_a_golden_input_is_named_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "golden.yaml").write_text("- {id: a, file: pipe}\n")
    with pytest.raises(InputError, match="this is a pipe"):
        load_golden(tmp_path / "golden.yaml", tmp_path)


def test_training_data_must_be_a_file_that_can_be_read_again(folder: Path) -> None:
    (folder / "data/mine.jsonl").unlink()
    os.mkfifo(folder / "data/mine.jsonl")
    project = Project.find(folder)
    with pytest.raises(InputError, match="no file that can be read twice"):
        project.train_file(project.task("mine"))


def test_an_empty_input_and_a_number_as_id_are_fine(tmp_path: Path) -> None:
    file = tmp_path / "golden.yaml"
    file.write_text("- {id: 7, input: ''}\n")
    (only,) = load_golden(file, tmp_path).inputs
    assert (only.id, only.text()) == ("7", "")


def test_the_projects_settings_override_the_persons_key_by_key(folder: Path, settings: Path) -> None:
    settings.write_text("jobs: {python: /opt/rocm/bin/python}\nqueue: {stop_grace_seconds: 90, on_restart: requeue}\n")
    (folder / "bakehouse.yaml").write_text("id: mine-1\nqueue: {on_restart: hold}\nartefacts: large\n")
    merged = Project.find(folder).settings
    assert merged.jobs.python == "/opt/rocm/bin/python"
    assert (merged.queue.stop_grace_seconds, merged.queue.on_restart) == (90, "hold")
    assert merged.artefacts == str(folder / "large")
    assert shipped().settings.queue.stop_grace_seconds == 90


def test_what_is_the_machines_is_refused_in_a_project(tmp_path: Path) -> None:
    (tmp_path / "bakehouse.yaml").write_text("id: mine-1\nqueue: {stop_grace_seconds: 30}\n")
    with pytest.raises(InputError, match="the machine's, not a project's") as caught:
        Project.find(explicit=tmp_path)
    assert (caught.value.line, caught.value.key) == (2, "queue.stop_grace_seconds")


def test_an_interpreter_keeps_its_link_and_a_bare_name_stays_bare(folder: Path, settings: Path, tmp_path: Path) -> None:
    link = tmp_path / "config/bakehouse/venv/bin/python"
    link.parent.mkdir(parents=True)
    link.symlink_to(sys.executable)
    settings.write_text("jobs: {python: venv/bin/python}\n")
    assert Project.find(folder).settings.jobs.python == str(link)
    settings.write_text("jobs: {python: python3.12}\n")
    assert Project.find(folder).settings.jobs.python == "python3.12"


def test_settings_of_comments_only_set_nothing_and_wrong_ones_are_named(folder: Path, settings: Path) -> None:
    settings.write_text("# jobs: {python: x}\n")
    assert Project.find(folder).settings.jobs.python is None
    settings.write_text("queue:\n  on_restart: maybe\n")
    with pytest.raises(InputError, match="expected `requeue` or `hold`") as caught:
        Project.find(folder)
    assert (caught.value.file, caught.value.line) == (str(settings), 2)


@pytest.mark.process
def test_installed_as_a_wheel_the_shipped_project_lies_inside_core(tmp_path: Path) -> None:
    """The layout of the wheel (pyproject.toml, force-include), with another interpreter that knows no checkout."""
    site = tmp_path / "site"
    shutil.copytree(CHECKOUT / "core", site / "core", ignore=shutil.ignore_patterns("__pycache__", "shipped"))
    for part in ("configs", "golden"):
        shutil.copytree(CHECKOUT / part, site / "core" / "shipped" / part)
    code = "from core.config.project import shipped; s = shipped(); print(s.root, *s.model_names(), *s.task_names())"
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    root, *names = done.stdout.split()
    assert root == str(site / "core" / "shipped")
    assert {"SmolLM2-135M", "judge"} <= set(names)
