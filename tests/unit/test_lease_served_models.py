"""The home's served models and a job that has the GPU to itself: gone before it starts, back after it, whoever dies when."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from core.gpu.reading import ProcessReading
from core.gpu_lease import lock as gpu_lock
from core.gpu_lease.state import read_lease_state
from core.home import Home
from core.reasons import Reason
from core.served.away import away_for, send_away
from core.served.record import ServedModelRecord, read_record, write_record
from tests.support.leasesim import GB, PCI, LeaseSim
from tests.support.played_shim import PlayedShim

pytestmark = pytest.mark.usefixtures("own_leases")


def back(sim: LeaseSim, *shims: PlayedShim) -> None:
    """All serve, and nothing is left to do."""
    sim.until(lambda: all(one.serves for one in shims) and not sim.manager.busy, "all serve again", 300)
    assert not any(one.folder.away.exists() for one in sim.shims)
    assert (sim.state.phase, sim.state.served_away) == ("free", ())


def test_it_is_gone_before_the_job_has_the_gpu_and_back_after_it(sim: LeaseSim) -> None:
    note = sim.serve("note")
    sim.load()
    sim.rounds(5)
    assert [(one.name, one.size_vram_bytes) for one in sim.state.served] == [("note", 2 * GB)]
    sim.wanted = sim.job
    sim.until(lambda: sim.status == "stopping_served", "the status")
    assert note.runs and away_for(note.folder) == [1], "noted before it is gone"
    sim.until_ready()
    assert not note.runs and sim.manager.view.known is not None and sim.manager.view.known.served_bytes == 0
    sim.rounds(3)
    assert (sim.state.phase, sim.state.served_away, sim.state.served) == ("held", ("note",), ())
    told = read_lease_state(sim.home)
    assert told is not None and (told.served_away, told.served) == (("note",), ())
    sim.rounds(60)
    assert note.phase == "away"
    sim.end_job()
    back(sim, note)
    assert (note.starts, note.phases) == (2, ["loading", "serving", "away", "loading", "serving"])
    assert sim.ollama.listed() == ["judge:latest"]
    assert sim.values("served_back") == {"models": ["note"]} and "stopping_served" in sim.notes


def test_a_job_that_asks_a_server_leaves_it_and_has_it_back_before(sim: LeaseSim) -> None:
    note = sim.serve("note")
    sim.asks("judge", number=2)
    sim.until_ready()
    sim.rounds(3)
    sim.end_job()
    sim.wanted = sim.second
    sim.until(lambda: sim.status == "starting_served", "the status", 60)
    sim.until_ready(sim.second)
    assert note.serves, "the job may ask it"
    sim.rounds(20)
    assert note.serves and sim.state.mode == "serving" and sim.state.served_away == ()


def test_one_job_after_the_other_keeps_it_away_for_the_one_that_has_the_gpu(sim: LeaseSim) -> None:
    note = sim.serve("note")
    sim.until_ready()
    sim.rounds(3)
    sim.end_job()
    sim.until_ready(sim.second)
    assert (note.starts, away_for(note.folder)) == (1, [2])
    sim.end_job()
    back(sim, note)
    assert note.starts == 2


def test_one_that_computes_on_the_cpu_stays(sim: LeaseSim) -> None:
    note = sim.serve("note", on_gpu=False)
    sim.until_ready()
    sim.rounds(5)
    assert note.serves and not note.folder.away.exists()


def test_one_that_loads_makes_way_too(sim: LeaseSim) -> None:
    note = sim.serve("note")
    note.loads_seconds = 500.0
    note.die()
    note.begin()
    sim.rounds(1)
    assert note.phase == "loading"
    sim.until_ready()
    assert not note.runs
    sim.end_job()
    note.loads_seconds = 2.0
    back(sim, note)


def test_one_that_a_person_stopped_does_not_come_back(sim: LeaseSim) -> None:
    note, other = sim.serve("note"), sim.serve("other")
    note.folder.stopped.touch()
    sim.rounds(3)
    sim.until_ready()
    other.folder.stopped.touch()
    sim.rounds(3)
    assert sim.state.served_away == ()
    sim.end_job()
    back(sim)
    assert (note.phase, other.phase, note.starts, other.starts) == ("stopped", "stopped", 1, 1)
    assert "served_not_back" not in sim.notes and "served_back" not in sim.notes


def test_one_that_is_started_during_a_job_is_away_from_the_beginning(sim: LeaseSim) -> None:
    """Also one whose folder was not there yet when the job began."""
    note = sim.serve("note")
    note.folder.stopped.touch()
    note.die()
    sim.until_ready()
    note.folder.stopped.unlink()
    note.begin()
    sim.rounds(5)
    assert (note.phase, note.starts, sim.state.served_away) == ("away", 1, ("note",))
    other = sim.serve("other")
    sim.rounds(5)
    assert (other.phase, sim.state.served_away) == ("away", ("note", "other"))
    sim.end_job()
    back(sim, note, other)


def test_one_that_does_not_come_up_is_told_and_blocks_nothing(sim: LeaseSim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.gpu_lease.served_models.COME_BACK_SECONDS", 60.0)
    note, other = sim.serve("note"), sim.serve("other")
    sim.until_ready()
    sim.rounds(3)
    note.fails = Reason("port_taken", {"port": 18080})
    sim.end_job()
    back(sim, other)
    assert sim.values("served_not_back") == {"model": "note", "problem": "port_taken", "port": 18080}
    note.fails = None
    sim.rounds(5)
    assert note.serves, "its shim tries on"
    note.loads_seconds = 1e6
    sim.until_ready(sim.second)
    sim.end_job()
    back(sim, other)
    assert sim.values("served_not_back")["problem"] == "served_still_loading"


def test_one_whose_shim_died_meanwhile_is_told(sim: LeaseSim) -> None:
    note = sim.serve("note")
    sim.until_ready()
    sim.rounds(3)
    note.die()
    sim.end_job()
    back(sim)
    assert sim.values("served_not_back") == {"model": "note", "problem": "shim_gone"}


@pytest.mark.parametrize("why", ["cancelled", "another is in the way"])
def test_it_comes_back_where_the_job_never_starts(sim: LeaseSim, why: str) -> None:
    note = sim.serve("note")
    sim.unowned = 3 * GB if why == "another is in the way" else 0
    sim.rounds(5)
    note.ends_seconds = 5.0
    sim.wanted = sim.job
    if why == "cancelled":
        sim.until(note.folder.away.exists)
    else:
        sim.rounds(60)
        assert sim.manager.why.code == "memory_unowned" and note.serves, "nobody is moved for nothing"
    sim.wanted = None if why == "cancelled" else sim.job
    sim.until(lambda: note.serves and not note.folder.away.exists(), "it serves", 300)
    assert sim.holder is None


def test_it_comes_back_where_clearing_gives_up(sim: LeaseSim) -> None:
    """One that does not go is told, the others come back, and clearing is tried again later."""
    stuck, other = sim.serve("stuck"), sim.serve("other")
    stuck.ends_seconds = 1e6
    sim.wanted = sim.job
    sim.until(lambda: sim.manager.why.code == "served_still_there", "the reason", 200)
    assert sim.manager.why.values["models"] == ["stuck"]
    sim.until(lambda: other.serves and not other.folder.away.exists(), "the other is back", 60)
    stuck.ends_seconds = stuck._until = 0.0
    sim.until_ready()
    assert not stuck.runs and not other.runs, "both make way at the second try"
    sim.end_job()
    back(sim, stuck, other)
    assert (stuck.starts, other.starts) == (2, 3)


@pytest.mark.parametrize("shown", [True, False])
def test_its_memory_is_nobody_elses(sim: LeaseSim, shown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the driver does not show which process holds how much: then what its file is expected to take is its own."""
    monkeypatch.setattr("core.gpu_lease.served_models.ServedModels._estimated", lambda *_: int(1.9 * GB))
    sim.rounds(5)
    sim.attributes = shown
    note = sim.serve("note")
    sim.rounds(120)
    known = sim.manager.view.known
    assert known is not None
    assert known.served_bytes == (2 * GB if shown else int(1.9 * GB)) and known.others == ()
    assert known.unowned_bytes <= 0.1 * GB and sim.state.unowned_bytes is None
    assert [(one.name, one.vram_bytes) for one in known.servers] == [("served note", 2 * GB if shown else 0)]
    sim.until_ready()
    assert not note.runs


def test_it_makes_way_also_where_a_model_server_is_not_managed(own_leases: None, tmp_path) -> None:  # type: ignore[no-untyped-def]
    sim = LeaseSim(tmp_path, server={"managed": False})
    note = sim.serve("note", 10 * GB)
    sim.load()
    sim.rounds(5)
    large = sim.job.__class__(**{**vars(sim.job), "device_memory_bytes": 10 * GB})
    assert sim.manager.no_room_for(large) is None, "what it holds is free for the job"
    sim.until_ready()
    assert not note.runs and sim.ollama.listed() == ["judge:latest"]


def test_one_that_is_removed_while_it_is_away_or_comes_is_forgotten(sim: LeaseSim) -> None:
    note, other = sim.serve("note"), sim.serve("other")
    sim.until_ready()
    sim.rounds(3)
    note.die()
    note.folder.path.rename(sim.home.served / ".removed-1-note")
    other.loads_seconds = 1e6
    sim.end_job()
    sim.until(lambda: other.phase == "loading", "it comes", 60)
    other.die()
    other.folder.path.rename(sim.home.served / ".removed-1-other")
    sim.until(lambda: not sim.manager.busy and sim.state.phase == "free", "nothing is waited for", 60)
    assert "served_not_back" not in sim.notes and "served_back" not in sim.notes


MOMENTS = ["before the note", "after the note", "gone", "held", "job over", "called back", "loading"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_whichever_runner_lives_brings_it_back_exactly_once(sim: LeaseSim, moment: str) -> None:
    note = sim.serve("note")
    note.loads_seconds = 5.0
    sim.rounds(3)
    if moment != "before the note":
        sim.wanted = sim.job
        sim.until(lambda: note.folder.away.exists())
    if moment == "gone":
        sim.until(lambda: not note.runs)
    if moment in MOMENTS[3:]:
        sim.until_ready()
        sim.rounds(2)
    if moment in MOMENTS[4:]:
        sim.end_job()
    if moment in MOMENTS[5:]:
        sim.until(lambda: not note.folder.away.exists())
    if moment == "loading":
        sim.until(lambda: note.phase == "loading")
    sim.kill_runner()
    sim.wanted = None
    sim.next_runner()
    sim.rounds(2)
    if moment == "held":
        assert (sim.state.cause, sim.state.served_away, note.runs) == ("job_found", ("note",), False)
        sim.end_job()
    back(sim, note)
    # Killed just after the note, the next runner takes the note back before or after the shim has seen it.
    assert note.starts == 1 + note.phases.count("away") and (note.starts == 2 or moment in MOMENTS[:2])


def test_a_note_that_cannot_be_read_keeps_nothing_away(sim: LeaseSim) -> None:
    note = sim.serve("note")
    note.folder.away.write_text("{")
    sim.rounds(1)
    back(sim, note)
    assert (note.starts, note.phases) == (1, ["loading", "serving"])


def test_a_home_that_cannot_be_written_hands_over_nothing(sim: LeaseSim, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    note = sim.serve("note")
    sim.rounds(3)
    with monkeypatch.context() as patch:
        patch.setattr("core.gpu_lease.served_models.send_away", full)
        sim.wanted = sim.job
        sim.rounds(30)
        assert note.serves and not sim.manager.ready_for(sim.job)
        assert sim.manager.why.code == "home_not_writable"
    sim.until_ready()
    assert not note.runs


def test_a_record_that_cannot_be_read_makes_way_too(sim: LeaseSim) -> None:
    note = sim.serve("note")
    note.folder.record.write_text(json.dumps({"name": "note"}))
    sim.until_ready()
    assert not note.runs
    sim.end_job()
    back(sim, note)


def test_what_a_job_sent_away_by_itself_comes_back_after_it(sim: LeaseSim) -> None:
    """A bake-off that asks servers and loads models of its own has them away while it does."""
    note = sim.serve("note")
    sim.asks("judge")
    sim.until_ready()
    sim.rounds(2)
    send_away(sim.home, "note", 1)
    sim.rounds(20)
    assert (note.phase, sim.state.served_away) == ("away", ("note",)), "no runner interferes"
    sim.kill_runner()
    sim.next_runner()
    sim.rounds(20)
    assert note.phase == "away"
    sim.end_job()
    back(sim, note)


def test_while_another_home_has_the_gpu_it_stays_away(sim: LeaseSim) -> None:
    """And while it serves, a job of another home waits with a reason that names its process."""
    note = sim.serve("note")
    sim.until_ready()
    sim.rounds(2)
    sim.end_job()
    other = gpu_lock.acquire(sim.manager.lease_path)
    assert other is not None
    sim.rounds(60)
    assert note.phase == "away" and sim.state.served_away == ("note",) and sim.manager.busy
    other.release()
    back(sim, note)


def test_one_of_another_home_is_in_the_way_by_name(sim: LeaseSim) -> None:
    sim.others = [ProcessReading(4712, "llama-server", 6 * GB, pci=PCI)]
    note = sim.serve("note")
    sim.wanted = sim.job
    sim.until(lambda: sim.manager.why.code == "held_by_other_server", "the reason", 300)
    assert sim.manager.why.values["pid"] == 4712
    sim.until(lambda: note.serves and not note.folder.away.exists(), "it serves while the job waits", 60)
    sim.others = []
    sim.until_ready()
    assert not note.runs


def test_after_a_page_fault_nothing_comes_back_onto_the_gpu(sim: LeaseSim) -> None:
    from core.gpu_lease.gpu_fault import GpuFault, release_gpu
    from core.process.identity import current_boot_id

    note = sim.serve("note")
    sim.until_ready()
    sim.rounds(2)
    sim.manager.note_fault(GpuFault("[gfxhub] page fault", sim.clock.time(), current_boot_id(), 1))
    sim.end_job()
    sim.rounds(120)
    assert sim.state.faulted and note.phase == "away" and sim.state.served_away == ("note",)
    release_gpu(sim.home)
    back(sim, note)


def test_a_record_is_read_once_and_again_when_it_is_another(sim: LeaseSim, monkeypatch: pytest.MonkeyPatch) -> None:
    """A round comes five times a second, and a record changes with a deployment."""
    sim.serve("note")
    sim.rounds(1)
    read: list[int] = []

    def counted(home: Home, name: str) -> ServedModelRecord:
        read.append(1)
        return read_record(home, name)

    monkeypatch.setattr("core.gpu_lease.served_models.read_record", counted)
    sim.rounds(5)
    assert read == []
    write_record(sim.home, replace(read_record(sim.home, "note"), context_length=777))
    sim.rounds(5)
    assert (len(read), [one.context_length for one in sim.state.served]) == (1, [777])
