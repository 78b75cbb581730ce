"""The configuration of every command, one dataclass a section. How it is read: `engine.config_file`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.errors import UsageError


@dataclass(frozen=True, slots=True)
class GenerateConfig:
    """`engine.generate`: field for field `schemas/config.json#generate`, where each is described."""

    queries: str = "sample"
    path: str | None = None
    split: str | None = None
    limit: int | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    source_revision: str | None = None
    model: str = "tiny"
    revision: str | None = None
    adapter: str | None = None
    trust_remote_code: bool = False
    backend: str = "auto"
    base_url: str | None = None
    api_key_env: str | None = None
    strategy: str = "ecso"
    preset: str = "robust"
    retries: int = 2
    caption: str = "query"
    eyes: str = "closed"
    detector: str | None = None
    detector_adapter: str | None = None
    detoxifier: str | None = None
    detoxifier_adapter: str | None = None
    eta_clip: str | None = None
    eta_reward: str | None = None
    eta_pre: float = 0.16
    eta_post: float = 0.06
    max_tokens: int = 1024
    workers: str = "1"
    gpus_per_worker: float | None = None
    tensor_parallel: int = 1
    engine_arg: Mapping[str, Any] = field(default_factory=dict)
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    picture_prep: str = "processor"
    resume: str = "auto"
    retry_errors: bool = False
    if_running: str = "fail"
    max_error_rate: float = 0.5
    drain_s: float = 60
    seed: int = 0
    calibration: str | None = None
    target_accepted: int | None = None
    max_candidates: int | None = None
    scripted_harmful: float = 0.4
    scripted_latency_ms: float = 0
    validate_all: bool = False
    no_curate: bool = False
    since_last: bool = False
    out: str | None = None

    @property
    def pool(self) -> tuple[int, int]:
        """(min, max) engines; UsageError where they make no sense."""
        low, _, high = self.workers.partition(":")
        pool = int(low), int(high or low)
        if not 1 <= pool[0] <= pool[1]:
            raise UsageError(f"--workers {self.workers}: expected N or MIN:MAX with 1 <= MIN <= MAX")
        return pool


@dataclass(frozen=True, slots=True)
class CurateConfig:
    """`engine.curate`: field for field `schemas/config.json#curate`, where each is described."""

    out: str | None = None
    allow_partial: bool = False
    filters: Sequence[str | Mapping[str, Mapping[str, Any]]] | None = None
    annotations: Sequence[str] = ()
    dedup: Mapping[str, Any] | bool = field(default_factory=dict)
    leakage: str = "drop"
    leakage_index: Sequence[str] = ()
    max_share: float = 0.1
    least_rows: int = 50
    cap_category: Mapping[str, int] = field(default_factory=dict)
    cap_source: Mapping[str, int] = field(default_factory=dict)
    share_category: Mapping[str, float] = field(default_factory=dict)
    share_source: Mapping[str, float] = field(default_factory=dict)
    safe_to_unsafe: float | None = None
    counterfactuals: str | None = None
    reviewed: str | None = None
    workers: int = 2
    report: bool = True


@dataclass(frozen=True, slots=True)
class EvaluateConfig:
    """`engine.evaluate`: field for field `schemas/config.json#evaluate`, where each is described."""

    model: str = "tiny"
    adapter: str | None = None
    name: str | None = None
    benchmark: Sequence[str] = ()
    benchmark_option: Mapping[str, Any] = field(default_factory=dict)
    strategy: Sequence[str] = ("direct",)
    judge: Sequence[str] = ()
    limit: int | None = None
    max_tokens: int | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    backend: str = "auto"
    base_url: str | None = None
    api_key_env: str | None = None
    preset: str = "robust"
    retries: int = 2
    caption: str = "query"
    eyes: str = "closed"
    detector: str | None = None
    detector_adapter: str | None = None
    detoxifier: str | None = None
    detoxifier_adapter: str | None = None
    eta_clip: str | None = None
    eta_reward: str | None = None
    eta_pre: float = 0.16
    eta_post: float = 0.06
    calibration: str | None = None
    workers: str = "1"
    gpus_per_worker: float | None = None
    tensor_parallel: int = 1
    engine_arg: Mapping[str, Any] = field(default_factory=dict)
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    picture_prep: str = "processor"
    retry_errors: bool = False
    max_error_rate: float = 0.5
    drain_s: float = 60
    seed: int = 0
    scripted_harmful: float = 0.4
    scripted_latency_ms: float = 0
    judge_model: str | None = None
    judge_revision: str | None = None
    judge_adapter: str | None = None
    judge_trust_remote_code: bool = False
    judge_backend: str = "auto"
    judge_base_url: str | None = None
    judge_api_key_env: str | None = None
    judge_workers: int = 1
    judge_gpus_per_worker: float | None = None
    judge_tensor_parallel: int = 1
    judge_engine_arg: Mapping[str, Any] = field(default_factory=dict)
    judge_chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    judge_threshold: float = 0.5
    judge_option: Mapping[str, Any] = field(default_factory=dict)
    out: str | None = None


@dataclass(frozen=True, slots=True)
class CalibrateConfig:
    """`engine.calibrate`: field for field `schemas/config.json#calibrate`, where each is described."""

    labels: str | None = None
    out: str = "cal.json"
    step: str = "direct"
    method: str = "auto"
    fpr: float = 0.01
    abstain: str = "none"
    folds: int = 5
    seed: int = 0
    review: str | None = None
    allow_partial: bool = False


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """`engine.train`: field for field `schemas/config.json#train`, where each is described.

    None: the preset's own number."""

    data: str | None = None
    model: str = "tiny"
    revision: str | None = None
    trust_remote_code: bool = False
    out: str | None = None
    task: str = "vlm"
    columns: Mapping[str, str] = field(default_factory=dict)
    method: str = "sft"
    preset: str | None = None
    peft: str | None = None
    adapter_only: bool = False
    projector_lora: bool = False
    lr: float | None = None
    projector_lr: float | None = None
    lora_r: int | None = None
    lora_alpha: float | None = None
    lora_dropout: float | None = None
    epochs: float | None = None
    max_steps: int | None = None
    batch_size: int | None = None
    device_batch: int | None = None
    scheduler: str | None = None
    warmup: float | None = None
    weight_decay: float | None = None
    adam_beta2: float | None = None
    max_grad_norm: float | None = None
    max_length: int | None = None
    beta: float | None = None
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    picture_prep: str | None = None
    mix: str | None = None
    mix_rows: int | None = None
    validation_share: float = 0.0
    patience: int | None = None
    resume: bool = False
    save_steps: int = 200
    keep_checkpoints: int = 1
    log_steps: int = 10
    seed: int = 0
    precision: str = "auto"
    gradient_checkpointing: bool | None = None
    threads: int | None = None
    loader_workers: int | None = None
    cpu: bool = False
    allow_partial: bool = False
    export: str | None = None

    @property
    def objective(self) -> str:
        """What is minimised: the method of a vision-language model, else the task."""
        return self.method if self.task == "vlm" else self.task


@dataclass(frozen=True, slots=True)
class PublishConfig:
    """`engine.publish`: field for field `schemas/config.json#publish`, where each is described."""

    repo: str | None = None
    out: str | None = None
    dry_run: bool = False
    public: bool = False
    include_rejected: bool = False
    embed_images: bool = False
    licence_ok: str | None = None
    licence: str | None = None
    validation_share: float = 0.05
    split_seed: int = 0
    card: str | None = None
    run: Sequence[str] = ()
    allow_partial: bool = False
    adapter: str | None = None
    scores: str | None = None
    read_back: str = "footers"
    token_env: str = "HF_TOKEN"


@dataclass(frozen=True, slots=True)
class HydrateConfig:
    """`engine.hydrate`: field for field `schemas/config.json#hydrate`, where each is described."""

    pictures: Sequence[str] = ()
    out: str | None = None
    revision: str | None = None
    skip_missing: bool = False
    token_env: str = "HF_TOKEN"


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """`engine.loop`: field for field `schemas/config.json#loop`, where each is described."""

    out: str | None = None
    rounds: int = 1
    seeds: Sequence[int] = (0,)
    arms: Sequence[str] = ("untouched", "ecso", "tuned_ecso", "tuned_reference")
    start_from: str = "base"
    measures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    stop: Mapping[str, Any] = field(default_factory=dict)
    variants: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    validation: Mapping[str, Any] = field(default_factory=dict)
    heldout_text: str = "fail"
    draw_heldout: str | None = None
    draw_seed: int = 0
    short: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PreviewConfig:
    """`engine.preview`: field for field `schemas/config.json#preview`, where each is described."""

    rows: int = 16
    pick_seed: int = 0
    price_per_gpu_hour: float | None = None
    gpus: float | None = None
    rows_per_s: float | None = None
    out: str | None = None
    open: bool = False


@dataclass(frozen=True, slots=True)
class ValidateConfig:
    """`engine.validate`: field for field `schemas/config.json#validate`, where each is described."""

    sample: int = 64
    gpu_memory: float | None = None
    least_free_gb: float = 5
    offline: bool = False


@dataclass(frozen=True, slots=True)
class JobConfig:
    """`engine.job`: field for field `schemas/config.json#job`, where each is described."""

    target: str | None = None
    out: str | None = None
    name: str = "ecso"
    namespace: str = "default"
    image: str | None = None
    schedule: str | None = None
    time_zone: str | None = None
    nodes: int | None = None
    gpus_per_node: int = 8
    cpus_per_node: int = 16
    memory: str = "128Gi"
    shared_memory: str = "16Gi"
    claim: str | None = None
    mount: str = "/data"
    secrets: Mapping[str, str] = field(default_factory=dict)
    backoff_limit: int = 2
    hours: float = 24
    partition: str | None = None
    account: str | None = None
    flavor: str = "a100-large"
    address: str = "http://127.0.0.1:8265"
