"""An adapter that does not belong to the loaded model, or is damaged, is refused in one line: PEFT would leave it inert."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError
from core.home import Home
from tests.support.model_families import write_family

pytestmark = pytest.mark.train

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bases of three families, and an adapter of the Llama."""
    from jobs import models

    models.prepare_libraries()
    import torch
    from peft import LoraConfig, get_peft_model

    root = tmp_path_factory.mktemp("made")
    for family in ("llama", "phi3", "qwen3"):
        write_family(family, root / family)
    model: Any = get_peft_model(loaded(root, "llama"), LoraConfig(r=4, target_modules=["q_proj", "down_proj"]))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(root / "adapter")
    return root


def loaded(root: Path, family: str) -> Any:
    import torch

    from jobs import models

    base = models.BaseModel(family, root / family, None, "")
    return models.load_model(base, Home(root), torch.device("cpu"), torch.float32)


def changed(made: Path, place: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of the adapter, after `change` to its tensors."""
    from safetensors.torch import load_file, save_file

    place.mkdir()
    (place / "adapter_config.json").write_bytes((made / "adapter/adapter_config.json").read_bytes())
    tensors = load_file(made / "adapter" / WEIGHTS)
    change(tensors)
    save_file(tensors, place / WEIGHTS)
    return place


def renamed(tensors: dict[str, Any], old: str, new: str) -> None:
    for name in list(tensors):
        tensors[name.replace(old, new)] = tensors.pop(name)


def half_gone(tensors: dict[str, Any]) -> None:
    for name in [name for name in tensors if ".layers.1." in name]:
        del tensors[name]


def emptied(tensors: dict[str, Any]) -> None:
    for name, tensor in tensors.items():
        if "lora_B" in name:
            tensor.zero_()


def not_finite(tensors: dict[str, Any]) -> None:
    tensors[next(iter(tensors))][0, 0] = float("inf")


def wider(tensors: dict[str, Any]) -> None:
    import torch

    for name in [name for name in tensors if name.endswith("q_proj.lora_A.weight")]:
        tensors[name] = torch.ones(4, 80)


DAMAGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    # What the first release of a streaming trainer wrote: loaded without a word, and inert.
    "under a wrapper's names": (lambda t: renamed(t, "base_model.model.", "base_model.model._orig_mod."), "other_base"),
    "of a multimodal wrapper": (lambda t: renamed(t, ".model.layers", ".model.language_model.layers"), "other_base"),
    "of other layers": (lambda t: renamed(t, ".layers.1.", ".layers.7."), "other_base"),
    "of another width": (wider, "other_base"),
    "without half of its layers": (half_gone, "bad_adapter"),
    "not finite": (not_finite, "damaged_adapter"),
    "saved before its first step": (emptied, "empty_adapter"),
}


def test_an_adapter_loads_on_its_own_base_and_changes_what_it_says(made: Path) -> None:
    import torch

    from jobs.adapters import load_adapter

    model = loaded(made, "llama")
    ids = torch.tensor([[1, 2, 3]])
    with torch.inference_mode():
        plain = model(ids).logits
        assert (load_adapter(model, made / "adapter")(ids).logits - plain).abs().max() > 1e-3


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_adapter_that_would_be_inert_is_refused(made: Path, tmp_path: Path, damage: str) -> None:
    from jobs.adapters import load_adapter

    change, code = DAMAGES[damage]
    with pytest.raises(InputError) as caught:
        load_adapter(loaded(made, "llama"), changed(made, tmp_path / "adapter", change))
    assert caught.value.code == code and len(str(caught.value).splitlines()) == 1 and caught.value.remedy


def test_an_adapter_of_another_family_is_refused(made: Path) -> None:
    from jobs.adapters import load_adapter

    with pytest.raises(InputError) as caught:
        load_adapter(loaded(made, "phi3"), made / "adapter")
    assert caught.value.code == "other_base" and "q_proj" in str(caught.value)


def test_a_layer_that_the_configuration_promises_and_the_file_lacks_is_told(made: Path, tmp_path: Path) -> None:
    from jobs.adapters import load_adapter

    folder = changed(made, tmp_path / "adapter", lambda tensors: None)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(
        json.dumps({**config, "target_modules": ["q_proj", "k_proj", "down_proj"]})
    )
    with pytest.raises(InputError) as caught:
        load_adapter(loaded(made, "llama"), folder)
    assert caught.value.code == "bad_adapter" and "4 tensors are missing" in str(caught.value)
