"""What a bake-off refuses to ask: a golden input whose text the chat template loses."""

from __future__ import annotations

from typing import Any

from core.data.render import render_prompt
from core.data.template_proof import prove
from core.data.text_faults import REFUSED, message_faults
from core.errors import GateError
from core.scoring.questions import AskedTask
from core.wording.texts import fault_remedy, fault_words, template_words
from jobs.context import JobContext


def golden_gate(context: JobContext, asked: AskedTask, tokenizer: Any) -> None:
    """Tell what the chat template does with what is asked; GateError when it loses the text of a golden input."""
    role = asked.task.system_role
    proof = prove(tokenizer, asked.thinking, role)
    for note in proof.told(system=bool(asked.system.strip())):
        context.say(f"note: {template_words(note)}")
    for item in asked.inputs:
        messages = asked.messages(item)
        prompt = render_prompt(tokenizer, messages, asked.thinking, system_role=role)
        for fault in message_faults(proof, messages, prompt):
            where = "" if fault.values.get("role") == "system" else f"golden input `{item.id}`: "
            said = where + fault_words(fault)
            if fault.code in REFUSED:
                raise GateError(said, code=fault.code, file=asked.under_test.golden.source, remedy=fault_remedy(fault))
            context.warn("texts", said)
