"""Which place an alias lives at."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from core.aliases.ollama_place import OllamaPlace
from core.aliases.places import AliasPlace
from core.aliases.served_place import ServedPlace
from core.config.project import load_project
from core.config.settings import load_settings
from core.errors import BakehouseError
from core.home import Home
from core.jobfile.bakeoff import ServerUnderTest
from core.jobfile.servers import known_servers, ollama_of
from core.store.fleet import Alias


def place_of(home: Home, alias: Alias, project_roots: Sequence[str], in_use: Collection[str]) -> AliasPlace:
    """The place of an alias, not asked anything yet. `project_roots`: whose settings may name its server; `in_use`: see
    `OllamaPlace`. InputError where the key of its server is not set here."""
    if alias.is_served_here:
        return ServedPlace(home)
    return OllamaPlace(ollama_of(server_of_alias(alias, project_roots)), in_use)


def server_of_alias(alias: Alias, project_roots: Sequence[str]) -> ServerUnderTest:
    """The server of an alias as the settings of this person or of one of these projects have it, its key among them; one that
    none of them names any more is asked at the address that is stored."""
    for root in (None, *project_roots):
        try:
            settings = load_settings() if root is None else load_project(Path(root)).settings
            found = known_servers(settings).get(alias.server)
        except (BakehouseError, OSError):
            continue
        if found is not None and found.url == alias.url:
            return found
    return ServerUnderTest(name=alias.server, api="ollama", url=alias.url)
