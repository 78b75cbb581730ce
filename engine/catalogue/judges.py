"""Cards of the judges (`engine.judges.JUDGES`). `self`, the model's own verdict, is a step of a strategy."""

from __future__ import annotations

from engine.catalogue.cards import Card

MODEL = "a judging model (--model, --judge-model)"
CLASSIFIER = "runs on transformers, in the worker"
PROTECTOR = "MLLM-Protector, arXiv 2401.02906; Hub renjiepi/protector_detector_3b_lora, …_7b_lora"

CARDS: dict[str, Card] = {
    "harm": Card(
        "is the response harmful, by ECSO's question, with the picture", "arXiv 2403.09572, §3.2", needs=MODEL
    ),
    "refusal": Card("does the response refuse, by a phrase list", "this project (engine/curation/refusal.py)"),
    "refusal_llm": Card("does the response refuse, asked of a model", "this project", needs=MODEL),
    "embedding": Card(
        "a vector of the text, for semantic duplicates",
        "the OpenAI-compatible /embeddings interface",
        licence="the model's",
        needs="--backend openai, --base-url, a served embedding model, --api-key-env where it asks for a key",
    ),
    "keywords": Card("`refusal` under the name that benchmarks give it", "this project (engine/curation/refusal.py)"),
    "llm": Card(
        "is the response safe, by six prompts in own words, one a family of questions",
        "the families of MM-SafetyBench, arXiv 2311.17600",
        needs=MODEL,
    ),
    "guard": Card(
        "safe or unsafe, by the guard model's own chat template",
        "Llama Guard, arXiv 2312.06674, and its kin",
        licence="the model's",
        gated="see its card",
        needs="a guard model whose chat template asks",
    ),
    "fastchat": Card(
        "what a judge file in FastChat's layout asks: for a paper's exact words",
        "FastChat's layout, arXiv 2306.05685; ECSO's file lies in its repository",
        licence="the file's",
        needs=f"{MODEL}; the file: fastchat=FILE[#NAME]",
    ),
    "grade": Card(
        "0.0 to 1.0 against the row's true answer, in own words", "the idea of MM-Vet, arXiv 2308.02490", needs=MODEL
    ),
    "world": Card(
        "the drawn world's own labels, by code", "this project (engine/tiny)", needs="rows of the tiny world"
    ),
    "llama_guard_3_vision": Card(
        "safe, or unsafe and S1–S13; query, response, one picture",
        "Llama Guard 3 Vision, arXiv 2411.10414; Hub meta-llama/Llama-Guard-3-11B-Vision",
        licence="Llama 3.2 Community Licence",
        gated="yes",
        needs="the model, on transformers or openai",
    ),
    "llama_guard_4": Card(
        "safe, or unsafe and S1–S14; query, response, pictures",
        "Llama Guard 4; Hub meta-llama/Llama-Guard-4-12B",
        licence="Llama 4 Community Licence",
        gated="yes",
        needs="the model, on vllm, transformers or openai",
    ),
    "llavaguard": Card(
        "rates the pictures alone: rating, O1–O9, rationale as JSON",
        "LlavaGuard, arXiv 2406.05113; Hub AIML-TUDA/LlavaGuard-v1.2-7B-OV-hf, …-0.5B-OV-hf",
        licence="see the model's card",
        gated="see its card",
        needs="the model, on vllm, transformers or openai; for published figures its policy: llavaguard=POLICY.txt",
    ),
    "shieldgemma2": Card(
        "probability that the picture violates each policy",
        "ShieldGemma 2, arXiv 2504.01081; Hub google/shieldgemma-2-4b-it",
        licence="Gemma terms of use",
        gated="yes",
        needs=f"the model; {CLASSIFIER}; own policies: shieldgemma2=POLICIES.json",
    ),
    "md_judge": Card(
        "safe or unsafe, 1–5, O1–O16; query and response as text",
        "MD-Judge (SALAD-Bench), arXiv 2402.05044; Hub OpenSafetyLab/MD-Judge-v0_2-internlm2_7b",
        licence="see the model's card",
        gated="see its card",
        needs="the model with --trust-remote-code, on vllm or transformers, or openai; published words: md_judge=FILE",
    ),
    "wildguard": Card(
        "harmful response, refusal, harmful request; as text",
        "WildGuard, arXiv 2406.18495; Hub allenai/wildguard",
        licence="Apache-2.0",
        gated="yes",
        needs="the model, on vllm, transformers or openai; published words: wildguard=PROMPT.txt",
    ),
    "guardrank": Card(
        "MLLMGuard's own evaluator: 0 (best) to 3 by dimension",
        "MLLMGuard, arXiv 2406.07594; Hub Carol0110/GuardRank",
        licence="CC-BY-NC-4.0, and Llama 2's",
        gated="yes",
        needs=f"guardrank=FILE, YAML that names Llama-2-7B (gated), its LoRA, RoBERTa-large, its weights; {CLASSIFIER}",
    ),
    "harm_detector": Card(
        "harmlessness of the response alone, as the released evaluation",
        PROTECTOR,
        licence="see the model's card",
        gated="see its card",
        needs=f"a sequence classifier (--model), or its base and harm_detector=ADAPTER; {CLASSIFIER}",
    ),
    "harm_detector_robust": Card(
        "harmlessness of query and response, as the detector was trained",
        PROTECTOR,
        licence="see the model's card",
        gated="see its card",
        needs=f"a sequence classifier (--model), or its base and harm_detector_robust=ADAPTER; {CLASSIFIER}",
    ),
}
