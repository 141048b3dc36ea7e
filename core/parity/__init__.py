"""Whether a served model sees the prompts that it was trained on: the same conversations, rendered by both, token by token."""
