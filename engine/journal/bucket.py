"""A prefix in an object store, through fsspec: s3:// (tested against moto) and gs:// (untested)."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any, BinaryIO, cast

from engine.errors import OutputError, UsageError
from engine.journal.local import TEMPORARY, checked

LOST_RACE = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
"""What S3 answers to a conditional put that lost."""


class Bucket:
    """The remote half of `Store`. Its file system is opened on first use, so that a Store pickles and forks safely."""

    def __init__(self, url: str) -> None:
        self.scheme, _, rest = url.partition("://")
        self.root = rest.strip("/")

    @cached_property
    def _fs(self) -> Any:  # fsspec is untyped
        import fsspec

        try:
            return fsspec.filesystem(self.scheme, use_listings_cache=False, skip_instance_cache=True)
        except ImportError as error:
            extra = "s3" if self.scheme.startswith("s3") else "gcs"
            raise UsageError(f"{self.scheme}:// needs another package: pip install 'ecso-engine[{extra}]'") from error

    def ensure(self) -> None:
        probe = f".probe-{secrets.token_hex(4)}{TEMPORARY}"
        try:
            self._fs.pipe_file(self.path(probe), b"ok")
            self._fs.rm_file(self.path(probe))
        except UsageError:
            raise
        except Exception as error:  # credential, network and bucket errors have no common base
            raise UsageError(f"--out {self.scheme}://{self.root}: cannot be written ({_words(error)})") from error

    def path(self, rel: str) -> str:
        return f"{self.root}/{checked(rel)}".rstrip("/")

    def read(self, rel: str) -> bytes:
        return cast(bytes, self._fs.cat_file(self.path(rel)))

    def open(self, rel: str) -> BinaryIO:
        return cast(BinaryIO, self._fs.open(self.path(rel), "rb", block_size=8 << 20))

    def write(self, rel: str, data: bytes) -> None:
        with self._failures(rel):
            self._fs.pipe_file(self.path(rel), data)

    def exists(self, rel: str) -> bool:
        return bool(self._fs.isfile(self.path(rel)))

    def size(self, rel: str) -> int:
        return int(self._fs.info(self.path(rel))["size"])

    def list(self, rel_dir: str) -> list[str]:
        try:
            found = self._fs.ls(self.path(rel_dir), detail=True)
        except FileNotFoundError:
            return []
        here = self.path(rel_dir) + "/"
        names = [entry["name"].removeprefix(here) for entry in found if entry["type"] == "file"]
        return sorted(f"{rel_dir}/{name}" if rel_dir else name for name in names if name and "/" not in name)

    def remove(self, rel: str) -> None:
        with self._failures(rel), suppress(FileNotFoundError):
            self._fs.rm_file(self.path(rel))

    def upload(self, local_path: str, rel: str) -> None:
        with self._failures(rel):
            self._fs.put_file(local_path, self.path(rel))
        os.unlink(local_path)

    def spool_dir(self, rel_dir: str) -> str | None:  # noqa: ARG002 (same call as the local half)
        return None

    def create_exclusive(self, rel: str, data: bytes) -> bool:
        with self._failures(rel):
            try:
                self._fs.pipe_file(self.path(rel), data, mode="create")
            except FileExistsError:
                return False
            except Exception as error:
                if _lost(error):
                    return False
                raise
        return True

    def read_token(self, rel: str) -> tuple[bytes, str]:
        """The token comes before the bytes: if they are replaced in between, it is stale and the put is refused."""
        token = self._token(rel)
        return self.read(rel), token

    def _token(self, rel: str) -> str:
        info = self._fs.info(self.path(rel), refresh=True)
        return str(info.get("ETag") or info.get("etag") or info.get("generation"))

    def replace_if(self, rel: str, data: bytes, token: str) -> str | None:
        if not self.scheme.startswith("s3"):
            return self._replace_unguarded(rel, data, token)
        bucket, key, _ = self._fs.split_path(self.path(rel))
        with self._failures(rel):
            try:
                answer = self._fs.call_s3("put_object", Bucket=bucket, Key=key, Body=data, IfMatch=token)
            except FileNotFoundError:
                return None
            except Exception as error:
                if _lost(error):
                    return None
                raise
        return str(answer["ETag"])

    def _replace_unguarded(self, rel: str, data: bytes, token: str) -> str | None:
        """gs:// only, untested: compare, then put. Two hosts that take over in the same instant are not kept apart."""
        try:
            if self._token(rel) != token:
                return None
        except FileNotFoundError:
            return None
        self.write(rel, data)
        return self._token(rel)

    @contextmanager
    def _failures(self, rel: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # botocore, aiohttp and OS errors have no common base
            raise OutputError(f"{self.scheme}://{self.path(rel)}: cannot be written ({_words(error)})") from error


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _lost(error: Exception) -> bool:
    """s3fs turns the answer into an OSError and keeps botocore's own error, with the code, as its cause."""
    cause = error.__cause__ or error
    response = getattr(cause, "response", None) or {}
    code = str(response.get("Error", {}).get("Code", ""))
    return code in LOST_RACE
