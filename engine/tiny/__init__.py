"""The embedded default: a tiny LLaVA of a made-up world, so that the engine runs with no weights to download.

Its figures test the machinery; they are no evidence about the method.
"""

from pathlib import Path

HERE = Path(__file__).resolve().parent

MODEL_DIR = HERE / "model"
"""The shipped model: weights, tokenizer, processor, chat template."""

SAMPLE_DIR = HERE / "sample"
"""The shipped sample set in VLGuard's own layout."""

WORLD_FILE = HERE / "world.json"
"""The world that the shipped model and sample set were made from."""

WORLD_TWO_FILE = HERE / "world_two.json"
"""A second world (invented words, another font) that the same code must build to the same bars."""

__all__ = ["MODEL_DIR", "SAMPLE_DIR", "WORLD_FILE", "WORLD_TWO_FILE"]
