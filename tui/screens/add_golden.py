"""The shown answer as a golden input: a small dialog over what is written."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from textual.message import Message

from core.errors import BakehouseError
from core.text import printable
from tui import actions
from tui.actions import RequestDone
from tui.queries.addition import AS_INPUT, EXPECTATIONS, AdditionOutlook, ShownAnswer, read_additions
from tui.queries.failures import ask_beside
from tui.screens.field_dialog import FieldDialog

if TYPE_CHECKING:
    from textual.app import App

    from core.marking.addition import Addition
    from tui.context import Context

USES = ("by the rule", "choose", "confirm")


class AskGolden(FieldDialog["Addition | None"]):
    """Returns what is to be added, or None."""

    question = "Make it a golden input?"
    act = "write it"
    about_at = 48
    longest = 4_000
    written = frozenset({"id", "tags", "expect"})

    class OutlookRead(Message):
        def __init__(self, outlook: AdditionOutlook) -> None:
            super().__init__()
            self.outlook = outlook

    def __init__(self, context: Context, shown: ShownAnswer) -> None:
        super().__init__()
        self.context = context
        self.shown = shown
        self.outlook: AdditionOutlook | None = None
        """None until it was read."""
        self.values = {"what": EXPECTATIONS, "task": shown.task, "id": "", "use": USES[0], "tags": "", "expect": ""}

    def on_mount(self) -> None:
        super().on_mount()
        if self.context.live:
            context, shown = self.context, self.shown
            ask_beside(
                "golden",
                lambda: self.OutlookRead(read_additions(context.home, context.find_project, shown)),
                lambda line: self.OutlookRead(AdditionOutlook(problem=line)),
                self.post_message,
            )

    def on_ask_golden_outlook_read(self, message: OutlookRead) -> None:
        self.outlook = message.outlook
        self.turned("what")
        self.fit()

    @property
    def addition(self) -> Addition | None:
        """What would be written, before what the person changes."""
        if self.outlook is None:
            return None
        return self.outlook.additions.get((self.values["what"], self.values["task"]))

    def turned(self, field: str) -> None:
        if field not in ("what", "task") or self.outlook is None:
            return
        if field == "what" and self.values["what"] == EXPECTATIONS:
            self.values["task"] = self.shown.task
        if field == "task" and self.values["task"] != self.shown.task:
            self.values["what"] = AS_INPUT
        from core.marking.written_expect import expect_text

        if (addition := self.addition) is not None:
            missing = (
                addition.missing
                if self.values["what"] == EXPECTATIONS
                else self.outlook.keys.get(self.values["task"], ())
            )
            self.values["expect"] = expect_text(addition.expect, missing)
            self.values["tags"] = ", ".join(addition.tags)

    @property
    def fields(self) -> list[str]:
        completes = self.addition is not None and self.addition.completes is not None
        return ["what", "task", "expect"] if completes else ["what", "task", "expect", "id", "use", "tags"]

    def options(self, field: str) -> tuple[str, ...]:
        tasks = (self.shown.task,) if self.outlook is None else self.outlook.tasks
        return {"what": (EXPECTATIONS, AS_INPUT), "task": tasks, "use": USES}.get(field, ())

    def about(self, field: str) -> str:
        if field == "what":
            asked = self.values["what"] == EXPECTATIONS
            return "with what this answer shows" if asked else "is what is asked"
        if field == "use":
            return "a third of all confirm" if self.values["use"] == USES[0] else ""
        return "of the text, where none is written" if field == "id" else ""

    @property
    def expect(self) -> dict[str, Any]:
        """Raises `InputError` for what is no YAML."""
        from core.marking.written_expect import parse_expect

        return parse_expect(self.values["expect"])

    @property
    def problem(self) -> str:
        if self.outlook is None:
            return "reading the answer …"
        if self.outlook.problem:
            return self.outlook.problem
        addition = self.addition
        if addition is None:
            return "the answer itself can be an input of that task"
        try:
            expect = self.expect
        except BakehouseError as error:
            return error.message
        if addition.completes is not None:
            lacks = "expects all that the checks ask for already; the answer itself can be an input"
            return "" if expect else f"{addition.completes} {lacks}"
        lacking = [key for key in self.outlook.keys.get(addition.task, ()) if key not in expect]
        return f"the checks expect {', '.join(lacking)}: e writes it" if lacking else ""

    @property
    def explanation(self) -> list[str]:
        addition = self.addition
        if addition is None:
            return []
        if addition.completes is not None:
            return [f"The golden input {printable(addition.completes)} gets the expectations that it lacks."]
        asked = " ".join(addition.text.split()) or "an empty input"
        return [f"Asked: {asked[:200]}{'…' if len(asked) > 200 else ''}"]

    @property
    def command(self) -> str:
        from core.authoring.yaml_text import flow_value

        shown, read, wanted = self.shown, self.addition, self.chosen()
        assert read is not None  # there is no problem
        words = ["bakehouse", "golden", "add", read.task, "--from", str(shown.job_id), "--input", shown.input_id]
        words += ["--candidate", shown.candidate]
        words += ["--of-task", shown.task] if read.task != shown.task else []
        words += ["--repeat", str(shown.repeat)] if shown.repeat > 1 else []
        words += ["--as-input"] if self.values["what"] == AS_INPUT else []
        if wanted.expect != read.expect:
            words += [f"--expect={key}={flow_value(value)}" for key, value in wanted.expect.items()]
        words += [f"--id={wanted.name}"] if wanted.name else []
        words += [f"--use={wanted.use}"] if wanted.use else []
        words += [f"--tag={tag}" for tag in wanted.tags] if wanted.tags != read.tags else []
        return shlex.join(words)

    def chosen(self) -> Addition:
        addition = self.addition
        assert addition is not None  # there is no problem
        use = self.values["use"]
        return addition.changed(
            expect=self.expect,
            name=self.values["id"] or None,
            use=None if use == USES[0] else use,
            tags=tuple(tag for tag in (one.strip() for one in self.values["tags"].split(",")) if tag),
        )


def ask_golden(
    app: App[Any], context: Context, job_id: int, task: str, candidate: str, input_id: str, repeat: int
) -> None:
    """Open the dialog about an answer, and write what comes of it beside the console."""

    def answered(wanted: Addition | None) -> None:
        if wanted is None:
            return

        def write() -> RequestDone:
            from core.marking.addition import add_one

            added, golden = add_one(context.find_project(), wanted)
            return RequestDone(f"golden input {printable(added.id)}: {golden.path}")

        actions.in_background(context, write)

    app.push_screen(AskGolden(context, ShownAnswer(job_id, task, candidate, input_id, repeat)), answered)
