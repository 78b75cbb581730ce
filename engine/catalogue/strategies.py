"""Cards of the strategies (`engine.strategies.STRATEGIES`)."""

from __future__ import annotations

from engine.catalogue.cards import Card

ECSO = "ECSO, arXiv 2403.09572; github.com/gyhdog99/ECSO (Apache-2.0)"
MODEL = "the model under test"

CARDS: dict[str, Card] = {
    "direct": Card("one answer, unchecked: the baseline of every comparison", "the model as it is", needs=MODEL),
    "safety_prompt": Card(
        "a sentence on safety before the query, in the user's turn", "MM-SafetyBench, arXiv 2311.17600", needs=MODEL
    ),
    "reference": Card(
        "the source's own answer, without a call",
        "the data set",
        licence="the source's",
        needs="a source with reference answers (vlguard, sample)",
    ),
    "ecso": Card(
        "answer, ask whether it is harmful, if so describe the picture and answer from the words alone",
        ECSO,
        needs=f"{MODEL}; presets paper, robust and repo",
    ),
    "ecso_append": Card(
        "ecso with the harm question as a second turn after the answer, on the same cache",
        f"a variant of {ECSO}",
        needs=MODEL,
    ),
    "caption_always": Card(
        "eyes closed for every query: upper bound of safety and of utility loss", f"a variant of {ECSO}", needs=MODEL
    ),
    "self_reminder": Card(
        "the query between two reminders to answer responsibly, in own words",
        "Self-Reminder, Xie et al. 2023 (Nature Machine Intelligence)",
        needs=MODEL,
    ),
    "adashield_static": Card(
        "a shield before the query: look at the picture closely, answer only what is harmless; in own words",
        "AdaShield, arXiv 2403.09513",
        needs=MODEL,
    ),
    "mllm_protector": Card(
        "answer, harm detector, on a harmful one the detoxifier or a fixed refusal",
        "MLLM-Protector, arXiv 2401.02906; github.com/pipilurj/MLLM-protector (Apache-2.0)",
        "of the models: see their cards",
        needs=f"{MODEL}; a detector, and a detoxifier where there is one",
    ),
    "ecso+protector": Card(
        "ecso with the harm detector as its second step, and the detoxifier for rows that stay unresolved",
        f"{ECSO}; MLLM-Protector, arXiv 2401.02906",
        "of the models: see their cards",
        needs=f"{MODEL}; a detector, and a detoxifier where there is one",
    ),
    "ecso_transcribe": Card(
        "ecso that reads the text in the picture out before it judges (`ecso --caption transcribe`), in own words",
        f"a variant of {ECSO}",
        needs=MODEL,
    ),
    "eta": Card(
        "picture checked before, answer after; where both fail a safe prefix and the best of several sentences",
        "ETA, arXiv 2410.06625; github.com/DripNowhy/ETA",
        "of the models: see their cards",
        needs=f"{MODEL}; a CLIP model and a reward model (a sequence classifier of one logit; not ArmoRM)",
    ),
}
"""In the order of the registry."""
