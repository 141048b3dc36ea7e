"""What is read out of the log of a llama-server. The lines are real ones: of a CPU, and as CUDA and Vulkan have them."""

from __future__ import annotations

from pathlib import Path

from core.served.server_log import MOST_BYTES, ServerLog, keep_small

OF_A_CPU = """
0.00.666.101 I load_tensors:   CPU_Mapped model buffer size =   136.40 MiB
0.00.675.146 I llama_context:        CPU  output buffer size =     0.19 MiB
0.00.675.226 I llama_kv_cache:        CPU KV buffer size =    11.25 MiB
0.00.693.151 I sched_reserve:        CPU compute buffer size =    15.14 MiB
"""
OF_GPUS = """
load_tensors:   CPU_Mapped model buffer size =   296.75 MiB
load_tensors:        CUDA0 model buffer size =  4076.43 MiB
load_tensors:      Vulkan1 model buffer size =   100.00 MiB
llama_kv_cache_unified:      CUDA0 KV buffer size =  1152.00 MiB
llama_context:  CUDA_Host  output buffer size =     0.58 MiB
llama_context:      CUDA0 compute buffer size =   301.75 MiB
llama_context:  CUDA_Host compute buffer size =    21.01 MiB
"""


def test_each_buffer_is_told_with_its_place_and_purpose(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(OF_A_CPU)
    log = ServerLog(tmp_path / "log")
    assert log.buffers() == [
        ("CPU_Mapped", "model", 143025766),
        ("CPU", "output", 199229),
        ("CPU", "KV", 11796480),
        ("CPU", "compute", 15875441),
    ]
    assert log.vram_bytes() is None


def test_memory_of_the_host_that_a_gpu_reaches_is_none_of_the_gpu(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(OF_GPUS)
    on_gpu = (4076.43, 100.0, 1152.0, 301.75)
    assert ServerLog(tmp_path / "log").vram_bytes() == sum(round(size * 2**20) for size in on_gpu)


def test_only_the_last_start_counts(tmp_path: Path) -> None:
    log = ServerLog(tmp_path / "log")
    assert log.buffers() == []
    log.begin()
    (tmp_path / "log").write_text(OF_GPUS)
    assert log.vram_bytes()
    log.begin()
    assert log.vram_bytes() is None
    with (tmp_path / "log").open("a") as more:
        more.write(OF_A_CPU)
    assert len(log.buffers()) == 4


def test_the_log_of_what_serves_for_months_stays_small_and_its_writer_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "llama-server.log"
    log = ServerLog(file)
    with file.open("ab", buffering=0) as writer:
        writer.write(b"first\n" + b"x" * (MOST_BYTES - 6))
        assert not keep_small(file)
        writer.write(b"\nlast\n")
        assert keep_small(file)
        writer.write(b"error: out of memory\n")
    assert file.read_bytes() == b"error: out of memory\n"
    former = tmp_path / "llama-server.log.1"
    assert former.read_bytes().startswith(b"first\n") and former.read_bytes().endswith(b"\nlast\n")
    assert former.stat().st_mode & 0o777 == 0o600
    assert log.lines() == ["error: out of memory"]


def test_a_log_that_cannot_be_kept_small_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "llama-server.log"
    assert not keep_small(file)
    file.write_bytes(b"x" * (MOST_BYTES + 1))
    (tmp_path / "llama-server.log.1").mkdir()
    assert not keep_small(file)
    assert file.stat().st_size == MOST_BYTES + 1
