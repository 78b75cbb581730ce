"""Runs in an environment of its own: LLaMA-Factory reads an export with its own functions; what it got goes to stdout.

    python load_llamafactory.py EXPORT MODEL

One JSON line: {dataset: [{tokens, image_tokens, answers: [text, …]}, …]}, a row an entry.
"""

import json
import os
import sys

os.environ["DISABLE_VERSION_CHECK"] = "1"
os.environ["WANDB_DISABLED"] = "true"

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer

IGNORED = -100


def read(export: str, model: str, dataset: str, stage: str) -> list[dict]:
    """Every row as the trainer for `stage` (sft, dpo) would get it."""
    model_args, data_args, training_args, _, _ = get_train_args(
        {
            "model_name_or_path": model,
            "template": "llava",
            "stage": stage,
            "do_train": True,
            "finetuning_type": "lora",
            "dataset_dir": export,
            "dataset": dataset,
            "cutoff_len": 1024,
            "output_dir": os.path.join(export, "trained"),
            "report_to": "none",
            "use_cpu": True,
            "overwrite_cache": True,
        }
    )
    module = load_tokenizer(model_args)
    tokenizer = module["tokenizer"]
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    kind = "rm" if stage == "dpo" else "sft"
    rows = get_dataset(template, model_args, data_args, training_args, stage=kind, **module)["train_dataset"]
    image = tokenizer.convert_tokens_to_ids("<image>")
    names = (
        [("input_ids", "labels")]
        if kind == "sft"
        else [(f"{k}_input_ids", f"{k}_labels") for k in ("chosen", "rejected")]
    )
    found = []
    for row in rows:
        answers = [tokenizer.decode([token for token in row[labels] if token != IGNORED]) for _, labels in names]
        tokens = row[names[0][0]]
        pictures = len(row["images"] or [])
        found.append(
            {"tokens": len(tokens), "image_tokens": tokens.count(image), "images": pictures, "answers": answers}
        )
    return found


if __name__ == "__main__":
    export, model = sys.argv[1:3]
    result = {
        "ecso_sft": read(export, model, "ecso_sft", "sft"),
        "ecso_ranking": read(export, model, "ecso_ranking", "dpo"),
    }
    print("READ " + json.dumps(result))
