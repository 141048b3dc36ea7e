"""What is read out of the log of a llama-server. The lines are real ones: of a CPU, and as CUDA and Vulkan have them."""

from __future__ import annotations

from pathlib import Path

from core.served.server_log import ServerLog

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
