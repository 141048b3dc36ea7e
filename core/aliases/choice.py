"""Which place an alias lives at."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from core.aliases.observing import all_servers, server_of
from core.aliases.ollama_place import OllamaPlace
from core.aliases.places import AliasPlace
from core.aliases.served_place import ServedPlace
from core.home import Home
from core.jobfile.bakeoff import ServerUnderTest
from core.jobfile.servers import ollama_of
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
    return server_of(alias, all_servers(project_roots))
