"""Models, pictures and one event loop for the backends' tests."""

from __future__ import annotations

import asyncio
import hashlib
import io
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.types import Picture

SHIPPED = Path(__file__).parents[2] / "engine" / "tiny" / "model"


def picture(seed: int = 0, size: tuple[int, int] = (100, 80), kind: str = "PNG") -> Picture:
    """A drawn picture: a rectangle whose place and colours follow the seed."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", size, (seed * 37 % 256, seed * 91 % 256, seed * 53 % 256))
    draw = ImageDraw.Draw(image)
    draw.rectangle((seed * 7 % size[0], seed * 5 % size[1], size[0] - 1, size[1] - 1), fill=(255 - seed % 256, 99, 0))
    buffer = io.BytesIO()
    image.save(buffer, kind)
    data = buffer.getvalue()
    return Picture(data, hashlib.sha256(data).hexdigest(), *size, kind)


class Loop:
    """One event loop in a thread of its own: an engine lives in the loop that started it, tests come and go."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def __call__(self, coroutine: Coroutine[Any, Any, Any], timeout: float = 240) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="session")
def run() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.stop()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """name of MAKERS -> a folder with that random-weight model, made once."""
    from tests.backends.tiny_models import MAKERS

    root = tmp_path_factory.mktemp("models")

    def get(name: str) -> Path:
        folder = root / name
        return folder if folder.exists() else MAKERS[name](folder)

    return get


@pytest.fixture(scope="session")
def llava(model_folder: Callable[[str], Path]) -> Path:
    """The shipped tiny LLaVA, or a random one where it is not built yet."""
    return SHIPPED if (SHIPPED / "model.safetensors").exists() else model_folder("llava")
