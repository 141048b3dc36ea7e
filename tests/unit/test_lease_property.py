"""Whatever happens to the GPU, its server, its jobs and its runners, in whatever order: what the lease promises holds.

Two never have the GPU. A job gets it only when the GPU was seen to be free, or asks the model server, whose models then stay.
What was unloaded for a job is back in the end, or it is said that it is not. A job that asks the server leaves it as it was.
A served model of the home is gone while a job has the GPU to itself, and serves in the end.
The phases go along their table, and nothing raises.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import Phase as HypothesisPhase
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from core.gpu.reading import ProcessReading
from core.gpu_lease import admission
from core.gpu_lease import lock as gpu_lock
from core.gpu_lease.gpu_fault import GpuFault, read_fault, release_gpu
from core.gpu_lease.phases import WAYS, Cause, Phase
from core.gpu_lease.state import LeaseState
from core.process.identity import current_boot_id
from core.reasons import Reason
from core.wording.gpu import WORDS
from tests.support.depth import SOAK, example_count
from tests.support.leasesim import GB, PCI, ROUND_SECONDS, LeaseSim, fast_folder, job

JUDGE, PLANNER, COPY = "judge:latest", "planner:latest", "judge-2:latest"
NAMES = st.sampled_from([JUDGE, PLANNER])
REPORTED = {"model_given_up", "model_not_returning", "model_does_not_fit", "models_out_of_reach"}
SLOW_ROUND_SECONDS, PAUSE_SECONDS = 1.0, 30.0
"""A runner whose rounds are further apart than this looks at the server too seldom to know that it is empty."""
CALM_ROUNDS = 4000


class LeaseMachine(RuleBasedStateMachine):
    """One GPU, one model server, one home whose runners come and go, and another home that may take the GPU between."""

    @initialize(
        intruder=st.sampled_from(["warn", "unload", "pause"]),
        managed=st.sampled_from([True, True, True, False]),
        commands=st.sampled_from([False, False, True]),
        latency=st.sampled_from([0.0, 0.0, 0.3, 1.5]),
    )
    def begin(self, intruder: str, managed: bool, commands: bool, latency: float) -> None:
        self.folder = fast_folder()
        self.environment = {name: os.environ.pop(name, None) for name in ("BAKEHOUSE_LEASE_DIR", "OLLAMA_HOST")}
        os.environ["BAKEHOUSE_LEASE_DIR"] = str(self.folder)
        server: dict[str, Any] = {"managed": managed}
        if commands:
            server |= {"stop_command": ["service", "stop"], "start_command": ["service", "start"]}
        self.alive = False
        self.ways: list[tuple[Phase, Phase, Cause]] = []
        self.sim = LeaseSim(self.folder, intruder=intruder, server=server, latency_seconds=latency)
        self.note = self.sim.serve("note")
        self.waiting: list[int] = []
        self.next_job = 1
        self.other: gpu_lock.Lease | None = None
        self.owed: set[str] = set()
        """What is away and has to come back: its weights, as it can come back under another tag."""
        self.follow()

    def follow(self) -> None:
        """A runner has begun: see each of its phases."""
        self.alive = True
        machine = self.sim.manager._phase
        enter = machine.enter

        def seen(phase: Phase, job_id: int | None, cause: Cause) -> None:
            former = machine.phase
            enter(phase, job_id, cause)
            self.ways.append((former, phase, cause))

        machine.enter = seen  # type: ignore[method-assign]

    # Time.

    @rule(rounds=st.integers(1, 40))
    def time_passes(self, rounds: int) -> None:
        for _ in range(rounds):
            self.one_round(ROUND_SECONDS)

    @rule(minutes=st.integers(1, 10))
    def much_time_passes(self, minutes: int) -> None:
        for _ in range(minutes * 60):
            self.one_round(SLOW_ROUND_SECONDS)

    @rule(seconds=st.sampled_from([-1e7, -3600.0, -5.0, 5.0, 3600.0, 1e7]))
    def somebody_sets_the_clock(self, seconds: float) -> None:
        self.sim.set_clock(seconds)

    def one_round(self, seconds: float) -> None:
        sim = self.sim
        if not self.alive:
            sim.clock.pass_time(seconds)
            self.note.round()
            return
        sim.wanted = job(self.waiting[0]) if self.waiting and sim.holder is None else None
        before, notes, unloads = self.away(), len(sim.notes), len(sim.ollama.unloads)
        asks = sim.holder is not None and self.asks(sim.holder.id)
        on_its_way = asks and bool(sim.server is not None and sim.server.under_way)
        sim.round(seconds)
        assert not asks or on_its_way or len(sim.ollama.unloads) == unloads, "the models of a server that is asked stay"
        assert not asks or sim.state.intruders == ()
        self.check_what_came_back(before, notes)
        self.check_state()
        if sim.wanted is not None and sim.manager.ready_for(sim.wanted):
            self.check_admission()
            self.waiting.pop(0)
            sim.start_job(0 if self.asks(sim.wanted.id) else 8 * GB)
        self.check_holders()

    def asks(self, number: int) -> bool:
        return number in self.sim.uses

    def away(self) -> dict[str, str | None]:
        """The models that are to come back, with their weights."""
        return {one.name: one.blob for one in self.sim.manager.models.evicted.models}

    # The promises.

    def check_what_came_back(self, before: dict[str, str | None], notes: int) -> None:
        """What is not to be brought back any more is there, or it is told that it is not."""
        sim = self.sim
        after = self.away()
        told = {note.reason.values.get("model") for note in sim.state.notes if note.reason.code in REPORTED}
        residents = sim.manager.models.view.residents or ()
        there = {one.name for one in residents} | {sim.manager.models._server.blob(one) for one in residents}  # type: ignore[union-attr]
        for name, blob in before.items():
            renamed = blob is not None and blob in after.values()
            if name not in after and not renamed:
                assert name in told or name in there or (blob is not None and blob in there), (name, sim.state)

    def check_state(self) -> None:
        sim, state = self.sim, self.sim.state
        assert (state.phase == "held") == (sim.holder is not None), state
        if sim.holder is not None:
            assert state.job_id == sim.holder.id
        assert LeaseState.from_json(state.to_json()) == state
        reasons = [
            state.status,
            state.server_fault,
            state.remedy,
            sim.manager.why,
            *(one.reason for one in state.notes),
        ]
        assert {one.code for one in reasons if one is not None} <= set(WORDS)
        for former, phase, cause in self.ways:
            assert cause in WAYS[former, phase]
        self.ways.clear()

    def check_admission(self) -> None:
        """The lease is handed over: the newest look at the GPU is one of now, shows nobody on it, and no fault is open."""
        manager = self.sim.manager
        assert read_fault(self.sim.home) is None and manager.blocked_by_fault is None
        known, view = manager.view.known, manager.view
        assert self.sim.wanted is not None
        if self.asks(self.sim.wanted.id):
            self.check_noted()
        else:
            assert known is None or view.mute or (admission.is_clear(known, manager.terms) and not view.stale)
            assert not self.note.runs and self.note.folder.away.exists()
        assert view.mute or view.taken_at > manager._wanted_since
        if not view.mute and known is not None:
            assert known.knows_idle
        assert self.other is None

    def check_noted(self) -> None:
        """What is loaded before a job that asks the server, and what that job asks for, is in the file."""
        manager = self.sim.manager
        evicted, view = manager.models.evicted, manager.models.view
        assert {JUDGE, PLANNER} <= set(evicted.asked) or manager.models._server is None
        for one in view.residents or ():
            server, unload = manager.models._server, manager.models._unload
            assert server is not None and unload is not None
            noted = any(known.is_resident(one, server.blob(one)) for known in evicted.models)
            assert noted or unload.leaves(one) or one.name in evicted.asked, one
        assert view.residents is None or view.asked_at > manager._wanted_since

    def check_holders(self) -> None:
        """One process has the lock at most, and whoever tries finds that it is taken."""
        sim = self.sim
        holders = [one for one in (sim.lease, sim.manager.lease if self.alive else None, self.other) if one is not None]
        assert len(holders) <= 1, holders
        probe = gpu_lock.acquire(sim.manager.lease_path)
        assert (probe is None) == bool(holders)
        if probe is not None:
            probe.release()

    # The served model.

    @rule(stopped=st.booleans())
    def a_person_stops_or_starts_it(self, stopped: bool) -> None:
        if stopped:
            self.note.folder.stopped.touch()
        else:
            self.note.folder.stopped.unlink(missing_ok=True)

    @rule(lives=st.booleans())
    def its_shim_dies_or_begins(self, lives: bool) -> None:
        if lives and not self.note.lives:
            self.note.begin()
        elif not lives and self.note.lives:
            self.note.die()

    @rule(
        loads=st.sampled_from([0.2, 30.0]),
        ends=st.sampled_from([0.0, 3.0]),
        fails=st.sampled_from([None, None, "died"]),
    )
    def it_takes_its_time_or_fails(self, loads: float, ends: float, fails: str | None) -> None:
        self.note.loads_seconds, self.note.ends_seconds = loads, ends
        self.note.fails = None if fails is None else Reason(fails, {"said": "killed"})

    # Jobs.

    @rule()
    def somebody_submits_a_job(self) -> None:
        self.waiting.append(self.next_job)
        self.next_job += 1

    @rule()
    def somebody_submits_a_job_that_asks_the_server(self) -> None:
        self.sim.asks(JUDGE, PLANNER, number=self.next_job)
        self.somebody_submits_a_job()

    @precondition(lambda self: self.sim.holder is not None and self.asks(self.sim.holder.id))
    @rule(name=NAMES, context=st.sampled_from([2048, 16384]))
    def the_job_asks_for_a_model(self, name: str, context: int) -> None:
        self.sim.ollama.client_loads(name, 1800.0, context)

    @precondition(lambda self: self.waiting)
    @rule()
    def the_next_job_is_cancelled(self) -> None:
        self.waiting.pop(0)

    @precondition(lambda self: self.sim.holder is not None)
    @rule(leaves=st.sampled_from([0, 0, 0, 7 * GB]))
    def the_job_ends(self, leaves: int) -> None:
        self.sim.end_job(leaves)

    @precondition(lambda self: self.sim.holder is not None and self.sim.manager.unwelcome is not None)
    @rule()
    def the_job_makes_room(self) -> None:
        assert self.sim.holder is not None
        self.waiting.insert(0, self.sim.holder.id)
        self.sim.end_job()

    # The GPU.

    @precondition(lambda self: self.alive)
    @rule(whose=st.sampled_from(["the job's", "another's", "nobody's"]))
    def the_gpu_faults(self, whose: str) -> None:
        holder = self.sim.holder if self.sim.state.phase == "held" else None
        job_id = holder.id if holder is not None and whose == "the job's" else None
        fault = GpuFault("[gfxhub] page fault", self.sim.clock.time(), current_boot_id(), job_id)
        self.sim.manager.note_fault(replace(fault, elsewhere=whose == "another's"))

    @rule()
    def a_person_releases_the_gpu(self) -> None:
        release_gpu(self.sim.home)

    @rule(held=st.sampled_from([0, 9 * GB]))
    def others_come_and_go(self, held: int) -> None:
        self.sim.others = [ProcessReading(4711, "blender", held, pci=PCI)] if held else []

    @rule(held=st.sampled_from([0, 6 * GB]))
    def another_server_comes_and_goes(self, held: int) -> None:
        self.sim.others = [ProcessReading(4712, "llama-server", held, pci=PCI)] if held else []

    @rule()
    def the_driver_recovers(self) -> None:
        self.sim.unowned = 0

    @rule(sampling=st.booleans())
    def readings_stop_or_go_on(self, sampling: bool) -> None:
        self.sim.sampling = sampling

    @rule(figures=st.sampled_from([{}, {}, {"vram_used_bytes": None}, {"vram_used_bytes": None, "suspended": True}]))
    def the_source_fails_or_the_gpu_sleeps(self, figures: dict[str, Any]) -> None:
        self.sim.figures = figures

    @precondition(lambda self: self.other is None)
    @rule()
    def another_home_takes_the_gpu(self) -> None:
        self.other = gpu_lock.acquire(self.sim.manager.lease_path)

    @precondition(lambda self: self.other is not None)
    @rule()
    def the_other_home_is_done(self) -> None:
        assert self.other is not None
        self.other.release()
        self.other = None

    # The server.

    @rule(name=NAMES, stays=st.sampled_from([-1.0, 2.0, 600.0]), context=st.sampled_from([4096, 8192]))
    def a_client_loads(self, name: str, stays: float, context: int) -> None:
        self.sim.ollama.client_loads(name, stays, context)

    @rule(name=NAMES, seconds=st.sampled_from([1.0, 10.0, 200.0]))
    def a_client_asks(self, name: str, seconds: float) -> None:
        self.sim.ollama.client_asks(name, seconds)

    @rule(name=NAMES)
    def a_client_unloads(self, name: str) -> None:
        if name in self.sim.ollama.models:
            self.sim.ollama.client_unloads(name)

    @rule(name=NAMES)
    def a_model_s_process_dies(self, name: str) -> None:
        self.sim.ollama.kill_runner(name)

    @rule(name=NAMES, seconds=st.sampled_from([0.2, 5.0, 90.0]))
    def a_model_takes_its_time(self, name: str, seconds: float) -> None:
        if name in self.sim.ollama.models:
            self.sim.ollama.models[name].load_seconds = seconds

    @rule(name=NAMES, there=st.booleans())
    def a_tag_comes_or_goes(self, name: str, there: bool) -> None:
        ollama = self.sim.ollama
        if there and name not in ollama.models:
            ollama.add_model(name, 3 * GB)
        elif not there and name in ollama.models:
            ollama.remove_model(name)

    @rule(there=st.booleans())
    def a_copy_of_the_tag_comes_or_goes(self, there: bool) -> None:
        ollama = self.sim.ollama
        if there and JUDGE in ollama.models:
            ollama.copy_model(JUDGE, COPY)
        elif COPY in ollama.models:
            ollama.remove_model(COPY)

    @rule(running=st.booleans())
    def the_server_ends_or_begins(self, running: bool) -> None:
        if running:
            self.sim.ollama.up()
        else:
            self.sim.ollama.down()

    @rule(hangs=st.booleans())
    def the_server_hangs_or_answers(self, hangs: bool) -> None:
        self.sim.ollama.hangs = hangs

    @rule(memory=st.sampled_from([None, None, 5 * GB, GB]))
    def the_server_has_less_memory(self, memory: int | None) -> None:
        self.sim.ollama.memory_bytes = memory

    # Runners.

    @precondition(lambda self: self.alive)
    @rule()
    def the_runner_is_killed(self) -> None:
        self.sim.kill_runner()
        self.alive = False

    @precondition(lambda self: not self.alive)
    @rule()
    def the_next_runner_begins(self) -> None:
        self.sim.next_runner()
        self.follow()

    @invariant()
    def the_lock_has_one_holder(self) -> None:
        if hasattr(self, "sim"):
            self.check_holders()

    def teardown(self) -> None:
        """All is well again and stays so: whatever is away comes back or is told, and the waiting jobs have their turn."""
        if not hasattr(self, "sim"):
            return
        try:
            self.calm_down()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
            for name, value in self.environment.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value

    def calm_down(self) -> None:
        sim, ollama = self.sim, self.sim.ollama
        ollama.up()
        ollama.hangs, ollama.memory_bytes = False, None
        for name in (JUDGE, PLANNER):
            self.a_tag_comes_or_goes(name, True)  # what runs without one, no request unloads
        sim.others, sim.unowned, sim.figures, sim.sampling = [], 0, {}, True
        self.a_person_stops_or_starts_it(False)
        self.its_shim_dies_or_begins(True)
        self.it_takes_its_time_or_fails(2.0, 0.6, None)
        release_gpu(sim.home)
        if self.other is not None:
            self.the_other_home_is_done()
        if not self.alive:
            self.the_next_runner_begins()
        for _ in range(CALM_ROUNDS):
            # Tries to load a model again are put off for up to half an hour, four hours in all.
            pauses = sim.state.phase == "free" and not self.waiting
            self.one_round(PAUSE_SECONDS if pauses else SLOW_ROUND_SECONDS)
            if sim.holder is not None:
                sim.end_job()
            if not self.waiting and not sim.manager.busy and sim.state.phase == "free" and self.note.serves:
                break
        assert not self.waiting, sim.state
        assert self.note.serves and not self.note.folder.away.exists(), sim.state
        assert not sim.manager.busy, sim.state
        assert (sim.state.phase, sim.state.evicted) == ("free", ()), sim.state
        assert not sim.home.evicted_models.exists()
        if sim.manager.models._server is not None:
            self.a_job_asks_the_server()

    def a_job_asks_the_server(self) -> None:
        """Whatever has happened before: the server is as it was before the job, also with another runner in the middle."""
        sim, ollama = self.sim, self.sim.ollama
        for one in list(ollama.models.values()):
            one.load_seconds = 0.2
        sim.load(JUDGE, 7200.0, 4096)
        for _ in range(CALM_ROUNDS):  # what a client asked for before is there, and what stays for a moment is gone
            self.one_round(ROUND_SECONDS)
            lasting = all(keep > 60.0 or keep == -1.0 for _, keep in sim.loaded().values() if keep is not None)
            if not ollama.clients_wait and lasting:
                break
        before = {name: context for name, (context, _) in sim.loaded().items()}
        self.somebody_submits_a_job_that_asks_the_server()
        for _ in range(CALM_ROUNDS):
            self.one_round(ROUND_SECONDS)
            if sim.holder is not None:
                break
        sim.load(PLANNER, 1800.0, 16384)
        sim.load(JUDGE, 1800.0, 2048)
        self.time_passes(5)
        self.the_runner_is_killed()
        sim.end_job()
        self.the_next_runner_begins()
        for _ in range(CALM_ROUNDS):
            self.one_round(ROUND_SECONDS)
            if not sim.manager.busy and sim.state.phase == "free":
                break
        after = {name: context for name, (context, _) in sim.loaded().items()}
        assert after == before, (before, after, sim.state)


TestLease = LeaseMachine.TestCase
TestLease.settings = settings(
    max_examples=example_count(25),
    stateful_step_count=60 if SOAK else 30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # Shrinking hours of simulated time takes minutes: the soak takes them.
    phases=tuple(HypothesisPhase)
    if SOAK
    else (HypothesisPhase.explicit, HypothesisPhase.reuse, HypothesisPhase.generate),
    print_blob=True,
)
