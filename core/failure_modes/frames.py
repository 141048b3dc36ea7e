"""Signs of the frames that chat templates put around messages."""

from __future__ import annotations

import re

# Signs of the frames of today's chat templates, and the names of roles that a server leaves of them when it drops its tokens.
FRAME = re.compile(
    r"<\|(?:im_start|im_end|im_sep|eot_id|eom_id|start_header_id|end_header_id|begin_of_text|end_of_text|endoftext|end|return"
    r"|user|assistant|system|start|message)\|>|<(?:start|end)_of_turn>|</s>|\[/?INST\]|<｜[^｜\n]{1,40}｜>"
    r"|(?:\A|\n)(?:user|assistant|system)\n"
)
