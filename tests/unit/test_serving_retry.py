"""When a request that failed is made again, and how the refusals of servers are told apart."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.serving.errors import ServerCode, ServerError, readable_refusal
from core.serving.refusals import classified, no_such_model
from core.serving.retry import RetryPolicy, pause_before_retry

BUSY = ServerError("busy", code="server_busy", status=503)
POLICY = RetryPolicy()


def pauses(error: ServerError, seed: int = 0, policy: RetryPolicy = POLICY) -> list[float]:
    source, found = random.Random(seed), []
    while (pause := pause_before_retry(error, len(found) + 1, source, policy)) is not None:
        found.append(pause)
    return found


def test_pauses_double_to_a_bound_and_end() -> None:
    steady = RetryPolicy(attempts=8, first_seconds=1, longest_seconds=20, jitter=0)
    assert pauses(BUSY, policy=steady) == [1, 2, 4, 8, 16, 20, 20]


@given(st.integers(0, 2**32))
def test_pauses_are_spread_and_told_again_by_their_seed(seed: int) -> None:
    found = pauses(BUSY, seed)
    assert found == pauses(BUSY, seed)
    assert len(found) == POLICY.attempts - 1
    for number, pause in enumerate(found):
        usual = min(POLICY.first_seconds * 2**number, POLICY.longest_seconds)
        assert abs(pause - usual) <= POLICY.jitter * usual


def test_clients_that_failed_together_do_not_come_back_together() -> None:
    assert len({pauses(BUSY, seed)[0] for seed in range(50)}) == 50


def test_what_a_server_asks_for_is_kept_to_within_reason() -> None:
    def asking(seconds: float) -> list[float]:
        return pauses(ServerError("busy", code="server_busy", status=429, retry_after_seconds=seconds))

    assert all(pause >= 40 for pause in asking(40))
    assert asking(0) == pauses(BUSY)
    assert asking(POLICY.patience_seconds + 1) == [], "an hour is not waited for"


@pytest.mark.parametrize(
    ("code", "transient"),
    {
        "server_down": True,
        "server_slow": True,
        "server_garbled": True,
        "server_busy": True,
        "server_out_of_memory": False,
        "context_overflow": False,
        "model_not_found": False,
        "option_refused": False,
        "request_stopped": False,
    }.items(),
)
def test_only_what_may_pass_is_asked_again(code: ServerCode, transient: bool) -> None:
    error = ServerError("no", code=code)
    assert error.is_transient is transient
    assert bool(pauses(error)) is transient


@pytest.mark.parametrize(
    ("status", "transient"),
    [(None, True), (200, True), (408, True), (429, True), (500, True), (502, True), (503, True), (504, True),
     (400, False), (401, False), (403, False), (404, False), (405, False), (413, False), (422, False), (501, False)],
)  # fmt: skip
def test_a_refusal_passes_by_its_status(status: int | None, transient: bool) -> None:
    assert ServerError("no", code="server_refused", status=status).is_transient is transient


@pytest.mark.parametrize(
    ("status", "said", "code"),
    [
        (500, "model requires more system memory (86.0 GiB) than is available (22.4 GiB)", "server_out_of_memory"),
        (500, "cudaMalloc failed: out of memory", "server_out_of_memory"),
        (500, "llama-server reported out-of-memory during startup: vk::ErrorOutOfDeviceMemory", "server_out_of_memory"),
        (200, "an error was encountered while running the model: ROCm error: hipMalloc failed", "server_out_of_memory"),
        (503, "Loading model", "server_busy"),
        (503, "server busy, please try again.  maximum pending requests exceeded", "server_busy"),
        (429, "Rate limit reached for requests", "server_busy"),
        (529, "Overloaded", "server_busy"),
        (400, "This model's maximum context length is 4096 tokens. However, you requested 5000", "context_overflow"),
        (400, "the prompt is longer than the context length currently available to the model", "context_overflow"),
        (400, "the input length exceeds the context length", "context_overflow"),
        (404, "The model `gpt-9` does not exist or you do not have access to it.", "model_not_found"),
        (404, "model 'nobody' not found", "model_not_found"),
        (404, "page not found", "server_refused"),
        (500, 'invalid format: "xml"; expected "json" or a valid JSON Schema object', "option_refused"),
        (400, "temperature: 3 is above the maximum", "server_refused"),
        (500, "it broke", "server_refused"),
        (401, "no such model", "server_refused"),
    ],
)
def test_refusals_are_told_apart(status: int, said: str, code: str) -> None:
    told = classified(ServerError(said, code="server_refused", status=status, said=said), options={"seed"})
    assert (told.code, told.status, told.said, told.message) == (code, status, said, said)


def test_an_option_is_named_as_a_word_and_only_where_it_was_sent() -> None:
    def refused(said: str, *options: str) -> str | None:
        found = classified(ServerError(said, code="server_refused", status=400, said=said), options=options)
        return str(found.reason.values.get("option")) if found.code == "option_refused" else None

    assert refused("Unknown parameter: 'top_k'.", "top_k", "top_p") == "top_k"
    assert refused("Unknown parameter: 'top_k'.", "top_p") is None
    assert refused("seeds are not supported", "seed") is None
    assert refused("Unsupported value: max_tokens", "tokens", "max_tokens") == "max_tokens"


def test_names_that_are_there_are_told_as_far_as_they_help() -> None:
    error = no_such_model("x\x1b[2J", "box", [f"m{number}" for number in range(50)])
    assert str(error).isprintable()
    assert "m19 and 30 more" in str(error)
    assert "m20" not in str(error)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": "a"}}, "a"),
        ({"message": "b", "object": "error"}, "b"),
        ({"detail": "c"}, "c"),
        ({"detail": [{"loc": ["body", 3], "msg": "d"}, "x"]}, "body.3: d"),
        ({"detail": [{}]}, ": None"),
        ({"detail": {"x": 1}}, None),
        ([], None),
        ({"error": None, "message": "\x1b[2Je"}, "e"),
    ],
)
def test_what_a_server_says_is_found_wherever_it_stands(body: object, said: str | None) -> None:
    assert readable_refusal(body) == said
