"""Models of six families: whole ones train, merge and answer; damaged ones are told at submission or at load, in one line.

`make test` has each family whole and one of them with every damage, the soak has the whole matrix.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from core.config.model import ModelEntry
from core.config.recipe import Recipe
from core.config.task import Task
from core.errors import InputError
from core.files import read_json
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec
from core.jobfile.merge import MergeSpec
from core.jobfile.spec import Spec
from core.jobfile.train import TrainSpec
from core.models.files import check_model_files
from core.scoring.answers import read_answers
from tests.support.model_families import (
    AT_LOAD,
    AT_SUBMISSION,
    FAMILIES,
    change_json,
    change_tensors,
    copied,
    write_family,
)
from tests.support.workshop import Workshop, losses

pytestmark = pytest.mark.train

ROW = "phi3"
DAMAGES = {**AT_SUBMISSION, **AT_LOAD}
MATRIX = [
    pytest.param(family, damage, marks=() if family == ROW else pytest.mark.soak)
    for family in FAMILIES
    for damage in DAMAGES
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from jobs import models

    models.prepare_libraries()
    root = tmp_path_factory.mktemp("families")
    for family in FAMILIES:
        write_family(family, root / family)
    return root


@pytest.fixture(scope="module")
def shop(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    home = Home(tmp_path_factory.mktemp("home")).create()
    made = Workshop(home, ModelEntry(name="family", path=str(folders)), forked=True, threads=1)
    yield made
    made.close()


def plain(recipe: Recipe) -> Recipe:
    """The recipe with its targets left to the model, without what draws random numbers."""
    document = recipe.model_dump(exclude={"targets"})
    changes = {"epochs": 3.0, "lr": 0.02, "dropout": 0.0, "neftune": None, "save_steps": None, "schedule": "constant"}
    return Recipe.model_validate({**document, **changes})


@pytest.mark.parametrize("family", FAMILIES)
def test_a_whole_model_trains_merges_and_answers(
    shop: Workshop, folders: Path, task: Task, recipe: Recipe, family: str
) -> None:
    number = 10 * (1 + list(FAMILIES).index(family))
    entry = ModelEntry(name=family, path=str(folders / family))
    check_model_files(shop.home, entry)
    trained = shop.submit(number, TrainSpec(task=task, model=entry, recipe=plain(recipe), train=shop.greetings()))
    assert shop.finish(trained) == 0, trained.attempt(1).log.read_text()
    curve = [loss for loss, _, _ in losses(trained, 1).values()]
    assert curve[-1] < 0.9 * curve[0]

    merged = shop.submit(number + 1, MergeSpec(adapter=f"job:{number}", model=entry, dtype="fp32"))
    assert shop.finish(merged) == 0, merged.attempt(1).log.read_text()
    result = read_json(merged.result)
    survival = result["summary"]["survival"]
    assert survival["share"] == pytest.approx(1, abs=1e-3) and survival["unchanged"] == 0
    assert survival["worst"]["share"] == min(one["share"] for one in survival["tensors"])
    assert len(survival["tensors"]) == survival["updated"] and "of the update survives in fp32" in result["message"]
    candidates = [
        CandidateSpec(name="base", form="base", model=entry),
        CandidateSpec(name="tuned", form="adapter", model=entry, ref=f"job:{number}"),
        CandidateSpec(name="merged", form="merged", model=entry, ref=f"job:{number + 1}"),
    ]
    spec = BakeoffSpec(task=task, golden=shop.golden("Ines"), candidates=candidates, repeats=1)
    asked = shop.submit(number + 2, spec)
    assert shop.finish(asked) == 0, asked.attempt(1).log.read_text()
    texts = {answer.candidate: answer.text for answer in read_answers(asked.answers)}
    assert texts["tuned"] == texts["merged"] != texts["base"]


@pytest.mark.parametrize(("family", "damage"), MATRIX)
def test_a_damaged_model_is_told_in_one_line(folders: Path, tmp_path: Path, family: str, damage: str) -> None:
    import torch

    from jobs import models

    folder = copied(folders / family, tmp_path / "model")
    DAMAGES[damage](folder)
    home = Home(tmp_path / "home").create()
    entry = ModelEntry(name="damaged", path=str(folder))
    told: list[InputError] = []
    try:
        check_model_files(home, entry)
    except InputError as error:
        told.append(error)
    assert bool(told) is (damage in AT_SUBMISSION)
    # The load tells of it too, by itself: files change while a job waits.
    with pytest.raises(InputError) as refused:
        models.load_model(models.BaseModel("damaged", folder, None, ""), home, torch.device("cpu"), torch.float32)
        models.load_tokenizer(models.BaseModel("damaged", folder, None, ""), home)
    for error in (*told, refused.value):
        assert len(str(error).splitlines()) == 1 and str(folder) in str(error)
    assert all(error.remedy for error in told)


def test_tensors_that_the_model_has_no_use_for_are_told_and_those_of_its_blocks_refused(
    folders: Path, tmp_path: Path
) -> None:
    import torch

    from jobs import models

    folder = copied(folders / "mistral", tmp_path / "model")
    base, home = models.BaseModel("m", folder, None, ""), Home(tmp_path / "home").create()
    told: list[tuple[str, str]] = []

    def load() -> None:
        models.load_model(
            base, home, torch.device("cpu"), torch.float32, lambda code, message: told.append((code, message))
        )

    change_tensors(folder, lambda tensors: tensors.update({"v_head.summary.weight": torch.ones(1, 64)}))
    load()
    assert [code for code, _ in told] == ["tensors_passed_over"] and "v_head.summary.weight" in told[0][1]
    bias = "model.layers.0.self_attn.q_proj.bias"
    change_tensors(folder, lambda tensors: tensors.update({bias: torch.ones(64)}))
    with pytest.raises(InputError, match=r"no place for, model\.layers\.0\.self_attn\.q_proj\.bias"):
        load()


@pytest.mark.parametrize("kind", ["train", "bakeoff"])
def test_a_tokenizer_of_another_model_is_told_by_the_token_that_has_no_row(
    shop: Workshop, folders: Path, tmp_path: Path, task: Task, recipe: Recipe, kind: str
) -> None:
    """The embedding lost its last rows, and config.json says so too: only texts with such a token show it."""
    folder = copied(folders / "llama", tmp_path / "model")
    rows = 300

    def cut(tensors: dict[str, Any]) -> None:
        for name in ("lm_head.weight", "model.embed_tokens.weight"):
            tensors[name] = tensors[name][:rows].clone()

    change_tensors(folder, cut)
    change_json(folder, "config.json", lambda config: config.update(vocab_size=rows))
    entry = ModelEntry(name="short", path=str(folder))
    candidates = [CandidateSpec(name="base", form="base", model=entry)]
    spec: Spec = TrainSpec(task=task, model=entry, recipe=recipe, train=shop.greetings())
    if kind == "bakeoff":
        spec = BakeoffSpec(task=task, golden=shop.golden("Ines"), candidates=candidates, repeats=1)
    run = shop.submit(2000 + len(list(shop.home.runs.iterdir())), spec)
    assert shop.finish(run) == 2, run.attempt(1).log.read_text()
    error = read_json(run.attempt(1).error_json)
    assert error["code"] == "mismatched_tokenizer" and f"tokens 0 to {rows - 1}" in error["message"]


@pytest.mark.parametrize(
    "damage", ["half the layers missing", "NaN in one weight", "of another size than config.json says"]
)
@pytest.mark.parametrize("kind", ["train", "hqq", "merge", "bakeoff"])
def test_every_kind_of_job_refuses_what_is_not_whole(
    shop: Workshop, folders: Path, tmp_path: Path, task: Task, recipe: Recipe, kind: str, damage: str
) -> None:
    """The files change behind the submission: each job ends with one line, and none fills in what is missing."""
    folder = copied(folders / "llama", tmp_path / "model")
    DAMAGES[damage](folder)
    entry = ModelEntry(name="damaged", path=str(folder))
    number = 1000 + len(list(shop.home.runs.iterdir()))
    quantised = Recipe.model_validate({**recipe.model_dump(), "method": "qlora-hqq", "hqq": {"group_size": 32}})
    specs = {
        "train": lambda: TrainSpec(task=task, model=entry, recipe=recipe, train=shop.greetings()),
        "hqq": lambda: TrainSpec(task=task, model=entry, recipe=quantised, train=shop.greetings()),
        "merge": lambda: MergeSpec(adapter=str(made_adapter(folders / "llama", tmp_path / "adapter")), model=entry),
        "bakeoff": lambda: BakeoffSpec(
            task=task,
            golden=shop.golden("Ines"),
            candidates=[CandidateSpec(name="base", form="base", model=entry)],
            repeats=1,
        ),
    }
    run = shop.submit(number, specs[kind]())
    try:
        assert shop.finish(run) == 2, run.attempt(1).log.read_text()
        error = read_json(run.attempt(1).error_json)
        assert error["code"] in ("incomplete_model", "damaged_model", "mismatched_model")
        assert str(folder) in error["file"] and error["remedy"]
    finally:
        shutil.rmtree(run.path)


def made_adapter(base: Path, place: Path) -> Path:
    """An adapter of q_proj with random factors, as PEFT writes it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base), LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM")
    )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(place)
    return place
