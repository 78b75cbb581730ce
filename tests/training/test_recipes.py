"""`--export`: data and a ready configuration that follow from the data's facts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from engine.config import TrainConfig
from engine.errors import UsageError
from engine.training.recipes import export
from tests.export import make


def test_llava_groups_by_modality_only_where_there_are_text_only_rows(made: Path, tmp_path: Path) -> None:
    export(TrainConfig(data=str(made), out=str(tmp_path / "mixed"), export="llava"))
    shown = make.curated(tmp_path / "shown", [row for row in make.ROWS if len(row.pictures) == 1])
    export(TrainConfig(data=str(shown), out=str(tmp_path / "all"), export="llava", model="llava-hf/llava-1.5-7b-hf"))
    mixed, whole = ((tmp_path / name / "train.sh").read_text() for name in ("mixed", "all"))
    assert "--group_by_modality_length True" in mixed
    assert "--group_by_modality_length" not in whole
    for line in ("--lora_r 128", "--lora_alpha 256", "--mm_projector_lr 2e-05", "--learning_rate 0.0002",
                 "--warmup_ratio 0.03", "--model_max_length 2048", "--image_aspect_ratio pad",
                 "--model_name_or_path liuhaotian/llava-v1.5-7b", "--per_device_train_batch_size 16"):  # fmt: skip
        assert f"{line} \\" in whole
    path = next(line.split()[1] for line in whole.splitlines() if "--data_path" in line)
    assert len(json.loads(Path(path).read_text())) == sum(len(row.pictures) == 1 for row in make.ROWS)


@pytest.mark.parametrize("form", ["llava", "llamafactory", "swift"])
@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_scripts_are_shell(form: str, method: str, made: Path, tmp_path: Path) -> None:
    config = TrainConfig(data=str(made), out=str(tmp_path / "it's $here"), export=form, method=method)
    if (form, method) == ("llava", "dpo"):
        with pytest.raises(UsageError, match="supervised rows only"):
            export(config)
        return
    document = export(config)
    script = tmp_path / "it's $here" / "train.sh"
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    assert script.stat().st_mode & 0o100
    assert document["counts"]["sft"] == 9
    # The shell reads the quoted paths back as they are.
    shown = subprocess.run(["bash", "-c", _as_echo(script)], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path / "it's $here") in shown


def _as_echo(script: Path) -> str:
    """The script's last command with `echo` for the program."""
    lines = script.read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(("deepspeed", "llamafactory", "swift")))
    return "GPUS=1 ACCUMULATE=1; echo " + "\n".join(lines[start:])


def test_llamafactory_reads_its_own_words(made: Path, tmp_path: Path) -> None:
    export(TrainConfig(data=str(made), out=str(tmp_path / "sft"), export="llamafactory"))
    facts = yaml.safe_load((tmp_path / "sft" / "train.yaml").read_text())
    assert (facts["stage"], facts["dataset"], facts["template"]) == ("sft", "ecso_sft", "llava")
    assert (facts["lora_rank"], facts["lora_alpha"], facts["freeze_vision_tower"]) == (128, 256, True)
    info = json.loads((Path(facts["dataset_dir"]) / "dataset_info.json").read_text())
    assert facts["dataset"] in info


def test_data_that_a_training_refuses_is_not_exported(tmp_path: Path) -> None:
    text_only = make.curated(tmp_path / "text", [make.ROWS[5]])
    with pytest.raises(UsageError, match="has a picture"):
        export(TrainConfig(data=str(text_only), out=str(tmp_path / "out"), export="swift"))
