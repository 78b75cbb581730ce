"""The models that a strategy asks beside the one that answers: which a run has, their identity, their settings.

A strategy names roles (`HELPERS`), flags name models (`--detector`, `--detoxifier`), the worker starts them beside its
own model and hands them to the strategy by role (`ask(…, model=ROLE)`), so that strategies and backends do not know
each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import fingerprint
from engine.backends import BackendConfig, adapters
from engine.backends.helpers import in_the_name_of
from engine.config import GenerateConfig
from engine.errors import UsageError
from engine.judges.classifier import identity
from engine.strategies import helpers_of

SCRIPTED = "scripted"
"""In a model's place: the scripted backend plays the role."""
ROLES = ("detector", "detoxifier", "eta_clip", "eta_reward")


@dataclass(frozen=True, slots=True)
class Helper:
    """One helper model. `revision` has the adapter's identity behind it, where there is one."""

    role: str
    name: str
    revision: str | None
    backend: BackendConfig

    @property
    def identity(self) -> dict[str, Any]:
        """Its part of the fingerprint."""
        return {"model": self.name, "revision": self.revision}


def plan_helpers(config: GenerateConfig) -> tuple[Helper, ...]:
    """The run's helpers, in the order of ROLES. UsageError: one that the strategy does not ask, an adapter without a
    model or for another one, no such folder, a device that the worker does not have."""
    asked = helpers_of(config.strategy)
    found = []
    for role in ROLES:
        model, adapter = getattr(config, role), getattr(config, f"{role}_adapter", None)
        if model is None and adapter is not None:
            raise UsageError(f"--{role}-adapter {adapter}: needs its base model: --{role} MODEL")
        if model is None:
            continue
        if role not in asked:
            raise UsageError(f"--{role.replace('_', '-')} {model}: --strategy {config.strategy} asks no {role}")
        try:
            found.append(_helper(config, role, model, adapter))
        except UsageError as error:
            raise in_the_name_of(role, error) from error
    if found and config.tensor_parallel > 1 and any(helper.backend.name != SCRIPTED for helper in found):
        raise UsageError(
            f"--{found[0].role}: helpers share the worker's device, and with --tensor-parallel the worker itself has "
            "none; serve the model and use --backend openai with --gpus-per-worker 1"
        )
    return tuple(found)


def _helper(config: GenerateConfig, role: str, model: str, adapter: str | None) -> Helper:
    if model == SCRIPTED:
        if adapter is not None:
            raise UsageError(f"--adapter {adapter}: the scripted {role} has no weights")
        return Helper(role, SCRIPTED, None, BackendConfig(SCRIPTED, SCRIPTED, seed=config.seed))
    if model == "tiny":
        raise UsageError("--model tiny: the embedded model is a vision-language model; name a text model")
    asked = GenerateConfig(model=model, backend="transformers")
    load, name, revision = fingerprint.resolve_model(asked, "transformers")
    if adapter is not None:
        adapter, digest = _adapter(adapter, load, name, revision)
        revision = f"{revision or 'unknown'}+adapter-{digest}"
    device = {key: value for key, value in config.engine_arg.items() if key == "device"}
    backend = BackendConfig(
        "transformers",
        load,
        adapter=adapter,
        engine_args=device,
        trust_remote_code=config.trust_remote_code,
        seed=config.seed,
        longest_answer=config.max_tokens,
    )
    return Helper(role, name, revision, backend)


def _adapter(adapter: str, load: str, name: str, revision: str | None) -> tuple[str, str]:
    """(what to load, its identity). Local ones are checked against the base; the Hub's, and older ones without
    safetensors, when they are loaded."""
    folder = Path(adapter).expanduser()
    is_local = folder.exists() or adapter.startswith((".", "/", "~")) or adapter.count("/") < 1
    if is_local and not (folder / "adapter_model.bin").is_file():
        found = adapters.read(adapter)
        adapters.check_base(found, load, name, revision)
        return found.folder, found.digest
    return (str(folder.resolve()) if is_local else adapter), identity(adapter)
