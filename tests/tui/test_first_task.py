"""Forms for a new training begin with a task that can be trained: of those that are shipped, only some have data."""

from __future__ import annotations

from tests.support.kitchen import Kitchen, kitchen
from tui.queries.catalogue import read_catalogue
from tui.screens.new_run.defaults import default_task
from tui.screens.start_ship import ship_names

__all__ = ["kitchen"]


def test_a_task_without_training_data_is_offered_and_is_not_the_first_choice(kitchen: Kitchen) -> None:
    kitchen.task("almanac")
    kitchen.write("configs/tasks/abacus.yaml", "system: [torn\n")
    catalogue = read_catalogue(kitchen.home, kitchen.project)
    assert [one.name for one in catalogue.tasks][:3] == ["abacus", "almanac", "bread"]
    assert default_task(catalogue) == "bread"
    tasks = ship_names(kitchen.project).tasks
    assert tasks[0] == "bread" and {"abacus", "almanac", "jam"} <= set(tasks)
    assert tasks.index("judge") < tasks.index("almanac")
