"""The Go TEMPLATEs of the families, which of them a model is given, and which template then runs.

The stand-in for Go is held to recordings in `test_go_template.py`; here it holds the templates that Bakehouse writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.shipped import shipped_root
from core.data.examples import Message
from core.data.training_marks import has_training_marks, without_training_marks
from core.data.turns import Role
from core.errors import InputError
from core.reasons import Reason
from core.serving.ollama_prompts import version_number
from core.shipping.choice import APART, RUNS_JINJA, choose, jinja_runs, ran
from core.shipping.families import CONVERSATIONS, THINKS, Family, recognise
from core.shipping.go_text import go_text
from core.shipping.installed import InstalledTemplate
from core.shipping.jinja import JinjaTemplate
from tests.support.chat_templates import (
    ALWAYS_THINKS,
    DROPS_SYSTEM,
    ENDLESS,
    ENDS_LAST_OTHERWISE,
    FORGETS_THOUGHTS,
    LIST_ONLY,
    LOWERED,
    MOVES_SYSTEM,
    PLAIN_WORDS,
    REFUSES_SYSTEM,
    SOUND,
    TRIMMED,
    trl_templates,
)
from tests.support.go_template import execute, parse
from tests.support.needs import needs
from tests.support.ollama_files import is_chatml
from tests.support.ollama_render import capabilities, prompt, render
from tests.support.ollama_samples import own_code
from tests.support.recorded_models import RECORDED, RecordedRender, exchanges, jinja_of_blobs, recorded_renders
from tests.support.tokenizers import CHATML, qwen3, qwen3_template

pytestmark = needs("jinja2")

FAMILIES = [
    Family("chatml"),
    Family("qwen3"),
    Family("gemma"),
    Family("chatml", default_system='Braces {{{ }} {, quotes """ and a\u00a0wide blank \u200b. {'),
    Family("qwen3", default_system="You are Qwen.\n"),
]
SWITCH = (
    "{% if enable_thinking is defined and enable_thinking is false %}<think>BETWEEN</think>BEHIND{% endif %}{% endif %}"
)
# In the format of Qwen3, and in one that is like it; both can do more than ChatML.
WITH_TOOLS = "{% if tools %}{{ tools | tojson }}{% endif %}"
QWEN_LIKE = (
    WITH_TOOLS + CHATML.removesuffix("{% endif %}") + SWITCH.replace("BETWEEN", "\n\n").replace("BEHIND", "\n\n")
)
THINKING_AND_TOOLS = (
    WITH_TOOLS + CHATML.removesuffix("{% endif %}") + SWITCH.replace("BETWEEN", "").replace("BEHIND", "")
)
BUILT_IN = Family("chatml")
"""What llama-server renders for a file without a template."""
WITH_DEFAULT = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are helpful.<|im_end|>\n{% endif %}" + CHATML
)


MARKED = CHATML.replace("{{ message.content }}", "{% generation %}{{ message.content }}{% endgeneration %}")


def differs(conversation: str) -> Reason:
    return Reason("template_differs", {"family": "ChatML", "conversation": conversation, "think": None})


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: f"{family.name} {family.default_system[:6]}")
def test_the_go_template_renders_what_the_family_is(family: Family) -> None:
    for name, messages in CONVERSATIONS.items():
        given_messages = [message.to_json() for message in messages]
        for think in THINKS:
            assert render(family.go_template, given_messages, think) == family.prompt(messages, think), (name, think)
    assert capabilities(family.go_template) == set(family.capabilities)


turns = st.lists(st.text(max_size=12), min_size=1, max_size=5).filter(lambda texts: len(texts) % 2 == 1)


@given(turns, st.none() | st.text(max_size=12), st.sampled_from(THINKS), st.sampled_from(FAMILIES), st.text(max_size=8))
def test_any_conversation_comes_out_as_the_jinja_has_it(
    texts: list[str], system: str | None, think: bool | None, family: Family, default: str
) -> None:
    roles: list[Role] = ["user", "assistant"]
    messages = [Message(roles[at % 2], text) for at, text in enumerate(texts)]
    if system is not None:
        messages.insert(0, Message("system", system))
    family = Family(family.name, default_system="" if family.name == "gemma" else default)
    assert render(family.go_template, [message.to_json() for message in messages], think) == family.prompt(
        messages, think
    )


def test_a_thought_of_the_present_turn_is_rendered_between_its_signs() -> None:
    """Ollama reads from there which signs stand around thoughts; past thoughts are dropped, as Qwen3's own template does."""
    past = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "thinking": "hm"}]
    template = Family("qwen3").go_template
    assert "assistant\n<think>\nhm\n</think>\n\nb<|im_end|>" in render(template, past, True)
    assert "hm" not in render(template, [*past, {"role": "user", "content": "c"}], True)


@needs("transformers", "tokenizers", "trl")
def test_qwen3s_own_template_token_by_token() -> None:
    """jinja by transformers, as training renders it, against Go, as Ollama does: the same token ids, thinking on and off."""
    tokenizer = qwen3()
    family = recognise(JinjaTemplate(qwen3_template()))
    assert family == Family("qwen3")
    for messages in CONVERSATIONS.values():
        conversation = [message.to_json() for message in messages]
        for think in (True, False):
            trained = tokenizer.apply_chat_template(
                conversation, tokenize=False, add_generation_prompt=True, enable_thinking=think
            )
            served = prompt(family.go_template, conversation, think)
            assert tokenizer(served)["input_ids"] == tokenizer(trained)["input_ids"]
        unset = tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
        assert prompt(family.go_template, conversation, None) == unset


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_chat_templates_that_come_with_bakehouse_are_of_their_families(family: Family) -> None:
    """What `chat_template:` can give a model, Ollama gets a TEMPLATE for, also where the model's texts begin with a sign."""
    text = (shipped_root() / "configs" / "chat_templates" / f"{family.name}.jinja").read_text()
    assert recognise(JinjaTemplate(text)) == Family(family.name)
    begins = JinjaTemplate(text, bos="<bos>", adds_bos=True)
    assert recognise(begins) == Family(family.name)
    assert begins.prompt([Message("user", "a")], None).startswith("<bos>") == (family.name == "gemma")
    # A server that does not write the sign by itself would leave it out with a TEMPLATE.
    assert (recognise(JinjaTemplate(text, bos="<bos>")) == Family(family.name)) == (family.name != "gemma")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (CHATML, Family("chatml")),
        (WITH_DEFAULT, Family("chatml", default_system="You are helpful.")),
        (ENDS_LAST_OTHERWISE, Family("chatml", end="<|return|>")),
        (MARKED, Family("chatml")),
        (WITH_DEFAULT.replace("You are helpful.", "It is {{ strftime_now('%d %B %Y') }}."), Reason("template_dated")),
        ("{% set unused = strftime_now('%Y') %}" + CHATML, Family("chatml")),
        (TRIMMED, differs("white space at the ends")),
        (MOVES_SYSTEM, differs("one question with a system message")),
        (ALWAYS_THINKS, Reason("template_unproved", {"why": "thinks_always"})),
        (ENDLESS, Reason("template_unproved", {"why": "no_end_of_turn"})),
    ],
)
def test_a_template_is_recognised_by_what_it_renders(source: str, expected: Family | Reason) -> None:
    assert recognise(JinjaTemplate(source)) == expected


@pytest.mark.parametrize(
    "source", [DROPS_SYSTEM, FORGETS_THOUGHTS, LIST_ONLY, LOWERED, PLAIN_WORDS, REFUSES_SYSTEM, "{{ 1 / 0 }}"]
)
def test_what_renders_otherwise_is_of_no_family(source: str) -> None:
    assert isinstance(recognise(JinjaTemplate(source)), Reason)


def test_a_token_that_begins_the_text_makes_another_template() -> None:
    source = "{{ bos_token }}" + CHATML
    assert recognise(JinjaTemplate(source)) == Family("chatml")
    assert isinstance(recognise(JinjaTemplate(source, bos="<s>")), Reason)


@needs("trl")
@pytest.mark.parametrize("name", ["qwen2_5", "qwen2_5_vl", "qwen3", "qwen3_instruct_2507", "lfm2"])
def test_templates_of_published_models_are_recognised(name: str) -> None:
    template = JinjaTemplate(trl_templates()[name])
    family = recognise(template)
    assert isinstance(family, Family)
    for messages in CONVERSATIONS.values():
        for think in THINKS:
            served = render(family.go_template, [message.to_json() for message in messages], think)
            assert served == template.prompt(messages, think)


@needs("trl")
@pytest.mark.parametrize("name", ["llama3", "gemma3", "phi3", "gptoss", "qwen3_5_think", "deepseekv3"])
def test_templates_of_other_families_are_not_mistaken_for_one_of_ours(name: str) -> None:
    assert isinstance(recognise(JinjaTemplate(trl_templates()[name])), Reason)


def test_a_text_that_is_no_template() -> None:
    with pytest.raises(InputError) as caught:
        JinjaTemplate("{% for %}")
    assert caught.value.code == "bad_template"


# Which template runs.


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded exchanges (shared/ollama/recorded) are not here")
@pytest.mark.parametrize("version", ["0.24.0", "0.33.0-rc2"])
def test_the_template_that_ran_on_real_servers_is_the_one_that_is_foreseen(version: str) -> None:
    newer = version_number(version) >= RUNS_JINJA
    for one in recorded_renders(version):
        if one.rendered is not None:
            assert rendered_as_foreseen(one, newer=newer) == one.rendered, one.exchange
    own = jinja_of_blobs()
    assert {frozenset(JinjaTemplate(source).capabilities()) for source in own.values()} == {
        frozenset({"thinking"}),
        frozenset({"thinking", "tools"}),
    }


def rendered_as_foreseen(one: RecordedRender, *, newer: bool) -> str:
    template = one.template or "{{ .Prompt }}"
    if newer and one.jinja is not None and jinja_runs(JinjaTemplate(one.jinja).capabilities(), capabilities(template)):
        return JinjaTemplate(one.jinja).prompt([Message(**message) for message in one.messages], one.think)  # type: ignore[arg-type]
    if newer and one.template is None:
        return BUILT_IN.prompt([Message(**message) for message in one.messages], one.think)  # type: ignore[arg-type]
    return prompt(template, one.messages, one.think, system=one.system)


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded exchanges (shared/ollama/recorded) are not here")
def test_show_says_which_one_runs() -> None:
    for name, told in exchanges("0.33.0-rc2"):
        shown = (told.get("response", {}).get("json") or {}).get("template", "") if "_show_jinja" in name else ""
        if shown:
            jinja = shown if "{%" in shown else None
            choice = choose("0.33.0", JinjaTemplate(CHATML), Family("chatml"))
            assert ran(shown, choice, jinja) == ("jinja" if jinja else None)


@pytest.mark.parametrize(("source", "newer_runs"), [(QWEN_LIKE, "jinja"), (CHATML, "template")])
def test_a_known_family_is_right_whichever_template_runs(source: str, newer_runs: str) -> None:
    jinja = JinjaTemplate(source)
    family = recognise(jinja)
    assert isinstance(family, Family)
    older, newer = (choose(version, jinja, family) for version in ("0.24.0", "0.33.0-rc2"))
    assert (older.send, older.runs, older.same, older.keep_jinja) == (family.go_template, "template", True, True)
    assert (newer.send, newer.same, newer.certain) == (family.go_template, True, True)
    assert newer.runs == newer_runs
    assert choose("0.0.0", jinja, family) == newer, "a build of one's own is a new one, here as where prompts are shown"
    assert older.stops[0] == "<|im_end|>"
    assert ran(family.go_template + "\n", newer, jinja.chat_template) == "template"
    assert ran(jinja.chat_template, newer, jinja.chat_template) == "jinja"
    assert ran("{{ .Prompt }}", newer, jinja.chat_template) is None
    assert ran(family.go_template, newer, jinja.chat_template, "gemma4-small") == "renderer"


@pytest.mark.parametrize(
    ("version", "jinja", "official", "send", "keep", "runs"),
    [
        ("0.24.0", THINKING_AND_TOOLS, "{{ .Messages }}", "{{ .Messages }}", True, "template"),
        # The file's own could win against it: so that the official one runs, the file's has to go.
        ("0.33.0", THINKING_AND_TOOLS, "{{ .Messages }}", "{{ .Messages }}", False, "template"),
        ("0.33.0", THINKING_AND_TOOLS, None, None, True, "jinja"),
        ("0.33.0", PLAIN_WORDS, None, None, True, "jinja"),
    ],
)
def test_what_is_sent_and_what_stays_in_the_file(
    version: str, jinja: str, official: str | None, send: str | None, keep: bool, runs: str
) -> None:
    own = JinjaTemplate(jinja)
    given_template = None if official is None else InstalledTemplate("qwen3:8b", official, ("<|im_end|>",))
    choice = choose(version, own, recognise(own), given_template)
    assert (choice.send, choice.keep_jinja, choice.runs, choice.same) == (send, keep, runs, False)
    # A jinja that can do neither may look to Ollama like one that it has a Go template for.
    assert choice.certain and choice.apart is (jinja is PLAIN_WORDS)
    assert choice.in_file(jinja) == (None if not keep else APART + jinja if choice.apart else jinja)


@needs("trl", "transformers")
@pytest.mark.parametrize("name", own_code()["detected"])
def test_a_template_that_ollama_takes_for_another_ones_is_moved_away_from_it(name: str) -> None:
    """By a comment that changes no prompt; unless the file's own runs for what it can do."""
    source = ({"bare": CHATML} | {one: text for one, (text, _) in SOUND.items()} | trl_templates())[name]
    jinja = JinjaTemplate(source)
    choice = choose("0.33.0", jinja, Reason("template_unproved", {"why": "x"}))
    moved = choice.in_file(source)
    assert choice.send is None and moved is not None and choice.in_file(moved) == moved
    assert choice.apart is not bool(jinja.capabilities())
    assert (moved != source) is choice.apart and not (choice.apart and is_chatml(moved))
    for messages in CONVERSATIONS.values():
        assert tried(qwen3(), moved, messages) == tried(qwen3(), source, messages)


@pytest.mark.parametrize(("version", "jinja"), [("0.24.0", PLAIN_WORDS), ("0.24.0", None), ("0.33.0", None)])
def test_an_unknown_template_is_said_to_be_unknown_with_what_to_do(version: str, jinja: str | None) -> None:
    own = None if jinja is None else JinjaTemplate(jinja)
    with pytest.raises(InputError) as caught:
        choose(version, own, None if own is None else recognise(own))
    assert caught.value.code == "unknown_template" and "template_from" in str(caught.value.remedy)


# Texts in Go templates, and marks of training.


@given(st.text())
def test_any_text_comes_out_of_a_go_template_as_it_went_in(text: str) -> None:
    source = f"{{{{ if .A }}}}{go_text(text)}{{{{ end }}}}"
    assert execute(parse(source), {"A": True}) == text


@pytest.mark.parametrize("mark", ["{% generation %}", "{%- generation -%}", "{%+ generation %}", "{%-  generation%}"])
def test_marks_are_taken_out_and_the_render_stays(mark: str) -> None:
    source = CHATML.replace(
        "{{ message.content }}", f"  {mark}\n  {{{{ message.content }}}}\n {{%- endgeneration %}}\n"
    )
    source = "{# where {% generation %} stands #}" + source
    assert has_training_marks(source)
    cleaned = without_training_marks(source)
    assert not has_training_marks(cleaned) and without_training_marks(cleaned) == cleaned
    assert rendered_by_transformers(cleaned) == rendered_by_transformers(source)


def rendered_by_transformers(source: str) -> list[str]:
    tokenizer: Callable[..., str] = qwen3().apply_chat_template
    return [
        tokenizer([message.to_json() for message in messages], chat_template=source, tokenize=False)
        for messages in CONVERSATIONS.values()
    ]


@needs("trl", "transformers")
def test_no_published_training_template_renders_otherwise_without_its_marks() -> None:
    marked = {name: source for name, source in trl_templates().items() if has_training_marks(source)}
    assert len(marked) >= 10
    tokenizer = qwen3()
    rendered = 0
    for name, source in marked.items():
        cleaned = without_training_marks(source)
        assert not has_training_marks(cleaned)
        for messages in CONVERSATIONS.values():
            before, after = (tried(tokenizer, text, messages) for text in (source, cleaned))
            assert before == after, name
            rendered += before is not None
    assert rendered > 5 * len(marked)


def tried(tokenizer: Any, source: str, messages: Sequence[Message]) -> str | None:
    """What transformers renders, None where the template refuses such messages."""
    conversation = [message.to_json() for message in messages]
    try:
        return str(tokenizer.apply_chat_template(conversation, chat_template=source, tokenize=False))
    except Exception:  # noqa: BLE001 - a template is a program of others
        return None
