"""Helper models that say a number: what they are shown, against the same weights asked by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.backends.base import BackendConfig
from engine.backends.scores import ClipBackend, RewardBackend, ScoreBackend
from engine.errors import EngineDeadError, UsageError
from engine.types import Completion, Message, Sampling
from tests.backends.conftest import picture
from tests.backends.tiny_scores import CHAT, clip, reward

pytestmark = pytest.mark.torch
TURNS = [Message("user", "Be safe."), Message("assistant", "On </s> pies: no.")]


def ask(backend: ScoreBackend, *asked: Sequence[Message]) -> list[Completion]:
    async def all_of_it() -> list[Completion]:
        await backend.start()
        found = await asyncio.gather(*(backend.generate(messages, Sampling(1)) for messages in asked))
        await backend.close()
        return list(found)

    return asyncio.run(all_of_it())


def by_hand(folder: Path, ids: list[int]) -> float:
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        return float(model(input_ids=torch.tensor([ids])).logits[0, 0].sigmoid())


@pytest.mark.parametrize("chat", [CHAT, None], ids=["chat template", "no template"])
def test_a_reward_is_the_sigmoid_of_the_logit(tmp_path: Path, chat: str | None) -> None:
    """By the template the whole conversation is scored, a `</s>` in it staying text; without one the answer alone."""
    folder = reward(tmp_path / "m", chat=chat)
    long = [TURNS[0], Message("assistant", "a longer answer than that, so that a batch is padded")]
    first, _ = ask(RewardBackend(BackendConfig("transformers", str(folder))), TURNS, long)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)

    def plain(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))

    user, assistant, end = (tokenizer.convert_tokens_to_ids(token) for token in ("<|user|>", "<|assistant|>", "</s>"))
    ids = [1, user, *plain("Be safe."), end, assistant, *plain("On </s> pies: no."), end]
    if chat is None:
        ids = [1, *plain("On </s> pies: no.")]
    assert float(first.text) == pytest.approx(by_hand(folder, ids), abs=1e-5)
    assert first.prompt_tokens == len(ids)


def test_clip_says_the_cosine_of_the_likest_picture(tmp_path: Path) -> None:
    import torch
    from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

    folder = clip(tmp_path / "m")
    shown = [picture(1), picture(2)]
    config = BackendConfig("transformers", str(folder))
    asked = [[Message("user", "a red sign", tuple(some))] for some in (shown[:1], shown[1:], shown)]
    one, other, both = (float(each.text) for each in ask(ClipBackend(config), *asked))
    assert both == pytest.approx(max(one, other), abs=1e-6)
    assert one != pytest.approx(other, abs=1e-6)
    model: Any = CLIPModel.from_pretrained(folder).eval()
    from engine.pictures import to_rgb

    pixels = AutoImageProcessor.from_pretrained(folder)(images=[to_rgb(shown[0].data)], return_tensors="pt")
    ids = AutoTokenizer.from_pretrained(folder)("a red sign", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        found = model(input_ids=ids, pixel_values=pixels["pixel_values"])
    assert one == pytest.approx(float(found.image_embeds[0] @ found.text_embeds[0]), abs=1e-5)


def test_models_of_another_kind_are_refused(tmp_path: Path) -> None:
    from tests.judges.tiny import llama_base

    base = llama_base(tmp_path / "base")
    with pytest.raises(UsageError, match="no classification layer"):
        ask(RewardBackend(BackendConfig("transformers", str(base))), TURNS)
    with pytest.raises(UsageError):
        ask(ClipBackend(BackendConfig("transformers", str(base))), TURNS)


def test_a_lost_accelerator_ends_the_worker_and_not_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for the other backends: each later row would fail alike."""
    import torch

    def lost(self: RewardBackend, jobs: object) -> list[float]:
        raise torch.AcceleratorError("an illegal memory access was encountered\nmore")

    monkeypatch.setattr(RewardBackend, "_scores", lost)
    with pytest.raises(EngineDeadError, match=r"the accelerator failed: an illegal memory access was encountered$"):
        ask(RewardBackend(BackendConfig("transformers", str(reward(tmp_path / "m")))), TURNS)


GATED = """
import torch
from transformers import LlamaModel, LlamaPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class LlamaForGatedReward(LlamaPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.regression_layer = torch.nn.Linear(config.hidden_size, 3, bias=False)
        self.post_init()

    def forward(self, input_ids, attention_mask=None):
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return SequenceClassifierOutput(logits=self.regression_layer(hidden[:, -1]).mean(-1))
"""
"""ArmoRM's shape: a class in the model's folder whose `logits` are one gated score a row."""


@pytest.mark.parametrize("trust", [False, True])
def test_a_reward_by_code_of_its_own_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trust: bool) -> None:
    from safetensors.torch import load_file, save_file

    folder = reward(tmp_path / "gated")
    (folder / "modeling_gated.py").write_text(GATED)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForSequenceClassification": "modeling_gated.LlamaForGatedReward"}
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")
    weights["regression_layer.weight"] = weights.pop("score.weight").repeat(3, 1)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    asked = BackendConfig("transformers", str(folder), trust_remote_code=trust)
    found = "LlamaForGatedReward is code of its own" if trust else "holds no classification layer"
    with pytest.raises(UsageError, match=rf"{found}.*\(as ArmoRM's\) is not supported"):
        ask(RewardBackend(asked), TURNS)
