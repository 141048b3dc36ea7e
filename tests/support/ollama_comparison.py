"""What a recorded answer of a server of Ollama's API says and an answer of the stand-in does not."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.support.ollama_exchange import Reply, count, listed, shape, without_measures

# Their one message is longer than the window: what is left of it is not the model's, but the server's.
CUT_PROMPTS = ("_overflow_default", "_overflow_generate_default")


@dataclass
class Comparison:
    """Of one exchange after another, `file` being the one at hand. `differences` are sentences that begin with it."""

    file: str = ""
    differences: list[str] = field(default_factory=list)

    def heads(self, wanted: dict[str, Any], found: Reply) -> None:
        if wanted.get("status") != found.status:
            self.differ("status", wanted.get("status"), (found.status, found.raw[:200]))
        if wanted.get("content_type") != found.content_type:
            self.differ("content type", wanted.get("content_type"), found.content_type)

    def bodies(self, exchange: dict[str, Any], wanted: Any, found: Any) -> None:
        if exchange["request"]["path"] == "/api/tags":
            self.tags(wanted, found)
            return
        self.values(wanted, found)
        if exchange["request"]["path"] == "/api/ps":
            self.same("listed", listed(wanted["models"]), listed(found["models"]))
        if exchange["request"]["path"] == "/api/show" and "error" not in wanted:
            self.shown(wanted, found)

    def values(self, wanted: Any, found: Any) -> None:
        self.same("fields", shape(wanted), shape(found))
        if not isinstance(wanted, dict) or not isinstance(found, dict):
            return
        for key in ("model", "done", "done_reason"):
            self.same(key, wanted.get(key), found.get(key))
        if self.file.endswith(CUT_PROMPTS):
            self.same("tokens that were left", wanted["prompt_eval_count"], found.get("prompt_eval_count"))
        if "_debug_info" in wanted:
            self.same("render", wanted["_debug_info"], found.get("_debug_info"))
        if "message" in wanted:
            self.same("role", wanted["message"]["role"], found.get("message", {}).get("role"))
        if "error" in wanted:
            self.same("error", without_measures(wanted["error"]), without_measures(str(found.get("error"))))

    def tags(self, wanted: Any, found: Any) -> None:
        there = [entry for entry in wanted["models"] if isinstance(entry, dict)]
        here = {entry["name"]: entry for entry in found["models"]}
        self.same("number of models", count(wanted["models"]), len(here))
        for entry in there:
            self.same(f"entry {entry['name']}", shape(entry), shape(here.get(entry["name"])))
            self.same("capabilities", entry.get("capabilities"), here.get(entry["name"], {}).get("capabilities"))

    def shown(self, wanted: dict[str, Any], found: dict[str, Any]) -> None:
        for key in ("capabilities", "system", "license"):
            self.same(key, wanted.get(key), found.get(key))
        for key in ("parameters",):
            self.same(key, sorted(wanted.get(key, "").split("\n")), sorted(found.get(key, "").split("\n")))
        is_jinja = wanted["template"].startswith("{%")
        self.same("kind of template", is_jinja, found["template"].startswith("{%"))
        if not is_jinja:
            self.same("template", wanted["template"], found["template"])
        kinds = [
            [line.split(" ")[0] for line in one["modelfile"].split("\n") if line.isupper() or " " in line]
            for one in (wanted, found)
        ]
        self.same("words of the modelfile", set(kinds[0]), set(kinds[1]))

    def lines(self, wanted: list[dict[str, Any]], found: list[dict[str, Any]]) -> None:
        there = [one["line"] for one in wanted if "line" in one]
        self.same("last line", shape(there[-1]), shape(found[-1]))
        self.values(there[-1], found[-1])
        first = {json.dumps(shape(one), sort_keys=True) for one in there[:-1]}
        self.same("lines before", first, {json.dumps(shape(one), sort_keys=True) for one in found[:-1]})
        if not any("cut" in one for one in wanted):
            self.same("number of lines", len(there), len(found))

    def statuses(self, body: dict[str, Any], wanted: list[dict[str, Any]], found: list[dict[str, Any]]) -> None:
        """What is said of a model that is made, part by part; the digests of what the server quantised itself are its own."""
        if body.get("quantize"):
            return
        there, here = (
            [one["line"].get("status") for one in wanted if "line" in one],
            [one.get("status") for one in found],
        )
        self.same("statuses", there, here)

    def same(self, what: str, wanted: object, found: object) -> None:
        if wanted != found:
            self.differ(what, wanted, found)

    def differ(self, what: str, wanted: object, found: object) -> None:
        self.differences.append(f"{self.file}: {what}: {wanted!r} is {found!r}")
