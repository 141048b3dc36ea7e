"""What a bake-off would come to, before it is queued: whom the others are compared with, and what is there already."""

from __future__ import annotations

from core.submission.wanted_bakeoff import WantedBakeoff
from tests.support.kitchen import Kitchen, kitchen
from tui.queries.bakeoff_form import BakeoffOutlook, ModelPart, OutlookReader
from tui.screens.new_bakeoff.rows import outlook_rows, sum_line

__all__ = ["kitchen"]


def test_the_incumbent_is_named_before_anything_is_asked(kitchen: Kitchen) -> None:
    reader = OutlookReader(kitchen.home, lambda: kitchen.project)
    assert reader.look(kitchen.wanted("plain@few_shot=1", "other")).incumbent == "plain base @few_shot=1"
    assert reader.look(kitchen.wanted("plain", "other", incumbent="other")).incumbent == "other base"


def test_an_extension_that_adds_nothing_says_so_and_names_no_time() -> None:
    nothing = BakeoffOutlook(WantedBakeoff(extend=1), models=(ModelPart("plain base", 2, 12, 0.0),), there=12)
    rows = [row.plain for row in outlook_rows(nothing, "", False, 100, 9)]
    assert "12 answers in all, all there already" in rows[0] and not any("about" in row for row in rows)
    some = BakeoffOutlook(WantedBakeoff(extend=1), models=(ModelPart("plain base", 2, 12, 9.0),), there=4)
    assert "4 of them there already, about 9 s" in sum_line(some, "text").plain
