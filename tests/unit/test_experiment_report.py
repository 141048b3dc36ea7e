"""The tables of an experiment, and its report as Markdown and as a page that needs nothing else."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from core.config.project import Project
from core.errors import NotFoundError
from core.experiments.arms import expand
from core.experiments.shown import shown_experiment
from core.experiments.tables import TABLES, TableSource, table_source
from core.fleet.rows import FleetRow
from core.home import Home
from core.reports.experiment_report import html_report, markdown_report
from core.reports.svg import ForestMark, Slope, forest_svg, slopes_svg
from core.store.database import open_database
from core.store.fleet import Alias
from core.wording.experiment_tables import heads_of, rows_of, shown_columns, value_words
from tests.support.commands import called
from tests.support.stored_experiment import (
    LARGE,
    NAME,
    PEAKS,
    SMALL,
    STEP_SECONDS,
    home_with_experiment,
    written_experiment,
)

SERVED = Alias(1, "ollama", "http://127.0.0.1:11434", "judge", "judge", None, None, None, None, None, None)
HOSTILE = "<script>alert(1)</script> | `x` \x1b[31m [a](http://b)"


def source(home: Home, project: Project, of: tuple[str, ...] = ()) -> TableSource:
    with contextlib.closing(open_database(home)) as connection:
        return table_source(home, connection, shown_experiment(home, connection, project, NAME), of)


def test_each_table_has_what_was_measured(tmp_path: Path) -> None:
    home, project = home_with_experiment(tmp_path)
    found = source(home, project)
    (base,) = TABLES["base-scores"](found)
    assert [row[0] for row in base.rows] == [SMALL, LARGE] and shown_columns(base) == [
        "model",
        "judge format",
        "judge content",
    ]
    assert all(low <= score <= high for _, score, low, high, *_ in base.rows)  # type: ignore[operator]
    (both,) = TABLES["before-after"](found)
    first = dict(zip(both.columns, both.rows[0], strict=True))
    assert first["arm"] == f"{SMALL} bf16" and first["gain"] == pytest.approx(first["after"] - first["before"])  # type: ignore[operator]
    assert first["after_low"] < first["after"] < first["after_high"]  # type: ignore[operator]
    assert {row[-1] for row in both.rows} == {None}, "nothing serves"
    (trained,) = TABLES["training"](found)
    by_arm = {row[0]: dict(zip(trained.columns, row, strict=True)) for row in trained.rows}
    assert {name: row["peak_bytes"] for name, row in by_arm.items()} == PEAKS
    assert {row["lr"] for row in by_arm.values()} == {
        arm.recipe.lr for arm in expand(written_experiment(), project).arms
    }
    assert {name: row["seconds_a_step"] for name, row in by_arm.items()} == STEP_SECONDS
    inputs = TABLES["inputs"](found)
    assert [one.name for one in inputs] == ["inputs format", "inputs content"] and len(inputs[0].rows) == 12
    assert inputs[0].columns[1:] == (*PEAKS, f"{SMALL} untrained", f"{LARGE} untrained")
    (sizes,) = TABLES["sizes"](found)
    assert sizes.rows[0][:5] == ("judge", None, None, None, f"{SMALL} bf16")


def test_inputs_of_named_arms_alone_and_of_nobody_unknown(tmp_path: Path) -> None:
    home, project = home_with_experiment(tmp_path)
    found = TABLES["inputs"](source(home, project, (f"{SMALL} bf16", LARGE)))
    assert found[0].columns == ("input", f"{SMALL} bf16", f"{LARGE} untrained")
    with pytest.raises(NotFoundError) as unknown:
        source(home, project, ("Qwen9",))
    assert unknown.value.code == "no_arm"


class _Page(HTMLParser):
    """What a page would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [tag] if tag in ("script", "link", "img", "iframe", "object") else []
        self.found += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "onload", "onerror")]


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_a_page_needs_nothing_else_and_has_the_answer(tmp_path: Path, blocks: int) -> None:
    page = html_report(source(*home_with_experiment(tmp_path, blocks=blocks)), 0.0)
    read = _Page()
    read.feed(page)
    assert not read.found and "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    charts = re.findall(r"<svg.*?</svg>", page, re.S)
    assert len(charts) == (0 if blocks == 0 else 4)
    for chart in charts:
        ElementTree.fromstring(chart)
    assert ("wins" in page) == (blocks > 0) and "Satterthwaite" in page


def test_names_of_others_are_text_in_both(tmp_path: Path) -> None:
    home, project = home_with_experiment(tmp_path)
    found = source(home, project)
    stored = found.shown.stored
    arms = tuple(replace(arm, name=f"{arm.name} {HOSTILE}") for arm in stored.arms)
    named = replace(found.shown, runs=replace(found.shown.runs, stored=replace(stored, arms=arms)))
    hostile = replace(found, shown=named)
    page, text = html_report(hostile, 0.0), markdown_report(hostile, 0.0)
    read = _Page()
    read.feed(page)
    assert not read.found and "\x1b" not in page and "\x1b" not in text
    outside = re.sub(r"^    .*$", "", text, flags=re.M)  # what is indented is shown as it is
    assert "<script>" not in outside and not re.search(r"(?<!\\)\]\(http", outside)


def test_charts_of_odd_values_are_charts_still() -> None:
    marks = [
        ForestMark("a", None, None, None, "leads", leads=True),
        ForestMark("b & <c>", 0.0, None, None, "no interval"),
    ]
    for chart in (
        forest_svg(marks, "t"),
        forest_svg([ForestMark("a", -1.0, -1.4, 1.7, "wide", worse=True)], "t"),
        slopes_svg([Slope("a", 0.0, 1.0), Slope("b", 0.5, 1.0), Slope("c", 0.5, 1.0)], "t"),
    ):
        drawing = ElementTree.fromstring(chart)
        places = [float(one.get("x", 0)) for one in drawing.iter("{http://www.w3.org/2000/svg}text")]
        assert all(0 <= place <= 1000 for place in places)


def test_no_label_of_a_chart_is_cut_off() -> None:
    names = [f"SmolLM2-135M-Instruct 4-bit r16 attempt {number}" for number in range(24)]
    words = "−0.50, no interval: all inputs and seeds say the same"
    for chart in (
        forest_svg([ForestMark(name, -0.1, None, None, words) for name in names], "t"),
        slopes_svg([Slope(name, 0.0, 0.01) for name in names], "t"),
    ):
        drawing = ElementTree.fromstring(chart)
        width, height = (float(one) for one in drawing.get("viewBox", "").split()[2:])
        heights = []
        for one in drawing.iter("{http://www.w3.org/2000/svg}text"):
            x, y, room = float(one.get("x", 0)), float(one.get("y", 0)), 7 * len(one.text or "")
            assert 0 <= y <= height
            assert (x - room >= 0) if one.get("text-anchor") == "end" else (x + room / 2 <= width)
            assert one.get("text-anchor") != "start" or x + room <= width
            heights += [y] if (one.text or "").startswith("SmolLM2") else []
        gaps = [below - above for above, below in zip(sorted(heights), sorted(heights)[1:], strict=False)]
        assert len(heights) == len(names) and min(gaps) >= 15.9


def test_figures_of_a_small_training_are_not_rounded_to_nothing() -> None:
    shown = [value_words(*one) for one in (("trainable", 460_800), ("joules", 1080.0), ("seconds_a_step", 0.04))]
    assert shown == ["461 k", "0.3 Wh", "0.04 s"]


def test_the_commands_write_and_never_over_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home, project = home_with_experiment(tmp_path)
    monkeypatch.setenv("BAKEHOUSE_HOME", str(home.root))
    monkeypatch.setenv("COLUMNS", "120")
    at = ["--project", str(project.root)]
    page, text = tmp_path / "r.html", tmp_path / "r.md"
    words = ["experiment", "report", NAME, *at, "--html", str(page), "--markdown", str(text)]
    assert called(capsys, words)[0] == 0 and page.read_text().startswith("<!DOCTYPE html>")
    text.write_text("mine")
    code, _, problem = called(capsys, words)
    assert code == 2 and "--force" in problem and text.read_text() == "mine"
    assert called(capsys, [*words, "--force"])[0] == 0 and text.read_text().startswith("# Which model")
    assert called(capsys, ["experiment", "report", NAME, *at])[1].startswith("# Which model")
    both = tmp_path / "both"
    code, _, problem = called(capsys, [*words[:5], "--html", str(both), "--markdown", str(both)])
    assert code == 2 and "one file" in problem and not both.exists()
    for table in TABLES:
        assert called(capsys, ["experiment", "show", NAME, *at, "--table", table])[0] == 0
    document = json.loads(called(capsys, ["experiment", "show", NAME, *at, "--table", "training", "--json"])[1])
    assert document["tables"][0]["rows"][0]["base"] == SMALL


def test_figures_are_read_with_their_intervals_and_what_serves_in_a_row_of_its_own(tmp_path: Path) -> None:
    found = source(*home_with_experiment(tmp_path))
    serving = FleetRow(None, "judge", SERVED, None, {"format": 0.9})
    (table,) = TABLES["before-after"](replace(found, serving={"judge": serving}))
    rows = [dict(zip(heads_of(table), row, strict=True)) for row in rows_of(table)]
    assert re.fullmatch(r"\d\.\d\d \[\d\.\d\d, \d\.\d\d\]", rows[0]["after"]) and rows[0][""] == ""
    assert re.fullmatch(r"\+\d\.\d\d \[.*\]", rows[0]["gain"])
    served = [row for row in rows if row[""]]
    assert [(row["arm"], row["part"], row["before"], row["after"], row[""]) for row in served] == [
        ("judge", "format", "—", "4.50", "in production"),
        ("judge", "content", "—", "—", "in production"),
    ]


def test_columns_are_chosen_of_the_table_that_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home, project = home_with_experiment(tmp_path)
    monkeypatch.setenv("BAKEHOUSE_HOME", str(home.root))
    asked = ["experiment", "show", NAME, "--project", str(project.root), "--of", SMALL]
    code, _, problem = called(capsys, asked)
    assert code == 2 and "--table inputs" in problem
    assert called(capsys, [*asked, "--table", "inputs"])[0] == 0


def test_what_speaks_against_an_answer_is_read_before_its_charts(tmp_path: Path) -> None:
    page = html_report(source(*home_with_experiment(tmp_path, blocks=1)), 0.0)
    assert page.index("wins") < page.index("before you believe it") < page.index("<svg")
