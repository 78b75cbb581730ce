"""What stands on the card under "How to load" is run as it stands there, against the Hub of our own."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from engine.config import PublishConfig
from engine.publishing.publish import publish
from tests.publishing.conftest import environment
from tests.publishing.server import HubServer

ROOT = Path(__file__).parent.parent.parent
CONFIG = PublishConfig(repo="acme/pies", validation_share=0.3)


def blocks(card: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", card, re.DOTALL)


def test_the_card_loads_what_was_pushed(server: HubServer, run: Path, tmp_path: Path) -> None:
    """In one process of its own: load the rows, join the pictures (from the run's own), load the joined set."""
    publish(str(run), CONFIG)
    card = server.repo("acme/pies").main["README.md"].data.decode()
    load, joined = blocks(card, "python")
    (command,) = blocks(card, "bash")
    command = command.replace("PICTURES", str(run / "pictures")).replace("python -m engine.hydrate", "").strip()
    script = (
        f"{load}\nassert rows['train'].num_rows == 46 and rows['validation'].num_rows == 10\n"
        "assert rows['train'][0]['pictures'][0]['width'] == 320\n"
        f"from engine.commands.hydrate import main\nassert main({command.split()!r}) == 0\n"
        f"{joined}\nassert rows['train'].num_rows == 46 and rows['validation'].num_rows == 10\n"
    )
    home = environment(server, tmp_path / "home", PYTHONPATH=str(ROOT))
    done = subprocess.run(
        [sys.executable, "-c", script], env=home, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "'pictures': List({'id': Value('string'), 'sha256': Value('string')" in done.stdout
    assert "6 of 6 pictures found, every checksum verified" in done.stdout
    assert "<PIL.PngImagePlugin.PngImageFile image mode=RGB size=320x240" in done.stdout


@pytest.mark.parametrize("embedded", [False, True])
def test_the_dry_run_folder_loads(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embedded: bool) -> None:
    datasets = pytest.importorskip("datasets")
    flags = {"embed_images": True, "licence_ok": "CC0-1.0"} if embedded else {}
    out = tmp_path / "pies"
    publish(str(run), replace(CONFIG, dry_run=True, out=str(out), include_rejected=True, **flags))
    for folder, counts in ((out, (46, 10)), (tmp_path / "pies-preference", None)):
        found = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
        if counts:
            assert (found["train"].num_rows, found["validation"].num_rows) == counts
        features = found["train"].features
        if embedded:
            assert features["images"] == datasets.List(datasets.Image())
            picture = found["train"][0]["images"][0]
            assert isinstance(picture, Image.Image)
            picture.save(io.BytesIO(), "PNG")
        else:
            assert features["pictures"].feature["sha256"] == datasets.Value("string")
        assert "rejected" in features or features["messages"].feature["role"] == datasets.Value("string")
