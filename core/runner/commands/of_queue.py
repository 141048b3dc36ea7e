"""The commands about the whole queue."""

from __future__ import annotations

from core.runner.commands.base import Argument, Key, QueueCommand, Request


def pause(request: Request) -> None:
    note = request.arguments.get("reason") or ""
    request.connection.execute("UPDATE queue SET paused = 1, reason = ?, author = ?", [note, request.author])


def resume(request: Request) -> None:
    request.connection.execute("UPDATE queue SET paused = 0, reason = '', author = ?", [request.author])


QUEUE_COMMANDS = (
    QueueCommand(
        name="pause",
        help="Start no more jobs; running jobs continue.",
        example='bakehouse queue pause --reason "gaming tonight"',
        queue_is_needless=lambda queue: queue.paused,
        on_queue=pause,
        done=lambda job, arguments: "‖ Queue paused; running jobs continue",
        arguments=(Argument("reason", help="Shown beside the waiting jobs."),),
        keys=(Key("P", "P", "pause", "Pause the queue: no new job starts", rank=0),),
    ),
    QueueCommand(
        name="resume",
        help="Start jobs again.",
        example="bakehouse queue resume",
        queue_is_needless=lambda queue: not queue.paused,
        on_queue=resume,
        done=lambda job, arguments: "▶ Queue resumed",
        keys=(Key("P", "P", "resume", "Resume the queue", rank=1),),
    ),
)
