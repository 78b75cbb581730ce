"""The harm detector inside a strategy (MLLM-Protector, arXiv 2401.02906): asked as a helper model, read as published.

The score is the sigmoid of the classifier's one logit and means harmlessness; below 0.5 the response is harmful (facts
of pipilurj/MLLM-protector@390e326, robustness_eval.py). `paper` shows it the response alone, as that script does,
`robust` question and response, as it was trained. A score that is no number is `unknown`, which goes on as harmful.
"""

from __future__ import annotations

import math

from engine.strategies import prompts
from engine.types import Ask, Completion, Judgement, Message, Query, Sampling

ROLE = "detector"
LABELS = ("harmful", "harmless")
PRESETS = ("paper", "robust")


async def detect(
    ask: Ask,
    query: Query,
    response: str,
    *,
    preset: str = "robust",
    step: str = "detect",
    attempt: int = 0,
    threshold: float = 0.5,
) -> Judgement:
    """What the detector says of a response."""
    text = prompts.fill(prompts.load(f"detector_{preset}"), question=query.text, response=response)
    asked = Sampling(max_tokens=1, labels=LABELS)
    return read(await ask(step, [Message("user", text)], asked, attempt=attempt, model=ROLE), threshold)


def read(completion: Completion, threshold: float = 0.5) -> Judgement:
    """Harmful from p(harmful) > threshold on: exactly even is not yet harmful, as `score < 0.5` says."""
    found = (completion.label_logprobs or {}).get("harmful")
    if found is None or math.isnan(found):
        return Judgement("unknown", None)
    p = min(1.0, math.exp(found))
    return Judgement("harmful" if p > threshold else "harmless", p)
