"""A GPU that spills, is nearly full or too hot: found at the second sample, told once an episode."""

from __future__ import annotations

from core.config.settings import WatchSettings
from core.gpu.reading import DeviceReading
from core.watchdog.run_watch import RunWatch
from tests.support.watched_run import GB, START, Run, gpu


def test_memory_that_grows_into_the_host_s_is_found_at_the_second_sample() -> None:
    run = Run.begin()
    run.pass_time(10, device=gpu(vram_used_bytes=15 * GB))
    run.pass_time(1, device=gpu(vram_used_bytes=15 * GB, gtt_used_bytes=GB))
    assert run.found == []
    run.pass_time(20, device=gpu(vram_used_bytes=15 * GB, gtt_used_bytes=2 * GB))
    assert [(finding.code, finding.stop, finding.time - START) for finding in run.found] == [("spill", False, 12)]
    assert "1.8 GB" in run.found[0].message


def test_buffers_in_the_host_s_memory_are_no_spill_while_the_gpu_has_room() -> None:
    run = Run.begin()
    run.pass_time(5, device=gpu())
    run.pass_time(30, device=gpu(gtt_used_bytes=6 * GB))
    run.pass_time(5, device=gpu(vram_used_bytes=15 * GB))
    assert run.found == []


def test_what_lay_in_the_host_s_memory_before_the_run_is_not_its_own() -> None:
    run = Run.begin()
    run.pass_time(60, device=gpu(vram_used_bytes=15 * GB, gtt_used_bytes=5 * GB))
    assert run.found == []


def test_what_others_give_back_makes_room_for_no_spill() -> None:
    run = Run.begin()
    run.pass_time(5, device=gpu(vram_used_bytes=15 * GB, gtt_used_bytes=5 * GB))
    run.pass_time(5, device=gpu(vram_used_bytes=15 * GB))
    run.pass_time(5, device=gpu(vram_used_bytes=15 * GB, gtt_used_bytes=3 * GB))
    assert run.codes == ["spill"]


def test_a_spill_is_told_again_after_it_had_gone() -> None:
    run = Run.begin()
    for _ in range(2):
        run.pass_time(5, device=gpu(vram_used_bytes=15 * GB))
        run.pass_time(5, device=gpu(vram_used_bytes=15 * GB, gtt_used_bytes=3 * GB))
    assert run.codes == ["spill", "spill"]


def test_single_samples_prove_nothing() -> None:
    run = Run.begin()
    run.pass_time(1, device=gpu())
    for _ in range(20):
        run.pass_time(1, device=gpu(vram_used_bytes=int(15.9 * GB), gtt_used_bytes=3 * GB, throttling=("thermal",)))
        run.pass_time(1, device=gpu())
    assert run.found == []


def test_a_new_runner_counts_from_where_the_run_began() -> None:
    run = Run(RunWatch(WatchSettings(spill="stop"), START, gtt_bytes=GB // 4))
    run.pass_time(3, device=gpu(vram_used_bytes=15 * GB, gtt_used_bytes=3 * GB))
    assert [(finding.code, finding.stop) for finding in run.found] == [("spill", True)]


def test_a_gpu_that_is_nearly_full_is_told_at_the_second_sample_and_again_after_relief() -> None:
    run = Run.begin()
    full = gpu(vram_used_bytes=int(15.6 * GB))
    run.pass_time(1, device=full)
    run.pass_time(1, device=gpu())
    assert run.found == []
    run.pass_time(30, device=full)
    run.pass_time(5, device=gpu(vram_used_bytes=int(15.4 * GB)))
    run.pass_time(30, device=full)
    assert run.codes == ["vram"]
    run.pass_time(5, device=gpu())
    run.pass_time(5, device=full)
    assert run.codes == ["vram", "vram"]


def test_a_hot_gpu_is_told_once_an_episode_and_other_limits_not_at_all() -> None:
    run = Run.begin()
    run.pass_time(60, device=gpu(throttling=("power", "current")))
    run.pass_time(3, device=gpu(throttling=("thermal",)))
    assert run.found == []
    for _ in range(5):
        run.pass_time(20, device=gpu(throttling=("thermal", "power"), temperature_hotspot_c=108.0))
        run.pass_time(10, device=gpu())
    assert run.codes == ["throttling"]
    assert run.found[0].message == "the GPU is too hot at 108 °C and runs slower than it could"
    run.pass_time(60, device=gpu())
    run.pass_time(10, device=gpu(throttling=("thermal",)))
    assert run.codes == ["throttling", "throttling"]


def test_a_bit_that_says_thermal_of_a_cool_gpu_is_not_believed() -> None:
    run = Run.begin()
    cool = gpu(throttling=("thermal", "power"), temperature_hotspot_c=41.0)
    run.pass_time(60, device=cool)
    assert run.found == [] and cool.slowed_by == ("power",)
    assert gpu(throttling=("thermal",), temperature_hotspot_c=None, temperature_edge_c=None).slowed_by == ("thermal",)


def test_a_gpu_that_tells_nothing_is_suspected_of_nothing() -> None:
    run = Run.begin()
    run.pass_time(100, device=DeviceReading(0, "Stand-in", "nvidia"))
    assert run.found == []


def test_what_a_server_holds_is_no_trouble_of_a_run_that_asks_it() -> None:
    run = Run.begin(asks_server=True, spill="stop", vram="stop")
    run.pass_time(5, device=gpu())
    run.pass_time(60, device=gpu(vram_used_bytes=int(15.9 * GB), gtt_used_bytes=6 * GB))
    assert run.found == []
    run.pass_time(60, device=gpu(throttling=("thermal",)))
    assert run.codes == ["throttling"], "which makes its timings worth less"
