"""Model folders that a training left as it held the model, and files that are there by name alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import InputError
from core.models.folder import check_folder
from tests.support.model_folders import config_of, tensors_of, write_folder


def refused(folder: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        check_folder(folder, "mine")
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize(
    ("prefix", "wrapper"),
    [
        ("module.", "DataParallel"),
        ("_orig_mod.", "torch.compile"),
        ("base_model.model.", "PEFT"),
        ("_fsdp_wrapped_module.", "FSDP"),
    ],
)
@pytest.mark.parametrize("shards", [1, 3])
def test_a_model_that_was_saved_within_its_wrapper_is_not_called_half(
    tmp_path: Path, prefix: str, wrapper: str, shards: int
) -> None:
    config = config_of("llama")
    tensors = {f"{prefix}{name}": shape for name, shape in tensors_of(config).items()}
    error = refused(write_folder(tmp_path / "mine", config, tensors, shards=shards))
    assert wrapper in error.message and "download" not in str(error.remedy)


def test_a_link_whose_file_is_gone_is_said_to_be_one(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mine", config_of("qwen3"))
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("../../blobs/0a1b")
    error = refused(folder)
    assert error.code == "incomplete_model" and "../../blobs/0a1b" in error.message


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_mark_in_front_of_json_is_named(tmp_path: Path, name: str) -> None:
    folder = write_folder(tmp_path / "mine", config_of("qwen3"))
    (folder / name).write_bytes(b"\xef\xbb\xbf" + (folder / name).read_bytes())
    error = refused(folder)
    assert (error.file, error.code) == (str(folder / name), "bad_model") and "mark" in error.message
