"""A model of an Ollama, asked with every option that the server has, so that neither a version nor a Modelfile decides."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from core.files import sha256_json
from core.serving import replies
from core.serving.address import ServerAddress, is_here
from core.serving.answer_parts import AnswerParts, schema_of
from core.serving.answering import Capabilities, LoadedModel, Question, Reply, ServedFile, ServedIdentity
from core.serving.errors import ServerError, one_line
from core.serving.ollama import Ollama, keep_alive
from core.serving.ollama_prompts import NEVER_CUTS, file_told, rendered_prompt, version_number
from core.serving.ollama_runners import POLL_SECONDS, is_another, runner_of, sent_away, tag_of
from core.serving.refusals import classified, no_such_model
from core.serving.replies import ModelInfo, Resident, name_key, template_hash

KEEP_ALIVE_SECONDS = 1800.0
"""How long the model stays after each answer: over any pause of a run, and not for ever where the run is killed."""

LOAD_SECONDS = 1800.0
UNLOAD_SECONDS = 60.0
_GONE_FOR_SECONDS = 1.0
_SAME_MOMENT_SECONDS = 5.0

_SCHEMAS = (0, 5, 0)
_SENT = frozenset(
    {
        *("num_ctx", "num_predict", "seed", "temperature", "top_p", "top_k", "repeat_penalty"),
        *("min_p", "typical_p", "repeat_last_n", "presence_penalty", "frequency_penalty"),
    }
)


class OllamaModel:
    """`server` is the name that people know the server by, `url` its address. See `ServedModel` for what each method does.

    `silence_seconds`: how long nothing may come of an answer, a load included; `answer_seconds`: how long one may take.
    """

    def __init__(
        self,
        server: str,
        url: str | ServerAddress | None,
        model: str,
        *,
        key: str | None = None,
        silence_seconds: float = 300.0,
        answer_seconds: float = 3600.0,
    ) -> None:
        self.server, self.model = server, model
        self._ollama = Ollama(url, key=key)
        self._silence_seconds, self._answer_seconds = silence_seconds, answer_seconds
        self._lock = threading.Lock()
        self._info: ModelInfo | None = None
        self._version: str | None = None
        self._blobs: dict[str, str | None] = {}
        self._before: tuple[Resident, float | None] | None = None
        """What ran of these weights before our first load, and how long it would have stayed."""
        self._loaded_as: str | None = None
        """Under which tag the runner is listed that we had loaded; None where it was there before."""
        self._context_length: int | None = None
        """The window that was asked for at the last load."""
        self._asking = 0
        self._last_end: float | None = None
        self._ends_seen = -1
        self._ends = 0
        self._seen: dict[str, float | None] | None = None

    @property
    def name(self) -> str:
        return f"{self.server}:{self.model}"

    def close(self) -> None:
        self._ollama.close()

    def identity(self) -> ServedIdentity:
        version, info = self._look()
        weights = info.blob
        if weights is None:  # a model of the cloud has no file here
            tag = tag_of(self._ollama, self.model)
            weights = f"manifest:{tag.digest}" if tag is not None and tag.digest else None
        added: dict[str, Any] = {
            key: list(values) for key, values in sorted(info.parameters.items()) if key not in _SENT
        }
        return ServedIdentity(
            api="ollama",
            model=self.model,
            server=self.server if info.blob else self._ollama.url,
            version=version,
            weights=weights,
            template=template_hash(info.template),
            parameters={
                **added,
                "system": info.system,
                "capabilities": sorted(info.capabilities),
                "adapters": list(info.adapters),
            },
        )

    def capabilities(self) -> Capabilities:
        version, info = self._known()
        formats = {"json", "schema"} if version_number(version) >= _SCHEMAS else {"json"}
        # Before 0.6.4 a server does not say what a model can do.
        thinking = "thinking" in info.capabilities if info.capabilities else None
        return Capabilities(thinking=thinking, formats=frozenset(formats))

    def load(self, context_length: int) -> LoadedModel:
        self._context_length = context_length
        with self._classifying():
            self._look()
            before = self._resident()
            if before is not None and self._before is None and self._loaded_as is None:
                self._before = before, self._stays(before)
            if before is not None and is_another(before, tag_of(self._ollama, self.model)):
                # Of the same weights: its process, made with its options, from 0.30 on for its template, would answer for ours.
                before = None if self._sent_away() else before
            started = time.monotonic()
            self._ollama.load(
                self.model,
                context_length=context_length,
                keep_alive_seconds=KEEP_ALIVE_SECONDS,
                timeout_seconds=max(LOAD_SECONDS, self._silence_seconds),
            )
            seconds = time.monotonic() - started
            self._note_end()
            after = self._resident()
        # Another window is another load. What is longer than the model was trained with is cut to that.
        same = before is not None and after is not None and before.context_length == after.context_length
        if after is not None and not same:
            self._loaded_as = after.name
        window, vram_bytes = (after.context_length, after.size_vram_bytes) if after else (None, None)
        return LoadedModel(seconds, was_resident=same, vram_bytes=vram_bytes, context_length=window)

    def stamp(self) -> str:
        """Of the version and of the tag's manifest, which is written anew whenever a model is pulled or created."""
        with self._classifying():
            version = self._ollama.version()
            tag = tag_of(self._ollama, self.model)
        return sha256_json([version, None if tag is None else [tag.digest, tag.modified_at]])

    def ask(
        self, question: Question, stopped: Callable[[], bool] = lambda: False, came: Callable[[], None] = lambda: None
    ) -> Reply:
        with self._classifying():
            fields = self._fields(question)
            with self._lock:
                self._asking += 1
            try:
                return self._answer(question, fields, stopped, came)
            finally:
                with self._lock:
                    self._asking -= 1
                self._note_end()

    def render(self, messages: Sequence[tuple[str, str]], *, think: bool) -> str:
        """The prompt of a conversation: see `core.parity.gate.PromptServer`. ServerError: `no_render` where it is not shown."""
        with self._classifying():
            version, info = self._known()
            policy = think if "thinking" in info.capabilities else None
            asked = version, messages, policy, self._context_length, KEEP_ALIVE_SECONDS, self._answer_seconds
            try:
                return rendered_prompt(self._ollama, self.model, *asked)
            finally:
                self._note_end()

    def tokenize(self, text: str) -> tuple[int, ...] | None:
        """None: Ollama does not tell the tokens of a text."""
        return None

    def served_file(self) -> ServedFile:
        return file_told(*self._known())

    def unload(self) -> None:
        """What was in memory before our first load is so again, with its window and for as long as it would have stayed, and
        loaded anew where it is another model of the same weights.

        Else it is asked to go until it has not been listed for a second: a request during a load has no effect. One that
        answers somebody else stays until that answer ends; ServerError (`server_slow`) where that takes long. A runner that
        somebody has had loaded since under another tag of the weights is theirs and stays. So does one whose tag has been
        replaced, which no request reaches.
        """
        with self._classifying():
            if self._before is not None:
                (former, stays), self._before = self._before, None
                resident = self._resident()
                if resident is not None and is_another(resident, former):
                    self._sent_away()
                self._ollama.load(
                    former.name,
                    context_length=former.context_length,
                    keep_alive_seconds=stays,
                    timeout_seconds=max(LOAD_SECONDS, self._silence_seconds),
                )
                self._loaded_as = None
                return
            deadline = time.monotonic() + UNLOAD_SECONDS
            gone_since: float | None = None
            while True:
                resident, now = self._resident(), time.monotonic()
                if resident is None or self._loaded_as not in (None, resident.name):
                    gone_since = now if gone_since is None else gone_since
                    if now - gone_since >= _GONE_FOR_SECONDS:
                        return
                else:
                    gone_since = None
                    self._ollama.unload(resident.name)
                if now > deadline:
                    message = (
                        f"`{one_line(self.model)}` is still in memory {UNLOAD_SECONDS:g} s after it was asked to go"
                    )
                    raise ServerError(message, code="server_slow")
                time.sleep(POLL_SECONDS)

    def others_active(self) -> bool | None:
        """Whether something other than this has asked the server for anything since the last look.

        An answer moves the moment until which its model stays: another model's that moved, or ours that is not where our own
        last request put it, is somebody else's doing. So is a model that has come since. The first look can see only ours.
        """
        with self._classifying():
            residents = self._ollama.ps()
            # Every other second: its whole store is asked for only where two runners may be ours.
            blob = self._blob_of(self.model)
            alike = [one for one in residents if self._blob_of(one.name) == blob]
            mine = alike[0] if len(alike) == 1 else self._ours_among(residents)
        others = {one.name: one.expires_at for one in residents if one is not mine}
        with self._lock:
            former, self._seen = self._seen, {**others, "": mine.expires_at if mine else None}
            asking, last_end, unchanged = self._asking, self._last_end, self._ends == self._ends_seen
            self._ends_seen = self._ends
        if former is not None and any(
            name not in former or _moved(former[name], expires) for name, expires in others.items()
        ):
            return True
        if mine is None or asking or last_end is None:
            return False if former is not None or not others else None
        if unchanged and former is not None:
            return _moved(former[""], mine.expires_at)
        if mine.expires_at is None or not is_here(self._ollama.url):  # another machine has another clock
            return None
        return abs(mine.expires_at - (last_end + KEEP_ALIVE_SECONDS)) > _SAME_MOMENT_SECONDS

    def _answer(
        self, question: Question, fields: Mapping[str, Any], stopped: Callable[[], bool], came: Callable[[], None]
    ) -> Reply:
        messages = [{"role": role, "content": text} for role, text in question.messages]
        parts = AnswerParts(time.monotonic(), came)
        last: dict[str, Any] = {}
        lines = self._ollama.chat_lines(
            self.model,
            messages,
            seconds=self._answer_seconds,
            silence_seconds=self._patience(),
            stopped=stopped,
            fields=fields,
        )
        with contextlib.closing(lines):
            for last in lines:
                message = last.get("message")
                part: Mapping[str, Any] = message if isinstance(message, dict) else {}
                parts.add(part.get("content"), part.get("thinking"))
                if parts.is_full or last.get("done") is True:  # what comes after the end is no part of it
                    break
        seconds = time.monotonic() - parts.started
        told = replies.answer(last, "", "", ())
        finish = one_line(told.finish or "stop")
        if last.get("done") is not True:
            # Ollama ends the answer of a model that only repeats one token without a last line; asked again it would too.
            if not parts.is_full and not parts.repeats_one_token:
                message = f"the answer of `{one_line(self.model)}` broke off without an end"
                raise ServerError(message, code="server_garbled", status=200)
            finish = "length"
        return Reply(
            text=parts.text,
            thinking=parts.thinking,
            finish=finish,
            seconds=seconds,
            first_token_seconds=parts.first_seconds,
            prompt_tokens=told.prompt_tokens,
            completion_tokens=told.completion_tokens,
            load_seconds=told.load_seconds,
            prompt_seconds=told.prompt_seconds,
            completion_seconds=told.completion_seconds,
        )

    def _patience(self) -> float:
        """How long nothing may come of an answer: a server of one slot gives those that are asked for with it before."""
        with self._lock:
            return self._silence_seconds * max(1, self._asking)

    def _fields(self, question: Question) -> dict[str, Any]:
        """The request beside the messages. None of top_p and top_k is "no cut", which is 1 and 0 here."""
        version, info = self._known()
        options = {
            "num_ctx": question.context_length,
            "num_predict": question.max_new_tokens,
            "seed": question.seed,
            "temperature": question.temperature,
            "top_p": 1.0 if question.top_p is None else question.top_p,
            "top_k": question.top_k or 0,
            "repeat_penalty": question.repeat_penalty,
            # What a Modelfile may set and a question does not: as if nobody had set it.
            "repeat_last_n": 64,
            "min_p": 0.0,
            "typical_p": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
        }
        fields: dict[str, Any] = {"options": options, "keep_alive": keep_alive(KEEP_ALIVE_SECONDS)}
        # A model that cannot think refuses to be asked for it, and one that can would think if nothing were said.
        if "thinking" in info.capabilities:
            fields["think"] = question.think
        if version_number(version) >= NEVER_CUTS:
            fields |= {"truncate": False, "shift": False}
        if question.output is not None:
            fields["format"] = self._format(*question.output)
        return fields

    def _format(self, kind: str, text: str) -> Any:
        if kind == "json":
            return "json"
        if kind == "schema":
            return schema_of(text)
        raise ServerError("Ollama takes no grammar", code="option_refused", remedy="use a server of llama.cpp")

    def _look(self) -> tuple[str, ModelInfo]:
        """The server's version and the model, asked anew."""
        with self._classifying():
            version = self._ollama.version()
            try:
                info = self._ollama.show(self.model)
            except ServerError as error:
                if error.status != 404:
                    raise
                raise no_such_model(self.model, self.server, [tag.name for tag in self._ollama.tags()]) from None
        with self._lock:
            self._version, self._info = version, info
            self._blobs = {self.model: info.blob}
        return version, info

    def _known(self) -> tuple[str, ModelInfo]:
        with self._lock:
            version, info = self._version, self._info
        return self._look() if version is None or info is None else (version, info)

    def _resident(self) -> Resident | None:
        """The runner of our weights: it is listed under the tag that loaded it first."""
        return self._ours_among(self._ollama.ps())

    def _ours_among(self, residents: Sequence[Resident]) -> Resident | None:
        return runner_of(self._ollama, self.model, residents, self._blob_of)

    def _sent_away(self) -> bool:
        return sent_away(self._ollama, self.model, self._resident, UNLOAD_SECONDS)

    def _stays(self, resident: Resident) -> float | None:
        """How long it would stay, -1 for ever; None, which is the server's own, where its clock is another machine's."""
        seconds = resident.keep_alive_seconds(time.time())
        return seconds if seconds == -1.0 or is_here(self._ollama.url) else None

    def _blob_of(self, name: str) -> str:
        if name not in self._blobs:
            try:
                self._blobs[name] = self._ollama.show(name).blob
            except ServerError as error:
                if error.status != 404:  # its tag was deleted while it runs
                    raise
                self._blobs[name] = None
        return self._blobs[name] or f"tag:{name_key(name)}"

    def _note_end(self) -> None:
        with self._lock:
            self._last_end = time.time()
            self._ends += 1

    @contextlib.contextmanager
    def _classifying(self) -> Iterator[None]:
        try:
            yield
        except ServerError as error:
            finer = classified(error)
            if finer.code == "model_not_found" and finer.remedy is None:
                with contextlib.suppress(ServerError):
                    finer = no_such_model(self.model, self.server, [tag.name for tag in self._ollama.tags()])
            raise finer from None


def _moved(former: float | None, now: float | None) -> bool:
    """Nothing but a request moves the moment until which a model stays; a first answer moves it all the time it lasts."""
    return former is not None and now is not None and abs(former - now) > 0.001
