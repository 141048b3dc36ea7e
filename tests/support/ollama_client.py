"""A client of the Ollama stand-in beside the one that is tested: it has asked for an answer, and reads it to its end."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Mapping
from typing import Any

from tests.support.waiting import PATIENCE_SECONDS


class Client(threading.Thread):
    """Somebody else who has asked the server for an answer. `begun` is set with its first word."""

    def __init__(self, port: int, body: Mapping[str, Any], enough: threading.Event | None) -> None:
        super().__init__(name="ollama-standin-client", daemon=True)
        self.port, self.body, self.enough = port, body, enough
        self.begun = threading.Event()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10 * PATIENCE_SECONDS)
        try:
            connection.request("POST", "/api/generate", json.dumps(self.body))
            response = connection.getresponse()
            response.readline()
            self.begun.set()
            response.read()
        except (OSError, http.client.HTTPException):
            pass  # the server went away: the other client's loss
        finally:
            self.begun.set()
            connection.close()

    def end(self) -> None:
        """An answer without a length of its own ends with the word that is on its way."""
        if self.enough is not None:
            self.enough.set()
