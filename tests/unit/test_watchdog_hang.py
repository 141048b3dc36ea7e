"""A run that hangs: when the watchdog finds it, what confirms it, and which silences it leaves alone."""

from __future__ import annotations

import pytest

from tests.support.watched_run import START, Run, gpu, working


def test_a_run_that_steps_evaluates_and_saves_is_left_alone() -> None:
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


def test_a_sleeping_process_is_found_at_five_usual_steps_and_fifty_seconds() -> None:
    run = Run.begin()
    run.steps(30, seconds=3.0)
    run.pass_time(64, state="S", cpu=0.0)
    assert run.found == []
    run.pass_time(2, state="S", cpu=0.0)
    assert run.codes == ["hang"]
    assert run.found[0].stop
    assert run.found[0].message == "no step for 66 s after step 30 (usual: 3.0 s a step): its process uses no CPU time"


def test_it_is_told_once_and_again_only_after_a_sign_of_life() -> None:
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
def test_the_state_of_the_process_confirms_it_although_cpu_time_passes(state: str, words: str) -> None:
    run = Run.begin()
    run.steps(10)
    run.pass_time(60, state=state)
    assert [finding.stop for finding in run.found] == [True]
    assert words in run.found[0].message


def test_a_process_that_reads_from_a_slow_disk_now_and_then_is_not_taken_for_stuck() -> None:
    run = Run.begin()
    run.steps(10)
    for second in range(100):
        run.pass_time(1, state="D" if second % 2 else "R")
    assert [finding.stop for finding in run.found] == [False]


def test_what_nothing_confirms_is_a_warning_first_and_a_stop_after_three_times_the_limit() -> None:
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


def test_a_warning_becomes_a_stop_as_soon_as_the_process_stands_still() -> None:
    run = Run.begin()
    run.steps(10)
    run.pass_time(70)
    run.pass_time(15, state="S", cpu=0.0)
    assert [finding.stop for finding in run.found] == [False, True]


def test_an_idle_gpu_confirms_it_although_the_process_spins() -> None:
    run = Run.begin()
    for _ in range(10):
        run.pass_time(1, device=working)
        run.steps(1, seconds=0.0)
    run.pass_time(60, device=gpu(busy_percent=0.0, memory_busy_percent=0.0))
    assert [finding.stop for finding in run.found] == [True]
    assert "the GPU is 0 % busy" in run.found[0].message


def test_a_gpu_stuck_at_full_load_confirms_it_and_one_that_works_does_not() -> None:
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


def test_a_process_that_sleeps_while_its_gpu_works_is_not_stuck() -> None:
    run = Run.begin()
    run.steps(10)
    run.pass_time(60, state="S", cpu=0.0, device=working)
    assert [finding.stop for finding in run.found] == [False]


def test_a_gpu_that_the_run_never_used_says_nothing_about_it() -> None:
    run = Run.begin()
    for _ in range(10):
        run.pass_time(1, device=gpu(busy_percent=0.0))
        run.steps(1, seconds=0.0)
    run.pass_time(60, device=gpu(busy_percent=0.0))
    assert [finding.stop for finding in run.found] == [False]


def test_a_message_of_the_kernel_confirms_it_and_an_old_one_does_not() -> None:
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


def test_before_the_first_step_there_is_the_grace_of_one() -> None:
    run = Run.begin(first_step_seconds=900)
    run.phase("loading the model")
    run.pass_time(200)
    run.phase("training")
    run.pass_time(899, state="S", cpu=0.0)
    assert run.found == []
    run.pass_time(5, state="S", cpu=0.0)
    assert [finding.stop for finding in run.found] == [True]
    assert run.found[0].message.startswith("no sign of life for 901 s in the phase `training`")


def test_after_one_slow_first_step_the_second_has_five_times_as_long() -> None:
    run = Run.begin()
    run.phase("training")
    run.steps(1, seconds=100)
    run.pass_time(540, state="S", cpu=0.0)
    assert run.found == []
    run.pass_time(20, state="S", cpu=0.0)
    assert run.codes == ["hang"]


def test_behind_the_last_step_and_in_a_phase_without_steps_there_is_the_grace_again() -> None:
    run = Run.begin()
    run.steps(20, total=20)
    run.pass_time(1700, state="S", cpu=0.0)
    run.phase("saving the adapter")
    run.pass_time(1700, state="S", cpu=0.0)
    assert run.found == []


def test_progress_in_other_units_is_a_sign_of_life() -> None:
    run = Run.begin(first_step_seconds=60)
    for done in range(20):
        run.pass_time(50, state="S", cpu=0.0)
        run.event("progress", done=done, unit="bytes")
    assert run.found == []


def test_a_hang_behind_an_evaluation_is_found_as_one_between_steps() -> None:
    run = Run.begin()
    run.steps(10)
    run.phase("evaluating")
    run.pass_time(500)
    run.event("eval", step=10, loss=1.0)
    run.pass_time(57, state="S", cpu=0.0)
    assert [finding.stop for finding in run.found] == [True]
    assert "after the evaluation at step 10 (usual: 1.0 s a step)" in run.found[0].message


def test_the_time_that_saving_and_evaluating_take_is_not_a_step_s() -> None:
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


def test_a_phase_between_the_first_steps_does_not_make_them_long() -> None:
    run = Run.begin()
    run.steps(1, seconds=10)
    run.phase("thinking")
    run.pass_time(500)
    run.steps(1)
    run.pass_time(103, state="S", cpu=0.0)
    assert run.codes == ["hang"]


def test_steps_that_begin_again_have_a_first_step_again() -> None:
    run = Run.begin()
    run.steps(20)
    run.step = 10
    run.steps(1, seconds=40)
    run.pass_time(200, state="S", cpu=0.0)
    assert run.found == []


def test_a_gpu_left_alone_in_a_phase_without_steps_says_nothing_while_the_process_computes() -> None:
    run = Run.begin(first_step_seconds=100)
    for _ in range(10):
        run.pass_time(1, device=working)
        run.steps(1, seconds=0.0)
    run.phase("merging")
    run.pass_time(120, device=gpu(busy_percent=0.0))
    assert [finding.stop for finding in run.found] == [False]


def test_a_gpu_that_others_kept_busy_before_the_first_step_says_nothing() -> None:
    run = Run.begin()
    run.pass_time(10, device=working)
    run.steps(10)
    run.pass_time(60, device=gpu(busy_percent=0.0))
    assert [finding.stop for finding in run.found] == [False]


def test_a_new_watchdog_gives_a_run_that_nothing_speaks_against_the_time_to_show_itself() -> None:
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


def test_a_process_that_cannot_be_looked_at_is_waited_for_five_seconds_more() -> None:
    run = Run.begin()
    run.steps(10)
    for _ in range(60):
        run.now += 1.0
        run.check()
    assert [(finding.stop, finding.time - START) for finding in run.found] == [(False, 70.0)]


def test_after_a_step_down_the_ladder_the_former_step_time_counts_no_more() -> None:
    run = Run.begin()
    run.steps(20)
    run.event("ladder", rung=1, reason="out of memory", from_step=10)
    run.pass_time(500, state="S", cpu=0.0)
    run.step = 10
    run.steps(5, seconds=60)
    run.pass_time(300, state="S", cpu=0.0)
    assert run.found == []


def test_the_usual_time_is_the_median_so_that_checkpoints_and_evaluations_do_not_stretch_it() -> None:
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


def test_the_sleep_of_a_machine_is_no_silence_of_its_run() -> None:
    run = Run.begin()
    run.steps(10)
    run.now += 3600
    run.check()
    run.pass_time(50, state="S", cpu=0.0)
    assert run.found == []
    run.pass_time(10, state="S", cpu=0.0)
    assert run.codes == ["hang"]


def test_a_clock_that_is_set_back_delays_nothing_for_long() -> None:
    run = Run.begin()
    run.steps(10)
    run.now -= 7200
    run.check()
    run.pass_time(60, state="S", cpu=0.0)
    assert run.codes == ["hang"]


def test_policies() -> None:
    for policy, stops in (("off", []), ("warn", [False]), ("stop", [True])):
        run = Run.begin(hang=policy)
        run.steps(10)
        run.pass_time(400, state="S", cpu=0.0)
        assert [finding.stop for finding in run.found] == stops


def test_a_run_that_waits_for_a_server_does_not_hang_though_it_and_the_gpu_idle() -> None:
    """The server may compute on its CPUs, or load a model for a quarter of an hour; the run has time limits of its own."""
    for asks_server in (True, False):
        run = Run.begin(asks_server=asks_server, first_step_seconds=600.0)
        run.phase("answering")
        run.pass_time(1700, state="S", cpu=0.0, device=gpu(busy_percent=0.0))
        assert any(finding.stop for finding in run.found) == (not asks_server)
        run.pass_time(400, state="S", cpu=0.0, device=gpu(busy_percent=0.0))
        assert any(finding.stop for finding in run.found), "three times what is allowed is a hang"
