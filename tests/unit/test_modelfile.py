"""The Modelfile beside a GGUF file: what Ollama reads of it, by a stand-in of its reader; and marks of training in files."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.config.task import Sampling, Task
from core.data.training_marks import has_training_marks
from core.jobfile.served_as import OfficialTemplate, ServedAs
from core.models.gguf import check_servable, token_texts
from core.models.gguf_rewrite import with_text
from core.reasons import Reason
from core.shipping.families import Family
from core.shipping.gguf_template import KEY, take_out_marks, template_of
from core.shipping.jinja import JinjaTemplate
from core.shipping.modelfile import Modelfile, quoted
from core.wording.shipping import unknown_template_words
from jobs.modelfile import look_at_template, modelfile_of
from jobs.serving_tokenizer import save_for_serving
from tests.support.chat_templates import PLAIN_WORDS
from tests.support.gguf_bytes import KEYS, file, header, text
from tests.support.modelfile_reader import ModelfileError, read_modelfile
from tests.support.needs import needs
from tests.support.tokenizers import CHATML, byte_level

MARKED = CHATML.replace("{{ message.content }}", "{% generation %}{{ message.content }}{% endgeneration %}")
TEXTS = st.text(alphabet=st.sampled_from('ab"\n\r\t #é🥖\u200d\u00a0')) | st.text()


@given(TEXTS)
@example('"""')
@example('"""\n')
@example('"')
@example('a """ b')
@example('a"""  \nb')
@example(' a"')
@example("")
@example("a\u200db")
def test_a_text_is_read_as_it_was_written_or_is_not_written(value: str) -> None:
    shown = quoted(value)
    as_written = f'FROM x\nSYSTEM """{value}"""\nPARAMETER seed 1\n'
    if shown is not None:
        read = read_modelfile(f"FROM x\nSYSTEM {shown}\nPARAMETER seed 1\n")
        assert read == [("from", "x"), ("system", value), ("seed", "1")]
        return
    # Nothing is refused that could have been written.
    with contextlib.suppress(ModelfileError):
        assert read_modelfile(as_written) != [("from", "x"), ("system", value), ("seed", "1")]


TASK = Task(
    name="judge",
    system='You grade "notes".\nAnswer in """one""" line.',
    sampling=Sampling(temperature=0.2, top_k=40, context_length=8192, max_new_tokens=300),
)


@pytest.mark.parametrize(
    "family", [Family("chatml"), Family("qwen3", default_system='Quotes """\n{{ and }} braces {\u200b')]
)
def test_what_a_task_is_served_with(family: Family) -> None:
    written = modelfile_of("bread-Q8_0.gguf", None, family, ServedAs(task=TASK))
    assert not written.left_out
    read = read_modelfile(written.text())
    assert read[:2] == [("from", "./bread-Q8_0.gguf"), ("template", family.go_template)]
    assert dict(read[2:-2]) == {
        "num_ctx": "8192",
        "num_predict": "300",
        "temperature": "0.2",
        "top_p": "1.0",
        "top_k": "40",
        "repeat_penalty": "1.0",
    }
    assert read[-2:] == [("stop", "<|im_end|>"), ("stop", "<|im_start|>")]
    assert ("send `think: false`" in written.text()) is (family.name == "qwen3")


def test_the_system_prompt_is_there_once_its_comment_is_taken_away() -> None:
    written = modelfile_of("x.gguf", None, Family("chatml"), ServedAs(task=TASK)).text()
    head, _, rest = written.partition("# SYSTEM ")
    block, _, behind = rest.partition("\n\nFROM")
    uncommented = f"{head}SYSTEM {block.replace(chr(10) + '# ', chr(10))}\n\nFROM{behind}"
    assert ("system", TASK.system) in read_modelfile(uncommented)
    assert "system" not in dict(read_modelfile(written))


@pytest.mark.parametrize("system", ["emoji 👩\u200d👧", 'a line of """\nand another'])
def test_a_system_prompt_that_a_modelfile_cannot_hold_is_said_to_be_sent(system: str) -> None:
    task = Task(name="judge", system=system)
    written = modelfile_of("x.gguf", None, Family("chatml"), ServedAs(task=task)).text()
    assert "SYSTEM" not in written and "with each request" in written
    assert read_modelfile(written)[0] == ("from", "./x.gguf")


def test_without_a_task_only_the_template_is_given() -> None:
    read = read_modelfile(modelfile_of("x.gguf", None, Family("chatml"), ServedAs()).text())
    assert [name for name, _ in read] == ["from", "template", "stop", "stop"]


def test_of_an_unknown_template_no_other_is_given() -> None:
    unknown = Reason("template_differs", {"family": "ChatML", "conversation": "one question", "think": None})
    written = modelfile_of("x.gguf", None, unknown, ServedAs())
    assert read_modelfile(written.text()) == [("from", "./x.gguf")]
    assert "template_from" in written.text() and "one question" in written.text()


@pytest.mark.parametrize(
    "reason",
    [
        Reason("template_differs", {"family": "Qwen3", "conversation": "several turns", "think": False}),
        Reason("template_dated"),
        *(Reason("template_unproved", {"why": why}) for why in ("thinks_always", "no_end_of_turn", "template_refused")),
        *(Reason(code) for code in ("no_template", "no_jinja2", "bad_template")),
    ],
)
def test_each_reason_why_a_template_is_unknown_has_words_of_its_own(reason: Reason) -> None:
    words = unknown_template_words(reason)
    assert words != unknown_template_words(Reason("no_template")) or reason.code == "no_template"
    if reason.code == "template_differs":
        assert "several turns" in words and "Qwen3" in words and "thinking off" in words


@needs("jinja2")
def test_the_template_of_an_installed_model_goes_before_our_own() -> None:
    official = OfficialTemplate(model="qwen3:8b", template="{{ .System }}\n{{ .Messages }}", stops=("<end>",))
    thinks = CHATML + "{{ enable_thinking }}{{ tools }}"
    for source, beaten in ((CHATML, False), (thinks, True)):
        written = modelfile_of("x.gguf", JinjaTemplate(source), Family("chatml"), ServedAs(official=official)).text()
        assert read_modelfile(written)[1:] == [("template", official.template), ("stop", "<end>")]
        assert "qwen3:8b" in written and ("0.30" in written) is beaten


def test_what_cannot_be_written_is_named_and_commented() -> None:
    written = Modelfile("x.gguf", 'a"""\nb', ("ok", "a\u200bb"), system="fine")
    assert written.left_out == ("TEMPLATE", "PARAMETER stop 2")
    assert read_modelfile(written.text()) == [("from", "./x.gguf"), ("stop", "ok"), ("system", "fine")]


# The template in a GGUF file.


def vocabulary(*tokens: str) -> bytes:
    joined = b"".join(text(token.encode()) for token in tokens)
    return text(b"tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, len(tokens)) + joined


def gguf(path: Path, template: str, *tokens: str) -> Path:
    """A file with a vocabulary between its other keys, and weights that are told from one another."""
    keys = {**KEYS, KEY: template, "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2}
    whole = header(keys)
    begins = 24
    content = whole[:16] + struct.pack("<Q", len(keys) + 1) + vocabulary(*tokens) + whole[begins:]
    content += bytes(-len(content) % 32) + bytes(range(256))
    path.write_bytes(content)
    return path


def weights(path: Path) -> bytes:
    return path.read_bytes()[-256:]


@needs("jinja2")
def test_the_template_knows_the_tokens_that_it_writes(tmp_path: Path) -> None:
    path = gguf(tmp_path / "x.gguf", "{{ bos_token }}" + CHATML, "a", "<s>", "<|im_end|>")
    found, family = look_at_template(path, check_servable(path, "x"))
    assert found is not None and (found.bos_token, found.eos_token) == ("<s>", "<|im_end|>")
    assert isinstance(family, Reason), "a Go template of ours writes no token of beginning"
    assert token_texts(path, {0, 2, 7}) == {0: "a", 2: "<|im_end|>"}
    path = gguf(tmp_path / "y.gguf", CHATML, "a", "<s>", "<|im_end|>")
    assert look_at_template(path, check_servable(path, "y"))[1] == Family("chatml")
    path = gguf(tmp_path / "z.gguf", PLAIN_WORDS)
    assert isinstance(look_at_template(path, check_servable(path, "z"))[1], Reason)


def test_a_file_without_a_template_is_said_to_have_none(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(file(header({"general.architecture": "llama"})))
    assert look_at_template(path, check_servable(path, "x")) == (None, Reason("no_template"))
    assert not take_out_marks(path, check_servable(path, "x"))


@needs("jinja2")
def test_marks_of_training_are_taken_out_of_a_file_and_nothing_else_changes(tmp_path: Path) -> None:
    path = gguf(tmp_path / "x.gguf", MARKED, "a", "<s>", "<|im_end|>")
    before, bytes_before = check_servable(path, "x"), weights(path)
    assert take_out_marks(path, before)
    after = check_servable(path, "x")
    assert after.chat_template is not None and "generation %" not in after.chat_template
    assert {**before.keys, KEY: None} == {**after.keys, KEY: None} and list(before.keys) == list(after.keys)
    assert before.tensors == after.tensors == check_servable(path, "x").tensors and weights(path) == bytes_before
    template = template_of(path, after)
    assert template is not None and look_at_template(path, after)[1] == Family("chatml")
    assert [one.name for one in tmp_path.iterdir()] == ["x.gguf"]
    assert not take_out_marks(path, after)


def test_a_key_can_be_taken_out_and_put_in(tmp_path: Path) -> None:
    whole = gguf(tmp_path / "x.gguf", CHATML, "a", "b", "c")
    with_text(whole, tmp_path / "stripped.gguf", KEY, None)
    stripped = check_servable(tmp_path / "stripped.gguf", "x")
    assert stripped.chat_template is None and weights(tmp_path / "stripped.gguf") == weights(whole)
    with_text(tmp_path / "stripped.gguf", tmp_path / "again.gguf", KEY, "{{ other }}")
    again = check_servable(tmp_path / "again.gguf", "x")
    assert again.chat_template == "{{ other }}" and again.tensors == check_servable(whole, "x").tensors
    assert weights(tmp_path / "again.gguf") == weights(whole)


def test_the_places_of_tensors_hold_under_another_alignment(tmp_path: Path) -> None:
    content = header({**KEYS, "general.alignment": 64}, ((b"a", (32, 2), 1, 0), (b"b", (32,), 0, 128)))
    path = tmp_path / "x.gguf"
    path.write_bytes(content + bytes(-len(content) % 64) + bytes(range(256)))
    with_text(path, tmp_path / "y.gguf", KEY, "longer " * 20)
    assert check_servable(tmp_path / "y.gguf", "y").tensors == check_servable(path, "x").tensors
    assert weights(tmp_path / "y.gguf") == weights(path) and len((tmp_path / "y.gguf").read_bytes()) % 64 == 0


@needs("transformers", "tokenizers")
@pytest.mark.parametrize("template", [MARKED, {"default": MARKED, "other": CHATML}])
def test_a_tokenizer_is_saved_without_marks_of_training(template: str | dict[str, str], tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = byte_level()
    tokenizer.chat_template = template
    save_for_serving(tokenizer, tmp_path)
    assert tokenizer.chat_template == template
    saved = AutoTokenizer.from_pretrained(tmp_path)
    assert not has_training_marks(str(saved.chat_template))
    conversation = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    before, after = (one.apply_chat_template(conversation, tokenize=False) for one in (tokenizer, saved))
    assert before == after
