"""Which of what the gate finds blocks a model, by code. Alone, and light: the console reads it before its first paint."""

ROOTS = frozenset({"file_without_template", "training_marks"})
"""What a file lacks or has too much, of which prompts that differ come."""
TOLD = frozenset(
    {
        *("answer_not_ended", "switch_differs", "few_shot_expected", "few_shot_for_training"),
        *("normal_form_differs", "stop_word_added"),
    }
)
"""What does not block: an answer that ran to its limit may be the model's own doing, and clients send the examples; the
tokenizers of Qwen compose letters before they split a text (NFC) and llama.cpp does not, which is so of every file of such a
model, and harms texts alone that are not composed; a stop word beside the trained end may be wanted."""
