"""Runs in an environment of its own: ms-swift reads an export with its own functions; what it got goes to stdout.

    python load_swift.py EXPORT MODEL

One JSON line: {file: [{image_tokens, answers: [text, …]}, …]}, a row an entry.
"""

import json
import os
import sys

from swift import get_processor, get_template, load_dataset

IGNORED = -100


def read(export: str, model: str, name: str) -> list[dict]:
    """Every row as the trainer would get it: SFT rows encoded once, DPO rows as chosen and rejected."""
    pairs = name == "dpo.jsonl"
    processor = get_processor(model, model_type="llava1_5_hf")
    template = get_template(processor, template_type="llava1_5_hf")
    template.set_mode("rlhf" if pairs else "train")
    rows, _ = load_dataset(os.path.join(export, name), strict=True, load_from_cache_file=False)
    image = processor.tokenizer.convert_tokens_to_ids("<image>")
    found = []
    for row in rows:
        encoded = template.encode(dict(row))
        kinds = ("chosen_", "rejected_") if pairs else ("",)
        labels = [[token for token in encoded[f"{kind}labels"] if token != IGNORED] for kind in kinds]
        answers = [processor.tokenizer.decode(kept) for kept in labels]
        tokens = encoded[f"{kinds[0]}input_ids"]
        found.append(
            {
                "tokens": len(tokens),
                "image_tokens": tokens.count(image),
                "images": len(row["images"] or []),
                "answers": answers,
            }
        )
    return found


if __name__ == "__main__":
    export, model = sys.argv[1:3]
    print("READ " + json.dumps({name: read(export, model, name) for name in ("sft.jsonl", "dpo.jsonl")}))
