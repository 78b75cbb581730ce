"""From a configuration to a job: everything is resolved and checked here, before Ray or a GPU is touched."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from engine import backends, fingerprint, strategies
from engine.answering import RunFacts
from engine.backends import BackendConfig, adapters
from engine.calibration.document import check_judge
from engine.calibration.document import load as load_calibration
from engine.config import GenerateConfig
from engine.errors import UsageError
from engine.helpers import Helper, plan_helpers
from engine.pictures import PictureCaps
from engine.sources import Plan, SourceConfig, open_source
from engine.sources.select import select
from engine.strategies import StrategyOptions
from engine.version import version


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """Everything a worker is made from; picklable, no secrets."""

    out: str
    logs: str | None
    backend: BackendConfig
    strategy: str
    options: StrategyOptions
    facts: RunFacts
    check_share: float = 0.01
    """Share of transcripts checked against their JSON Schema (all of them with --validate-all)."""
    helpers: tuple[Helper, ...] = ()
    """Models that the strategy asks beside the one that answers."""
    retry_errors: bool = False
    """Rows that failed in an earlier run are asked again."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run, planned: what to read, with what to answer, where to, and the fingerprint of it all."""

    config: GenerateConfig
    out: str
    source: str
    source_identity: dict[str, Any]
    plan: Plan
    caps: PictureCaps
    fields: dict[str, Any]
    fingerprint: str
    backend: BackendConfig
    options: StrategyOptions
    model: str
    revision: str | None
    helpers: tuple[Helper, ...] = ()

    def setup(self, run_id: str) -> WorkerSetup:
        """What the workers of this run get."""
        facts = RunFacts(
            run_id=run_id,
            strategy=self.config.strategy,
            preset=self.fields["preset"],
            model=self.model,
            model_revision=self.revision,
            prompt_set_sha256=self.fields["prompt_set_sha256"],
            engine_version=version(),
            seed=self.config.seed,
            threshold=self.options.threshold,
            curve=self.options.curve,
        )
        local = "://" not in self.out
        return WorkerSetup(
            out=self.out,
            logs=os.path.join(self.out, "logs") if local else None,
            backend=self.backend,
            strategy=self.config.strategy,
            options=self.options,
            facts=facts,
            check_share=1.0 if self.config.validate_all else 0.01,
            helpers=self.helpers,
            retry_errors=self.config.retry_errors,
        )

    @property
    def scripted(self) -> bool:
        """Whether a script wrote or judged the answers."""
        return "scripted" in (self.backend.name, *(helper.backend.name for helper in self.helpers))


def plan_job(config: GenerateConfig) -> Job:
    """Resolve and check a configuration. UsageError names what is wrong and how to mend it."""
    _ = config.pool  # a wrong --workers is said now
    backend = backends.resolve(config.backend, config.gpus_per_worker or 0.0)
    if backend == "openai" and not config.base_url:
        raise UsageError("--backend openai needs --base-url (the address of the server, ending in /v1)")
    helpers = plan_helpers(config)
    options = replace(strategy_options(config), helpers=tuple(helper.role for helper in helpers))
    strategies.create(config.strategy, options)
    load, model, revision = fingerprint.resolve_model(config, backend)
    fields = fingerprint.fields(config, backend=backend, model=model, revision=revision)
    fields |= {helper.role: helper.identity for helper in helpers}
    if config.calibration:
        check_judge(load_calibration(config.calibration), fields, config.calibration)
    digest = fingerprint.digest(fields)
    source = open_source(
        SourceConfig(
            name=config.queries,
            path=config.path,
            split=config.split,
            columns=dict(config.columns),
            revision=config.source_revision,
        )
    )
    limit = config.limit
    if config.max_candidates is not None:
        limit = min(limit or config.max_candidates, config.max_candidates)
    plan = select(source.windows(), where=dict(config.where), limit=limit)
    if plan.total == 0:
        raise UsageError(f"--queries {config.queries}: no row to answer (--where or --split leaves none)")
    out = config.out or os.path.join("runs", f"{config.queries}-{digest[:8]}")
    return Job(
        config=config,
        out=out if "://" in out else os.path.abspath(out),
        source=config.queries,
        source_identity=source.identity(),
        plan=plan,
        caps=PictureCaps(),
        fields=fields,
        fingerprint=digest,
        backend=backend_config(
            config,
            backend,
            load,
            scripted_latency_ms=config.scripted_latency_ms,
            longest_answer=options.max_tokens,
        ),
        options=options,
        model=model,
        revision=fingerprint.adapted_revision(config.adapter, load, model, revision),
        helpers=helpers,
    )


def strategy_options(config: GenerateConfig) -> StrategyOptions:
    """What the strategy is told; threshold and curve come from the calibration, where there is one."""
    options = StrategyOptions(
        preset=config.preset,
        retries=config.retries,
        max_tokens=config.max_tokens,
        caption=config.caption,
        eyes=config.eyes,
        eta_pre=config.eta_pre,
        eta_post=config.eta_post,
    )
    if config.calibration is None:
        return options
    calibration = load_calibration(config.calibration)
    return replace(options, threshold=calibration.threshold, curve=calibration.curve)


ADAPTED = ("transformers", "vllm")
"""Backends that can load a LoRA adapter."""


class BackendFlags(Protocol):
    """The flags that generate and annotate share: how an engine is made."""

    @property
    def revision(self) -> str | None: ...
    @property
    def adapter(self) -> str | None: ...
    @property
    def base_url(self) -> str | None: ...
    @property
    def api_key_env(self) -> str | None: ...
    @property
    def gpus_per_worker(self) -> float | None: ...
    @property
    def tensor_parallel(self) -> int: ...
    @property
    def engine_arg(self) -> Mapping[str, Any]: ...
    @property
    def chat_template_kwargs(self) -> Mapping[str, Any]: ...
    @property
    def picture_prep(self) -> str: ...
    @property
    def trust_remote_code(self) -> bool: ...
    @property
    def seed(self) -> int: ...
    @property
    def scripted_harmful(self) -> float: ...


def backend_config(config: BackendFlags, name: str, load: str, **more: Any) -> BackendConfig:
    """The engine of one worker; `load` is where its weights are."""
    adapter, kwargs = adapted(config, name)
    gpus = config.gpus_per_worker
    if gpus is None:
        gpus = 1.0 if backends.runs_model(name) and gpus_here() else 0.0
    return BackendConfig(
        name=name,
        model=load,
        revision=config.revision,
        adapter=adapter,
        base_url=config.base_url,
        api_key_env=config.api_key_env,
        tensor_parallel=config.tensor_parallel,
        gpus=gpus,
        engine_args=dict(config.engine_arg),
        chat_template_kwargs=kwargs,
        picture_prep=config.picture_prep,
        trust_remote_code=config.trust_remote_code,
        seed=config.seed,
        scripted_harmful=config.scripted_harmful,
        **more,
    )


def adapted(config: BackendFlags, name: str) -> tuple[str | None, dict[str, Any]]:
    """(adapter folder, chat template arguments): the adapter's own template, unless another is given.

    UsageError where the backend takes none, or the folder holds none.
    """
    kwargs = dict(config.chat_template_kwargs)
    if config.adapter is None:
        return None, kwargs
    if name not in ADAPTED:
        raise UsageError(f"--adapter: not with --backend {name}; only {' and '.join(ADAPTED)} load one")
    found = adapters.read(config.adapter)
    if name == "vllm" and found.whole:
        raise UsageError(f"--adapter {found.folder}: holds {', '.join(found.whole)} whole, which vLLM does not take")
    if name == "vllm":
        adapters.check_vllm(found, config.engine_arg)
    if found.template is not None:
        kwargs.setdefault("chat_template", found.template)
    return found.folder, kwargs


def gpus_here() -> bool:
    """Whether this machine, or the cluster of RAY_ADDRESS, is expected to have GPUs. Looks at device files only:
    asking torch would load it into the driver."""
    if (os.environ.get("RAY_ADDRESS") or "local") != "local":
        return True
    return os.path.exists("/dev/nvidia0") or os.path.exists("/dev/kfd")


def config_dict(config: GenerateConfig) -> dict[str, Any]:
    """The configuration as kept in the manifest (it names the environment variable of a key, never the key)."""
    return {key: (dict(value) if hasattr(value, "keys") else value) for key, value in asdict(config).items()}
