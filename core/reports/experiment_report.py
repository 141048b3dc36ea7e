"""The report of an experiment: question, answer, charts, tables, caveats and method, as Markdown or as one HTML page."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

from core.experiments.forest import drawn, extent, forest_rows
from core.experiments.shown import ShownExperiment, ShownTask
from core.experiments.tables import TABLES, ExperimentTable, TableSource
from core.format import SCORE_SCALE
from core.reports.svg import ForestMark, Slope, forest_svg, slopes_svg
from core.scoring.scorer import Part
from core.text import printable
from core.wording.experiment_plan import asked_words, held_words
from core.wording.experiment_tables import heads_of, rows_of, title_of
from core.wording.experiments import (
    answer_lines,
    caveat_lines,
    effect_words,
    headline,
    next_lines,
    standing_words,
)

PLOT_COLUMNS = 45
METHOD = (
    "Every arm learns from the same examples for as many optimizer steps. A seed decides what an adapter begins with and in "
    "which order examples come; each arm is trained once for each seed.",
    "Untrained models and all trainings answer the same golden inputs, which no training has seen, in one bake-off. The unit "
    "is the input: repeats are averaged first, and inputs of one source document count as one.",
    "Statements about recipes vary over seeds and inputs: the variance of a difference is the sum of that between the seeds "
    "of each arm and that between inputs, with Satterthwaite's degrees of freedom. With one seed statements are of the "
    "adapters at hand, over inputs alone; with two there is no interval. Intervals are at 95 %.",
    "An arm is shown to be worse where the difference of a pair is shown at 5 % after Holm's correction over all pairs of "
    "arms and both parts, and is at least the task's margin. All others are tied with the leader, whose lead may be luck.",
    "A learning rate is chosen, and a race is run, by held-out loss alone, never by the golden inputs that the answer is "
    "made of.",
)


@dataclass(frozen=True)
class Chart:
    """One chart as SVG, and as rows of text where it can be that."""

    title: str
    svg: str
    rows: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReportPart:
    """A part of a report: a heading with sentences, charts and tables below it."""

    heading: str
    sentences: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[ExperimentTable, ...] = ()
    bullets: tuple[str, ...] = field(default=())


def pieces(source: TableSource, now: float) -> Iterator[ReportPart]:
    """The report in its order."""
    shown = source.shown
    experiment = shown.runs.experiment
    lead = [asked_words(experiment, len(shown.stored.arms)), held_words(experiment), standing_words(shown.standing)]
    yield ReportPart(
        experiment.question or shown.stored.name,
        (*lead, f"Bakehouse, {time.strftime('%Y-%m-%d %H:%M', time.localtime(now))}"),
    )
    for task in shown.tasks:
        yield from _of_task(shown, task)
    tables = [table for make in TABLES.values() for table in make(source) if table.rows]
    yield ReportPart("Tables", tables=tuple(tables))
    yield ReportPart("Method", bullets=METHOD)


def _of_task(shown: ShownExperiment, task: ShownTask) -> Iterator[ReportPart]:
    names, answer = shown.names, task.answer
    charts = [chart for part in answer.parts for chart in _charts(shown, task, part)]
    said = tuple(answer_lines(answer, names))
    yield ReportPart(f"{task.name}: {headline(answer, names)}", said[1:])
    (about, caveats), (ahead, steps) = caveat_lines(answer, names), next_lines(answer, names)
    if caveats:
        yield ReportPart(f"{task.name}: {about}", bullets=tuple(caveats))
    if charts:
        yield ReportPart(f"{task.name}: differences, before and after", charts=tuple(charts))
    if steps:
        yield ReportPart(f"{task.name}: {ahead}", bullets=tuple(steps))


def _charts(shown: ShownExperiment, task: ShownTask, part: Part) -> Iterator[Chart]:
    names, rows = shown.names, forest_rows(task.answer, part)
    if len(rows) > 1:
        title = f"{task.name}, {part}: each arm less the leader, with 95 % intervals, on the scale of {SCORE_SCALE}"
        marks = [
            ForestMark(
                names[row.arm],
                None if row.effect is None else row.effect.mean,
                None if row.effect is None else row.effect.interval.low,
                None if row.effect is None else row.effect.interval.high,
                "leads" if row.effect is None else effect_words(row.effect),
                row.worse,
                row.effect is None,
            )
            for row in rows
        ]
        low, high = extent(rows)
        width = max(len(mark.label) for mark in marks)
        text = [
            f"{'x' if mark.worse else ' '} {mark.label:<{width}} {drawn(row, low, high, PLOT_COLUMNS)} {mark.words}"
            for row, mark in zip(rows, marks, strict=True)
        ]
        yield Chart(title, forest_svg(marks, title), tuple(text))
    slopes = [
        Slope(names[score.arm], score.untrained.mean, score.tuned.mean, score.arm == task.answer.leader)
        for score in task.answer.scores
        if score.part == part and score.untrained and score.untrained.mean is not None and score.tuned.mean is not None
    ]
    if slopes:
        title = f"{task.name}, {part}: before and after training, 0 to {SCORE_SCALE}"
        yield Chart(title, slopes_svg(slopes, title))


# Markdown


def markdown_report(source: TableSource, now: float) -> str:
    """The report as Markdown: charts are text, so that it reads the same wherever it is pasted."""
    lines: list[str] = []
    for number, piece in enumerate(pieces(source, now)):
        lines += [f"{'#' if number == 0 else '##'} {_plain(piece.heading)}", ""]
        for sentence in piece.sentences:
            inner = sentence.startswith("  ")
            lines += [f"- {_plain(sentence.strip())}"] if inner else ["", _plain(sentence), ""]
        for chart in piece.charts:
            if chart.rows:
                lines += ["", _plain(chart.title), "", *(f"    {printable(row)}" for row in chart.rows), ""]
        for table in piece.tables:
            lines += ["", f"**{_plain(title_of(table))}**", "", *_markdown_table(table), ""]
        lines += [f"- {_plain(text)}" for text in piece.bullets]
        lines.append("")
    kept = [line for line, before in zip(lines, ["", *lines], strict=False) if line or before]
    return "\n".join(kept).strip() + "\n"


def _markdown_table(table: ExperimentTable) -> list[str]:
    def row(cells: Sequence[str]) -> str:
        return "| " + " | ".join(_plain(cell).replace("|", "\\|") for cell in cells) + " |"

    return [row(heads_of(table)), "|" + "---|" * len(table.columns), *map(row, rows_of(table))]


def _plain(text: str) -> str:
    """Text of others as text: no markup of it is read."""
    said = printable(text)
    for sign in "\\`*_<>[]#":
        said = said.replace(sign, f"\\{sign}" if sign not in "<>" else {"<": "&lt;", ">": "&gt;"}[sign])
    return said


# HTML

STYLE = """
:root { color-scheme: light dark; --ink: #1d2126; --soft: #5c646e; --rule: #c9ced4; --page: #fff; }
:root { --good: #0b6e4f; --bad: #a8322a; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #dfe2e6; --soft: #98a0aa; --rule: #3b424a; --page: #15181c; --good: #5cc49a; --bad: #ee8a7f; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; }
h2 { font-size: 1.2rem; margin-top: 2rem; }
figure { margin: 0; }
figcaption { font-weight: 600; margin-top: 1rem; }
.inner { margin: .2rem 0 .2rem 1.5rem; color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0 1.5rem; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid var(--rule); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
svg { width: 100%; height: auto; max-width: 52rem; margin: 1rem 0; }
svg text { font: 13px system-ui, sans-serif; fill: var(--ink); }
svg text.axis { fill: var(--soft); }
svg line.axis, svg line.zero { stroke: var(--rule); }
svg line.tied { stroke: var(--ink); stroke-width: 1.5; }
svg circle.tied { fill: var(--ink); }
svg line.worse { stroke: var(--bad); stroke-width: 1.5; stroke-dasharray: 5 3; }
svg circle.worse { fill: var(--page); stroke: var(--bad); stroke-width: 2; }
svg line.leads { stroke: var(--good); stroke-width: 2.5; }
svg circle.leads, svg path.leads { fill: var(--good); }
@media print { body { max-width: none; margin: 0; } h2 { break-after: avoid; } svg, table { break-inside: avoid; } }
"""


def html_report(source: TableSource, now: float) -> str:
    """The report as one page that needs nothing else: no script, no font, no address."""
    body: list[str] = []
    for number, piece in enumerate(pieces(source, now)):
        tag = "h1" if number == 0 else "h2"
        body.append(f"<{tag}>{_html(piece.heading)}</{tag}>")
        for sentence in piece.sentences:
            kind = ' class="inner"' if sentence.startswith("  ") else ""
            body.append(f"<p{kind}>{_html(sentence.strip())}</p>")
        for chart in piece.charts:
            body.append(f"<figure><figcaption>{_html(chart.title)}</figcaption>{chart.svg}</figure>")
        body += [_html_table(table) for table in piece.tables]
        if piece.bullets:
            body.append("<ul>" + "".join(f"<li>{_html(text)}</li>" for text in piece.bullets) + "</ul>")
    title = _html(source.shown.stored.name)
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}<title>{title}</title><style>{STYLE}</style></head>\n<body>\n'
        + ("\n".join(body) + "\n</body></html>\n")
    )


def _html_table(table: ExperimentTable) -> str:
    head = "".join(f"<th>{_html(cell)}</th>" for cell in heads_of(table))
    rows = "".join("<tr>" + "".join(f"<td>{_html(cell)}</td>" for cell in row) + "</tr>" for row in rows_of(table))
    caption = f"<caption>{_html(title_of(table))}</caption>"
    return f'<div class="wide"><table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _html(text: str) -> str:
    return escape(printable(text))
