"""The home's served models beside the jobs: away before a job that has the GPU (or the CPU's slot) to itself, back after it.

`away.json` in the folder of each is the note: written before its llama-server ends, so that whichever runner lives brings it
back, and its own shim where none does. What the shim does stands in `core.served`; nothing here waits for it.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from core.clock import NEVER, Clock
from core.errors import BakehouseError, NotFoundError
from core.gpu.reading import ProcessReading
from core.gpu_lease.notes import Notes
from core.gpu_lease.state import ResidentModel
from core.home import Home, ServedDir
from core.reasons import Reason
from core.served.away import away_for, call_back, is_gone, send_away
from core.served.record import ServedModelRecord, is_served_folder, read_record
from core.served.state import SHIM_GONE, ServedState, is_running, read_state, written_state

COME_BACK_SECONDS = 600.0
"""How long one that was called back is waited for before it is told that it has not come: its shim tries on by itself."""


class ServedModels:
    """For the runner's thread. `lease` is the lock of the GPU, or of the CPU. `on_gpu`: there is a GPU, and those that compute
    on the CPU leave it alone.

    Everything that writes raises OSError.
    """

    def __init__(self, home: Home, notes: Notes, clock: Clock, *, lease: Path, on_gpu: bool) -> None:
        self.home, self.notes, self.clock, self.lease, self.on_gpu = home, notes, clock, lease, on_gpu
        self.gone_at = NEVER
        """When the last of them was seen to be gone (monotonic): what the GPU held before says nothing about now."""
        self.residents: tuple[ResidentModel, ...] = ()
        """Those that hold memory of the GPU, since the last `tick`."""
        self._folders: list[ServedDir] = []
        self._coming: dict[str, float] = {}
        """Those that were called back, and when."""
        self._sent: dict[str, bool] = {}
        """Those that were sent away here, and whether each was still there at the last look."""
        self._estimates: dict[tuple[Path, int, int], int] = {}
        self._records: dict[str, tuple[tuple[int, int], ServedModelRecord | None]] = {}
        """The records as last read, each with which file that was and when it was written: a round comes five times a
        second."""

    def tick(self, processes: tuple[ProcessReading, ...] = ()) -> None:
        """Look which there are, and what each holds of the GPU: what the driver shows of `processes`, else what it is expected
        to take by its file."""
        try:
            entries = sorted(self.home.served.iterdir())
        except OSError:
            entries = []
        self._folders = [ServedDir(entry) for entry in entries if is_served_folder(entry)]
        here = self.making_way() if self.on_gpu else []
        self.residents = tuple(self._resident(one, processes) for one in here if not is_gone(self.home, name(one)))

    # What is told.

    @property
    def pending(self) -> bool:
        """Whether any is away, or was called back and has not come yet."""
        return bool(self._coming) or any(folder.away.exists() for folder in self._folders)

    @property
    def away(self) -> tuple[str, ...]:
        """The names of those that come back after the job; one that a person stopped does not."""
        return tuple(name(one) for one in self._folders if one.away.exists() and self._comes_back(one))

    @property
    def loaded_bytes(self) -> int:
        return sum(one.size_vram_bytes for one in self.residents)

    def _resident(self, folder: ServedDir, processes: tuple[ProcessReading, ...]) -> ResidentModel:
        shown = sum(one.vram_bytes or 0 for one in processes if one.served == name(folder))
        try:
            record = self._record(folder)
        except NotFoundError:  # removed just now
            record = None
        size = shown or (0 if record is None else self._estimated(record))
        return ResidentModel(name(folder), size, None if record is None else record.context_length)

    # Away.

    def send_away(self, job_id: int) -> tuple[str, ...]:
        """Note that each is away for this job and for no earlier one, and see which are still there: their names.

        Also of one that does not run: started meanwhile, it is away from the beginning.
        """
        self._coming.clear()
        there = []
        for folder in self.making_way():
            noted = away_for(folder)
            with contextlib.suppress(FileNotFoundError):  # removed just now, and so gone
                if job_id not in noted:
                    send_away(self.home, name(folder), job_id, self.lease)
                for earlier in noted:
                    if earlier != job_id:
                        call_back(self.home, name(folder), earlier)
            if is_gone(self.home, name(folder)):
                if self._sent.get(name(folder)):
                    self.gone_at = self.clock.monotonic()
                self._sent[name(folder)] = False
            else:
                self._sent[name(folder)] = True
                there.append(name(folder))
        return tuple(there)

    # Back.

    def bring_back(self) -> Reason | None:
        """Call all of them back, and see who has come: what is waited for, None once there is nothing to wait for.

        One that does not come up is told, and holds up nothing: its shim tries on.
        """
        self._sent.clear()
        for folder in self._folders:
            if folder.away.exists():
                self._call(folder)
        came, waits = [], []
        for served, since in list(self._coming.items()):
            state = read_state(self.home, served)
            why = self._why_not(served, state, self.clock.monotonic() - since)
            if not self.home.served_dir(served).record.exists():
                pass  # removed: nobody waits for it
            elif why is not None:
                self.notes.add(Reason("served_not_back", {**why.values, "model": served, "problem": why.code}), "bad")
            elif state.phase == "serving":
                came.append(served)
            elif state.phase != "stopped":
                waits.append(served)
                continue
            del self._coming[served]
        if came:
            self.notes.add(Reason("served_back", {"models": came}))
        return Reason("starting_served", {"models": waits}) if waits else None

    def _call(self, folder: ServedDir) -> None:
        expected = self._comes_back(folder)
        for job_id in away_for(folder):
            call_back(self.home, name(folder), job_id)
        if expected:
            self._coming[name(folder)] = self.clock.monotonic()

    def _comes_back(self, folder: ServedDir) -> bool:
        """Whether it was sent away while it served, or tried to."""
        written = written_state(folder)
        return not folder.stopped.exists() and (is_running(folder) or (written is not None and written.phase == "away"))

    @staticmethod
    def _why_not(served: str, state: ServedState, seconds: float) -> Reason | None:
        """Why one that was called back does not serve and is waited for no longer; None of any other."""
        why = state.reason or SHIM_GONE
        if state.phase == "failed" or (state.phase == "stopped" and why.code != "by_person"):
            return why
        if seconds > COME_BACK_SECONDS and state.phase != "serving":
            return Reason("served_still_loading", {"seconds": COME_BACK_SECONDS})
        return None

    # Which there are.

    def making_way(self) -> list[ServedDir]:
        """Those that compute where the jobs do: one that has that to itself sends them away. One whose record cannot be read
        may be one of them."""
        found = []
        for folder in self._folders:
            with contextlib.suppress(NotFoundError):  # not deployed yet
                record = self._record(folder)
                if record is None or record.on_gpu or not self.on_gpu:
                    found.append(folder)
        return found

    def _record(self, folder: ServedDir) -> ServedModelRecord | None:
        """None where it cannot be read. NotFoundError where there is none."""
        try:
            there = folder.record.stat()
        except OSError:
            self._records.pop(name(folder), None)
            return self._read(folder)
        stamp = (there.st_ino, there.st_mtime_ns)
        known = self._records.get(name(folder))
        if known is None or known[0] != stamp or known[1] is None:
            known = self._records[name(folder)] = (stamp, self._read(folder))
        return known[1]

    def _read(self, folder: ServedDir) -> ServedModelRecord | None:
        try:
            return read_record(self.home, name(folder))
        except NotFoundError:
            raise
        except BakehouseError:
            return None

    def _estimated(self, record: ServedModelRecord) -> int:
        """What it takes of the GPU by its file, where the driver does not show whose memory is whose; 0 where nobody knows."""
        key = (record.file, record.context_length, record.slots)
        if key not in self._estimates:
            from core.models.gguf import check_servable
            from core.models.gguf_memory import server_memory, shape_of_file

            try:
                shape = shape_of_file(check_servable(record.file, record.name))
                memory = server_memory(shape, record.context_length, record.slots, on_gpu=True)
                self._estimates[key] = memory.device_bytes
            except OSError:
                return 0  # it may be there again at the next look
            except BakehouseError:
                self._estimates[key] = 0
        return self._estimates[key]


def name(folder: ServedDir) -> str:
    return folder.path.name
