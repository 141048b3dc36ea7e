"""The figures of an audit are those of the training, whatever the order of the lines."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from core.config.golden import GoldenInput
from core.config.project import shipped
from core.config.recipe import FewShot, Recipe
from core.config.task import Task, TaskData
from core.data.audit import Audit
from core.data.auditor import make_audit, whole_lengths
from core.data.augment import augment
from core.data.examples import load_examples
from core.data.inspection import percentile
from core.data.render import fit_all, render_all
from tests.support.tokenizers import byte_level, qwen3

TASK = Task(name="judge", system="You grade notes.")
LENGTHS = (40, 60, 90, 150, 400)
LINES = [
    {"prompt": "short", "completion": "PASS"},
    {"prompt": "word " * 20, "completion": "FAIL, and here is why in a few words"},
    {"prompt": "other " * 60, "completion": "PASS"},
    {"prompt": "brief", "completion": "much " * 60},
    {"prompt": "short", "completion": "PASS", "id": 7},
    {"prompt": "Ok, a golden one that is long enough to be known", "completion": "FAIL", "id": 8, "tag": "x"},
]
GOLDEN = [
    GoldenInput(id="seen", input="ok — a golden one, that is long enough to be known."),
    GoldenInput(id="unseen", input="nothing like it"),
]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return byte_level()


def recipe(**options: Any) -> Recipe:
    return Recipe(
        name="r", method="lora", rank=4, alpha=8, epochs=1, batch_size=1, lr=1e-3, **{"max_length": 90} | options
    )


def audited(
    folder: Path,
    tokenizer: Any,
    lines: list[Any] = LINES,
    show: Any = (),
    lengths: Any = LENGTHS,
    task: Task = TASK,
    **options: Any,
) -> Audit:
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    examples, report = load_examples(path, task)
    return make_audit(tokenizer, examples, report, GOLDEN, task, recipe(**options), "m", lengths, show)


@pytest.mark.parametrize("options", [{}, {"few_shot": FewShot(count=2, share=0.5), "skeletons": 3}])
def test_each_row_is_what_training_makes_of_the_data_at_that_length(
    tmp_path: Path, tokenizer: Any, options: dict[str, Any]
) -> None:
    lines = [*LINES, *({"prompt": f"note {n}", "completion": f"VERDICT: {n}\nWHY: {n * n}"} for n in range(8))]
    audit = audited(tmp_path, tokenizer, lines, **options)
    assert [row.max_length for row in audit.rows] == list(LENGTHS)
    examples, _ = load_examples(tmp_path / "data.jsonl", TASK)
    for row in audit.rows:
        grown, added = augment(examples, TASK, recipe(**options, max_length=row.max_length), tokenizer)
        report = fit_all(tokenizer, grown, "off", row.max_length)
        assert (row.cut, row.skipped, row.total) == (report.cut, len(report.skipped), len(grown))
        assert row.few_shot == added.few_shot_full + added.few_shot_fewer
        learnt = sum(len(item.completion_ids) for item in report.fitted)
        read = sum(len(item.prompt_ids) for item in report.fitted)
        assert row.loss_share == (learnt / (learnt + read) if report.fitted else 0)
    assert audit.row.max_length == 90
    assert audit.augmented == augment(examples, TASK, recipe(**options), tokenizer)[1]


def test_a_right_cut_is_counted_as_it_would_cut(tmp_path: Path, tokenizer: Any) -> None:
    audit = audited(tmp_path, tokenizer)
    examples, _ = load_examples(tmp_path / "data.jsonl", TASK)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    harmed_somewhere = lost_somewhere = False
    for row in audit.rows:
        labels = [
            ([-100] * len(item.prompt_ids) + list(item.completion_ids))[: row.max_length]
            for item in render_all(tokenizer, examples, "off")
        ]
        assert row.right_cut == sum(kept[-1] != end for kept in labels)
        assert row.right_dropped == sum(set(kept) == {-100} for kept in labels)
        harmed_somewhere |= row.right_cut > row.right_dropped > 0
        lost_somewhere |= row.skipped < row.right_cut
    assert harmed_somewhere and lost_somewhere


def test_lengths_are_those_of_the_whole_file(tmp_path: Path, tokenizer: Any) -> None:
    audit = audited(tmp_path, tokenizer)
    examples, _ = load_examples(tmp_path / "data.jsonl", TASK)
    rendered = render_all(tokenizer, examples, "off")
    completions = sorted(len(item.completion_ids) for item in rendered)
    prompts = [len(item.prompt_ids) for item in rendered]
    assert audit.completion_median == (completions[2] + completions[3]) / 2
    assert (audit.completion_max, audit.prompt_max) == (completions[-1], max(prompts))
    assert audit.ratio == sum(prompts) / sum(completions)
    assert audit.loss_share == pytest.approx(1 / (1 + audit.ratio))


def test_percentiles_are_interpolated() -> None:
    assert percentile([1, 2, 3, 4, 5], 0.9) == pytest.approx(4.6)
    assert percentile([7], 0.9) == 7
    assert percentile(list(range(101)), 0.9) == 90


@pytest.mark.parametrize(
    ("tokens", "lengths"),
    [
        ([100] * 10, [256]),
        ([256] * 5 + [257] * 5, [256, 512]),
        ([100] * 50 + [500] * 30 + [900] * 15 + [3000] * 5, [256, 512, 1024, 3072]),
        ([3000], [3072]),
    ],
)
def test_the_lengths_that_are_compared_lie_where_examples_become_whole(tokens: list[int], lengths: list[int]) -> None:
    assert whole_lengths(tokens) == lengths


def test_without_lengths_the_recipes_own_has_a_row_too(tmp_path: Path, tokenizer: Any) -> None:
    audit = audited(tmp_path, tokenizer, lengths=None)
    assert audit.rows[0].max_length == 90
    assert audit.rows[-1].whole == 6 and all(row.max_length % 256 == 0 for row in audit.rows[1:])


def test_duplicates_leaks_and_further_keys_are_named(tmp_path: Path, tokenizer: Any) -> None:
    audit = audited(tmp_path, tokenizer)
    assert (audit.examples, audit.duplicates, audit.duplicate_lines) == (6, 1, (5,))
    assert [(leak.line, leak.golden_id, leak.kind) for leak in audit.leaks] == [(6, "seen", "equal")]
    assert audit.further_keys == {"id": 2, "tag": 1}
    assert (audit.golden, audit.refused) == (2, "leak")


def test_it_says_what_training_would_refuse(tmp_path: Path, tokenizer: Any) -> None:
    clean = LINES[:5]
    assert audited(tmp_path, tokenizer, clean, max_length=400).refused is None
    short = audited(tmp_path, tokenizer, clean, max_length=90, max_skipped=0.1)
    assert short.skipped_lines == (4,) and short.refused == "too_many_skipped"
    assert audited(tmp_path, tokenizer, clean, max_length=90, max_skipped=0.2).refused is None
    # Nothing left to learn from is refused, whatever may be skipped.
    assert audited(tmp_path, tokenizer, clean, max_length=16, max_skipped=1.0).refused == "too_many_skipped"


def test_what_the_recipe_adds_makes_the_share_of_the_skipped_no_smaller(tmp_path: Path, tokenizer: Any) -> None:
    lines = [{"prompt": f"note {n}", "completion": f"VERDICT: {n}"} for n in range(8)]
    lines += [{"prompt": f"long {n}", "completion": "VERDICT: " + "why " * 200} for n in range(2)]
    audit = audited(tmp_path, tokenizer, lines, max_length=150, max_skipped=0.15, skeletons=6)
    assert (audit.row.skipped, audit.row.total) == (2, 16)
    assert audit.refused == "too_many_skipped"


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_lines_changes_no_figure(tmp_path: Path, seed: int) -> None:
    project = shipped()
    path = project.train_file(project.task("judge"))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines += [{**line, "id": 1} for line in lines[:5]]
    options = {"few_shot": FewShot(count=2, share=0.5), "skeletons": 7, "max_length": 900}
    tokenizer = qwen3()
    once = audited(tmp_path, tokenizer, lines, lengths=None, **options).to_json()
    random.Random(seed).shuffle(lines)
    again = audited(tmp_path, tokenizer, lines, lengths=None, **options).to_json()
    assert once["augmented"]["few_shot_fewer"] and any(row["cut"] for row in once["rows"])
    for places in ("duplicate_lines", "skipped_lines"):
        assert len(once.pop(places)) == len(again.pop(places))
    assert once == again


def test_an_example_is_shown_as_its_tokens_read(tmp_path: Path, tokenizer: Any) -> None:
    audit = audited(tmp_path, tokenizer, show="all")
    assert [item.index for item in audit.shown] == [1, 2, 3, 4, 5, 6]
    examples, _ = load_examples(tmp_path / "data.jsonl", TASK)
    report = fit_all(tokenizer, examples, "off", 90)
    states = {item.line: item.state for item in audit.shown}
    assert states == {1: "whole", 2: "whole", 3: "cut", 4: "skipped", 5: "whole", 6: "whole"}
    for fitted in report.fitted:
        shown = audit.shown[fitted.line - 1]
        assert shown.cut_tokens == fitted.cut_tokens
        assert (shown.prompt_tokens, shown.completion_tokens) == (len(fitted.prompt_ids), len(fitted.completion_ids))
        seen = "".join(piece.text for piece in shown.pieces if not piece.mark)
        assert seen == tokenizer.decode([*fitted.prompt_ids, *fitted.completion_ids])
        assert [piece.text for piece in shown.pieces if piece.loss] == [tokenizer.decode(fitted.completion_ids)]
    marks = [piece for piece in audit.shown[2].pieces if piece.mark]
    assert [mark.text for mark in marks] == [f"… −{audit.shown[2].cut_tokens} tokens …"]
    before, _, after, _ = audit.shown[2].pieces
    assert before.text.rstrip().endswith("other") and after.text.rstrip().endswith("assistant")


def test_what_the_recipe_adds_can_be_seen(tmp_path: Path, tokenizer: Any) -> None:
    lines = [{"prompt": f"note {n}", "completion": f"VERDICT: {n}\nWHY: {n * n}"} for n in range(8)]
    audit = audited(
        tmp_path, tokenizer, lines, show=[1, 9, 99], few_shot=FewShot(count=2, share=1), skeletons=1, max_length=400
    )
    first, skeleton = audit.shown
    assert (first.shots, first.pieces[0].text.count("VERDICT: "), first.pieces[-1].loss) == (2, 2, True)
    assert (skeleton.index, skeleton.line, skeleton.shots) == (9, 0, 0)
    assert skeleton.pieces[-1].text == "VERDICT: …\nWHY: …<|im_end|>"


def test_every_turn_is_an_example_of_its_own(tmp_path: Path, tokenizer: Any) -> None:
    turns = [{"role": role, "content": f"{role} {n}"} for n in range(3) for role in ("user", "assistant")]
    task = Task(name="judge", data=TaskData(loss="every_turn"))
    audit = audited(tmp_path, tokenizer, [{"messages": turns}], show="all", task=task)
    assert (audit.examples, audit.lines) == (3, 1)
    assert [(item.index, item.line) for item in audit.shown] == [(1, 1), (2, 1), (3, 1)]


def test_an_audit_is_read_back_as_it_was_written(tmp_path: Path, tokenizer: Any) -> None:
    audit = audited(tmp_path, tokenizer, show="all", few_shot=FewShot())
    document = json.loads(json.dumps(audit.to_json()))
    assert Audit.from_json(document) == audit
    for broken in ([], {}, {**document, "rows": []}, {**document, "rows": 3}, {**document, "new": 1}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            Audit.from_json(broken)
