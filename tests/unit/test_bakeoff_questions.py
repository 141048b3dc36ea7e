"""What a candidate is asked says which tags belong to its answer, wherever it is said: elsewhere they are thinking."""

from __future__ import annotations

from typing import Any

import pytest

from core.config.golden import GoldenInput, GoldenMessage
from core.config.task import Task
from core.jobfile.bakeoff import CandidateSpec, ExampleTurn, OutputFormat, ServerUnderTest, TaskUnderTest, Variant
from core.jobfile.spec import InputFile
from core.scoring.questions import asked_task
from core.thinking import split_thinking

RAW = "<reasoning>It is stale.</reasoning><score>2</score>"
SAYS = "Write <reasoning>, then <score>."
EXAMPLE = [ExampleTurn(role="user", content="q"), ExampleTurn(role="assistant", content=RAW)]
OWN_SYSTEM = GoldenInput(
    id="g", messages=[GoldenMessage(role="system", content=SAYS), GoldenMessage(role="user", content="q")]
)


@pytest.mark.parametrize(
    ("system", "variant", "examples", "item", "belongs"),
    [
        ("Judge it.", {}, [], None, False),
        (SAYS, {}, [], None, True),
        ("Judge it.", {"system": SAYS, "system_file": "p.txt"}, [], None, True),
        (SAYS, {"system": "Judge it.", "system_file": "p.txt"}, [], None, True),
        ("Judge it.", {"few_shot": 1}, [EXAMPLE], None, True),
        ("Judge it.", {}, [EXAMPLE], None, True),
        ("Judge it.", {"output": OutputFormat(kind="grammar", text='root ::= "<reasoning>" x')}, [], None, True),
        ("Judge it.", {}, [], OWN_SYSTEM, True),
        ("Judge it.", {}, [], GoldenInput(id="g", input="What does <REASONING> mean?"), True),
    ],
)
def test_a_tag_of_words_that_is_spoken_of_is_no_thinking(
    system: str, variant: dict[str, Any], examples: list[list[ExampleTurn]], item: GoldenInput | None, belongs: bool
) -> None:
    item = item or GoldenInput(id="g", input="q")
    golden = InputFile(path="g.json", sha256="0" * 64, source="g.yaml")
    under_test = TaskUnderTest(task=Task(name="judge", system=system), golden=golden, repeats=1, examples=examples)
    server = ServerUnderTest(name="lab", api="openai", url="http://127.0.0.1:1/v1")
    candidate = CandidateSpec(name="m", form="served", server=server, served_model="m", variant=Variant(**variant))
    asked = asked_task(under_test, (item,), candidate)
    split = split_thinking(RAW, lambda: asked.asked_for(item))
    assert split.text == (RAW if belongs else "<score>2</score>")
