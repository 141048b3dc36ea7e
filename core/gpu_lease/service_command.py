"""The person's commands that stop and start the model server, for machines where unloading its models is not enough."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

from core.gpu_lease.evicted_models import EvictedModels
from core.gpu_lease.notes import Level
from core.reasons import Reason
from core.serving.errors import reason_of
from core.serving.modelserver import ModelServer


class ServiceCommand:
    """At most one command is under way. That the service is stopped stands in the file of evicted models."""

    def __init__(
        self, server: ModelServer, evicted: EvictedModels, stop: Sequence[str] | None, start: Sequence[str] | None
    ) -> None:
        self.server, self.evicted = server, evicted
        self._stop, self._start = stop, start
        self._running: Future[None] | None = None

    @property
    def busy(self) -> bool:
        return self._running is not None

    def tick(self) -> tuple[Reason, Level] | None:
        """How the command ended, once, when it has."""
        if self._running is None or not self._running.done():
            return None
        ended, self._running = self._running, None
        error = ended.exception()
        if error is not None:
            return reason_of(error), "bad"
        return Reason("server_stopped" if self.evicted.stopped else "server_started"), "ok"

    def stop(self) -> bool:
        """Have the service stopped where the person wants that; True once there is nothing more to do. Raises OSError."""
        if self.busy:
            return False
        if not self._stop or self.evicted.stopped:
            return True
        # Noted first: should this runner die now, starting a service that runs does no harm.
        self.evicted.note_service(True)
        self._running = self.server.run(self._stop)
        return False

    def start(self) -> None:
        """Have it started again. Also where that fails the models are asked for, and what comes of it is told."""
        if self._start:
            self._running = self.server.run(self._start)
        # Noted afterwards: should this runner die now, the next one starts the service, and twice does no harm.
        self.evicted.note_service(False)
