"""An adapter as a GGUF file: its scale, what cannot be one, what a header must hold, and who answers with it."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from core.errors import InputError
from core.jobfile.bakeoff import CandidateSpec
from core.models.fingerprints import adapter_fingerprint
from core.models.gguf import check_gguf
from core.models.gguf_lora import check_lora, layers_of
from core.staleness.present_files import PresentFiles, ThingGone
from jobs.convert_lora import served_alpha, with_alpha
from tests.support.gguf_bytes import Tensor, file, header, key, text
from tests.support.kiln import Kiln, kiln

__all__ = ["kiln"]

ADAPTER: dict[str, Any] = {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora"}
FACTORS: tuple[Tensor, ...] = ((b"q.lora_a", (32, 2), 1, 0), (b"q.lora_b", (2, 32), 1, 128))


def adapter(tensors: tuple[Tensor, ...] = FACTORS, keys: dict[str, Any] = ADAPTER, alpha: float | None = 16.0) -> bytes:
    """The bytes of an adapter's file; `alpha` None: without one."""
    plain = header(keys, tensors)
    if alpha is None:
        return file(plain)
    own = text(b"adapter.lora.alpha") + struct.pack("<If", 6, alpha)
    count = struct.pack("<Q", len(keys) + 1)
    at = 24 + sum(len(key(name, value)) for name, value in keys.items())
    return file(plain[:16] + count + plain[24:at] + own + plain[at:])


def test_llama_cpp_scales_by_alpha_through_rank_so_a_stabilised_adapter_gets_another_alpha() -> None:
    where = Path("/adapter")
    assert served_alpha({"r": 16, "lora_alpha": 32}, where) == 32
    assert served_alpha({"r": 16, "lora_alpha": 32, "use_rslora": True}, where) == 128
    assert served_alpha({}, where) == 8
    assert served_alpha({"r": 16, "lora_alpha": 32, "rank_pattern": {"q_proj": 8}}, where) == 32


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"alpha_pattern": {"q_proj": 4}}, "alpha_pattern"),
        ({"use_rslora": True, "rank_pattern": {"q_proj": 4}}, "rank_pattern"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "all"}, "bias"),
        ({"lora_bias": True}, "bias"),
    ],
)
def test_what_a_gguf_adapter_cannot_hold_is_refused_with_what_to_do(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(InputError) as caught:
        served_alpha({"r": 16, "lora_alpha": 32, **changes}, Path("/adapter"))
    assert (caught.value.code, caught.value.key) == ("no_gguf_lora", key)
    assert caught.value.remedy is not None and "bakehouse export" in caught.value.remedy


def test_the_adapter_is_left_as_it_is_and_read_with_the_alpha_to_write(tmp_path: Path) -> None:
    folder, scratch = tmp_path / "adapter", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    config = {"r": 4, "lora_alpha": 8, "use_rslora": True}
    read = with_alpha(folder, config, 16.0, scratch)
    assert json.loads((read / "adapter_config.json").read_text()) == {**config, "lora_alpha": 16.0}
    assert (read / "adapter_model.safetensors").read_bytes() == b"weights"
    assert sorted(one.name for one in folder.iterdir()) == ["adapter_model.safetensors"]


def test_an_adapter_is_no_model_and_a_model_no_adapter(tmp_path: Path) -> None:
    lora, model = tmp_path / "lora.gguf", tmp_path / "model.gguf"
    lora.write_bytes(adapter())
    model.write_bytes(file(header()))
    assert layers_of(check_lora(lora, "lora")) == 1
    for check, path in ((check_gguf, lora), (check_lora, model)):
        with pytest.raises(InputError) as caught:
            check(path, "x")
        assert caught.value.code == "other_purpose"


@pytest.mark.parametrize(
    "broken",
    [adapter(FACTORS[:1]), adapter(()), adapter(alpha=None)],
    ids=["one factor", "no factors", "no alpha"],
)
def test_an_adapter_that_is_not_whole_is_refused(tmp_path: Path, broken: bytes) -> None:
    path = tmp_path / "lora.gguf"
    path.write_bytes(broken)
    with pytest.raises(InputError) as caught:
        check_lora(path, "lora")
    assert caught.value.code == "bad_adapter"


def test_an_adapter_is_put_on_a_gguf_file_alone() -> None:
    with pytest.raises(ValidationError):
        CandidateSpec(name="x", form="merged", path="/x", lora="job:1/lora")


def test_a_candidate_is_stale_when_its_base_or_its_adapter_is_another(kiln: Kiln) -> None:
    base, lora = (kiln.merge(dtype) for dtype in ("fp16", "fp32"))  # any jobs: what they made is told by its kind
    for job, kind, content in ((base, "gguf", file(header())), (lora, "lora", adapter())):
        folder = kiln.done(job)
        made = folder.with_name(kind)
        folder.rename(made)
        (made / "m.gguf").write_bytes(content)
        kiln.connection.execute("UPDATE artefacts SET kind = ?, path = ? WHERE job_id = ?", [kind, str(made), job.id])
    candidate = CandidateSpec(name="x", form="gguf", ref=f"job:{base.id}/gguf", lora=f"job:{lora.id}/lora")
    present = PresentFiles(kiln.home, kiln.connection, None)
    one, other = (hashlib.sha256(content).hexdigest() for content in (file(header()), adapter()))
    assert present.weights(candidate) == adapter_fingerprint(one, other)
    alone = candidate.model_copy(update={"lora": None})
    assert present.weights(alone) == one
    with pytest.raises(ThingGone):
        present.weights(candidate.model_copy(update={"lora": "job:99/lora"}))
