"""The job `parity` with a real llama-server: a sound file passes, one with a changed header is refused and told why."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from core.config.model import ModelEntry
from core.config.task import Sampling, Task
from core.files import write_json
from core.home import Home
from core.jobfile.parity import ParitySpec
from tests.support.chat_templates import DROPS_SYSTEM, GENERATION, TURNS
from tests.support.gguf_header import ADD_BOS, rewritten
from tests.support.llama_cpp import convertible_model, gguf_of, llama_cpp, small_q8_0
from tests.support.parity_checks import HELLO, REFUSED, Outcome, outcome_of
from tests.support.tokenizers import qwen3_template
from tests.support.workshop import Workshop

pytestmark = pytest.mark.train

_ids = count(1)

Check = Callable[..., Outcome]


@pytest.fixture(scope="module")
def entry(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelEntry:
    """Random weights behind the real small model's tokenizer and template."""
    return convertible_model(model_cache, tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def sound(entry: ModelEntry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gguf_of(entry, tmp_path_factory.mktemp("gguf") / "tiny-Q8_0.gguf")


@pytest.fixture(scope="module")
def check(entry: ModelEntry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Check]:
    """Runs the job on a file: its exit code, what it found, its error where it ended in one, and the events of its progress."""
    shop = Workshop(Home(tmp_path_factory.mktemp("home")).create(), entry, forked=True)
    program = str(llama_cpp().require("llama-server"))

    def run(file: Path, model: ModelEntry = entry, task: Task = HELLO) -> Outcome:
        golden = shop.golden("Say hello.", "Name a flour.")
        spec = ParitySpec(source=str(file), model=model, task=task, golden=golden, program=program)
        return outcome_of(shop, next(_ids), spec, "progress")

    yield run
    shop.close()


def test_a_trained_model_s_file_passes_and_its_answer_ends(model_cache: Path, check: Check) -> None:
    """The small model itself in Q8_0, with as long an answer as a sentence takes."""
    (real,) = (model_cache / "dequantised").iterdir()
    task = HELLO.model_copy(update={"sampling": Sampling(context_length=1024, max_new_tokens=200)})
    code, found, error, progress = check(small_q8_0(model_cache), ModelEntry(name="small", path=str(real)), task)
    assert (code, error, found["passed"], found["findings"]) == (0, {}, True, [])
    assert len(found["cases"]) == 8 and all(case["same"] for case in found["cases"])
    assert progress[-1]["done"] == progress[-1]["total"] == 8


# As TRL's training templates mark what carries loss.
MARKED = TURNS.replace(
    "{{ message.content }}",
    "{% if message.role == 'assistant' %}{% generation %}{{ message.content }}{% endgeneration %}"
    "{% else %}{{ message.content }}{% endif %}",
)
MARKED += GENERATION
SYSTEM_FIRST = "<|im_start|>system\n{{ messages[0].content }}<|im_end|>\n"
# By what is changed in the header: the tool's options, and the causes and findings that are expected.
CHANGED: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "the template is missing": (("--remove-metadata", "tokenizer.chat_template"), {"file_without_template"}),
    "another model's template": (("--chat-template", qwen3_template()), {"thinking_differs"}),
    # llama-server sees that such a template knows no system message, and folds the text into the user's.
    "the template knows no system message": (("--chat-template", DROPS_SYSTEM), {"system_moved"}),
    "the system prompt twice": (("--chat-template", SYSTEM_FIRST + TURNS + GENERATION), {"system_twice"}),
    "marks of training": (("--chat-template", MARKED), {"training_marks"}),
    "a line feed more at the end": (
        ("--chat-template", TURNS + GENERATION.replace("assistant\n", "assistant\n\n")),
        {"trailing_whitespace"},
    ),
    "another frame": (("--chat-template", TURNS.replace("<|im_start|>", "<|turn|>") + GENERATION), {"other_template"}),
    "a template that refuses an empty message": (
        ("--chat-template", "{{ raise_exception('no text') if not messages[-1].content }}" + TURNS + GENERATION),
        {"render_refused"},
    ),
    "a token in front that training had not": (("--special-token", "bos", "<gh_stars>", ADD_BOS), {"added_bos"}),
    "another way of splitting": (("--pre-tokenizer", "llama-bpe"), {"tokens_differ"}),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGED)
def test_a_file_with_a_changed_header_is_refused_and_told_why(
    change: str, sound: Path, check: Check, tmp_path: Path
) -> None:
    options, expected = CHANGED[change]
    code, found, error, _ = check(rewritten(sound, tmp_path / "changed.gguf", *options))
    told = {one["code"] for case in found["cases"] if not case["same"] for one in (case["cause"], *case["also"])}
    told |= {finding["code"] for finding in found["findings"]}
    assert code == REFUSED and not found["passed"]
    assert expected <= told and error["code"] in told and error["remedy"]


def with_tokenizer(entry: ModelEntry, folder: Path, change: Callable[[Any], None]) -> ModelEntry:
    """The model with another tokenizer."""
    from transformers import AutoTokenizer

    shutil.copytree(entry.path, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    change(tokenizer)
    tokenizer.save_pretrained(folder)
    return ModelEntry(name="changed", path=str(folder))


def test_an_end_that_llama_cpp_knows_by_no_name_is_lost_where_the_header_does_not_say_so(
    entry: ModelEntry, sound: Path, check: Check, tmp_path: Path
) -> None:
    ended = TURNS.replace("<|im_end|>", "<gh_stars>") + GENERATION

    def change(tokenizer: Any) -> None:
        tokenizer.chat_template, tokenizer.eos_token = ended, "<gh_stars>"

    model = with_tokenizer(entry, tmp_path / "model", change)
    template = ("--chat-template", ended)
    lost = rewritten(sound, tmp_path / "lost.gguf", *template)
    code, found, error, _ = check(lost, model)
    assert (code, error["code"]) == (REFUSED, "stop_token_lost") and all(case["same"] for case in found["cases"])
    whole = rewritten(sound, tmp_path / "whole.gguf", *template, "--special-token", "eos", "<gh_stars>")
    code, found, _, _ = check(whole, model)
    assert code == 0 and found["passed"]


def test_a_tokenizer_that_composes_letters_is_no_fault_of_the_file(
    entry: ModelEntry, sound: Path, check: Check, tmp_path: Path
) -> None:
    """As those of Qwen do; llama.cpp does so for none of them."""
    from tokenizers import normalizers

    def change(tokenizer: Any) -> None:
        tokenizer.backend_tokenizer.normalizer = normalizers.NFC()

    code, found, _, _ = check(sound, with_tokenizer(entry, tmp_path / "model", change))
    assert code == 0 and found["passed"]
    (case,) = [one for one in found["cases"] if not one["same"]]
    assert (case["name"], case["cause"]) == ("unicode", {"code": "normal_form_differs", "values": {"form": "NFC"}})


def test_a_random_model_s_file_is_sound_though_nothing_is_known_of_its_end(
    sound: Path, check: Check, tmp_path: Path
) -> None:
    """By its lineage training put examples in front: prompts that have them are the trained ones, and clients are told."""
    shots = {"count": 3, "share": 1.0}
    write_json(tmp_path / "lineage.json", {"made_of": {"task": "hello", "recipe": {}, "few_shot": shots}})
    (tmp_path / "gguf").mkdir()
    (tmp_path / "gguf" / sound.name).symlink_to(sound)
    code, found, _, _ = check(tmp_path / "gguf" / sound.name)
    assert code == 0 and found["passed"] and all(case["same"] for case in found["cases"])
    assert "examples in front" in [case["name"] for case in found["cases"]]
    told = {finding["code"]: finding["values"] for finding in found["findings"]}
    assert told.pop("few_shot_expected") == shots and set(told) <= {"answer_not_ended"}
