"""The commands about the whole queue."""

from __future__ import annotations

from collections.abc import Callable

from core.gpu_lease.gpu_fault import release_gpu as remove_block
from core.runner.commands.base import Argument, Confirmation, Key, QueueCommand, RefusedError, Request
from core.store.job_reasons import refusal
from core.store.jobs import JobRow


def pause(request: Request) -> None:
    note = request.arguments.get("reason") or ""
    request.connection.execute("UPDATE queue SET paused = 1, reason = ?, author = ?", [note, request.author])


def resume(request: Request) -> None:
    request.connection.execute("UPDATE queue SET paused = 0, reason = '', author = ?", [request.author])


def look(request: Request) -> None:
    """Nothing: what had ended was noted before the command was reached, which is what was asked for."""


def release_gpu(request: Request) -> None:
    if not remove_block(request.home):
        raise RefusedError(refusal("gpu_not_blocked"))


def explain_release(job: JobRow | None, vendor: str | None) -> str:
    return (
        "A GPU that has had a page fault can take the machine down when the next training starts on it. A restart of the "
        "machine makes sure, and releases the GPU by itself. Released now, the next job starts at once."
    )


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
    QueueCommand(
        name="release-gpu",
        help="""Let jobs have the GPU again after a page fault.

        A GPU that has faulted can take the machine down at the next start of a training; a restart of the machine makes sure,
        and releases the GPU by itself.
        """,
        example="bakehouse queue release-gpu",
        queue_is_needless=lambda queue: not queue.gpu_faulted,
        on_queue=release_gpu,
        done=lambda job, arguments: "▶ GPU released: the next job starts",
        keys=(Key("U", "U", "release GPU", "Release the GPU after a page fault", rank=1),),
        confirmation=Confirmation("Release the GPU?", "Release it", "Leave it blocked", explain_release),
    ),
)

UNNAMED_COMMANDS: dict[str, Callable[[Request], None]] = {"look": look}
"""What programs ask for and no person does."""
