"""The keys of the results screen, view by view."""

from __future__ import annotations

from typing import Any

from tui.commands import Command, Condition, command

ONE_ONLY = "There is one bake-off only."
ONE_TASK = "This bake-off is over one task."
NO_MODES = "No failure mode was seen in the answers of this candidate."
OLDER_SCORES = "These scores were made before failure modes were looked for: R rescores with the current checks."
ELSEWHERE = "The answer that shows it opens from the leaderboard and beside answers."
NO_VERDICTS = "No verdict of a judge is missing."
NO_STAGES = "The candidates are not the stages of an adapter: `bakehouse bakeoff --stages JOB` compares those."


def shows(*views: str) -> Condition:
    """Whether one of these views is shown."""

    def condition(screen: Any) -> bool:
        return screen.view in views

    return condition


def other_than(*views: str) -> Condition:
    def condition(screen: Any) -> bool:
        return screen.view not in views

    return condition


def has_several_tasks(screen: Any) -> bool:
    return len(screen.place.boards) > 1


def can_turn_tasks(screen: Any) -> bool:
    return has_several_tasks(screen) and screen.view != "matrix"


def can_open_matrix(screen: Any) -> bool:
    return screen.view != "matrix" and screen.board is not None and screen.board.matrix is not None


def can_open_stages(screen: Any) -> bool:
    return screen.view != "stages" and screen.board is not None and screen.board.stages is not None


def has_failure_modes(screen: Any) -> bool:
    candidate = screen.place.candidate
    return screen.view in ("board", "answers") and candidate is not None and bool(candidate.modes)


def why_no_example(screen: Any) -> str:
    candidate = screen.place.candidate
    if candidate is None:
        return "There are no answers yet."
    return OLDER_SCORES if candidate.modes is None else ELSEWHERE if candidate.modes else NO_MODES


def has_parts(screen: Any) -> bool:
    return screen.view in ("inputs", "stages") and screen.board is not None and len(screen.board.parts) > 1


def shows_answer(screen: Any) -> bool:
    return screen.view in ("board", "inputs", "answers") and screen.shown_answer is not None


def lacks_verdicts(screen: Any) -> bool:
    return any(board.lacks_verdicts for board in screen.place.boards)


COMMANDS: tuple[Command, ...] = (
    command(
        "j ↓",
        "candidate",
        "The next candidate",
        "j,down",
        "vertical(1)",
        shows("matrix", "stages", "board"),
        1,
        palette=False,
    ),
    command(
        "k ↑",
        "before",
        "The candidate before",
        "k,up",
        "vertical(-1)",
        shows("matrix", "stages", "board"),
        0,
        palette=False,
    ),
    command("j ↓", "input", "The next golden input", "j,down", "vertical(1)", shows("inputs"), 1, palette=False),
    command("k ↑", "before", "The golden input before", "k,up", "vertical(-1)", shows("inputs"), 0, palette=False),
    command("j ↓", "down", "Further rows of the answers", "j,down", "vertical(1)", shows("answers"), 2, palette=False),
    command("k ↑", "up", "Back in the answers", "k,up", "vertical(-1)", shows("answers"), 0, palette=False),
    command("→", "task", "The next task", "right", "horizontal(1)", shows("matrix"), 1, palette=False),
    command("←", "before", "The task before", "left", "horizontal(-1)", shows("matrix"), 0, palette=False),
    command("→", "candidate", "The next candidate", "right", "horizontal(1)", shows("inputs"), 1, palette=False),
    command("←", "before", "The candidate before", "left", "horizontal(-1)", shows("inputs"), 0, palette=False),
    command(
        "→", "input", "The next golden input", "right", "horizontal(1)", shows("board", "answers"), 1, palette=False
    ),
    command("←", "before", "The input before", "left", "horizontal(-1)", shows("board", "answers"), 0, palette=False),
    command("n", "input", "The next golden input", "n", "input(1)", other_than("matrix", "stages"), 0),
    command("p", "input before", "The golden input before", "p", "input(-1)", other_than("matrix", "stages"), 0),
    command(
        "⏎", "board", "The leaderboard of this task", "enter", "enter", shows("matrix", "stages"), 1, palette=False
    ),
    command("⏎", "answers", "The answers to this input", "enter", "enter", shows("board", "inputs"), 1, palette=False),
    command(
        "m",
        "matrix",
        "All tasks and candidates side by side",
        "m",
        "view('matrix')",
        can_open_matrix,
        1,
        unless=ONE_TASK,
    ),
    command(
        "S",
        "stages",
        "Where quality was lost: the stages of the adapter",
        "S",
        "view('stages')",
        can_open_stages,
        1,
        unless=NO_STAGES,
    ),
    command("b", "board", "The leaderboard of the task", "b", "view('board')", shows("stages", "inputs", "answers"), 1),
    command("i", "inputs", "The score of each candidate on each input", "i", "view('inputs')", other_than("inputs"), 1),
    command(
        "d",
        "differences",
        "Mark only what differs between the two answers",
        "d",
        "differences",
        other_than("matrix", "stages"),
        1,
        "diff",
    ),
    command("c", "compare", "Compare with the next candidate", "c", "compare(1)", shows("board", "answers"), 2),
    command(
        "C", "candidate", "The other of the two answers: its next candidate", "C", "candidate(1)", shows("answers"), 2
    ),
    command(
        "f",
        "next failed",
        "The next input that this candidate does not pass",
        "f",
        "failed",
        other_than("matrix", "stages"),
        2,
    ),
    command(
        "e",
        "what failed",
        "The answer that shows what is wrong with this candidate; again: its next failure mode",
        "e",
        "example",
        has_failure_modes,
        2,
        unless=why_no_example,
    ),
    command("r", "repeat", "The next repeat; the worst is shown first", "r", "repeat", shows("board", "answers"), 2),
    command("w", "worst", "The worst repeat of each input, or the mean", "w", "worst", shows("inputs"), 2),
    command("v", "part", "The score for format, or that for content", "v", "part", has_parts, 2),
    command("t", "next task", "The next task of this bake-off", "t", "task(1)", can_turn_tasks, 3, unless=ONE_TASK),
    command("T", "task before", "The task before", "T", "task(-1)", can_turn_tasks, 0, unless=ONE_TASK),
    command(
        "l",
        "next bake-off",
        "The next bake-off",
        "l,tab",
        "turn(1)",
        lambda screen: screen.several,
        2,
        unless=ONE_ONLY,
    ),
    command(
        "h",
        "bake-off before",
        "The bake-off before",
        "h,shift+tab",
        "turn(-1)",
        lambda screen: screen.several,
        0,
        unless=ONE_ONLY,
    ),
    command(
        "z", "zoom", "The leaderboard with all its notes, or with the answers below", "z", "zoom", shows("board"), 2
    ),
    command("space", "scroll", "Further rows", "space,pagedown", "scroll(8)", rank=3),
    command("page up", "scroll back", "Back again", "pageup", "scroll(-8)", rank=0),
    command(
        "x",
        "extend",
        "Extend it: more tasks, candidates, variants or repeats; only what is new is asked",
        "x",
        "extend",
        rank=3,
    ),
    command(
        "a",
        "ask servers",
        "Ask servers and look at files again: is all still as it was measured?",
        "a",
        "ask",
        rank=3,
    ),
    command(
        "M",
        "marking",
        "Mark which of two answers is right, without their names",
        "M",
        "marking",
        lambda screen: screen.board is not None,
        3,
        unless="There are no answers yet.",
    ),
    command(
        "G",
        "golden",
        "Make the answer that is shown a golden input: its expectations, or its text",
        "G",
        "golden",
        shows_answer,
        3,
        unless="No answer is shown: open the answers of an input.",
    ),
    command(
        "D",
        "drafts",
        "Have two candidates answer production inputs, to be marked",
        "D",
        "drafts",
        lambda screen: len(screen.place.pair) == 2,
        4,
        unless="Two candidates are compared, and there is one.",
    ),
    command(
        "J",
        "judge",
        "Ask the judges for the verdicts that are missing",
        "J",
        "judge",
        lacks_verdicts,
        2,
        unless=NO_VERDICTS,
    ),
    command("R", "rescore", "Rescore with the current checks", "R", "rescore", rank=3),
    command(
        "s",
        "scores",
        "The original scores, or those of the newest rescoring",
        "s",
        "scores",
        lambda screen: screen.was_rescored,
        2,
        unless="This bake-off was not rescored: R rescores it with the current checks.",
    ),
    command("esc", "back", "Back to where this was opened from", "escape", "back", rank=1),
    command("q", "dashboard", "Back to the dashboard", "q", "app.pop_screen", rank=0),
    command(":", "commands", "Find a command by its name", "colon", "palette", palette=False),
    command("?", "help", "Show the keys that work here", "question_mark", "help", rank=1),
)
