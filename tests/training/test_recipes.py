"""`--export`: data and a ready configuration that follow from the data's facts."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.config import TrainConfig
from engine.errors import UsageError
from engine.training import carry
from engine.training.presets import PRESETS
from engine.training.recipes import export
from engine.training.settings import spread
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
                 "--model_name_or_path liuhaotian/llava-v1.5-7b", "--adam_beta2 0.999", "--max_grad_norm 1",
                 "--per_device_train_batch_size $DEVICE"):  # fmt: skip
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
    start = next(number for number, line in enumerate(lines) if line.startswith(("deepspeed", "llamafactory", "NPROC")))
    return "GPUS=1 DEVICE=1 ACCUMULATE=1; echo " + "\n".join(lines[start:])


def test_llamafactory_reads_its_own_words(made: Path, tmp_path: Path) -> None:
    export(TrainConfig(data=str(made), out=str(tmp_path / "sft"), export="llamafactory"))
    facts = yaml.safe_load((tmp_path / "sft" / "train.yaml").read_text())
    assert (facts["stage"], facts["dataset"], facts["template"]) == ("sft", "ecso_sft", "llava")
    assert (facts["lora_rank"], facts["lora_alpha"], facts["freeze_vision_tower"]) == (128, 256, True)
    assert (facts["additional_target"], facts["adam_beta2"], facts["max_grad_norm"]) == (
        "multi_modal_projector",
        0.999,
        1.0,
    )
    info = json.loads((Path(facts["dataset_dir"]) / "dataset_info.json").read_text())
    assert facts["dataset"] in info


def a_model(folder: Path, kind: str, architecture: str = "") -> str:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": kind, "architectures": [architecture]}))
    return str(folder)


@pytest.mark.parametrize(
    ("form", "model", "name"),
    [
        ("llamafactory", "qwen2_5_vl", "qwen2_vl"),
        ("llamafactory", "Qwen/Qwen2.5-VL-7B-Instruct", "qwen2_vl"),
        ("llamafactory", "llava", "llava"),
        ("swift", "qwen2_5_vl", "qwen2_5_vl"),
        ("swift", "llava-hf/llava-onevision-qwen2-7b-ov-hf", "llava_onevision_hf"),
        ("swift", "tiny", "llava1_5_hf"),
        ("llava", "llava_llama", "v1"),
    ],
)
def test_each_trainer_gets_its_own_name_of_the_model(
    form: str, model: str, name: str, made: Path, tmp_path: Path
) -> None:
    model = model if "/" in model or model == "tiny" else a_model(tmp_path / "model", model)
    export(TrainConfig(data=str(made), out=str(tmp_path / "out"), export=form, model=model))
    if form == "llava":
        assert f"--version {name} \\" in (tmp_path / "out" / "train.sh").read_text()
    elif form == "swift":
        assert f"--model_type {name} \\" in (tmp_path / "out" / "train.sh").read_text()
    else:
        facts = yaml.safe_load((tmp_path / "out" / "train.yaml").read_text())
        projector = "multi_modal_projector" if name == "llava" else "visual.merger"
        assert (facts["template"], facts["additional_target"]) == (name, projector)


@pytest.mark.parametrize(
    ("form", "kind", "words"),
    [
        ("llamafactory", "llava_onevision", "of type llava_onevision"),
        ("swift", "sock_vl", "of type sock_vl"),
        ("llava", "qwen2_5_vl", "of type qwen2_5_vl"),
        ("llava", "llava", "transformers' layout"),
    ],
)
def test_a_model_that_a_trainer_does_not_know(form: str, kind: str, words: str, made: Path, tmp_path: Path) -> None:
    model = a_model(tmp_path / "model", kind, "LlavaForConditionalGeneration" if kind == "llava" else "")
    with pytest.raises(UsageError, match=words):
        export(TrainConfig(data=str(made), out=str(tmp_path / "out"), export=form, model=model))
    assert not (tmp_path / "out").exists()


def test_a_model_folder_without_a_configuration(made: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(UsageError, match=r"no config\.json there"):
        export(TrainConfig(data=str(made), out=str(tmp_path / "o"), export="swift", model=str(tmp_path / "model")))


@pytest.mark.parametrize(
    ("form", "changes", "flag"),
    [
        ("llamafactory", {"projector_lr": 1e-5}, "--projector-lr"),
        ("llamafactory", {"projector_lora": True, "projector_lr": 0.0}, "--projector-lora"),
        ("llamafactory", {"picture_prep": "pad"}, "--picture-prep pad"),
        ("swift", {"picture_prep": "pad"}, "--picture-prep pad"),
        ("swift", {"chat_template_kwargs": {"a": 1}}, "--chat-template-kwargs"),
        ("swift", {"patience": 2}, "--patience needs --validation-share"),
        ("swift", {"adapter_only": True}, "--adapter-only"),
        ("llava", {"validation_share": 0.1}, "--validation-share"),
        ("llava", {"precision": "fp32"}, "--precision fp32"),
        ("llava", {"revision": "main"}, "--revision"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_a_flag_that_cannot_be_carried_is_refused(
    form: str, changes: dict[str, Any], flag: str, made: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=flag):
        export(TrainConfig(data=str(made), out=str(tmp_path / "out"), export=form, **changes))
    assert not (tmp_path / "out").exists()


GIVEN: dict[str, Any] = {
    "max_steps": 7,
    "validation_share": 0.1,
    "patience": 2,
    "precision": "fp32",
    "adam_beta2": 0.98,
    "max_grad_norm": 0.5,
}


def test_what_llamafactory_is_told(made: Path, tmp_path: Path) -> None:
    export(TrainConfig(data=str(made), out=str(tmp_path), export="llamafactory", **GIVEN))
    text = (tmp_path / "train.yaml").read_text()
    facts = yaml.safe_load(text)
    wanted = {"max_steps": 7, "val_size": 0.1, "early_stopping_steps": 2, "bf16": False, "eval_steps": 200}
    wanted |= {"adam_beta2": 0.98, "max_grad_norm": 0.5, "load_best_model_at_end": True}
    assert {key: facts.get(key) for key in wanted} == wanted
    assert "the batch below is for one GPU" in text
    for written in (text, (tmp_path / "train.sh").read_text()):
        for words in ("no key for a rate of its own (2e-05)", "not padded to a square", "leaves an adapter"):
            assert words in written


def test_what_swift_is_told(made: Path, tmp_path: Path) -> None:
    export(TrainConfig(data=str(made), out=str(tmp_path / "whole"), export="swift", **GIVEN))
    text = (tmp_path / "whole" / "train.sh").read_text()
    for flag in ("--tuner_type lora_llm", "--freeze_aligner false", "--aligner_lr 2e-05", "--max_steps 7",
                 "--split_dataset_ratio 0.1", "--early_stop_interval 2", "--torch_dtype float32",
                 "--adam_beta2 0.98", "--max_grad_norm 0.5"):  # fmt: skip
        assert f"{flag} " in text or f"{flag}\n" in text
    assert "not padded to a square" in text
    assert "no system sentence" in text
    only = TrainConfig(data=str(made), out=str(tmp_path / "only"), export="swift", projector_lr=0.0, adapter_only=True)
    export(only)
    text = (tmp_path / "only" / "train.sh").read_text()
    assert "--tuner_type lora " in text
    assert "--freeze_aligner true" in text
    assert "leaves an adapter" not in text


@pytest.mark.parametrize(("peft", "name"), [("lora", "llava-lora"), ("full", "llava")])
def test_llava_can_load_what_it_trained(peft: str, name: str, made: Path, tmp_path: Path) -> None:
    """Its builder reads `llava` and `lora` out of the name of the folder (llava/model/builder.py)."""
    export(TrainConfig(data=str(made), out=str(tmp_path), export="llava", peft=peft))
    assert f"--output_dir {tmp_path.resolve() / name} \\" in (tmp_path / "train.sh").read_text()


def test_a_frozen_projector_is_frozen_in_llava(made: Path, tmp_path: Path) -> None:
    export(TrainConfig(data=str(made), out=str(tmp_path), export="llava", projector_lr=0.0))
    assert "--freeze_mm_mlp_adapter True" in (tmp_path / "train.sh").read_text()


@pytest.mark.parametrize("gpus", [1, 2, 3, 8, 16, 100, 128])
@pytest.mark.parametrize("device_batch", [16, 12])
def test_the_global_batch_holds_or_the_script_fails(gpus: int, device_batch: int) -> None:
    recipe = replace(PRESETS["llava-lora"], device_batch=device_batch)
    script = carry.batch(recipe) + 'echo "$DEVICE $ACCUMULATE"\n'
    done = subprocess.run(["bash", "-c", script], env={"GPUS": str(gpus)}, capture_output=True, text=True, check=False)
    if 128 % gpus:
        assert (done.returncode, done.stdout) == (2, "")
        assert f"does not divide by {gpus} GPUs" in done.stderr
        return
    here = spread(recipe, gpus)
    assert done.stdout.split() == [str(here.device), str(here.accumulate)]
    assert here.device * here.accumulate * gpus == 128


def test_data_that_a_training_refuses_is_not_exported(tmp_path: Path) -> None:
    text_only = make.curated(tmp_path / "text", [make.ROWS[5]])
    with pytest.raises(UsageError, match="has a picture"):
        export(TrainConfig(data=str(text_only), out=str(tmp_path / "out"), export="swift"))
