"""A model of a server with OpenAI's API, asked with every option that this kind of server is known to take."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from core.files import sha256_json
from core.serving.address import ServerAddress
from core.serving.answer_parts import AnswerParts, schema_of
from core.serving.answering import Capabilities, LoadedModel, Question, Reply, ServedFile, ServedIdentity
from core.serving.errors import ServerError, one_line
from core.serving.openai import (
    DetectedServer,
    Dialect,
    ListedModel,
    OpenAIClient,
    garbled,
    other_model,
)
from core.serving.openai_stream import StreamFigures, count_in, follow, part_of, seconds_in
from core.serving.refusals import classified, no_render, no_such_model

LOAD_SECONDS = 1800.0
_POLL_SECONDS = 0.2

# What each kind of server takes beside seed, temperature, top_p and max_tokens, by the field of a question.
_MORE: Mapping[Dialect, Mapping[str, str]] = {
    "llama-server": {"top_k": "top_k", "repeat_penalty": "repeat_penalty"},
    "vllm": {"top_k": "top_k", "repeat_penalty": "repetition_penalty"},
    "lm-studio": {"top_k": "top_k", "repeat_penalty": "repeat_penalty"},
    "lemonade": {"top_k": "top_k", "repeat_penalty": "repeat_penalty"},
    "openai": {},
}
_FORMATS: Mapping[Dialect, frozenset[str]] = {
    "llama-server": frozenset({"json", "schema", "grammar"}),
    "vllm": frozenset({"json", "schema", "grammar"}),
    "lm-studio": frozenset({"schema"}),
    "lemonade": frozenset(),
    "openai": frozenset({"json", "schema"}),
}
# As if nobody had set them: llama-server has defaults of its own (min_p 0.05), and flags that set others.
_LLAMA_NEUTRAL: Mapping[str, Any] = {
    "min_p": 0.0,
    "typical_p": 1.0,
    "top_n_sigma": -1.0,
    "repeat_last_n": 64,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "dry_multiplier": 0.0,
    "xtc_probability": 0.0,
    "dynatemp_range": 0.0,
    "mirostat": 0,
}
_VLLM_NEUTRAL: Mapping[str, Any] = {"min_p": 0.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}

# By which OpenRouter, vLLM and DeepSeek end an answer that they could not give to its end.
_BROKEN_ENDS = frozenset({"error", "abort", "insufficient_system_resource"})


class OpenAIModel:
    """`server` is the name that people know the server by. See `ServedModel` for what each method does.

    `weights` is the digest of what the server was started with, where the caller knows it: no such server tells one. `omit`
    are options that it refuses and that are not sent. `host_bytes` tells the resident size of its process, where that is known.
    """

    def __init__(
        self,
        server: str,
        address: ServerAddress,
        model: str,
        *,
        key: str | None = None,
        weights: str | None = None,
        omit: Collection[str] = (),
        silence_seconds: float = 300.0,
        answer_seconds: float = 3600.0,
        host_bytes: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.server, self.model = server, model
        self._client = OpenAIClient(address, key=key)
        self._weights, self._omit, self._host_bytes = weights, frozenset(omit), host_bytes
        self._silence_seconds, self._answer_seconds = silence_seconds, answer_seconds
        self._lock = threading.Lock()
        self._detected: DetectedServer | None = None
        self._length_option = "max_tokens"
        self._asking = 0

    @property
    def name(self) -> str:
        return f"{self.server}:{self.model}"

    def close(self) -> None:
        self._client.close()

    def identity(self) -> ServedIdentity:
        with _classifying():
            detected = self._detect()
            listed = self._listed_model()
        template = detected.props.get("chat_template")
        # Known weights are the same wherever they are served; else the place and the file's name are all there is.
        known = self._weights is not None
        parameters: dict[str, Any] = dict(listed.meta)
        if detected.dialect not in ("llama-server", "openai"):
            parameters["server"] = detected.dialect
        for key in ("model_ftype",) if known else ("model_ftype", "model_path"):
            if isinstance(value := detected.props.get(key), str):
                parameters[key] = value
        return ServedIdentity(
            api="llama-server" if detected.dialect == "llama-server" else "openai",
            model=self.model,
            server=self.server if known else self._client.url,
            version=detected.version,
            weights=self._weights,
            template=_sha256(template) if isinstance(template, str) else None,
            parameters=parameters,
        )

    def capabilities(self) -> Capabilities:
        detected = self._known()
        more = {"top_k", "repeat_penalty"} - set(_MORE[detected.dialect])
        omitted = {field for field, option in self._names(detected.dialect).items() if option in self._omit}
        return Capabilities(
            thinking=_thinks(detected),
            formats=_FORMATS[detected.dialect],
            seed="seed" not in self._omit,
            unsent=frozenset(more | omitted),
        )

    def load(self, context_length: int) -> LoadedModel:
        """Wait until the server has loaded; none but its own start decides what and with which window.

        ServerError (`context_overflow`) where the window is shorter than that.
        """
        started = time.monotonic()
        with _classifying():
            detected, was_there = self._when_loaded(started)
            listed = self._listed_model()
        window = listed.context_length
        settings = detected.props.get("default_generation_settings")
        if isinstance(settings, dict) and isinstance(slot := settings.get("n_ctx"), int):
            window = slot  # that of one slot
        if window is not None and window < context_length:
            raise ServerError(
                f"{one_line(self.name)} has a window of {window} tokens, {context_length} are wanted",
                code="context_overflow",
                remedy="start the server with a longer one",
            )
        took = time.monotonic() - started
        return LoadedModel(took, was_resident=was_there, host_bytes=self._host_bytes())

    def stamp(self) -> str:
        with _classifying():
            # Only where the kind of server tells more than its list of models: each request may be one over the sea.
            detected = self._detect() if self._known().dialect in ("llama-server", "vllm") else self._known()
            listed = self._listed_model()
        told = {key: detected.props.get(key) for key in ("chat_template", "model_path", "model_ftype")}
        return sha256_json([detected.version, dict(listed.meta), told])

    def ask(
        self, question: Question, stopped: Callable[[], bool] = lambda: False, came: Callable[[], None] = lambda: None
    ) -> Reply:
        request = self._request(question)
        with self._lock:
            self._asking += 1
        try:
            with _classifying(request):
                return self._answer(request, stopped, came)
        except ServerError as error:
            renamed = self._renamed(error, request)
            if renamed is None:
                raise
            with _classifying(renamed):
                return self._answer(renamed, stopped, came)
        finally:
            with self._lock:
                self._asking -= 1

    def render(self, messages: Sequence[tuple[str, str]], *, think: bool) -> str:
        """llama-server's own render of a conversation: see `core.parity.gate.PromptServer`.

        ServerError (`no_render`) of any other server.
        """
        with _classifying():
            if (dialect := self._known().dialect) != "llama-server":
                raise no_render(self.name, f"a server of kind {dialect} does not show them")
            return self._client.render(messages, think=think)

    def tokenize(self, text: str) -> tuple[int, ...]:
        """llama-server's own tokens of a prompt."""
        with _classifying():
            return self._client.tokenize(text)

    def served_file(self) -> ServedFile:
        """A llama-server tells the template alone."""
        template = self._known().props.get("chat_template")
        return ServedFile(keys=None, template=template if isinstance(template, str) else "")

    def unload(self) -> None:
        """Nothing: what such a server has in memory is decided where it was started."""

    def others_active(self) -> bool | None:
        """llama-server tells how many answers it gives; more than ours are somebody else's. Others do not tell."""
        if self._known().dialect != "llama-server":
            return None
        busy = self._client.busy_slots()
        with self._lock:
            return None if busy is None else busy > self._asking

    def _answer(self, request: Mapping[str, Any], stopped: Callable[[], bool], came: Callable[[], None]) -> Reply:
        parts, course = AnswerParts(time.monotonic(), came), StreamFigures()
        lines = self._client.chat_lines(
            request, seconds=self._answer_seconds, silence_seconds=self._patience(), stopped=stopped
        )
        with contextlib.closing(lines):
            for body in lines:
                follow(body, parts, course)
                if parts.is_full:
                    course.finish = "length"
                    break
        seconds = time.monotonic() - parts.started
        if course.finish is None:
            if not course.pieces:
                raise garbled("completions")
            message = f"the answer of `{one_line(self.model)}` broke off without an end"
            raise ServerError(message, code="server_garbled", status=200)
        if course.finish in _BROKEN_ENDS:
            message = f"the answer of `{one_line(self.model)}` ended with `{course.finish}`"
            raise ServerError(message, code="server_garbled", status=200)
        usage, timings = course.usage, course.timings
        return Reply(
            text=parts.text,
            thinking=parts.thinking,
            finish=course.finish,
            seconds=seconds,
            first_token_seconds=parts.first_seconds,
            prompt_tokens=count_in(usage, "prompt_tokens"),
            cached_tokens=count_in(part_of(usage, "prompt_tokens_details"), "cached_tokens"),
            completion_tokens=count_in(usage, "completion_tokens"),
            thinking_tokens=count_in(part_of(usage, "completion_tokens_details"), "reasoning_tokens"),
            prompt_seconds=seconds_in(timings, "prompt_ms"),
            completion_seconds=seconds_in(timings, "predicted_ms"),
            other_model=other_model(self.model, course.model),
        )

    def _patience(self) -> float:
        """How long nothing may come of an answer: a server of one slot gives those that are asked for with it before."""
        with self._lock:
            return self._silence_seconds * max(1, self._asking)

    def _request(self, question: Question) -> dict[str, Any]:
        """None of top_p and top_k is "no cut": 1, and 0 or -1."""
        dialect = self._known().dialect
        top_k = question.top_k or (-1 if dialect == "vllm" else 0)
        values = {
            "seed": question.seed,
            "temperature": question.temperature,
            "top_p": 1.0 if question.top_p is None else question.top_p,
            "max_new_tokens": question.max_new_tokens,
            "top_k": top_k,
            "repeat_penalty": question.repeat_penalty,
        }
        request: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": role, "content": text} for role, text in question.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        request |= {option: values[field] for field, option in self._names(dialect).items()}
        if dialect == "llama-server":
            request |= {**_LLAMA_NEUTRAL, "cache_prompt": True, "reasoning_format": "deepseek"}
        elif dialect == "vllm":
            request |= _VLLM_NEUTRAL
        if dialect in ("llama-server", "vllm"):
            request["chat_template_kwargs"] = {"enable_thinking": question.think}
        if question.output is not None:
            request |= self._output_format(dialect, *question.output)
        return {key: value for key, value in request.items() if key not in self._omit}

    def _names(self, dialect: Dialect) -> dict[str, str]:
        """The server's word for each field of a question that it takes."""
        usual = {"seed": "seed", "temperature": "temperature", "top_p": "top_p", "max_new_tokens": self._length_option}
        return usual | dict(_MORE[dialect])

    def _output_format(self, dialect: Dialect, kind: str, text: str) -> dict[str, Any]:
        if kind not in _FORMATS[dialect]:
            raise ServerError(f"{one_line(self.server)} holds no answer to a {kind}", code="option_refused")
        if kind == "json":
            return {"response_format": {"type": "json_object"}}
        if kind == "grammar":
            return {"grammar": text} if dialect == "llama-server" else {"structured_outputs": {"grammar": text}}
        schema = schema_of(text)
        if dialect == "vllm":
            return {"structured_outputs": {"json": schema}}
        return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}}

    def _renamed(self, error: ServerError, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """The request with the newer name of its length limit, for a server that takes only that one."""
        if "max_completion_tokens" not in error.said or "max_tokens" not in request:
            return None
        self._length_option = "max_completion_tokens"
        return {("max_completion_tokens" if key == "max_tokens" else key): value for key, value in request.items()}

    def _detect(self) -> DetectedServer:
        detected = self._client.detect()
        with self._lock:
            self._detected = detected
        return detected

    def _known(self) -> DetectedServer:
        with self._lock:
            detected = self._detected
        if detected is None:
            with _classifying():
                detected = self._detect()
        return detected

    def _when_loaded(self, started: float) -> tuple[DetectedServer, bool]:
        """The server once it answers with something else than "loading", and whether it did so at once."""
        was_there = True
        while True:
            try:
                detected = self._detect()
                if detected.dialect == "llama-server":
                    self._client.health()
                return detected, was_there
            except ServerError as error:
                if error.status != 503 or time.monotonic() - started > LOAD_SECONDS:
                    raise
            was_there = False
            time.sleep(_POLL_SECONDS)

    def _listed_model(self) -> ListedModel:
        models = self._client.models()
        for one in models:
            if one.name == self.model:
                return one
        raise no_such_model(self.model, self.server, [one.name for one in models])


def _thinks(detected: DetectedServer) -> bool | None:
    """Whether the template knows `enable_thinking`; None where no template is told."""
    template = detected.props.get("chat_template")
    return "enable_thinking" in template if isinstance(template, str) else None


@contextlib.contextmanager
def _classifying(request: Mapping[str, Any] | None = None) -> Iterator[None]:
    options = set(request or {}) - {"model", "messages", "stream"}
    try:
        yield
    except ServerError as error:
        raise classified(error, options=options) from None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
