"""What a person gets wrong, through the command itself: one clear message, the right exit code, nothing started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTED = ["--backend", "scripted"]


def generate(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **(env or {})}
    command = [sys.executable, "-m", "engine.generate", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=environment)


def refused(done: subprocess.CompletedProcess[str], *words: str, code: int = 2) -> None:
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


class TestFlagsAndFiles:
    def test_a_misspelt_flag(self) -> None:
        refused(generate("--querys", "sample"), "--querys")

    def test_a_misspelt_key_in_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "c.yaml").write_text("generate: {querys: sample}")
        refused(generate("--config", str(tmp_path / "c.yaml")), "querys", "known keys", "queries")

    def test_a_misspelt_section(self, tmp_path: Path) -> None:
        (tmp_path / "c.yaml").write_text("generat: {queries: sample}")
        refused(generate("--config", str(tmp_path / "c.yaml")), "generat", "generate")

    def test_a_wrong_type(self, tmp_path: Path) -> None:
        (tmp_path / "c.yaml").write_text("generate: {limit: many}")
        refused(generate("--config", str(tmp_path / "c.yaml")), "generate.limit", '"many"', "integer")

    def test_no_yaml(self, tmp_path: Path) -> None:
        (tmp_path / "c.yaml").write_text("{generate: [")
        refused(generate("--config", str(tmp_path / "c.yaml")), "not YAML")

    def test_no_such_file(self) -> None:
        refused(generate("--config", "no-such.yaml"), "no-such.yaml")

    def test_a_flag_wins_over_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "c.yaml").write_text("generate: {queries: nowhere}")
        done = generate("--config", str(tmp_path / "c.yaml"), "--queries", "also-nowhere")
        refused(done, "also-nowhere")

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--queries", "nowhere"], ["nowhere", "sample", "vlguard"]),
            (["--strategy", "esco"], ["esco", "ecso"]),
            (["--workers", "0"], ["--workers 0"]),
            (["--workers", "many"], ["workers"]),
            (["--limit", "0"], ["limit"]),
            (["--where", "category=nothing"], ["category", "nothing"]),
            (["--where", "categori=privacy"], ["categori", "category"]),
            (["--chat-template-kwargs", "{broken"], ["not JSON"]),
            (["--backend", "openai"], ["--base-url"]),
        ],
        ids=lambda value: value[0].removeprefix("--") if isinstance(value, list) else "",
    )
    def test_values(self, arguments: list[str], words: list[str], tmp_path: Path) -> None:
        backend = [] if "--backend" in arguments else SCRIPTED
        refused(generate(*backend, *arguments, "--out", str(tmp_path / "out")), *words)
        assert not (tmp_path / "out").exists()


class TestSources:
    def test_vlguard_without_data_says_how_to_get_it(self, tmp_path: Path) -> None:
        done = generate(*SCRIPTED, "--queries", "vlguard", env={"HF_TOKEN": "", "HF_HOME": str(tmp_path)})
        refused(done, "request access", "HF_TOKEN", "--path")

    def test_no_such_folder(self, tmp_path: Path) -> None:
        refused(generate(*SCRIPTED, "--queries", "vlguard", "--path", str(tmp_path / "none")), "no such folder")

    def test_an_index_that_is_no_json(self, tmp_path: Path) -> None:
        (tmp_path / "train.json").write_text("[{")
        refused(generate(*SCRIPTED, "--queries", "vlguard", "--path", str(tmp_path)), "train.json", "JSON")


class TestModels:
    def test_no_such_folder(self) -> None:
        refused(generate("--backend", "transformers", "--model", "./no-model"), "./no-model", "no such folder")

    def test_a_folder_without_a_model(self, tmp_path: Path) -> None:
        refused(generate("--backend", "transformers", "--model", str(tmp_path)), "config.json")

    @pytest.mark.ray
    @pytest.mark.torch
    @pytest.mark.slow
    def test_a_model_without_pictures(self, tmp_path: Path) -> None:
        transformers = pytest.importorskip("transformers")
        shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=300, **shape))
        model.save_pretrained(tmp_path / "llama")
        done = generate("--backend", "transformers", "--model", str(tmp_path / "llama"), "--out", str(tmp_path / "out"))
        refused(done, "picture")


class TestOutput:
    def test_a_file_in_the_way(self, tmp_path: Path) -> None:
        (tmp_path / "out").write_text("a file")
        refused(generate(*SCRIPTED, "--out", str(tmp_path / "out")), str(tmp_path / "out"))

    def test_below_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("a file")
        refused(generate(*SCRIPTED, "--out", str(tmp_path / "file/out")), str(tmp_path / "file"))

    def test_a_damaged_manifest(self, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out/manifest.json").write_text("{half")
        refused(generate(*SCRIPTED, "--out", str(tmp_path / "out")), "manifest.json")

    def test_a_manifest_of_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out/manifest.json").write_text(json.dumps({"kind": "other"}))
        refused(generate(*SCRIPTED, "--out", str(tmp_path / "out")), "manifest.json")


class TestCurate:
    def test_no_run(self, tmp_path: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "engine.curate", str(tmp_path)], cwd=ROOT, capture_output=True, text=True
        )
        refused(done, "manifest.json", "not a sealed run")
