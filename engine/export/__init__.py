"""Exports: a curated set in the layout that a trainer reads. One file a format; no model, no network.

What is covered: TRL (SFT, DPO, KTO), LLaVA's own JSON, LLaMA-Factory, ms-swift; utility rows mixed in (`--mix`).
Not covered: training itself, the end-of-answer token (a matter of the trainer's chat template, docs/exports.md), sound
and video.
"""

FORMATS = {
    "trl": "engine.export.trl",
    "trl-dpo": "engine.export.trl_dpo",
    "trl-kto": "engine.export.trl_kto",
    "llava": "engine.export.llava",
    "llamafactory": "engine.export.llamafactory",
    "swift": "engine.export.swift",
}
"""Format -> module with `write(data: Data, out: Output) -> None`."""
