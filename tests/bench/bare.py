"""Training with TRL alone, as a script that a person would write: the other side of the comparisons.

`python -m tests.bench.bare REQUEST.json` trains a LoRA adapter in fp32 on token ids that are given, and prints a JSON document.
The optimizer is torch's AdamW in fp32, the layers are PEFT's, the loss and the batches are TRL's.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any


def main(request: dict[str, Any]) -> dict[str, Any]:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(request["threads"])
    recipe = request["recipe"]
    examples = json.loads(Path(request["examples"]).read_text())
    set_seed(recipe["seed"])
    model = AutoModelForCausalLM.from_pretrained(request["model"], dtype=torch.float32)
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=request["output"],
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
            num_train_epochs=recipe["epochs"],
            per_device_train_batch_size=recipe["batch_size"],
            gradient_accumulation_steps=recipe["accumulation"],
            learning_rate=recipe["lr"],
            lr_scheduler_type=recipe["schedule"],
            warmup_steps=recipe["warmup_steps"],
            weight_decay=recipe["weight_decay"],
            max_grad_norm=recipe["max_grad_norm"],
            neftune_noise_alpha=recipe["neftune"],
            activation_checkpointing=False,  # it changes no number, and host memory is not what is compared with it
            bf16=False,
            use_cpu=True,
            seed=recipe["seed"],
            save_strategy="no",
            logging_steps=1,
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(examples),
        processing_class=AutoTokenizer.from_pretrained(request["model"]),
        peft_config=LoraConfig(
            task_type="CAUSAL_LM",
            r=recipe["rank"],
            lora_alpha=recipe["alpha"],
            lora_dropout=recipe["dropout"],
            target_modules=recipe["targets"],
        ),
    )
    began = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - began
    trainer.save_model(request["output"])
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {
        "seconds": seconds,
        "tokens": sum(len(example["input_ids"]) for example in examples) * recipe["epochs"],
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


if __name__ == "__main__":
    print("\n" + json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
