"""A trained adapter or model as a repository: what loads it, its card, and nothing of the machine it was made on."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.config import PublishConfig
from engine.errors import OutputError, UsageError
from engine.publishing.card import split
from engine.publishing.publish import publish
from tests.publishing.conftest import environment
from tests.publishing.server import Blob, HubServer
from tests.publishing.test_loading import ROOT, blocks

WEIGHTS = b"weights" * 5000
DRY = PublishConfig(repo="acme/pie-guard", dry_run=True)


def trained(folder: Path, *, adapter: bool = True, base: str = "llava-hf/llava-1.5-7b-hf", **record: Any) -> Path:
    """As engine.train leaves it, with what stays at home beside it."""
    name = "adapter_model.safetensors" if adapter else "model.safetensors"
    folder.mkdir()
    files: dict[str, bytes] = {
        name: WEIGHTS,
        ("adapter_config.json" if adapter else "config.json"): json.dumps({"base_model_name_or_path": base}).encode(),
        "tokenizer.json": b"{}",
        "processor_config.json": b"{}",
        "chat_template.jinja": b"{{ messages }}",
        "loss.png": b"png",
        "training_args.bin": b"pickle",
        "optimizer.pt": b"pickle",
        ".lock": b"host",
        "logs/events": b"events",
        "checkpoints/checkpoint-1/adapter_model.safetensors": b"old",
    }
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    document = {
        "kind": "training",
        "engine_version": "0.1.0",
        "method": "dpo",
        "base": {"name": base, "revision": "abc", "loaded_from": "/home/somebody/models/x"},
        "data": {"path": "/home/somebody/run", "sha256": "d" * 64, "counts": {"preference": 29}},
        "recipe": {"lr": 2e-4, "lora_r": 128, "stages": [1]},
        "seed": 3,
        "steps": 10,
        "epochs": 1.0,
        "loss": {"first": 2.0, "last": 0.51234, "validation": None, "curve": [[1, 2.0]]},
        "versions": {"trl": "1.16.0"},
        "files": [{"path": name, "bytes": len(WEIGHTS), "sha256": hashlib.sha256(WEIGHTS).hexdigest()}],
    }
    (folder / "training.json").write_text(json.dumps(document | record))
    return folder


def scores(path: Path, **changes: Any) -> Path:
    metric = {"benchmark": "vlguard|x", "strategy": "direct", "part": "unsafes", "group": "all", "name": "asr"}
    metric |= {"judge": "keywords", "value": 0.125, "unit": "share", "n": 80, "low": 0.07, "high": 0.21}
    path.write_text(json.dumps({"kind": "scores", "scripted": False, "metrics": [metric], **changes}))
    return path


KEPT = {"adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "loss.png", "processor_config.json"}
KEPT |= {"README.md", "tokenizer.json", "training.json"}
"""Of a dry run with scores also scores.json."""


def test_the_folder_of_an_adapter(tmp_path: Path) -> None:
    made, out = trained(tmp_path / "guard"), tmp_path / "out"
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    file = scores(tmp_path / "scores.json")
    for _ in range(2):
        publish(None, replace(DRY, adapter=str(made), out=str(out), scores=str(file), licence="apache-2.0"))
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == KEPT | {"scores.json"}
    assert not any(b"/home/somebody" in path.read_bytes() for path in out.iterdir())
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before, "it is only read"
    text = (out / "README.md").read_text()
    data, _ = split(text, "")
    assert data["license"] == "apache-2.0"
    assert data["base_model"] == "llava-hf/llava-1.5-7b-hf"
    assert data["library_name"] == "peft"
    for words in (
        "A LoRA adapter trained (dpo) for safety",
        "| base model | llava-hf/llava-1.5-7b-hf at abc |",
        f"| data | sha256 of its seal `{'d' * 64}` |",
        "| rows: preference | 29 |",
        "| loss: last | 0.5123 |",
        r"| lora\_r | 128 |",
        r"| vlguard\|x | direct | unsafes | all | asr | keywords | 80 | 12.5 % [7.0 %, 21.0 %] |",
        'PeftModel.from_pretrained(base, "acme/pie-guard")',
        "![Loss over steps](loss.png)",
    ):
        assert words in text, words


def test_a_merged_model_on_a_local_base_names_no_path(tmp_path: Path) -> None:
    made, out = trained(tmp_path / "guard", adapter=False, base="/home/somebody/llava"), tmp_path / "out"
    publish(None, replace(DRY, adapter=str(made), out=str(out)))
    text = (out / "README.md").read_text()
    assert "base_model" not in split(text, "")[0]
    assert "llava \\(a local folder\\)" in text
    assert "Not evaluated here: no scores were given." in text
    assert not any(b"/home/somebody" in path.read_bytes() for path in out.iterdir())


def test_models_that_are_not_published(tmp_path: Path) -> None:
    made = trained(tmp_path / "guard")
    config = replace(DRY, adapter=str(made), out=str(tmp_path / "out"))

    def refused(says: str, **changes: Any) -> None:
        with pytest.raises(UsageError, match=says):
            publish(None, replace(config, **changes))
        assert not (tmp_path / "out").exists()

    refused("no folder", adapter=str(tmp_path / "nowhere"))
    refused("which is only read", out=str(made))
    refused("are for runs", include_rejected=True)
    refused("scores of a script", scores=str(scores(tmp_path / "s.json", scripted=True)))
    refused("no scores.json", scores=str(made / "training.json"))
    (made / "adapter_model.safetensors").write_bytes(b"others")
    refused("not the trained weights")
    (made / "training.json").unlink()
    refused("Only finished trainings")
    (made / "adapter_model.safetensors").unlink()
    refused("neither an adapter")


def test_a_model_is_pushed_whole_and_former_weights_go(server: HubServer, tmp_path: Path) -> None:
    made = trained(tmp_path / "guard")
    config = replace(DRY, adapter=str(made), dry_run=False)
    server.fail("commit/main", 500, times=-1)
    with pytest.raises(OutputError):
        publish(None, config, sleep=lambda _: None)
    repo = server.repo("acme/pie-guard", "model")
    assert set(repo.main) == {".gitattributes"}
    server.faults.clear()
    publish(None, config)
    assert set(repo.main) == KEPT | {".gitattributes"}
    assert repo.main["adapter_model.safetensors"].data == WEIGHTS
    assert repo.private
    former = json.loads(repo.main["training.json"].data)
    former["files"].append({"path": "model-00002.safetensors"})
    more = {
        "training.json": Blob(json.dumps(former).encode(), False),
        "model-00002.safetensors": Blob(b"old", True),
        "people.txt": Blob(b"theirs", False),
    }
    repo.commit("main", repo.main | more, "an earlier one")
    publish(None, config)
    assert set(repo.main) == KEPT | {".gitattributes", "people.txt"}


@pytest.mark.torch
@pytest.mark.slow
def test_the_card_loads_the_model(server: HubServer, tmp_path: Path) -> None:
    """What goes up is enough: the lines of the card load the embedded model from the Hub of our own."""
    made = tmp_path / "guard"
    shutil.copytree(ROOT / "engine" / "tiny" / "model", made)
    (made / "training.json").write_text(json.dumps({"kind": "training", "base": {"name": "tiny"}}))
    publish(None, replace(DRY, adapter=str(made), dry_run=False))
    card = server.repo("acme/pie-guard", "model").main["README.md"].data.decode()
    (lines,) = blocks(card, "python")
    script = f"{lines}\nassert type(model).__name__.startswith('Llava') and processor.tokenizer is not None\n"
    home = environment(server, tmp_path / "home")
    done = subprocess.run(
        [sys.executable, "-c", script], env=home, cwd=tmp_path, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-3000:]
