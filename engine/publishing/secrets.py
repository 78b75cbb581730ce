"""No credential leaves: not in a log line, not in an exception, not in a file that goes up.

The Hub's client logs the URLs that it asks for, and those of its storage are signed: whoever has such a line may write.
A server's error text may repeat what it was sent. So every log record made while publishing passes through `redact`,
and so does every message of an error that came from the Hub.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.errors import UsageError

MASK = "[redacted]"
TOKEN = re.compile(r"\bhf_(?:oauth_|jwt_)?[A-Za-z0-9._-]{8,}|\bapi_org_[A-Za-z0-9]{8,}")
"""Tokens as the Hub makes them."""

BEARER = re.compile(r"(?i)(bearer\s+|authorization['\"]?\s*[:=]\s*['\"]?(?:basic\s+|bearer\s+)?)[^\s'\",;]+")
SIGNED = re.compile(
    r"(?i)([?&](?:x-amz-[a-z-]+|x-goog-[a-z-]+|signature|awsaccesskeyid|policy|key-pair-id|token|sig|se|sp|sv)=)"
    r"[^&\s'\"<>]+"
)
SHORTEST = 8
"""A secret of fewer characters would mask ordinary words."""
TEXT = (".md", ".json", ".jsonl", ".txt", ".html", ".yaml", ".yml", ".jinja", ".csv")
PIECE = 1 << 20


class Redactor:
    """Masks the given secrets, and what looks like one."""

    def __init__(self, secrets: Sequence[str | None]) -> None:
        self._secrets = sorted({each for each in secrets if each and len(each) >= SHORTEST}, key=len, reverse=True)

    def __call__(self, text: object) -> str:
        """The text without secrets."""
        found = str(text)
        for secret in self._secrets:
            found = found.replace(secret, MASK)
        found = TOKEN.sub(MASK, found)
        found = BEARER.sub(lambda match: match.group(1) + MASK, found)
        return SIGNED.sub(lambda match: match.group(1) + MASK, found)

    def check(self, folder: Path) -> None:
        """UsageError where a file that is to be pushed holds one of the secrets, or a text file what looks like one."""
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            if _holds(path, [secret.encode() for secret in self._secrets]):
                raise UsageError(f"{path.relative_to(folder)}: holds the token itself; nothing was pushed")
            if path.suffix in TEXT and TOKEN.search(path.read_text("utf-8", "replace")):
                raise UsageError(f"{path.relative_to(folder)}: holds what looks like a Hub token; nothing was pushed")

    @contextmanager
    def logs(self) -> Iterator[None]:
        """Every log record made inside, by whichever library, is masked before a handler sees it."""
        make = logging.getLogRecordFactory()

        def masked(*args: Any, **kwargs: Any) -> logging.LogRecord:
            record = make(*args, **kwargs)
            try:
                record.msg, record.args = self(record.getMessage()), ()
            except (TypeError, ValueError, KeyError):
                record.msg, record.args = self(record.msg), ()  # a log line that its own library wrote wrongly
            if record.exc_info and record.exc_info[0] is not None:
                record.exc_text = self("".join(traceback.format_exception(*record.exc_info)).rstrip())
            return record

        logging.setLogRecordFactory(masked)
        try:
            yield
        finally:
            logging.setLogRecordFactory(make)


def _holds(path: Path, secrets: Sequence[bytes]) -> bool:
    if not secrets:
        return False
    keep = max(map(len, secrets)) - 1
    tail = b""
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            if any(secret in tail + piece for secret in secrets):
                return True
            tail = piece[-keep:]
    return False
