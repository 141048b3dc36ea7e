"""Candidates that a server answers for: one load a model, over all tasks and all ways in which it is asked.

What a server does wrong for a moment is asked for again; what stays wrong leaves a hole in the result. A server that died is
loaded again, and its answers so far stay. Each answer is keyed by what gave it: weights, template, parameters and version.
"""

from __future__ import annotations

import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from core.bakeoff.measured import MeasuredCandidate, append_measured
from core.config.golden import GoldenInput
from core.format import data_size
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec
from core.scoring.answers import Answer
from core.scoring.questions import AskedTask, asked_task, cells, prompt_hash, question, served_key
from core.serving.answering import Capabilities, ServedIdentity, ServedModel
from core.serving.errors import ServerError
from jobs.bakeoff.asking import Asking, WantedReply
from jobs.bakeoff.in_flight import SameModel
from jobs.bakeoff.record import AnswerRecord, Tally
from jobs.context import JobContext
from jobs.patience import patiently

MOST_ROUNDS = 5
"""How often a model may turn out to be another one half-way, before it is asked no more."""
WARM_UP_TOKENS = 4
"""Of the answer that is thrown away before any is timed."""

T = TypeVar("T")


@dataclass
class ServedGroup:
    """One served model and the candidates that it is: the ways in which it is asked.

    `window` is one for all of them, the largest that any task wants: with another one the server would load it anew.
    """

    context: JobContext
    spec: BakeoffSpec
    model: ServedModel
    asked: Mapping[str, Sequence[AskedTask]]
    candidates: Sequence[CandidateSpec]
    record: AnswerRecord
    tally: Tally
    before_load: Callable[[], None]
    random: random.Random = field(default_factory=lambda: random.Random(0))

    @property
    def window(self) -> int:
        return max(task.sampling.context_length for tasks in self.asked.values() for task in tasks)

    def patiently(self, call: Callable[[], T]) -> T:
        """The result of a call, made again after what a server does wrong for a moment. Raises ServerError."""
        return patiently(self.context, self.model.name, call, self.random)


def answer_served(
    context: JobContext,
    spec: BakeoffSpec,
    candidates: Sequence[CandidateSpec],
    model: ServedModel,
    inputs: Mapping[str, tuple[GoldenInput, ...]],
    record: AnswerRecord,
    tally: Tally,
    before_load: Callable[[], None] = lambda: None,
) -> None:
    """All missing answers of the candidates that are this model. Raises ServerError where the server does not serve it.

    A model that turns out to be another one half-way (the server was updated, its tag replaced) is asked again for what the
    former one answered: no result is of two models. Should it change back, the former one's answers count again. What came
    about the moment of a change, and may be of either, is asked for again. `before_load` is called before the model is loaded,
    if it has to be asked.
    """
    asked = {one.name: [asked_task(task, inputs[task.name], one) for task in spec.tasks] for one in candidates}
    group = ServedGroup(context, spec, model, asked, candidates, record, tally, before_load, random.Random(spec.seed))
    context.phase("asking the server", model.name)
    identity = group.patiently(model.identity)
    for number in range(MOST_ROUNDS):
        if _round(group, identity, first=number == 0):
            return
        now = group.patiently(model.identity)
        if now.sha256 == identity.sha256:
            context.say(f"{model.name} was replaced while it was asked, and is what it was before")
            continue
        changed = ", ".join(now.changed_from(identity))
        context.warn(
            "model_changed", f"{model.name} changed while it was asked ({changed}): its answers are asked for again"
        )
        identity = now
    message = f"{model.name} keeps changing while it is asked: it is asked no more"
    raise ServerError(message, code="server_refused", remedy="see who replaces it or restarts its server, and retry")


def _round(group: ServedGroup, identity: ServedIdentity, *, first: bool) -> bool:
    """Ask for what this very model has not answered yet; False where it turned out to be another one meanwhile."""
    context, model = group.context, group.model
    for candidate in group.candidates:
        group.record.begin_with(candidate.name, identity.sha256)
    missing = {one.name: list(_missing(group, one, identity)) for one in group.candidates}
    every = [wanted for of_one in missing.values() for wanted in of_one]
    whole = sum(len(task.inputs) * task.repeats for tasks in group.asked.values() for task in tasks)
    held = whole - len(every)
    open_ = Counter((wanted.candidate.name, wanted.asked.name) for wanted in every)
    for name, tasks in group.asked.items():
        for task in tasks:
            if first:
                group.tally.held(name, task.name, len(task.inputs) * task.repeats - open_[name, task.name])
            else:
                group.tally.reopen(name, task.name, open_[name, task.name])
    if held:
        group.tally.tell(model.name)
        context.say(f"{model.name}: {held} answers are there already, or not wanted any more")
    if not every:
        return True
    capabilities = group.patiently(model.capabilities)
    for candidate in group.candidates:
        _check(group, candidate, capabilities)
    context.phase("loading the model", model.name)
    group.before_load()
    _load(group, identity, capabilities)
    _warm_up(group, every[0])
    same = SameModel(model, group.patiently(model.stamp))
    if group.patiently(model.identity).sha256 != identity.sha256:
        return False

    def revive() -> None:
        try:
            _load(group, identity, capabilities)
        except ServerError as error:
            context.say(f"{model.name}: not loaded again: {error.message}")

    asking = Asking(model, group.spec.concurrency, revive, context.say, same, group.spec.seed)
    unsure: deque[tuple[float, Answer]] = deque()
    try:
        for candidate in group.candidates:
            if missing[candidate.name] and not same.changed:
                context.phase("answering", candidate.name)
                _ask(group, candidate, missing[candidate.name], asking, unsure)
        same.look(at_once=True)
    finally:
        if same.changed:
            _withdraw(group, unsure, same.sure_until)
    if same.changed:
        return False
    # What was in memory before stays there for whoever had it loaded; else the next model finds room.
    try:
        group.patiently(model.unload)
    except ServerError as error:
        # Its answers are all there.
        context.warn("not_unloaded", f"{model.name} may still be in memory: {error.message}")
    return True


def _withdraw(group: ServedGroup, unsure: Iterable[tuple[float, Answer]], sure_until: float) -> None:
    """Take back what came since the model was last seen to be the one that was asked."""
    for came_at, answer in unsure:
        if came_at > sure_until and answer.fault != "server":
            group.record.withdraw(answer, "the model was replaced while it was asked")


def _missing(group: ServedGroup, candidate: CandidateSpec, identity: ServedIdentity) -> Iterator[WantedReply]:
    for asked in group.asked[candidate.name]:
        for cell in cells(asked, group.spec.seed):
            sent = question(asked, cell, group.window)
            key = served_key(asked, cell, sent, identity.sha256)
            has = group.record.has(candidate.name, key)
            if not has and not group.record.is_hopeless(candidate.name, asked.name):
                yield WantedReply(key, candidate, asked, cell, sent, prompt_hash(sent), identity.sha256)


def _check(group: ServedGroup, candidate: CandidateSpec, capabilities: Capabilities) -> None:
    """Tell what the server does not do as the task says, and refuse what would make another candidate of it."""
    context, name = group.context, candidate.name
    output = candidate.variant.output
    if output is not None and output.kind not in capabilities.formats:
        raise ServerError(f"{name}: {group.model.name} cannot hold an answer to a {output.kind}", code="server_refused")
    thinks = any(asked.thinking == "on" for asked in group.asked[name])
    if thinks and capabilities.thinking is False:
        context.warn("no_thinking", f"{name} is asked to think, which the model does not do")
    if capabilities.unsent:
        names = ", ".join(sorted(capabilities.unsent))
        context.warn("unsent_options", f"{group.model.name} decides by itself on {names}: it has no such option")


def _load(group: ServedGroup, identity: ServedIdentity, capabilities: Capabilities) -> None:
    """Have the model in memory, noted with what that took."""
    loaded = group.patiently(lambda: group.model.load(group.window))
    group.tally.loaded(group.candidates[0].name, loaded.seconds)
    for candidate in group.candidates:
        measured = MeasuredCandidate(
            candidate=candidate.name,
            attempt=group.context.attempt.number,
            time=time.time(),
            identity=identity,
            loaded=loaded,
            capabilities=capabilities,
        )
        append_measured(group.context.run.candidates, measured)
    if loaded.context_length is not None and loaded.context_length < group.window:
        # Of the model's own length: such a server cuts to it without a word.
        group.context.warn(
            "shorter_window",
            f"{group.model.name} has a window of {loaded.context_length} tokens, {group.window} are wanted: what is longer is "
            "refused, and cut by versions of Ollama before 0.12.6",
        )
    memory = "" if loaded.vram_bytes is None else f", {data_size(loaded.vram_bytes)} of GPU memory"
    memory += "" if loaded.host_bytes is None else f", {data_size(loaded.host_bytes)} of host memory"
    group.context.say(f"{group.model.name}: loaded in {loaded.seconds:.1f} s, context {group.window}{memory}")


def _warm_up(group: ServedGroup, wanted: WantedReply) -> None:
    """A few tokens of an answer, thrown away: kernels are chosen and caches filled by it."""
    least = min(WARM_UP_TOKENS, wanted.question.max_new_tokens)
    try:
        short = replace(wanted.question, max_new_tokens=least, output=None)
        group.model.ask(short, lambda: group.context.stop_reason() is not None)
    except ServerError as error:
        group.context.say(f"{group.model.name}: the warm-up failed: {error.message}")


def _ask(
    group: ServedGroup,
    candidate: CandidateSpec,
    wanted: Sequence[WantedReply],
    asking: Asking,
    unsure: deque[tuple[float, Answer]],
) -> None:
    """Have the answers of a candidate and write each down as it comes. `unsure` are those of which it is not certain yet that
    this model gave them, each with the time (monotonic) by which it had come.
    """
    context, tally = group.context, group.tally
    began, tokens, number, holes = time.monotonic(), 0, 0, 0
    limit = max(one.question.max_new_tokens for one in wanted)
    tally.answering(candidate.name, wanted[0].asked.name, len(wanted), limit=limit)

    def at_look() -> None:
        context.check_stop()
        coming = asking.tokens_under_way
        tally.coming(coming)
        so_far = tokens + sum(coming)
        tally.sign_of_life(candidate.name, so_far / (time.monotonic() - began) if so_far else None)

    skipped = 0

    def is_wanted(one: WantedReply) -> bool:
        nonlocal skipped
        if not group.record.is_hopeless(candidate.name, one.asked.name):
            return True
        skipped += 1
        tally.skip(candidate.name, one.asked.name)
        return False

    for arrived in asking.answers(wanted, at_look, is_wanted):
        answer = arrived.answer
        group.record.add(answer)
        while unsure and unsure[0][0] <= asking.same.sure_until:
            unsure.popleft()
        unsure.append((arrived.at, answer))
        number += 1
        tokens += arrived.tokens
        tally.add(answer, arrived.tokens)
        if arrived.other_model is not None:
            context.warn("other_model", f"{group.model.name}: the server says that `{arrived.other_model}` answered")
        said = f"{answer.completion_tokens} tokens" + (f", {answer.fault}" if answer.fault else "")
        if answer.fault == "server":
            holes += 1
            said = f"missing: {answer.problem}"
        place = f"{answer.task} {answer.input_id} #{answer.repeat}"
        context.say(f"{candidate.name} {number}/{len(wanted)} {place}: {said}")
    if skipped:
        context.say(
            f"{candidate.name}: {skipped} answers are not asked for: it cannot reach {group.spec.against} any more"
        )
    if asking.same.changed:
        return
    holes += len(wanted) - number - skipped
    if holes:
        context.warn(
            "holes", f"{candidate.name}: {holes} of {len(wanted)} answers are missing, which the server did not give"
        )
    context.say(f"{candidate.name}: {number} answers, {tokens} tokens, {tokens / (time.monotonic() - began):.0f} tok/s")
    if number < len(wanted) - skipped and asking.last_refusal is not None and asking.last_refusal.code == "server_down":
        # It is gone for all candidates that it answers for: none of them is asked in vain.
        raise asking.last_refusal
