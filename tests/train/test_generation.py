"""Answers of the real small model, in the test's own process."""

from __future__ import annotations

import pytest

from core.config.task import Task
from tests.support.workshop import Workshop

pytestmark = pytest.mark.train


def test_repeats_draw_differently_and_seeds_repeat_them(workshop: Workshop, task: Task) -> None:
    """The answer of a seed is the same whatever stands beside it in the batch."""
    import torch

    from core.data.examples import Message
    from core.data.render import encode_prompt, render_prompt
    from jobs import models
    from jobs.generate import GenerationRequest, Generator

    base = models.locate(workshop.model, workshop.home)
    tokenizer = models.load_tokenizer(base, workshop.home)
    model = models.load_model(base, workshop.home, models.choose_device(), torch.float32)
    prompts = [
        tuple(encode_prompt(tokenizer, render_prompt(tokenizer, [Message("user", text)], "off")))
        for text in ("Name a kind of bread.", "Write one short line about the sea, and one about the wind.")
    ]
    sampling = task.sampling.model_copy(
        update={"temperature": 0.9, "top_p": 0.95, "top_k": 50, "repeat_penalty": 1.1, "max_new_tokens": 10}
    )
    generator = Generator(model, tokenizer, sampling, "off")
    requests = [
        GenerationRequest(f"{p}/{seed}", prompt, seed) for p, prompt in enumerate(prompts) for seed in (1, 2, 3)
    ]
    together = {answer.key: answer.text for answer in generator.answer(requests, 6)}
    alone = {answer.key: answer.text for answer in generator.answer(requests, 1)}
    assert together == alone
    assert len(set(together.values())) == 6

    # Greedy, and with the library's own generation as the yardstick.
    greedy = Generator(model, tokenizer, sampling.model_copy(update={"temperature": 0.0, "repeat_penalty": 1.0}), "off")
    for request in (GenerationRequest("0", prompts[0], 0), GenerationRequest("1", prompts[1], 0)):
        (answer,) = greedy.answer([request], 1)
        ids = torch.tensor([request.prompt_ids])
        expected = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=10)
        assert answer.text == tokenizer.decode(expected[0, ids.shape[1] :], skip_special_tokens=True)
