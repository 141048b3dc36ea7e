"""A deployment before it is queued: who serves the file, under which name, and what that does."""

from __future__ import annotations

from textual.message import Message

from core.jobfile.deploy import Target
from core.serving.replies import name_key
from core.store.jobs import JobRow
from core.text import printable
from tui.context import Context
from tui.queries.deploy_outlook import TARGETS, DeployOutlook, WantedDeploy, read_deploy_outlook
from tui.queries.failures import ask_beside
from tui.screens.field_dialog import FieldDialog

DOES = {
    "ollama": (
        "The file is sent to the Ollama at {place} and made a model under a tag of its own. Once its prompts are those of "
        "training and it has answered, it serves as {name}{before}."
    ),
    "llama-server": (
        "A llama-server of the job proves the file. Then one for production answers on a port of {place} as {name}, beside "
        "console and runner{boot}{before}."
    ),
}
KEPT = {
    "ollama": "; what serves so now is kept under a tag to go back to",
    "llama-server": ", in place of what serves so now",
}
LOADED = (
    "Loaded beside what serves, never while a training has the GPU. A file that fails the check does not come to serve."
)
SLOTS = ("1", "2", "4", "8", "16")


class AskDeploy(FieldDialog["WantedDeploy | None"]):
    """Returns what was chosen, or None."""

    act = "deploy"
    about_at = 48
    written = frozenset({"name"})

    class OutlookRead(Message):
        def __init__(self, outlook: DeployOutlook) -> None:
            super().__init__()
            self.outlook = outlook

    def __init__(self, context: Context, job: JobRow) -> None:
        super().__init__()
        self.context = context
        self.job = job
        self.question = f"Have the file of job {job.id} serve?"
        self.outlook: DeployOutlook | None = None
        """None until it was read."""
        self.values = {"to": TARGETS[0], "name": "", "slots": SLOTS[0], "at boot": "no"}

    def on_mount(self) -> None:
        super().on_mount()
        if self.context.live:
            ask_beside(
                "deployment",
                lambda: self.OutlookRead(
                    read_deploy_outlook(self.context.home, self.context.find_project(), self.job.id)
                ),
                lambda line: self.OutlookRead(DeployOutlook(problem=line)),
                self.post_message,
            )

    def on_ask_deploy_outlook_read(self, message: OutlookRead) -> None:
        self.outlook = message.outlook
        self.values["to"] = self.outlook.best
        self.turned("to")
        self.fit()

    def turned(self, field: str) -> None:
        """The names of a target are its own; a served model that is replaced keeps its slots and its start at boot."""
        if self.outlook is None:
            return
        if field == "to":
            self.values["name"] = self.outlook.usual.get(self._to, "")
        if field in ("to", "name") and self._to == "llama-server" and self.values["name"] in self.outlook.served:
            slots, at_boot = self.outlook.served[self.values["name"]]
            self.values["slots"], self.values["at boot"] = str(slots), "yes" if at_boot else "no"

    @property
    def _to(self) -> Target:
        return "ollama" if self.values["to"] == "ollama" else "llama-server"

    @property
    def _at_boot(self) -> bool:
        return self._to == "llama-server" and self.values["at boot"] == "yes"

    @property
    def fields(self) -> list[str]:
        return ["to", "name", *(["slots", "at boot"] if self._to == "llama-server" else [])]

    def options(self, field: str) -> tuple[str, ...]:
        if field == "name":
            if self.outlook is None:
                return ()
            return tuple(dict.fromkeys((self.outlook.usual.get(self._to, ""), *self.outlook.taken.get(self._to, ()))))
        return {"to": TARGETS, "slots": SLOTS, "at boot": ("no", "yes")}[field]

    def about(self, field: str) -> str:
        if field == "to":
            return "" if self.outlook is None or self._to != self.outlook.best else "where nobody is named"
        if field == "name":
            return "serves now" if self.replaces else ""
        if field == "slots":
            return "answers at a time, each with a window of its own"
        return "a unit of systemd starts it with the machine"

    @property
    def replaces(self) -> bool:
        """Something serves under the name now."""
        key = name_key if self._to == "ollama" else str
        return self.outlook is not None and key(self.values["name"]) in map(key, self.outlook.taken.get(self._to, ()))

    @property
    def problem(self) -> str:
        if self.outlook is None:
            return "asking Ollama, looking for llama-server …"
        if said := self.outlook.problem or self.outlook.problems.get(self._to, ""):
            return said
        if self._at_boot and self.outlook.boot_problem:
            return self.outlook.boot_problem
        return "" if self.values["name"] else "a name is missing: e writes one"

    @property
    def explanation(self) -> list[str]:
        if self.outlook is None or self.problem:
            return []
        before = KEPT[self._to] if self.replaces else ""
        does = DOES[self._to].format(
            place=self.outlook.place.get(self._to, "this machine"),
            name=printable(self.values["name"]),
            before=before,
            boot=" and starts with the machine" if self._at_boot else "",
        )
        kept = self.outlook.kept.get(self._at_boot, ()) if self._to == "llama-server" else ()
        return [does, *(f"▲ {note}" for note in kept), LOADED]

    @property
    def command(self) -> str:
        return self.chosen().command

    def chosen(self) -> WantedDeploy:
        usual = None if self.outlook is None else self.outlook.usual.get(self._to)
        name = self.values["name"]
        slots = int(self.values["slots"]) if self._to == "llama-server" else 1
        return WantedDeploy(self.job.id, self._to, None if name == usual else name, self._at_boot, slots)
