"""Real trainings of a few steps: what learns, what is written, what loads again."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import schemas
from engine.backends import adapters
from engine.config import TrainConfig
from engine.errors import UsageError
from engine.tiny import MODEL_DIR
from tests.backends.tiny_models import MAKERS

pytest.importorskip("trl")
pytestmark = [pytest.mark.torch, pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
Configure = Callable[..., TrainConfig]
TOWER, PROJECTOR, LANGUAGE = "vision_tower.", "multi_modal_projector.", "language_model."


def train(config: TrainConfig) -> dict[str, Any]:
    from engine.training.train import run

    return run(config)


def tensors(folder: Path, name: str = "model.safetensors") -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(str(folder / name))


def changed(folder: Path, base: Path = MODEL_DIR) -> set[str]:
    """Parts of the model whose weights are others than the base model's."""
    before, after = tensors(base), tensors(folder)
    assert set(before) == set(after)
    assert {name: t.dtype for name, t in before.items()} == {name: t.dtype for name, t in after.items()}
    moved = [name for name in before if not before[name].equal(after[name])]
    return {part for part in (TOWER, PROJECTOR, LANGUAGE) for name in moved if part in name}


def losses_of(folder: Path) -> list[float]:
    """What TensorBoard shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return [event.value for event in events.Scalars("train/loss")]


@pytest.fixture(scope="module")
def merged(config: Configure, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "merged"
    train(config(folder, save_steps=2))
    return folder


def test_a_lora_training_leaves_a_whole_model(merged: Path, config: Configure) -> None:
    document = json.loads((merged / "training.json").read_text())
    schemas.check("training", document)
    assert (document["steps"], document["batches"]) == (3, {"device": 2, "accumulate": 2, "total": 4})
    assert document["data"]["rows"] == 9
    assert document["data"]["with_pictures"] == 8
    assert len(document["loss"]["curve"]) == 3
    assert 0 < document["parameters"]["trained"] < document["parameters"]["all"] / 10
    assert changed(merged) == {LANGUAGE}
    assert (merged / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert losses_of(merged / "logs") == pytest.approx([value for _, value in document["loss"]["curve"]])
    assert (merged / "checkpoints" / "checkpoint-3").is_dir()
    assert not (merged / "checkpoints" / "checkpoint-2").exists()  # --keep-checkpoints 1
    assert {"config.json", "processor_config.json", "tokenizer.json", "chat_template.jinja"} <= {
        path.name for path in merged.iterdir()
    }
    again = train(config(merged, save_steps=2))
    assert again == document  # done already: nothing is trained twice
    with pytest.raises(UsageError, match=r"another training \(lr is 0.001, not 0.5\)"):
        train(config(merged, save_steps=2, lr=0.5))


def test_an_adapter_alone_answers_as_the_merged_model(merged: Path, config: Configure, tmp_path: Path) -> None:
    import asyncio

    from engine.backends import create
    from engine.backends.base import BackendConfig
    from engine.types import Message, Sampling
    from tests.backends.conftest import picture

    train(config(tmp_path / "adapter", save_steps=2, adapter_only=True))
    found = adapters.read(str(tmp_path / "adapter"))
    assert (found.rank, found.whole) == (8, ())
    adapters.check_vllm(found, {})
    assert not (tmp_path / "adapter" / "model.safetensors").exists()
    keys = tensors(tmp_path / "adapter", adapters.WEIGHTS)
    assert all(LANGUAGE in key and ".lora_" in key and "lm_head" not in key for key in keys)
    assert len(keys) == 5 * 7 * 2  # layers, linears, A and B

    async def answers(backend: BackendConfig) -> list[str]:
        made = create(backend)
        await made.start()
        asked = [[Message("user", text, (picture(i),))] for i, text in enumerate(["What is it?", "Teach me this."] * 8)]
        try:
            return [c.text for c in await asyncio.gather(*(made.generate(one, Sampling(24)) for one in asked))]
        finally:
            await made.close()

    whole = asyncio.run(answers(BackendConfig("transformers", str(merged), engine_args={"dtype": "float32"})))
    light = BackendConfig("transformers", str(MODEL_DIR), adapter=str(tmp_path / "adapter"))
    apart = asyncio.run(answers(light))
    assert sum(a == b for a, b in zip(whole, apart, strict=True)) >= 15
    adapters.check_base(
        found, str(MODEL_DIR), "tiny", json.loads((merged / "training.json").read_text())["base"]["revision"]
    )
    other = MAKERS["llava"](tmp_path / "other")
    with pytest.raises(UsageError, match="trained on tiny"):
        adapters.check_base(found, str(other), "other", "local-0000000000000000")
    (tmp_path / "adapter" / "training.json").unlink()
    with pytest.raises(UsageError, match="for a language model of 5 layers, 192 wide"):
        adapters.check_base(found, str(other), "other", "local-0000000000000000")


def test_a_projector_lora_is_in_the_adapter_and_is_heard(config: Configure, tmp_path: Path) -> None:
    from engine.backends.transformers import _with_adapter
    from engine.training import models

    train(config(tmp_path / "adapter", adapter_only=True, projector_lora=True, lr=1e-2, warmup=0.0))
    learned = {key for key in tensors(tmp_path / "adapter", adapters.WEIGHTS) if PROJECTOR in key}
    assert len(learned) == 2 * 2  # linears, A and B
    before = models.load(str(MODEL_DIR), None, trust_remote_code=False, dtype="float32").state_dict()
    whole = models.load(str(MODEL_DIR), None, trust_remote_code=False, dtype="float32")
    after = _with_adapter(whole, str(tmp_path / "adapter"), merge=True).state_dict()
    moved = {name for name in before if PROJECTOR in name and not before[name].equal(after[name])}
    assert moved == {name for name in before if PROJECTOR in name and name.endswith("weight")}
    found = adapters.read(str(tmp_path / "adapter"))
    with pytest.raises(UsageError, match="which vLLM would pass over"):
        adapters.check_vllm(found, {})
    adapters.check_vllm(found, {adapters.TOWER_SWITCH: True})


def test_full_training_and_a_projector_of_its_own_rate(config: Configure, tmp_path: Path) -> None:
    train(config(tmp_path / "frozen", peft="full"))
    assert changed(tmp_path / "frozen") == {LANGUAGE}
    document = train(config(tmp_path / "full", peft="full", projector_lr=1e-2))
    assert changed(tmp_path / "full") == {LANGUAGE, PROJECTOR}
    assert document["parameters"]["trained"] > document["parameters"]["all"] / 2
    train(config(tmp_path / "lora", projector_lr=1e-2))
    assert changed(tmp_path / "lora") == {LANGUAGE, PROJECTOR}


def test_the_published_rates_stand_in_groups_of_their_own() -> None:
    from peft import get_peft_model

    from engine.training import models
    from engine.training.presets import PRESETS

    recipe = PRESETS["llava-lora"]
    model = models.load(str(MODEL_DIR), None, trust_remote_code=False, dtype="float32")
    parts = models.parts_of(model)
    learned = get_peft_model(model, models.lora_config(recipe, parts, projector_lora=False, base="tiny", revision=None))
    groups = models.groups(learned, recipe, parts, set())
    assert sorted((group["lr"], len(group["params"])) for group in groups) == [(2e-5, 4), (2e-4, 5 * 7 * 2)]
    names = {name for name, parameter in learned.named_parameters() if parameter.requires_grad}
    assert not any("vision_tower" in name or "lm_head" in name for name in names)


@pytest.mark.parametrize(("method", "peft"), [("dpo", "lora"), ("dpo", "full"), ("kto", "lora"), ("kto", "full")])
def test_preferences_start_at_the_reference_and_learn(
    method: str, peft: str, config: Configure, tmp_path: Path
) -> None:
    few = config(tmp_path / "out", method=method, peft=peft, max_steps=4, device_batch=4, warmup=0.0, lr=1e-3)
    document = train(few)
    assert document["data"]["rows"] == {"dpo": 3, "kto": 12}[method]
    # Before the first step the model is the reference: -log sigmoid(0) for dpo, 1 - sigmoid(0) for kto.
    assert document["loss"]["first"] == pytest.approx({"dpo": math.log(2), "kto": 0.5}[method], abs=2e-3)
    assert document["loss"]["last"] < document["loss"]["first"]
    assert changed(tmp_path / "out") == {LANGUAGE}


@pytest.mark.parametrize("shape", ["onevision", "qwen2_5_vl"])
def test_other_shapes_take_a_step_and_load_again(shape: str, config: Configure, tmp_path: Path) -> None:
    from engine.training import models

    base = MAKERS[shape](tmp_path / "base")
    document = train(config(tmp_path / "out", model=str(base), max_steps=1, warmup=0.0, projector_lr=1e-2, lr=1e-2))
    assert document["data"]["left_out"] == {}
    before, after = tensors(base), tensors(tmp_path / "out")
    assert set(before) == set(after)
    moved = {name for name in before if not before[name].equal(after[name])}
    assert any("layers" in name for name in moved)
    assert any("projector" in name or "merger" in name for name in moved)
    assert not any("vision_tower" in name or "visual.blocks" in name for name in moved)
    models.load(str(tmp_path / "out"), None, trust_remote_code=False, dtype="float32")


def test_utility_rows_text_only_rows_and_validation(config: Configure, utility: Path, tmp_path: Path) -> None:
    few = config(tmp_path / "out", mix=str(utility), mix_rows=12, validation_share=0.2, patience=1, save_steps=1)
    document = train(few)
    data = document["data"]
    assert data["mix"] == {"name": "instruct.json", "rows": 12, "bad_rows": 0}
    assert data["counts"] == {"sft": 9, "mix": 12}
    assert data["rows"] + data["validation_rows"] > 21  # a two-turn row is a row a round under this template
    assert data["with_pictures"] < data["rows"]
    assert document["loss"]["validation"] is not None


def test_rows_that_do_not_fit_are_left_out_and_named(config: Configure, tmp_path: Path) -> None:
    from engine.training.plan import plan
    from engine.training.train import prepare

    found = prepare(plan(config(tmp_path, max_length=75)))
    assert found.encoder.left_out == {"too long": 2}
    assert all("too long" in name for name in found.encoder.named)
    assert all(len(row.ids) <= 75 for row in found.train)  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="no row is left to train on"):
        prepare(plan(config(tmp_path, max_length=5)))


def test_what_the_model_is_shown_is_what_generation_asks(config: Configure, tmp_path: Path) -> None:
    """Ids, picture tensors and labels of a real batch against the backend's own job."""
    from engine.backends.features import expand, make
    from engine.backends.prompting import prepare as prepared_picture
    from engine.pictures import inspect
    from engine.training.collate import SftCollator
    from engine.training.plan import plan
    from engine.training.train import prepare
    from engine.types import Message
    from tests.export import make as made_rows

    job = plan(config(tmp_path, picture_prep="pad"))
    found = prepare(job)
    images = made_rows.pictures()
    for row, ask in zip(found.train, made_rows.ROWS, strict=True):
        pictures = tuple(inspect(images[number], "made") for number in ask.pictures)
        prompt = found.prompter.prompt([Message("user", ask.query, pictures)])
        shown = [
            make(found.processor, found.prompter.placeholder, prepared_picture(picture, "pad")) for picture in pictures
        ]
        ids = expand(prompt.token_ids, found.prompter.placeholder_id, shown)
        batch = SftCollator([row], found.store, 0)([{"row": 0}])
        assert batch["input_ids"][0, : len(ids)].tolist() == ids
        learned = batch["labels"][0]
        assert set(learned[: len(ids)].tolist()) == {-100}
        assert (learned[len(ids) :] == batch["input_ids"][0, len(ids) :]).all()
        assert batch["input_ids"][0, -1] == found.prompter.tokenizer.eos_token_id
        if shown:
            assert batch["pixel_values"].equal(__import__("torch").cat([one.tensors["pixel_values"] for one in shown]))
    assert replace(job.recipe).picture_prep == "pad"
