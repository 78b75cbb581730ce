"""Training: a curated set becomes a model, in process, on TRL and PEFT. One door: `engine.training.train.run`.

What is covered: LoRA and full SFT, DPO, KTO on vision-language models of `AutoModelForImageTextToText` that have a
`language_model` (LLaVA, LLaVA-OneVision, Qwen2.5-VL …), on CPU, one GPU, or several by torchrun. Not covered: training
the vision tower, quantised weights, FSDP and DeepSpeed (refused), other trainers (their configs: `--export`).
"""
