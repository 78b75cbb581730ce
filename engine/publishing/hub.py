"""The border to the Hub: one client, its errors in our words, and patience with what passes by itself.

huggingface_hub repeats uploads and pre-uploads by itself (6 tries); commits, settings and branches it does not. Those
are repeated here, which is safe: each of them is looked at again before it is believed or tried anew (push.py).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from engine.errors import EcsoError, OutputError, UsageError
from engine.publishing.secrets import Redactor
from engine.version import version

if TYPE_CHECKING:
    from huggingface_hub import HfApi

T = TypeVar("T")

PASSING = (408, 429, 500, 502, 503, 504)
"""Answers that may be another one in a moment."""
WAITS = (1.0, 4.0, 15.0)
"""Seconds before the second to fourth try, where the server does not say how long."""
LONGEST_WAIT = 300.0
SHOWN = 300
"""Characters of a server's own words that a message quotes."""


class TransientError(OutputError):
    """The Hub was not reached, or could not answer now; trying again may help. `wait_s`: what it asked to wait."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s

    def __reduce__(self) -> tuple[type[TransientError], tuple[str, float | None]]:
        return TransientError, (str(self), self.wait_s)


class ChangedError(OutputError):
    """Somebody else committed to the repository in the meantime."""


class MissingError(UsageError):
    """The repository, revision or file is not there, or not for this token."""


def load_client() -> Any:
    """The module huggingface_hub. UsageError where it is not installed."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise UsageError("huggingface_hub is not installed (pip install 'ecso-engine[hub]')") from error
    return huggingface_hub


class Hub:
    """The Hub as one user. `sleep` is how it waits."""

    def __init__(self, token_env: str, *, need_token: bool = True, sleep: Callable[[float], None] = time.sleep) -> None:
        client = load_client()
        self.token: str | None = os.environ.get(token_env) or client.get_token()
        if self.token is None and need_token:
            raise UsageError(
                f"no token: set {token_env} to a token with write access (https://huggingface.co/settings/tokens), "
                "or log in with `hf auth login`. A dry run needs none (--dry-run --out DIR)"
            )
        self.redact = Redactor([self.token])
        self.token_env = token_env
        self.endpoint: str | None = os.environ.get("HF_ENDPOINT") or None
        self.api: HfApi = client.HfApi(
            endpoint=self.endpoint,
            token=self.token or False,
            library_name="ecso-engine",
            library_version=version(),
        )
        self._sleep = sleep

    def once(self, what: str, call: Callable[[], T]) -> T:
        """Make a call; what goes wrong becomes one of our errors, without secrets."""
        with self.explained(what):
            return call()

    def patiently(self, what: str, call: Callable[[], T], tries: int = len(WAITS) + 1) -> T:
        """Make a call that is safe to repeat, again after a passing failure."""
        for number in range(tries - 1):
            try:
                return self.once(what, call)
            except TransientError as error:
                self.wait(number, error)
        return self.once(what, call)

    def wait(self, number: int, error: EcsoError) -> None:
        """As long as the server asked, else longer from try to try."""
        asked = error.wait_s if isinstance(error, TransientError) else None
        self._sleep(min(LONGEST_WAIT, WAITS[min(number, len(WAITS) - 1)] if asked is None else asked))

    @contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Errors of the client as ours. Their causes are cut off: a traceback of them could hold what was sent."""
        import httpx2

        errors = load_client().errors
        try:
            yield
        except EcsoError:
            raise
        except (errors.HfHubHTTPError, errors.EntryNotFoundError, httpx2.HTTPError) as error:
            raise self._translated(what, error) from None
        except (OSError, ValueError, RuntimeError) as error:
            raise self._translated(what, error) from None

    def _translated(self, what: str, error: BaseException) -> EcsoError:
        """The HTTP status may stand on a cause: the client wraps failed uploads in a RuntimeError."""
        import httpx2

        chain = list(_chain(error))
        response = next((found for each in chain if (found := getattr(each, "response", None)) is not None), None)
        if response is not None:
            return self._answered(what, chain, response)
        if any(type(each).__name__ == "OfflineModeIsEnabled" for each in chain):
            return UsageError(f"{what}: HF_HUB_OFFLINE is set; unset it, or make a dry run (--dry-run --out DIR)")
        passing = next((each for each in chain if isinstance(each, httpx2.TransportError | ConnectionError)), None)
        if passing is not None:
            words = (
                f"{what}: the connection to the Hub broke ({type(passing).__name__}: {self.redact(passing)[:SHOWN]})"
            )
            return TransientError(words)
        return OutputError(f"{what}: {type(error).__name__}: {self.redact(error)[:SHOWN]}")

    def _answered(self, what: str, chain: list[BaseException], response: Any) -> EcsoError:
        said = next((found for each in chain if (found := getattr(each, "server_message", None))), "")
        status = int(response.status_code)
        words = f"{what}: HTTP {status}" + (f" ({self.redact(said)[:SHOWN].strip()})" if said else "")
        if status in PASSING:
            return TransientError(words, _wait(response.headers))
        gone = any(type(each).__name__ in ("RepositoryNotFoundError", "RevisionNotFoundError") for each in chain)
        if status == 404 or (status == 401 and gone):
            return MissingError(f"{words}: not there, or not for this token ({self.token_env})")
        if status == 401:
            return UsageError(f"{words}: the Hub does not accept the token; make a new one and set {self.token_env}")
        if status == 403:
            return UsageError(f"{words}: the token may not do this; it needs write access to the repository's owner")
        if status in (409, 412):
            return ChangedError(f"{words}: the repository changed in the meantime; run the same command again")
        return OutputError(words)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _wait(headers: Any) -> float | None:
    """Seconds of a Retry-After header (its date form is not read)."""
    found = headers.get("Retry-After")
    try:
        return None if found is None else max(0.0, float(found))
    except ValueError:
        return None
