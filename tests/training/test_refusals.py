"""What cannot be trained is told before a model is loaded: the folder given as model here has no weights at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.config import TrainConfig
from engine.errors import UsageError
from engine.export.export import ExportConfig, export
from engine.tiny import MODEL_DIR
from tests.export import make

pytest.importorskip("trl")
pytestmark = [pytest.mark.torch]
Configure = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The embedded model without its weights."""
    folder = tmp_path_factory.mktemp("bare") / "model"
    shutil.copytree(MODEL_DIR, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    return str(folder)


def told(config: TrainConfig) -> str:
    from engine.training.train import run

    with pytest.raises(UsageError) as raised:
        run(config)
    assert not (Path(str(config.out)) / "checkpoints").exists()
    return str(raised.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"preset": "llava-loar"}, "did you mean llava-lora"),
        ({"adapter_only": True, "projector_lr": 1e-3}, "--projector-lr 0"),
        ({"adapter_only": True, "preset": "llava-lora"}, "would be trained whole and be lost"),
        ({"peft": "full", "adapter_only": True}, "--adapter-only is a form of LoRA"),
        ({"projector_lora": True, "projector_lr": 1e-3}, "the projector is trained whole already"),
        ({"patience": 2}, "--patience needs --validation-share"),
        ({"mix_rows": 5}, "--mix-rows needs --mix"),
        ({"method": "kto", "device_batch": 1}, "KTO needs two or more"),
        ({"method": "kto", "batch_size": 3}, "--batch-size 3 and --device-batch 2"),
        ({"method": "dpo", "mix": "x.json"}, "no rejected answer"),
        ({"data": "nowhere"}, "no curation.json there"),
        ({"model": "./nowhere"}, "no such folder"),
        ({"data": None}, "--data is missing"),
        ({"max_length": 3}, "no row is left to train on (9 too long"),
    ],
    ids=lambda value: "" if isinstance(value, str) else ",".join(value),
)
def test_unusable_flags(changes: dict[str, Any], words: str, config: Configure, bare: str, tmp_path: Path) -> None:
    assert words in told(config(tmp_path / "out", **{"model": bare, **changes}))


def test_unusable_data(config: Configure, bare: str, tmp_path: Path) -> None:
    text_only = make.curated(tmp_path / "text", [make.ROWS[5]])
    assert "none of its 1 rows has a picture" in told(config(tmp_path / "a", data=str(text_only), model=bare))
    empty = make.curated(tmp_path / "empty", [])
    assert "no rows in sft/" in told(config(tmp_path / "b", data=str(empty), model=bare))
    no_pairs = make.curated(tmp_path / "plain", make.ROWS[:1])
    assert "only ecso makes pairs" in told(config(tmp_path / "c", data=str(no_pairs), model=bare, method="dpo"))


def test_answers_of_a_script(config: Configure, made: Path, bare: str, tmp_path: Path) -> None:
    scripted = shutil.copytree(made, tmp_path / "scripted")
    (scripted / "manifest.json").write_text(json.dumps({"scripted": True}))
    assert "which no model wrote" in told(config(tmp_path / "a", data=str(scripted), model=bare))
    export(ExportConfig(str(scripted), "trl", str(tmp_path / "trl")))
    assert "which no model wrote" in told(config(tmp_path / "c", data=str(tmp_path / "trl"), model=bare))
    (scripted / "manifest.json").write_text(json.dumps({"scripted": False}))
    assert "no row is left" in told(config(tmp_path / "b", data=str(scripted), model=bare, max_length=3))


def test_exports_of_another_kind(config: Configure, made: Path, bare: str, tmp_path: Path) -> None:
    export(ExportConfig(str(made), "trl-kto", str(tmp_path / "kto")))
    assert "for --method kto; found --method sft" in told(
        config(tmp_path / "a", data=str(tmp_path / "kto"), model=bare)
    )
    export(ExportConfig(str(made), "swift", str(tmp_path / "swift")))
    assert "an export for swift" in told(config(tmp_path / "b", data=str(tmp_path / "swift"), model=bare))
    shard = next((tmp_path / "kto" / "data").glob("*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    assert "not the file" in told(config(tmp_path / "c", data=str(tmp_path / "kto"), model=bare, method="kto"))


def test_an_adapter_is_no_model_and_a_model_no_adapter(config: Configure, tmp_path: Path) -> None:
    from engine.backends import adapters

    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "some/base"}))
    assert "train on its base model (some/base)" in told(config(tmp_path / "a", model=str(tmp_path / "adapter")))
    with pytest.raises(UsageError, match="it is a whole model: pass it as --model"):
        adapters.read(str(MODEL_DIR))


def test_a_batch_that_does_not_divide() -> None:
    from engine.training.presets import PRESETS
    from engine.training.settings import Batches, spread

    recipe = PRESETS["llava-lora"]
    assert spread(recipe, 8) == Batches(16, 1, 128)
    assert spread(recipe, 1) == Batches(16, 8, 128)
    assert spread(recipe, 64) == Batches(2, 1, 128)
    with pytest.raises(UsageError, match="choose 126"):
        spread(recipe, 3)


def test_the_same_order_for_the_same_seed_and_epoch() -> None:
    from engine.training.trainers import Order

    lengths = [(7 * number) % 50 for number in range(103)]
    one, other = (Order(lengths, 4, 3, by_length=True) for _ in range(2))
    assert list(one) == list(other)
    assert sorted(one) == list(range(103))
    first = list(one)
    one.set_epoch(1)
    assert list(one) != first
    batches = [[lengths[row] for row in first[k : k + 4]] for k in range(0, 100, 4)]
    spreads = [max(batch) - min(batch) for batch in batches]
    assert sum(spreads) / len(spreads) < 12  # 4 of 32 shuffled rows: neighbours in length
