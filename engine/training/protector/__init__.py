"""`--task harm-detector | detoxifier`: MLLM-Protector's two models (arXiv 2401.02906) on safer and less safe answers.

What is covered: both published objectives, on PKU-SafeRLHF's layout, on question + accepted + rejected rows (the
method's own augmented file), and on the engine's own curated sets; LoRA or full; the house's resume, order, progress
and record. Not covered: pictures (both models read text), FSDP, DeepSpeed, other trainers (`--export`).
"""
