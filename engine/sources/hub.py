"""The Hub branch of sources: the only file here that imports huggingface_hub, and only when it is needed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from engine.errors import EcsoError
from engine.sources.records import SourceConfig

T = TypeVar("T")

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class HubError(EcsoError):
    """The Hub does not give the files; the message says why, in a few words and without the token."""

    exit_code = 2


class HubFiles(NamedTuple):
    """Downloaded files, in the order asked for, and the commit that they are of."""

    paths: tuple[Path, ...]
    revision: str | None


def is_hub_id(path: str) -> bool:
    """ORG/NAME that is no local path. A mistyped relative path looks the same: the error of `fetch` says so."""
    is_file = Path(path).suffix in (".parquet", ".json", ".jsonl", ".csv", ".zip")
    return HUB_ID.fullmatch(path) is not None and not is_file and not Path(path).exists()


def fetch(repository: str, files: Sequence[str], config: SourceConfig) -> HubFiles:
    """Download `files` of a data set at one revision, or take them from the cache. Raises HubError."""
    paths: list[Path] = []
    revision = config.revision
    for file in files:
        paths.append(_download(repository, file, revision, config.token_env))
        revision = _commit(paths[-1], file) or revision
    return HubFiles(tuple(paths), revision)


def is_out_of_reach(repository: str, file: str, config: SourceConfig) -> bool:
    """True where asking for a gated file is bound to fail: no token, no copy in the cache, no mirror set.

    Saves a newcomer the client's half minute of retries where there is no network either.
    """
    if _token(config.token_env) or os.environ.get("HF_ENDPOINT"):
        return False
    try:
        from huggingface_hub import get_token, try_to_load_from_cache
    except ImportError:
        return False
    cached = try_to_load_from_cache(repository, file, repo_type="dataset", revision=config.revision)
    return get_token() is None and not isinstance(cached, str)


def list_files(repository: str, config: SourceConfig) -> list[str]:
    """The paths of all files of a data set. Raises HubError."""

    def ask() -> list[str]:
        from huggingface_hub import HfApi

        api = HfApi(token=_token(config.token_env))
        return list(api.list_repo_files(repository, repo_type="dataset", revision=config.revision))

    return _explained(ask, repository, config.token_env)


def _download(repository: str, file: str, revision: str | None, token_env: str) -> Path:
    def get() -> Path:
        from huggingface_hub import hf_hub_download

        token = _token(token_env)
        return Path(hf_hub_download(repository, file, repo_type="dataset", revision=revision, token=token))

    return _explained(get, f"{repository}/{file}", token_env)


def _token(token_env: str) -> str | None:
    """The token of the environment variable; without one, huggingface_hub's own login (None)."""
    return os.environ.get(token_env) or None


def _commit(path: Path, file: str) -> str | None:
    """The cache keeps `snapshots/<commit>/<file>`: the revision that was really read, also for a branch name."""
    parts = path.parts[: -len(Path(file).parts)]
    return parts[-1] if len(parts) > 1 and parts[-2] == "snapshots" else None


def _explained(call: Callable[[], T], what: str, token_env: str) -> T:
    """Run one call to the Hub and turn what goes wrong into a HubError."""
    try:
        from huggingface_hub import errors
    except ImportError as error:
        raise HubError("huggingface_hub is not installed (pip install 'ecso-engine[hub]')") from error
    import httpx2

    try:
        return call()
    except (errors.HfHubHTTPError, errors.EntryNotFoundError, httpx2.HTTPError, OSError, ValueError) as error:
        raise HubError(_reason(error, what, token_env)) from None


def _reason(error: Exception, what: str, token_env: str) -> str:
    """Most specific first. A gated set that nobody may see answers 'not found', as a missing one does."""
    from huggingface_hub import errors

    has_token = f"{token_env} is set" if _token(token_env) else f"{token_env} is not set"
    if isinstance(error, errors.OfflineModeIsEnabled | errors.LocalEntryNotFoundError):
        return f"{what} is not in the local cache and the Hub was not reached (offline, or HF_HUB_OFFLINE is set)"
    if isinstance(error, errors.GatedRepoError):
        return f"the Hub refuses {what}: access is gated and not granted ({has_token})"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{what} has no such revision on the Hub"
    if isinstance(error, errors.EntryNotFoundError):
        return f"{what} does not exist on the Hub"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"{what} is neither a local path nor a data set that the Hub shows you ({has_token})"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return f"the Hub refuses {what}: HTTP {status} ({has_token})"
    return f"{what} cannot be had from the Hub ({type(error).__name__}{f', HTTP {status}' if status else ''})"
