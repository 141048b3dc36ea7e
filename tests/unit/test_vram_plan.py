"""`bakehouse plan`: what fits, what is not predicted, and which model to prefer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.config.model import ModelEntry
from core.config.project import shipped
from core.home import Home
from core.models.shapes import with_shape
from core.vram.budget import budget_for
from core.vram.calibration import uncalibrated
from core.vram.layers import require_shape
from core.vram.plan import Plan, Verdict, plan
from tests.support.commands import called


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKEHOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("BAKEHOUSE_GPU_SOURCE", "none")
    monkeypatch.chdir(tmp_path)


def planned(vram: str, *verdicts: Verdict, models: tuple[str, ...] = (), max_length: int = 2048) -> Plan:
    project = shipped()
    entries = [project.model(name) for name in models] if models else project.models()
    recipes = [project.recipe(name) for name in ("lora-bf16", "qlora-hqq4")]
    return plan(entries, recipes, budget_for(vram), uncalibrated(), max_length, verdicts)


def preferred(made: Plan) -> tuple[str, str] | None:
    return None if made.preferred is None else made.preferred.key


def test_each_model_has_a_row_by_each_method_and_those_not_modelled_say_why() -> None:
    made = planned("16")
    assert len(made.rows) == 2 * len(shipped().models())
    unknown = {row.model.name: row.not_predicted for row in made.rows if row.forecast is None}
    assert set(unknown) == {"Qwen3.5-9B", "Gemma3-12B", "Gemma-3-270M"}
    assert "linear attention" in (unknown["Qwen3.5-9B"] or "")
    assert "sliding-window attention" in (unknown["Gemma3-12B"] or "")


@pytest.mark.parametrize(
    ("vram", "choice"),
    [
        ("80", ("Qwen3-14B", "lora")),
        ("24", ("Qwen3-8B", "lora")),
        ("16", ("Qwen3-4B", "lora")),
        ("6", ("Qwen3-1.7B", "lora")),
        ("0.5", None),
    ],
)
def test_the_largest_model_that_fits_in_16_bits_is_preferred(vram: str, choice: tuple[str, str] | None) -> None:
    assert preferred(planned(vram)) == choice


def test_a_larger_quantised_model_that_fits_is_named_with_the_finding_against_it() -> None:
    made = planned("16", models=("Qwen3-4B", "Qwen3-8B"))
    assert preferred(made) == ("Qwen3-4B", "lora")
    assert "Qwen3-8B HQQ 4-bit, rank 32 fits too" in made.reasons
    assert "4B model in bf16 beat 7B and 8B" in made.reasons


def test_where_the_finding_does_not_reach_it_says_so() -> None:
    made = planned("16", models=("Qwen3-4B", "Qwen3-14B"))
    assert "3.7 times: compare them" in made.reasons


def test_where_no_model_fits_in_16_bits_a_quantised_one_is_preferred() -> None:
    made = planned("16", models=("Qwen3-8B", "Qwen3-14B"))
    assert preferred(made) == ("Qwen3-14B", "qlora-hqq")
    assert "no model fits with 16-bit weights" in made.reasons


def test_a_bake_off_of_this_home_is_stronger_than_the_rule() -> None:
    lost = Verdict(12, "judge", ("Qwen3-8B", "qlora-hqq"), ("Qwen3-4B", "lora"))
    made = planned("16", lost)
    assert preferred(made) == ("Qwen3-8B", "qlora-hqq")
    assert made.why == "it beat Qwen3-4B bf16, rank 32 in bake-off 12 (judge) of this home"
    # The newest one decides, and one between models that do not fit decides nothing.
    won = Verdict(13, "judge", ("Qwen3-4B", "lora"), ("Qwen3-14B", "qlora-hqq"))
    assert preferred(planned("16", won, lost)) == ("Qwen3-4B", "lora")
    assert preferred(planned("16", Verdict(1, "judge", ("Qwen3-8B", "lora"), ("Qwen3-4B", "lora")))) == (
        *("Qwen3-4B", "lora"),
    )


CONFIG = {
    "model_type": "qwen3",
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
}


def folder_model(folder: Path, **config: object) -> ModelEntry:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **config}))
    return ModelEntry(name="mine", path=str(folder))


def test_a_folder_s_config_tells_the_shape_that_models_yaml_does_not(tmp_path: Path) -> None:
    """Qwen3-0.6B."""
    entry = with_shape(Home(tmp_path / "home"), folder_model(tmp_path / "model"))
    shape = require_shape(entry)
    assert (shape.hidden, shape.layers, shape.kv_heads, shape.tied) == (1024, 28, 8, True)
    row = plan([entry], [shipped().recipe("lora-bf16")], budget_for("16"), uncalibrated()).rows[0]
    assert row.forecast is not None
    assert row.forecast.estimate.components["weights"] == pytest.approx(2 * 596e6, rel=0.001)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"model_type": "qwen3_moe"}, "the shape of mine is not known"),
        ({"model_type": "qwen3", "hidden_size": "large"}, "the shape of mine is not known"),
        ({"model_type": "qwen3", "layer_types": ["full_attention", "sliding_attention"]}, "sliding-window"),
        ({"model_type": "mistral", "sliding_window": 4096}, "sliding-window"),
    ],
)
def test_a_config_of_other_layers_predicts_nothing(tmp_path: Path, config: dict[str, object], why: str) -> None:
    entry = with_shape(Home(tmp_path / "home"), folder_model(tmp_path / "model", **config))
    row = plan([entry], [shipped().recipe("lora-bf16")], budget_for("16"), uncalibrated()).rows[0]
    assert row.forecast is None
    assert why in (row.not_predicted or "")


def test_qwens_unused_window_is_no_window(tmp_path: Path) -> None:
    config = {"model_type": "qwen2", "sliding_window": 131072, "use_sliding_window": False}
    entry = with_shape(Home(tmp_path / "home"), folder_model(tmp_path / "model", **config))
    assert entry.shape is not None
    assert entry.shape.attention == "full"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    return called(capsys, ["plan", *words])


def test_the_command_prints_a_row_a_model_the_calibration_and_a_preference(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = run(capsys, "--vram", "16", "--max-length", "2048")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "--vram 16: 17.2 GB, 16.7 GB usable by a job"
    assert "not calibrated" in lines[1]
    (small,) = (line for line in lines if line.startswith("Qwen3-4B") and "bf16" in line)
    assert "fits" in small
    (large,) = (line for line in lines if line.startswith("Qwen3-14B") and "bf16" in line)
    assert large.split()[-5:] == ["does", "not", "fit", "none", "none"]
    assert lines[-1].startswith("prefer Qwen3-4B bf16, rank 32: ")
    assert max(len(line) for line in lines[3:-5]) <= 100


def test_with_json_there_is_one_document_in_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(
        capsys, "--vram", "16GB", "--model", "Qwen3-4B", "--model", "Qwen3.5-9B", "--rank", "64", "--json"
    )
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["schema"] == 1
    assert document["budget"]["total_bytes"] == 16 * 10**9
    by_key = {(row["model"], row["method"]): row for row in document["rows"]}
    known, unknown = by_key["Qwen3-4B", "lora"], by_key["Qwen3.5-9B", "lora"]
    assert known["rank"] == 64
    assert known["fits"] is True
    assert sum(known["forecast"]["components"].values()) == known["forecast"]["allocated_bytes"]
    assert (unknown["forecast"], unknown["fits"]) == (None, None)
    assert "linear attention" in unknown["not_predicted"]


def test_without_a_gpu_the_machine_s_memory_is_planned_for(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--model", "SmolLM2-135M", "--recipe", "demo")
    assert code == 0
    assert out.startswith("host memory: ")
    assert "fp32" in out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--vram", "lots"), 2, "`lots` is no amount of memory"),
        (("--model", "Qwen3-4C"), 4, "did you mean"),
        (("--max-length", "3"), 2, "--max-length"),
        (("--recipe", "none-such"), 4, "none-such"),
    ],
)
def test_wrong_words_get_one_line(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, message: str
) -> None:
    left, out, err = run(capsys, *words)
    assert (left, out) == (code, "")
    assert message in err
