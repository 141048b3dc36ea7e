"""An adapter of another tool is a candidate of a bake-off: its own configuration names its base. What is torn is told."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from core.cli.main import main
from core.config.project import load_project
from core.errors import InputError
from core.home import Home
from core.jobfile.bakeoff import CandidateSpec
from core.models.adapters import check_adapter
from core.store.database import open_database
from core.submission.candidates import parse_candidates
from tests.support.model_folders import adapter_tensors, config_of, write_adapter, write_folder, write_safetensors
from tui.queries.catalogue import read_catalogue

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with a model of a folder and one of the hub that was never pulled."""
    root = tmp_path / "project"
    (root / "configs").mkdir(parents=True)
    (root / "bakehouse.yaml").write_text("id: bakery\n")
    (root / "configs/models.yaml").write_text("local: {path: ../models/local}\nlater: {hub: Qwen/Qwen3-0.6B}\n")
    write_folder(tmp_path / "models/local", config_of("llama"))
    return root


def candidate(home: Home, root: Path, reference: str) -> CandidateSpec:
    with contextlib.closing(open_database(home)) as connection:
        (found,) = parse_candidates(home, connection, load_project(root), [reference])
    return found


def refused(home: Home, root: Path, reference: str) -> InputError:
    with pytest.raises(InputError) as caught:
        candidate(home, root, reference)
    assert len(str(caught.value).splitlines()) == 1
    return caught.value


@pytest.mark.parametrize(
    ("base", "entry"), [("local", "local"), ("{models}/local", "local"), ("Qwen/Qwen3-0.6B", "later")]
)
def test_an_adapter_is_put_on_the_base_that_it_names(
    home: Home, root: Path, tmp_path: Path, base: str, entry: str
) -> None:
    adapter = write_adapter(tmp_path / "my lora", base.format(models=tmp_path / "models"))
    found = candidate(home, root, str(adapter))
    assert (found.form, found.name, found.path) == ("adapter", "my-lora", str(adapter))
    assert found.model == load_project(root).model(entry)


def test_a_base_that_is_a_folder_of_no_entry_is_taken_from_there(home: Home, root: Path, tmp_path: Path) -> None:
    other = write_folder(tmp_path / "elsewhere/Tiny-1", config_of("mistral"))
    found = candidate(home, root, str(write_adapter(tmp_path / "lora", str(other))))
    assert (found.model.name, found.model.path) == ("Tiny-1", str(other))
    (other / "model.safetensors").unlink()
    assert refused(home, root, str(tmp_path / "lora")).file == str(other)


@pytest.mark.parametrize("base", ["unsloth/qwen3-4b-bnb-4bit", "/gone/away/Llama-3", None, ""])
def test_a_base_that_nobody_knows_is_named_with_what_to_do(
    home: Home, root: Path, tmp_path: Path, base: str | None
) -> None:
    error = refused(home, root, str(write_adapter(tmp_path / "lora", base)))
    assert error.code == "unknown_base" and error.remedy
    assert not base or base in str(error)


def one_factor(folder: Path) -> None:
    write_safetensors(folder / WEIGHTS, {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": (2, 16)})


LAYER = "base_model.model.model.layers.0.self_attn.q_proj"


def embedding_factor(folder: Path) -> None:
    write_safetensors(folder / WEIGHTS, {"base_model.model.model.embed_tokens.lora_embedding_A": (2, 16)})


def magnitude(folder: Path) -> None:
    tensors = {
        **adapter_tensors({LAYER.removeprefix("base_model.model."): (16, 16)}),
        f"{LAYER}.lora_magnitude_vector": (16,),
    }
    write_safetensors(folder / WEIGHTS, tensors)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "torn": (lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-3]), "bad_model"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "bad_adapter"),
    "pickled": (lambda folder: (folder / WEIGHTS).rename(folder / "adapter_model.bin"), "unsafe_model"),
    "one of two factors": (one_factor, "bad_adapter"),
    "no factors": (lambda folder: write_safetensors(folder / WEIGHTS, {"model.norm.weight": (16,)}), "bad_adapter"),
    "a prompt": (lambda folder: (folder / "adapter_config.json").write_text('{"peft_type": "PROMPT_TUNING"}'), "bad_adapter"),
    "half a configuration": (lambda folder: (folder / "adapter_config.json").write_text('{"peft_type": "LO'), "bad_model"),
    "a pointer": (lambda folder: (folder / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\n"), "bad_model"),
    "another rank": (lambda folder: write_adapter(folder, "local", r=8), "bad_adapter"),
    "no rank": (lambda folder: write_adapter(folder, "local", r=0), "bad_adapter"),
    "no alpha": (lambda folder: write_adapter(folder, "local", lora_alpha=None), "bad_adapter"),
    "one of two factors of an embedding": (embedding_factor, "bad_adapter"),
    "a DoRA without magnitudes": (lambda folder: write_adapter(folder, "local", use_dora=True), "bad_adapter"),
    "magnitudes of no DoRA": (magnitude, "bad_adapter"),
    "another rank by its pattern": (
        lambda folder: write_adapter(folder, "local", r=4, rank_pattern={"q_proj": 16}),
        "bad_adapter",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_adapter_that_is_not_whole_is_told(home: Home, root: Path, tmp_path: Path, damage: str) -> None:
    folder = write_adapter(tmp_path / "lora", "local")
    apply, code = DAMAGES[damage]
    apply(folder)
    assert refused(home, root, str(folder)).code == code


def test_the_form_of_a_new_run_says_the_same_of_a_model_as_the_submission(
    home: Home, root: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models/local"
    document = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**document, "num_hidden_layers": 7}))
    problems = {choice.name: choice.problem for choice in read_catalogue(home, load_project(root)).models}
    assert problems["later"] == ""
    assert problems["local"] == str(refused(home, root, "local"))
    assert "model.layers.3." in problems["local"]


def test_the_list_of_models_says_which_would_be_refused(
    home: Home, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("BAKEHOUSE_HOME", str(home.root))
    (tmp_path / "models/local/tokenizer.json").unlink()
    with pytest.raises(SystemExit) as leave:
        main(["models", "list", "--json", "--project", str(root)])
    problems = {model["name"]: model["problem"] for model in json.loads(capsys.readouterr().out)["models"]}
    assert not leave.value.code and problems["later"] is None and "no tokenizer" in problems["local"]
    with pytest.raises(SystemExit):
        main(["models", "show", "local", "--project", str(root)])
    assert "✗ " in (out := capsys.readouterr().out) and "no tokenizer" in out


@pytest.mark.parametrize(
    "forms", [{"rank_pattern": {"q_proj": 2}, "r": 4}, {"r": 2.0}, {"r": 8, "target_parameters": ["x"]}]
)
def test_a_rank_that_is_said_by_layer_or_for_experts_is_no_other_rank(tmp_path: Path, forms: dict[str, object]) -> None:
    check_adapter(write_adapter(tmp_path / "lora", "local", **forms))
