"""The command of a llama-server, as versions take it, and what a served model does where a question leaves it open."""

from __future__ import annotations

from pathlib import Path

from core.config.task import Sampling, Task
from core.models.gguf_memory import WINDOW_STEP
from core.served.command import TRACE_LEVEL, ServerCommand, ServerOptions, served_defaults
from core.served.llama_server import server_environment

OLD = ServerOptions("--model FNAME --port PORT --ctx-size N --temp N --top-k N")
NEW = ServerOptions(
    f"{OLD.help} --no-webui --cache-ram N --offline --min-p N --chat-template-kwargs STRING {TRACE_LEVEL}"
)
TASK = Task(
    name="t", thinking="off", sampling=Sampling(temperature=0.2, top_k=20, context_length=1000, max_new_tokens=64)
)


def command(**more: object) -> ServerCommand:
    return ServerCommand(Path("/llama-server"), Path("/my models/m.gguf"), "t-m-1", 18080, 1000, **more)  # type: ignore[arg-type]


def pairs(words: list[str]) -> dict[str, str | None]:
    """Options with their values."""
    found: dict[str, str | None] = {}
    for word, after in zip(words, [*words[1:], "--"], strict=True):
        if word.startswith("--"):
            found[word] = None if after.startswith("--") else after
    return found


def test_each_slot_has_the_window_that_is_wanted() -> None:
    words = command(slots=3, on_gpu=False).words(OLD)
    assert words[0] == "/llama-server"
    options = pairs(words)
    assert options["--model"] == "/my models/m.gguf" and options["--host"] == "127.0.0.1"
    window = int(options["--ctx-size"] or 0)
    assert window % (3 * WINDOW_STEP) == 0 and 3 * 1000 <= window < 3 * (1000 + WINDOW_STEP)
    assert (options["--n-gpu-layers"], options["--parallel"]) == ("0", "3")


def test_a_version_is_given_no_option_that_it_does_not_have() -> None:
    defaults = served_defaults(TASK, "{% if enable_thinking %}<think>{% endif %}")
    old, new = (pairs(command(defaults=defaults, traces=True).words(version)) for version in (OLD, NEW))
    assert set(new) - set(old) == {
        "--no-webui", "--cache-ram", "--offline", "--min-p", "--chat-template-kwargs", "--log-verbosity",
    }  # fmt: skip
    assert (old["--temp"], old["--top-k"], "--top-p" in old) == ("0.2", "20", False)
    assert "--log-verbosity" not in pairs(command(defaults=defaults).words(NEW))


def test_a_question_that_leaves_it_open_is_answered_as_the_task_samples_and_thinks() -> None:
    thinks = TASK.model_copy(update={"thinking": "on"})
    switch = "{{ enable_thinking }}"
    assert served_defaults(TASK, switch)["--chat-template-kwargs"] == '{"enable_thinking": false}'
    assert served_defaults(thinks, switch)["--chat-template-kwargs"] == '{"enable_thinking": true}'
    plain = served_defaults(TASK, "{{ messages }}")
    assert plain == {"--temp": "0.2", "--top-k": "20", "--min-p": "0.0", "--repeat-penalty": "1.0", "--predict": "64"}
    assert served_defaults(TASK, None) == plain


def test_what_the_environment_would_set_is_no_part_of_it() -> None:
    environ = {
        "PATH": "/bin",
        "LLAMA_ARG_TEMP": "1",
        "LLAMA_API_KEY": "k",
        "LLAMA_LOG_FILE": "/x",
        "LLAMA_CPP_DIR": "/l",
    }
    assert server_environment(environ) == {"PATH": "/bin", "LLAMA_CPP_DIR": "/l"}
