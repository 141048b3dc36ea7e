"""The watchdog, given runs second by second: what it finds, when, how often, and what it leaves alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from core.config.settings import WatchSettings
from core.gpu.reading import DeviceReading
from core.watchdog.hang import ProcessLook
from core.watchdog.run_watch import CODES, Finding, RunWatch

START = 1_000_000.0
GB = 1_000_000_000


def gpu(**changes: Any) -> DeviceReading:
    """A GPU at work, half full."""
    usual: dict[str, Any] = {
        "vram_total_bytes": 16 * GB,
        "vram_used_bytes": 8 * GB,
        "gtt_used_bytes": GB // 4,
        "busy_percent": 96.0,
        "memory_busy_percent": 55.0,
        "power_watts": 240.0,
        "throttling": (),
    }
    return DeviceReading(0, "Stand-in", "amd", "0000:2b:00.0", **(usual | changes))


@dataclass
class Run:
    """Plays a run: the clock stands where the last thing happened, and all findings are kept."""

    watch: RunWatch
    now: float = START
    step: int = 0
    cpu_seconds: float = 0.0
    found: list[Finding] = field(default_factory=list)

    @classmethod
    def begin(cls, **settings: Any) -> Run:
        return cls(RunWatch(WatchSettings(**settings), START))

    def event(self, kind: str, **fields: Any) -> None:
        self.watch.event({"kind": kind, "time": self.now, **fields})

    def phase(self, name: str) -> None:
        self.event("phase", name=name)

    def steps(self, count: int, seconds: float = 1.0, loss: float = 1.0, total: int = 10_000, **fields: Any) -> None:
        for _ in range(count):
            self.pass_time(seconds)
            self.step += 1
            self.event("step", step=self.step, total=total, **{"loss": loss, "grad_norm": 0.5, **fields})
        self.check()

    def losses(self, values: Iterable[float], **fields: Any) -> None:
        for value in values:
            self.steps(1, loss=value, **fields)

    def pass_time(
        self,
        seconds: float,
        state: str = "R",
        cpu: float = 1.0,
        device: Callable[[int], DeviceReading] | DeviceReading | None = None,
    ) -> None:
        """Second by second: a sample each, and a look at the process when the watchdog wants one."""
        end = self.now + seconds
        while self.now + 1.0 <= end:
            self.now += 1.0
            self.cpu_seconds += cpu
            if device is not None:
                number = int(self.now - START)
                self.watch.sample(self.now, device if isinstance(device, DeviceReading) else device(number))
            if self.watch.suspicious(self.now):
                self.watch.process(ProcessLook(self.now, state, self.cpu_seconds))
            self.check()
        self.now = end
        self.check()

    def check(self) -> None:
        self.found += self.watch.check(self.now)

    @property
    def codes(self) -> list[str]:
        return [finding.code for finding in self.found]


def working(second: int) -> DeviceReading:
    """A GPU at full load, whose figures move a little."""
    return gpu(busy_percent=99.0 + second % 2, memory_busy_percent=50.0 + second % 7, power_watts=238.0 + second % 9)


class TestHang:
    def test_a_run_that_steps_evaluates_and_saves_is_left_alone(self) -> None:
        run = Run.begin()
        run.pass_time(120)
        run.phase("training")
        for _ in range(5):
            run.steps(100)
            run.event("checkpoint", step=run.step)
            run.phase("evaluating")
            run.pass_time(600, state="S", cpu=0.3)
            run.event("eval", step=run.step, loss=0.8, best=True)
        assert run.found == []

    def test_a_sleeping_process_is_found_at_five_usual_steps_and_fifty_seconds(self) -> None:
        run = Run.begin()
        run.steps(30, seconds=3.0)
        run.pass_time(64, state="S", cpu=0.0)
        assert run.found == []
        run.pass_time(2, state="S", cpu=0.0)
        assert run.codes == ["hang"]
        assert run.found[0].stop
        assert (
            run.found[0].message == "no step for 66 s after step 30 (usual: 3.0 s a step): its process uses no CPU time"
        )

    def test_it_is_told_once_and_again_only_after_a_sign_of_life(self) -> None:
        run = Run.begin()
        run.steps(10)
        run.pass_time(300, state="S", cpu=0.0)
        assert run.codes == ["hang"]
        run.steps(3)
        run.pass_time(300, state="S", cpu=0.0)
        assert run.codes == ["hang", "hang"]

    @pytest.mark.parametrize(
        ("state", "words"),
        [("D", "its process waits in the kernel (state D)"), ("T", "is stopped (state T)"), ("t", "is stopped")],
    )
    def test_the_state_of_the_process_confirms_it_although_cpu_time_passes(self, state: str, words: str) -> None:
        run = Run.begin()
        run.steps(10)
        run.pass_time(60, state=state)
        assert [finding.stop for finding in run.found] == [True]
        assert words in run.found[0].message

    def test_a_process_that_reads_from_a_slow_disk_now_and_then_is_not_taken_for_stuck(self) -> None:
        run = Run.begin()
        run.steps(10)
        for second in range(100):
            run.pass_time(1, state="D" if second % 2 else "R")
        assert [finding.stop for finding in run.found] == [False]

    def test_what_nothing_confirms_is_a_warning_first_and_a_stop_after_three_times_the_limit(self) -> None:
        run = Run.begin()
        run.steps(10)
        run.pass_time(57)
        assert [(finding.code, finding.stop) for finding in run.found] == [("hang", False)]
        assert "nothing else shows yet that it hangs" in run.found[0].message
        run.pass_time(105)
        assert len(run.found) == 1
        run.pass_time(10)
        assert [finding.stop for finding in run.found] == [False, True]
        assert 165 < run.found[1].time - (START + 10) < 167

    def test_a_warning_becomes_a_stop_as_soon_as_the_process_stands_still(self) -> None:
        run = Run.begin()
        run.steps(10)
        run.pass_time(70)
        run.pass_time(15, state="S", cpu=0.0)
        assert [finding.stop for finding in run.found] == [False, True]

    def test_an_idle_gpu_confirms_it_although_the_process_spins(self) -> None:
        run = Run.begin()
        for _ in range(10):
            run.pass_time(1, device=working)
            run.steps(1, seconds=0.0)
        run.pass_time(60, device=gpu(busy_percent=0.0, memory_busy_percent=0.0))
        assert [finding.stop for finding in run.found] == [True]
        assert "the GPU is 0 % busy" in run.found[0].message

    def test_a_gpu_stuck_at_full_load_confirms_it_and_one_that_works_does_not(self) -> None:
        stuck, works = Run.begin(), Run.begin()
        for run in (stuck, works):
            for _ in range(10):
                run.pass_time(1, device=working)
                run.steps(1, seconds=0.0)
        stuck.pass_time(60, device=gpu(busy_percent=100.0, memory_busy_percent=3.0, power_watts=88.0))
        works.pass_time(60, device=working)
        assert [finding.stop for finding in stuck.found] == [True]
        assert "100 % busy, and nothing on it changes" in stuck.found[0].message
        assert [finding.stop for finding in works.found] == [False]

    def test_a_process_that_sleeps_while_its_gpu_works_is_not_stuck(self) -> None:
        run = Run.begin()
        run.steps(10)
        run.pass_time(60, state="S", cpu=0.0, device=working)
        assert [finding.stop for finding in run.found] == [False]

    def test_a_gpu_that_the_run_never_used_says_nothing_about_it(self) -> None:
        run = Run.begin()
        for _ in range(10):
            run.pass_time(1, device=gpu(busy_percent=0.0))
            run.steps(1, seconds=0.0)
        run.pass_time(60, device=gpu(busy_percent=0.0))
        assert [finding.stop for finding in run.found] == [False]

    def test_a_message_of_the_kernel_confirms_it_and_an_old_one_does_not(self) -> None:
        late, old = Run.begin(), Run.begin()
        for run in (late, old):
            run.steps(100)
        old.watch.kernel(START + 20, "amdgpu: ring gfx_0.0.0 timeout")
        late.watch.kernel(START + 98, "amdgpu: MES failed to respond to msg=REMOVE_QUEUE")
        for run in (late, old):
            run.pass_time(60)
        assert [finding.stop for finding in late.found] == [True]
        assert "the kernel says: amdgpu: MES failed to respond" in late.found[0].message
        assert [finding.stop for finding in old.found] == [False]

    def test_before_the_first_step_there_is_the_grace_of_one(self) -> None:
        run = Run.begin(first_step_seconds=900)
        run.phase("loading the model")
        run.pass_time(200)
        run.phase("training")
        run.pass_time(899, state="S", cpu=0.0)
        assert run.found == []
        run.pass_time(5, state="S", cpu=0.0)
        assert [finding.stop for finding in run.found] == [True]
        assert run.found[0].message.startswith("no sign of life for 901 s in the phase `training`")

    def test_after_one_slow_first_step_the_second_has_five_times_as_long(self) -> None:
        run = Run.begin()
        run.phase("training")
        run.steps(1, seconds=100)
        run.pass_time(540, state="S", cpu=0.0)
        assert run.found == []
        run.pass_time(20, state="S", cpu=0.0)
        assert run.codes == ["hang"]

    def test_behind_the_last_step_and_in_a_phase_without_steps_there_is_the_grace_again(self) -> None:
        run = Run.begin()
        run.steps(20, total=20)
        run.pass_time(1700, state="S", cpu=0.0)
        run.phase("saving the adapter")
        run.pass_time(1700, state="S", cpu=0.0)
        assert run.found == []

    def test_progress_in_other_units_is_a_sign_of_life(self) -> None:
        run = Run.begin(first_step_seconds=60)
        for done in range(20):
            run.pass_time(50, state="S", cpu=0.0)
            run.event("progress", done=done, unit="bytes")
        assert run.found == []

    def test_a_hang_behind_an_evaluation_is_found_as_one_between_steps(self) -> None:
        run = Run.begin()
        run.steps(10)
        run.phase("evaluating")
        run.pass_time(500)
        run.event("eval", step=10, loss=1.0)
        run.pass_time(57, state="S", cpu=0.0)
        assert [finding.stop for finding in run.found] == [True]
        assert "after the evaluation at step 10 (usual: 1.0 s a step)" in run.found[0].message

    def test_the_time_that_saving_and_evaluating_take_is_not_a_step_s(self) -> None:
        """Also where both come after each step, and a warning in the middle of it."""
        run = Run.begin()
        for number in range(5):
            run.pass_time(1)
            run.event("warning", code="x", message="y")
            run.steps(1)
            run.phase("evaluating")
            run.pass_time(30)
            run.event("eval", step=number + 1, loss=1.0)
            run.pass_time(20)
            run.event("checkpoint", step=number + 1)
        run.pass_time(62, state="S", cpu=0.0)
        assert "(usual: 2.0 s a step)" in run.found[0].message

    def test_a_phase_between_the_first_steps_does_not_make_them_long(self) -> None:
        run = Run.begin()
        run.steps(1, seconds=10)
        run.phase("thinking")
        run.pass_time(500)
        run.steps(1)
        run.pass_time(103, state="S", cpu=0.0)
        assert run.codes == ["hang"]

    def test_steps_that_begin_again_have_a_first_step_again(self) -> None:
        run = Run.begin()
        run.steps(20)
        run.step = 10
        run.steps(1, seconds=40)
        run.pass_time(200, state="S", cpu=0.0)
        assert run.found == []

    def test_a_gpu_left_alone_in_a_phase_without_steps_says_nothing_while_the_process_computes(self) -> None:
        run = Run.begin(first_step_seconds=100)
        for _ in range(10):
            run.pass_time(1, device=working)
            run.steps(1, seconds=0.0)
        run.phase("merging")
        run.pass_time(120, device=gpu(busy_percent=0.0))
        assert [finding.stop for finding in run.found] == [False]

    def test_a_gpu_that_others_kept_busy_before_the_first_step_says_nothing(self) -> None:
        run = Run.begin()
        run.pass_time(10, device=working)
        run.steps(10)
        run.pass_time(60, device=gpu(busy_percent=0.0))
        assert [finding.stop for finding in run.found] == [False]

    def test_a_new_watchdog_gives_a_run_that_nothing_speaks_against_the_time_to_show_itself(self) -> None:
        run = Run.begin()
        run.steps(10)
        run.watch.heartbeat.checked = run.watch.heartbeat.watched_since = None  # a new runner, after an hour
        run.now += 3600
        run.check()
        assert run.found == [], "not before it has looked"
        run.pass_time(50)
        assert [finding.stop for finding in run.found] == [False]
        run.pass_time(10)
        assert [finding.stop for finding in run.found] == [False, True]

    def test_a_process_that_cannot_be_looked_at_is_waited_for_five_seconds_more(self) -> None:
        run = Run.begin()
        run.steps(10)
        for _ in range(60):
            run.now += 1.0
            run.check()
        assert [(finding.stop, finding.time - START) for finding in run.found] == [(False, 70.0)]

    def test_after_a_step_down_the_ladder_the_former_step_time_counts_no_more(self) -> None:
        run = Run.begin()
        run.steps(20)
        run.event("ladder", rung=1, reason="out of memory", from_step=10)
        run.pass_time(500, state="S", cpu=0.0)
        run.step = 10
        run.steps(5, seconds=60)
        run.pass_time(300, state="S", cpu=0.0)
        assert run.found == []

    def test_the_usual_time_is_the_median_so_that_checkpoints_and_evaluations_do_not_stretch_it(self) -> None:
        run = Run.begin()
        for _ in range(5):
            run.steps(4)
            run.phase("evaluating")
            run.pass_time(500)
            run.event("eval", step=run.step, loss=1.0)
        run.steps(1)
        run.pass_time(56, state="S", cpu=0.0)
        assert run.codes == ["hang"]
        assert "(usual: 1.0 s a step)" in run.found[0].message

    def test_the_sleep_of_a_machine_is_no_silence_of_its_run(self) -> None:
        run = Run.begin()
        run.steps(10)
        run.now += 3600
        run.check()
        run.pass_time(50, state="S", cpu=0.0)
        assert run.found == []
        run.pass_time(10, state="S", cpu=0.0)
        assert run.codes == ["hang"]

    def test_a_clock_that_is_set_back_delays_nothing_for_long(self) -> None:
        run = Run.begin()
        run.steps(10)
        run.now -= 7200
        run.check()
        run.pass_time(60, state="S", cpu=0.0)
        assert run.codes == ["hang"]

    def test_policies(self) -> None:
        for policy, stops in (("off", []), ("warn", [False]), ("stop", [True])):
            run = Run.begin(hang=policy)
            run.steps(10)
            run.pass_time(400, state="S", cpu=0.0)
            assert [finding.stop for finding in run.found] == stops


class TestLosses:
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_a_loss_that_is_no_number_is_found_at_once_and_told_once(self, value: float) -> None:
        run = Run.begin()
        run.steps(10)
        run.losses([value] * 5)
        assert [(finding.code, finding.stop, finding.time) for finding in run.found] == [("nan", True, START + 11)]
        assert run.found[0].message == f"the loss is {value} at step 11"

    def test_also_a_gradient_norm_and_a_held_out_loss(self) -> None:
        run = Run.begin(nan="warn")
        run.steps(1, grad_norm=math.nan)
        run.steps(1)
        run.event("eval", step=2, loss=math.nan)
        run.check()
        assert [finding.message for finding in run.found] == [
            "the gradient norm is nan at step 1",
            "the loss is nan held out, at step 2",
        ]
        assert not any(finding.stop for finding in run.found)

    def test_one_norm_that_overflows_is_a_lost_step_and_two_in_a_row_are_a_lost_run(self) -> None:
        run = Run.begin()
        for norm in (0.5, math.inf, 0.5, math.inf, 0.5):
            run.steps(1, grad_norm=norm)
        assert run.found == []
        run.steps(3, grad_norm=math.inf)
        assert [(finding.code, finding.time - START) for finding in run.found] == [("nan", 7)]

    def test_a_common_training_is_left_alone(self) -> None:
        """Loss falls from 4 with single bad batches; norms start tiny, as those of a fresh adapter do, and wobble."""
        run = Run.begin()
        for number in range(400):
            loss = 0.4 + 3.6 * math.exp(-number / 60) * (1.8 if number % 13 == 0 else 1.0)
            norm = min(1.0, number / 15) * (2.0 + math.sin(number)) * (6.0 if number % 37 == 0 else 1.0)
            run.steps(1, loss=loss, grad_norm=norm)
        assert run.found == []

    def test_a_loss_that_explodes_is_found_within_its_third_step(self) -> None:
        run = Run.begin()
        run.steps(40, loss=0.5)
        run.losses([0.6, 3.0, 6.0, 11.0, 11.0, 11.0])
        assert [(finding.code, finding.stop, finding.time - START) for finding in run.found] == [
            ("exploding", False, 44)
        ]
        assert run.found[0].message == "the loss is 11 at step 44, where 0.5 was usual"

    def test_also_a_gradient_norm(self) -> None:
        run = Run.begin(exploding="stop")
        run.steps(40, grad_norm=0.2)
        run.steps(3, grad_norm=400.0)
        assert [(finding.code, finding.stop) for finding in run.found] == [("exploding", True)]
        assert "gradient norm" in run.found[0].message

    def test_one_wild_batch_is_no_explosion_nor_is_a_small_loss_that_grows(self) -> None:
        run = Run.begin()
        run.steps(40, loss=0.5)
        run.losses([9.0, 0.5, 9.0, 9.0, 0.5])
        run.steps(100, loss=0.001)
        run.steps(10, loss=0.02)
        assert run.found == []

    def test_nothing_is_an_explosion_in_the_warm_up(self) -> None:
        run = Run.begin()
        run.losses([0.1] * 15 + [12.0] * 5, grad_norm=50.0)
        assert run.found == []

    def test_a_loss_of_zero_from_the_start_is_found_at_its_fifth_step(self) -> None:
        run = Run.begin()
        run.losses([0.0] * 9)
        assert [(finding.code, finding.time - START) for finding in run.found] == [("zero_loss", 5)]
        assert "from the first step on" in run.found[0].message

    def test_a_loss_that_falls_to_zero_at_once_is_found_and_one_that_shrinks_to_it_is_not(self) -> None:
        fell, shrank = Run.begin(), Run.begin()
        fell.losses([2.1] * 30 + [0.0] * 5)
        shrank.losses([2.1 * 0.7**number for number in range(30)] + [0.0] * 20)
        assert fell.codes == ["zero_loss"]
        assert shrank.codes == []

    def test_single_losses_of_zero_are_no_trouble(self) -> None:
        run = Run.begin()
        run.losses([1.0, 0.0, 0.0] * 10)
        assert run.found == []

    def test_what_was_found_is_told_again_after_the_run_began_anew(self) -> None:
        run = Run.begin()
        run.losses([math.nan] * 3)
        run.event("ladder", rung=1, reason="out of memory", from_step=None)
        run.step = 0
        run.losses([math.nan] * 3)
        assert run.codes == ["nan", "nan"]

    def test_a_loss_that_is_not_told_is_no_loss_of_zero(self) -> None:
        run = Run.begin()
        for step in range(1, 30):
            run.event("step", step=step, total=100, loss=None)
        run.check()
        assert run.found == []


class TestGpu:
    def test_memory_that_grows_into_the_host_s_is_found_at_the_second_sample(self) -> None:
        run = Run.begin()
        run.pass_time(10, device=gpu(vram_used_bytes=15 * GB))
        run.pass_time(1, device=gpu(vram_used_bytes=15 * GB, gtt_used_bytes=GB))
        assert run.found == []
        run.pass_time(20, device=gpu(vram_used_bytes=15 * GB, gtt_used_bytes=2 * GB))
        assert [(finding.code, finding.stop, finding.time - START) for finding in run.found] == [("spill", False, 12)]
        assert "1.8 GB" in run.found[0].message

    def test_buffers_in_the_host_s_memory_are_no_spill_while_the_gpu_has_room(self) -> None:
        run = Run.begin()
        run.pass_time(5, device=gpu())
        run.pass_time(30, device=gpu(gtt_used_bytes=6 * GB))
        run.pass_time(5, device=gpu(vram_used_bytes=15 * GB))
        assert run.found == []

    def test_what_lay_in_the_host_s_memory_before_the_run_is_not_its_own(self) -> None:
        run = Run.begin()
        run.pass_time(60, device=gpu(vram_used_bytes=15 * GB, gtt_used_bytes=5 * GB))
        assert run.found == []

    def test_what_others_give_back_makes_room_for_no_spill(self) -> None:
        run = Run.begin()
        run.pass_time(5, device=gpu(vram_used_bytes=15 * GB, gtt_used_bytes=5 * GB))
        run.pass_time(5, device=gpu(vram_used_bytes=15 * GB))
        run.pass_time(5, device=gpu(vram_used_bytes=15 * GB, gtt_used_bytes=3 * GB))
        assert run.codes == ["spill"]

    def test_a_spill_is_told_again_after_it_had_gone(self) -> None:
        run = Run.begin()
        for _ in range(2):
            run.pass_time(5, device=gpu(vram_used_bytes=15 * GB))
            run.pass_time(5, device=gpu(vram_used_bytes=15 * GB, gtt_used_bytes=3 * GB))
        assert run.codes == ["spill", "spill"]

    def test_single_samples_prove_nothing(self) -> None:
        run = Run.begin()
        run.pass_time(1, device=gpu())
        for _ in range(20):
            run.pass_time(1, device=gpu(vram_used_bytes=int(15.9 * GB), gtt_used_bytes=3 * GB, throttling=("thermal",)))
            run.pass_time(1, device=gpu())
        assert run.found == []

    def test_a_new_runner_counts_from_where_the_run_began(self) -> None:
        run = Run(RunWatch(WatchSettings(spill="stop"), START, gtt_bytes=GB // 4))
        run.pass_time(3, device=gpu(vram_used_bytes=15 * GB, gtt_used_bytes=3 * GB))
        assert [(finding.code, finding.stop) for finding in run.found] == [("spill", True)]

    def test_a_gpu_that_is_nearly_full_is_told_at_the_second_sample_and_again_after_relief(self) -> None:
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

    def test_a_hot_gpu_is_told_once_an_episode_and_other_limits_not_at_all(self) -> None:
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

    def test_a_bit_that_says_thermal_of_a_cool_gpu_is_not_believed(self) -> None:
        run = Run.begin()
        cool = gpu(throttling=("thermal", "power"), temperature_hotspot_c=41.0)
        run.pass_time(60, device=cool)
        assert run.found == [] and cool.slowed_by == ("power",)
        assert gpu(throttling=("thermal",), temperature_hotspot_c=None, temperature_edge_c=None).slowed_by == (
            "thermal",
        )

    def test_a_gpu_that_tells_nothing_is_suspected_of_nothing(self) -> None:
        run = Run.begin()
        run.pass_time(100, device=DeviceReading(0, "Stand-in", "nvidia"))
        assert run.found == []


@pytest.mark.parametrize("code", CODES)
def test_each_code_is_a_setting_and_off_tells_nothing(code: str) -> None:
    assert code in WatchSettings.model_fields
    run = Run.begin(**{code: "off"})
    everything_wrong(run)
    assert set(CODES) - {code} == set(run.codes)


def everything_wrong(run: Run) -> None:
    run.pass_time(5, device=gpu())
    run.losses([0.0] * 6 + [0.5] * 40 + [50.0] * 3 + [math.nan])
    bad = gpu(vram_used_bytes=int(15.9 * GB), gtt_used_bytes=3 * GB, throttling=("thermal",))
    run.pass_time(300, state="D", cpu=0.0, device=bad)


@pytest.mark.parametrize(
    "event",
    [
        {"kind": "step"},
        {"kind": "step", "time": "noon", "step": 3},
        {"kind": "step", "time": START, "step": "three", "total": None, "loss": "low", "grad_norm": [1]},
        {"kind": "phase", "time": START, "name": None},
        {"kind": "eval", "time": START, "loss": True},
    ],
)
def test_an_event_of_another_form_is_no_fault(event: dict[str, Any]) -> None:
    run = Run.begin()
    run.watch.event(event)
    run.steps(3)
    assert run.found == []
