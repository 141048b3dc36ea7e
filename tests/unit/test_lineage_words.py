"""What an artefact was made of, as `runs show` tells it: each step back to the base, of any job's record."""

from __future__ import annotations

from core.wording.lineage import lineage_lines

BASE = {"name": "tiny", "path": "/models/tiny"}
TRAINED = {
    "kind": "adapter",
    "task": "judge",
    "recipe": {"name": "demo"},
    "step": 58,
    "data": "/p/judge.jsonl",
    "data_sha256": "d" * 64,
    "model": BASE,
    "base_fingerprint": "b" * 64,
}
MERGED = {"adapter": "job:2", "adapter_sha256": "a" * 64, "dtype": "bf16", "model": BASE, "made_of": TRAINED}
CONVERTED = {
    "format": "bf16",
    "source": "job:3/merged",
    "source_sha256": "e" * 64,
    "tool": {"name": "convert_hf_to_gguf.py", "version": "sha256:" + "c" * 64},
    "model": BASE,
    "made_of": MERGED,
}
QUANTISED = {
    "quantization": "Q8_0",
    "source": "job:4/gguf",
    "source_sha256": "f" * 64,
    "tool": {"name": "llama-quantize", "version": "0.6.0 (build 0)"},
    "model": BASE,
    "file_sha256": "9" * 64,
    "made_of": CONVERTED,
}


def test_each_step_back_to_the_base_has_a_line() -> None:
    assert lineage_lines(QUANTISED) == [
        f"file sha256 {'9' * 64}",
        f"quantised to Q8_0 by llama-quantize (0.6.0 (build 0)) from job:4/gguf (sha256 {'f' * 12})",
        f"converted to bf16 by convert_hf_to_gguf.py (sha256 {'c' * 12}) from job:3/merged (sha256 {'e' * 12})",
        f"merged, written as bf16 from job:2 (sha256 {'a' * 12})",
        f"trained for judge by the recipe demo, step 58, data /p/judge.jsonl (sha256 {'d' * 12})",
        f"base tiny, /models/tiny, weights {'b' * 12}",
    ]


def test_records_of_before_and_of_others_tell_what_they_have() -> None:
    assert lineage_lines({}) == []
    assert lineage_lines({"made_of": "job:2", "tool": [], "model": None, "recipe": 3, "task": ["x"]}) == []
    before = {key: value for key, value in CONVERTED.items() if key != "made_of"}
    assert lineage_lines(before)[1:] == ["base tiny, /models/tiny"]
    assert lineage_lines({"task": "judge"}) == ["trained for judge, data of unknown name"]
