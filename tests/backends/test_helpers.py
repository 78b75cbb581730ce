"""A strategy's helper models through their real files."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from engine.backends.helpers import create_helper
from engine.config import GenerateConfig
from engine.helpers import plan_helpers
from engine.types import Message, Sampling
from tests.judges.test_classifier import in_hub_cache

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")
pytest.importorskip("peft")


def test_a_detoxifiers_adapter_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of the Hub's cache it rewrites as from a folder, and otherwise than its base; its commit is in the run."""
    from huggingface_hub import constants
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from tests.judges.tiny import llama_base

    base, lora = llama_base(tmp_path / "base"), tmp_path / "lora"
    torch.manual_seed(5)
    how = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), how).save_pretrained(lora)
    in_hub_cache(tmp_path / "hub", "some/detoxifier", {".": lora}, "d" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    config = GenerateConfig(strategy="mllm_protector", backend="scripted", detoxifier=str(base))

    async def rewritten(adapter: str | None) -> tuple[str, str]:
        (helper,) = plan_helpers(replace(config, detoxifier_adapter=adapter))
        backend = create_helper(helper)
        await backend.start()
        said = await backend.generate([Message("user", "Corrected response: ")], Sampling(12))
        await backend.close()
        return said.text, str(helper.revision)

    hub, local, bare = (asyncio.run(rewritten(each)) for each in ("some/detoxifier", str(lora), None))
    assert hub[0] == local[0] != bare[0]
    assert hub[1].endswith(f"+adapter-some/detoxifier@{'d' * 40}")
