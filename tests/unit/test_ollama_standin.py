"""The stand-in of Ollama, held to what real servers answered."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.support.ollama_replay import Replay
from tests.support.ollama_standin import VERSIONS, OllamaStandin, Version

RECORDED = Path(__file__).parents[2].parent / "shared" / "ollama" / "recorded"


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded exchanges (shared/ollama/recorded) are not here")
@pytest.mark.parametrize("version", VERSIONS)
def test_it_answers_as_the_real_servers_did(version: Version) -> None:
    with OllamaStandin(version, token_seconds=0.003) as standin:
        replay = Replay(standin, RECORDED / version)
        replay.run()
    print(f"Ollama {version}: {len(replay.compared)} exchanges compared, {len(replay.later)} left to a later step:")
    for reason, number in sorted(Counter(replay.later.values()).items()):
        print(f"  {number:3} {reason}")
    assert not replay.differences, "\n" + "\n".join(replay.differences)
    assert len(replay.compared) + len(replay.later) == len(list((RECORDED / version).glob("*.json")))
    assert len(replay.compared) >= 182, "less is compared than was"
