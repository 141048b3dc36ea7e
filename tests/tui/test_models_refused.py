"""Where a model is chosen, the console says what its submission would: that the folder is not whole, in the same words."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config.project import Project, load_project
from core.errors import InputError
from core.home import Home
from core.models.files import check_model_files
from tests.support.model_folders import config_of, write_folder
from tests.tui.conftest import Opened, keys_of, seen, text_of
from tests.tui.scene import NOW, job, scene
from tui.queries.background_queries import CatalogueRead
from tui.queries.bakeoff_plan import read_plan
from tui.queries.catalogue import read_catalogue
from tui.screens.new_run import NewRun
from tui.screens.start_bakeoff import AskBakeoff
from tui.widgets.choice import ChoiceField


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose model `torn` lacks a shard."""
    root = tmp_path / "project"
    (root / "configs").mkdir(parents=True)
    (root / "bakehouse.yaml").write_text("id: bakery\n")
    (root / "configs/models.yaml").write_text("torn: {path: ../torn}\n")
    write_folder(tmp_path / "torn", config_of("llama"), shards=3)
    (tmp_path / "torn/model-00002-of-00003.safetensors").unlink()
    return load_project(root)


def refusal(home: Home, project: Project) -> str:
    with pytest.raises(InputError) as caught:
        check_model_files(home, project.model("torn"))
    return str(caught.value)


async def test_the_form_says_it_beside_the_model_and_queues_nothing(
    console: Opened, project: Project, tmp_path: Path
) -> None:
    home = Home(tmp_path / "other").create()
    async with console(size=(160, 45)) as pilot:
        await pilot.press("n")
        screen = pilot.app.screen
        assert isinstance(screen, NewRun)
        screen.post_message(CatalogueRead(read_catalogue(home, project)))
        field = screen.query_one("#model", ChoiceField)
        await seen(pilot, lambda: "torn" in field.names, "the models")
        field.choose(field.names.index("torn"))
        await seen(pilot, lambda: "1 of 3 shards" in text_of(pilot, "#note-model"), "what is wrong with the model")
        assert "queue it" not in keys_of(pilot)
        await pilot.press("enter")
        assert pilot.app.screen is screen and not screen.queueing
        assert screen.form.problems["model"] == refusal(home, project)


async def test_the_dialog_of_a_bake_off_says_it_instead_of_a_plan(
    console: Opened, project: Project, tmp_path: Path
) -> None:
    home = Home(tmp_path / "other").create()
    trained = job(7, "done", "train judge · torn", ended_at=NOW)
    with pytest.raises(InputError) as caught:
        read_plan(home, lambda: project, trained)
    assert str(caught.value) == refusal(home, project)
    async with console(scene(jobs=(trained,)), size=(160, 45)) as pilot:
        await pilot.press("b")
        dialog = pilot.app.screen
        assert isinstance(dialog, AskBakeoff)
        dialog.post_message(AskBakeoff.PlanRead(None, str(caught.value)))
        await seen(pilot, lambda: "model-00002-of-00003.safetensors" in text_of(pilot), "the refusal")
        await pilot.press("enter")
        assert pilot.app.screen is dialog
