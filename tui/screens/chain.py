"""A chain in full: its links with their states and times, and below them the selected link as the dashboard's strip has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.message import Message

from core.runner.commands import COMMANDS, RefusedError, jobs_of_chain
from core.store.chains import Chain
from core.store.jobs import RETRYABLE, JobRow
from core.text import printable
from core.wording.chains import again_words, behind_words, chain_words, retry_words
from tui import actions
from tui.commands import Command, bindings, command
from tui.context import Context
from tui.lines import Line, wrapped
from tui.model.snapshot import EMPTY, Snapshot
from tui.queries.failures import ask_beside
from tui.screens.command_screen import CommandScreen
from tui.screens.confirm import Confirm
from tui.screens.job_actions import JobActions, queue_commands
from tui.screens.model_commands import about, model_commands
from tui.widgets.canvas import Canvas
from tui.widgets.chain_rows import link_line
from tui.widgets.detail import DetailStrip
from tui.widgets.footer import Footer
from tui.widgets.pane import framed


class ChainLinks(Canvas):
    """The links, one a row, and what waits for the one that failed."""

    class Clicked(Message):
        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    def __init__(self) -> None:
        super().__init__(id="links")
        self.snapshot: Snapshot = EMPTY
        self.chain: Chain | None = None
        self.index = 0
        self.changed: str | None = None
        """What has changed in the project since the jobs were submitted, in words; None while that is being read."""

    def below(self, width: int) -> list[Line]:
        """What waits for the link that failed, and how the chain is mended."""
        chain = self.chain
        if chain is None or chain.state not in RETRYABLE:
            return []
        said = [(told, "dim")] if (told := behind_words(chain)) else []
        # `r` is about the selected link, `R` about all that failed.
        key = "r" if chain.links[min(self.index, len(chain.links) - 1)] is chain.current else "R"
        said.append((f"{key} {retry_words(chain, self.snapshot.time)}", "text"))
        if self.changed:
            said.append((f"▲ {again_words(self.changed)}", "warn"))
        return [
            Line(row if number == 0 else f"  {row}", role)
            for text, role in said
            for number, row in enumerate(wrapped(text, width - 2))
        ]

    def draw(self, width: int, height: int) -> list[Line]:
        chain, inner = self.chain, width - 4
        if chain is None:
            return framed([Line("reading …", "dim")], width, height, Line("chain", "bold"), Line(), "focus")
        rows = [
            link_line(link, inner, self.snapshot, "chosen" if number == self.index else "")
            for number, link in enumerate(chain.links)
        ]
        rows = shown_links(rows, self.index, self.below(inner), height - 2)
        words = Line(chain_words(chain, self.snapshot.time, short=width < 100), "dim")
        title = (
            Line(f"chain {chain.id} ", "bold").add(printable(chain.title), "bold").cut(max(8, width - words.width - 9))
        )
        return framed(rows, width, height, title, words, "focus")

    def on_click(self, event: events.Click) -> None:
        self.post_message(self.Clicked(event.y - 1))


def shown_links(links: list[Line], index: int, below: list[Line], height: int) -> list[Line]:
    """As many links as fit above the rows below them, the chosen one among them; what is below gives way first."""
    below = below[: max(0, height - len(links))]
    room = max(1, height - len(below))
    first = max(0, min(index - room // 2, len(links) - room))
    return [*links[first : first + room], *below]


def of_chain(name: str) -> Callable[[Any], bool]:
    """Whether a command of the queue applies to any job of the chain."""

    def applies(screen: Any) -> bool:
        try:
            return screen.chain is not None and bool(jobs_of_chain(COMMANDS[name], screen.chain))
        except RefusedError:
            return False

    return applies


RANKS = {"export": 5, "ship": 3, "deploy": 3, "parity": 5, "stages": 6, "why": 2, "marking": 6}


class ChainScreen(JobActions, CommandScreen):
    heading = "Chain"
    commands: ClassVar[tuple[Command, ...]] = (
        command("j ↓", "down", "Next link", "j,down", "move(1)", rank=0, palette=False),
        command("k ↑", "up", "Link before", "k,up", "move(-1)", rank=0, palette=False),
        command("g", "top", "First link", "g,home", "move(-1000)", rank=0, palette=False),
        command("G", "bottom", "Last link", "G,end", "move(1000)", rank=0, palette=False),
        command("⏎", "open", "Open the job of the link: log, loss, memory, parity", "enter", "open", rank=1),
        *queue_commands(about, whole_queue=False),
        command(
            "R",
            "retry chain",
            "Retry every link of the chain that did not end well",
            "R",
            "retry_chain",
            of_chain("retry"),
            rank=1,
            unless="No link of the chain has failed or was cancelled.",
        ),
        command(
            "C",
            "cancel chain",
            "Cancel every link of the chain that has not ended",
            "C",
            "cancel_chain",
            of_chain("cancel"),
            rank=2,
            unless="Every link of the chain has ended.",
        ),
        *model_commands(about, RANKS, ship="Ship again, with the project as it is now"),
        command("esc", "back", "Back to the dashboard", "escape,q", "app.pop_screen", rank=1),
        command(":", "commands", "Find a command by its name", "colon", "palette", palette=False),
        command("?", "help", "Show the keys that work here", "question_mark", "help", rank=1),
    )
    BINDINGS: ClassVar = bindings(commands)

    class ChangesRead(Message):
        """What has changed since the jobs of the chain were submitted, in words."""

        def __init__(self, words: str) -> None:
            super().__init__()
            self.words = words

    def __init__(self, context: Context, chain_id: int, selected: int | None) -> None:
        super().__init__(context)
        self.chain_id = chain_id
        self.former = selected
        """The job whose files were read before, and are again once this screen is left."""
        self.index: int | None = None
        """The link that a person chose; None: the one that tells how the chain stands."""
        self.looked_at: tuple[int, int] | None = None
        """The link that failed, and its attempt, when it was looked at what has changed since."""

    def compose(self) -> ComposeResult:
        yield from self.first_line()
        yield ChainLinks()
        yield DetailStrip()
        yield from self.last_line()

    @property
    def chain(self) -> Chain | None:
        return self.context.snapshot.chain(self.chain_id)

    @property
    def selected_index(self) -> int:
        chain = self.chain
        if chain is None:
            return 0
        return chain.links.index(chain.current) if self.index is None else min(self.index, len(chain.links) - 1)

    @property
    def job(self) -> JobRow | None:
        chain = self.chain
        return None if chain is None else chain.links[self.selected_index].job

    def on_mount(self) -> None:
        self.show(self.context.snapshot)

    def on_unmount(self) -> None:
        self.context.feed.select(self.former)

    def on_resize(self) -> None:
        self._arrange()

    def _arrange(self) -> None:
        chain = self.chain
        links = self.query_one(ChainLinks)
        rows = 1 if chain is None else len(chain.links) + len(links.below(self.app.size.width - 4))
        links.styles.height = max(3, min(rows + 2, self.app.size.height - 8))

    def show(self, snapshot: Snapshot) -> None:
        super().show(snapshot)
        links, job = self.query_one(ChainLinks), self.job
        links.snapshot, links.chain, links.index = snapshot, self.chain, self.selected_index
        self._arrange()
        links.paint()
        self._look_for_changes()
        job_id = None if job is None else job.id
        self.context.feed.select(job_id)
        self.query_one(DetailStrip).show(snapshot, job_id)
        self.query_one(Footer).paint()

    def _look_for_changes(self) -> None:
        """Once for each failure, in a thread: what a retry does not see."""
        chain = self.chain
        if chain is None or chain.state not in RETRYABLE or not self.context.live:
            return
        failed = chain.current.job
        if (failed.id, failed.attempt) == self.looked_at:
            return
        self.looked_at = failed.id, failed.attempt
        jobs = dict.fromkeys([failed.id, *(link.job.id for link in chain.links if link.job.kind == "train")])

        def read() -> ChainScreen.ChangesRead:
            from core.staleness.submitted import changed_since_submission
            from core.wording.staleness import changed_input_words

            found = [one for job_id in jobs for one in changed_since_submission(self.context.home, job_id)]
            return self.ChangesRead(changed_input_words(dict.fromkeys(found)))

        # Nothing is told of a failure: a project that is gone or broken is told by the feed, and by a ship.
        ask_beside("changes since", read, lambda line: None, self.tell)

    def on_chain_screen_changes_read(self, message: ChangesRead) -> None:
        self.query_one(ChainLinks).changed = message.words
        self.show(self.context.snapshot)

    def action_ship(self) -> None:
        """The dialog, about the chain's own training, or a new one like it where that has failed."""
        chain = self.chain
        training = None if chain is None else next((one.job for one in chain.links if one.job.kind == "train"), None)
        self.ask_ship(training if actions.can_ship(training) else None, training)

    def action_move(self, step: int) -> None:
        chain = self.chain
        if chain is not None:
            self.index = max(0, min(len(chain.links) - 1, self.selected_index + step))
            self.show(self.context.snapshot)

    def on_chain_links_clicked(self, message: ChainLinks.Clicked) -> None:
        chain = self.chain
        if chain is None or not 0 <= message.index < len(chain.links):
            return
        if message.index == self.selected_index:
            self.action_open()
        else:
            self.index = message.index
            self.show(self.context.snapshot)

    def on_detail_strip_opened(self) -> None:
        self.action_open()

    def action_open(self) -> None:
        from tui.screens.job import JobScreen

        if self.job is not None:
            self.app.push_screen(JobScreen(self.context, self.job.id))

    def action_retry_chain(self) -> None:
        actions.ask_of_chain(self.context, "retry", self.chain_id)

    def action_cancel_chain(self) -> None:
        chain = self.chain
        if chain is None:
            return

        def answered(yes: bool | None) -> None:
            if yes:
                actions.ask_of_chain(self.context, "cancel", self.chain_id)

        explanation = (
            "What runs stops as soon as it can; what waits is cancelled. What is done stays, and so does what was there before "
            "the chain. R queues the rest again."
        )
        question = f"Cancel chain {chain.id}, {printable(chain.title)}?"
        self.app.push_screen(Confirm(question, explanation, f"Cancel chain {chain.id}", leave="Keep it"), answered)
