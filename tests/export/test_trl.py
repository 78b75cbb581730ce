"""TRL's formats through TRL's own loaders: `load_dataset`, the vision collators on every row, one real step on CPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.backends.wire import JOINER
from engine.export.export import ExportConfig, export
from engine.tiny import __file__ as tiny
from tests.export import make

pytest.importorskip("trl")
pytestmark = [pytest.mark.torch, pytest.mark.slow]
MODEL = str(Path(tiny).parent / "model")
PICTURE_TOKENS = 36
"""Of one picture in the tiny model: 72 x 72 pixels in patches of 12."""
FORMATS = {"trl": ("SFT", 9 + 12), "trl-dpo": ("DPO", 3), "trl-kto": ("KTO", 9 + 12 + 3)}


@pytest.fixture(scope="module")
def exported(made: Path, utility: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("trl")
    for name in FORMATS:
        mix: dict[str, Any] = {} if name == "trl-dpo" else {"mix": str(utility), "mix_rows": 12}
        export(ExportConfig(str(made), name, str(folder / name), **mix))
    return {name: folder / name for name in FORMATS}


@pytest.fixture(scope="module")
def model() -> Iterator[Any]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield lambda: __import__("transformers").AutoModelForImageTextToText.from_pretrained(MODEL)
    torch.set_num_threads(before)


def loaded(folder: Path, tmp_path: Path) -> Any:
    from datasets import load_dataset

    return load_dataset("parquet", data_files=str(folder / "data/*.parquet"), split="train", cache_dir=str(tmp_path))


def trainer(name: str, rows: Any, model: Any, tmp_path: Path) -> Any:
    import trl
    from transformers import AutoProcessor

    kind = FORMATS[name][0]
    settings = getattr(trl, f"{kind}Config")(
        output_dir=str(tmp_path), per_device_train_batch_size=2, max_steps=1, learning_rate=1e-3, max_length=None,
        use_cpu=True, bf16=False, gradient_checkpointing=False, report_to="none", save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    processor = AutoProcessor.from_pretrained(MODEL)
    return getattr(trl, f"{kind}Trainer")(model=model(), args=settings, train_dataset=rows, processing_class=processor)


@pytest.mark.parametrize("name", FORMATS)
def test_pictures_load_as_images(name: str, exported: dict[str, Path], tmp_path: Path) -> None:
    import datasets
    from PIL import Image

    rows = loaded(exported[name], tmp_path)
    assert rows.features["images"] == datasets.List(datasets.Image())
    assert len(rows) == FORMATS[name][1]
    shown = [image for images in rows["images"] for image in images]
    assert shown
    assert all(isinstance(image, Image.Image) for image in shown)
    assert "messages" not in rows.features, "TRL would train on the query's tokens"


@pytest.mark.parametrize("name", FORMATS)
def test_one_step(name: str, exported: dict[str, Path], model: Any, tmp_path: Path) -> None:
    """A real optimizer step changes the weights, and the loss is a number."""
    import torch

    made = trainer(name, loaded(exported[name], tmp_path), model, tmp_path / "out")
    before = {key: value.clone() for key, value in made.model.named_parameters()}
    result = made.train()
    assert result.global_step == 1
    assert 0 < result.training_loss < 30
    changed = [key for key, value in made.model.named_parameters() if not torch.equal(value, before[key])]
    assert any("language_model" in key for key in changed)


@pytest.mark.parametrize("name", FORMATS)
def test_every_row_has_as_many_picture_tokens_as_pictures(
    name: str, exported: dict[str, Path], model: Any, tmp_path: Path
) -> None:
    """Through the trainer's own collator, in mixed batches: text-only rows, two pictures, and a query full of tags."""
    rows = loaded(exported[name], tmp_path)
    made = trainer(name, rows, model, tmp_path / "out")
    token = made.model.config.image_token_id
    for start in range(0, len(rows) - 1, 2):
        batch = [rows[start], rows[start + 1]]
        wanted = [PICTURE_TOKENS * len(row["images"]) for row in batch]
        # KTO's and DPO's collators return prompts twice or as two halves: each row's count stays the same.
        ids = made.data_collator(batch)["input_ids"]
        found = (ids == token).sum(dim=1).tolist()
        assert found == wanted * (len(found) // 2), start


def test_only_the_answer_is_learned(exported: dict[str, Path], model: Any, tmp_path: Path) -> None:
    rows = loaded(exported["trl"], tmp_path)
    made = trainer("trl", rows, model, tmp_path / "out")
    tokenizer = made.processing_class.tokenizer
    for number in range(len(make.ROWS)):
        row = rows[number]
        answer = row["completion"][0]["content"][0]["text"]
        labels = made.data_collator([row])["labels"][0]
        kept = tokenizer.decode(labels[labels != -100])
        assert kept.strip() == tokenizer.decode(tokenizer(answer, add_special_tokens=False)["input_ids"]).strip()


def test_a_tag_left_in_a_query_would_count_as_a_picture(exported: dict[str, Path], model: Any, tmp_path: Path) -> None:
    """Why texts are neutralised: with the joiner taken out again, the same row claims one picture too many."""
    rows = loaded(exported["trl"], tmp_path)
    made = trainer("trl", rows, model, tmp_path / "out")
    token = made.model.config.image_token_id
    (row,) = (row for row in rows if row["query_id"] == make.identity(make.ROWS[2], make.pictures()))
    neutral = int((made.data_collator([dict(row)])["input_ids"] == token).sum())
    row["prompt"][0]["content"][1]["text"] = row["prompt"][0]["content"][1]["text"].replace(JOINER, "")
    assert neutral == PICTURE_TOKENS
    try:
        raw = int((made.data_collator([row])["input_ids"] == token).sum())
    except (ValueError, IndexError, StopIteration) as error:
        raw = -1
        print(f"the processor itself refuses the raw text: {error}")
    assert raw != PICTURE_TOKENS


def test_kto_labels(exported: dict[str, Path], tmp_path: Path) -> None:
    """Every answer of sft/ and the mix is true, every rejected one false; no answer stands twice; kinds are mixed."""
    rows = loaded(exported["trl-kto"], tmp_path)
    said = [(row["query_id"], row["completion"][0]["content"][0]["text"], row["label"]) for row in rows]
    assert len(set(said)) == len(said)
    refused = {text.replace(JOINER, "") for _, text, label in said if not label}
    assert refused == {ask.rejected for ask in make.ROWS if ask.rejected}
    assert {ask.response for ask in make.ROWS} <= {text.replace(JOINER, "") for _, text, label in said if label}
    assert [row["contains_harmful"] for row in rows].count(True) == 2
    places = [index for index, (_, _, label) in enumerate(said) if not label]
    assert places != list(range(len(said) - 3, len(said))), "false rows stand at the end: batches of one kind"
