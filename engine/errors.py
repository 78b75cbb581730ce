"""The tree of errors: one type per border crossed.

    EcsoError
    ├── UsageError      flags, config, data or environment are unusable        exit 2
    ├── OutputBusyError another run holds the output                           exit 4
    ├── OutputError     a write failed, or what was written does not add up    exit 1
    ├── BreakerError    too many rows failed                                   exit 3
    ├── RowError        this row cannot be answered; the run goes on           a row with error_stage
    │   ├── SourceError     the row cannot be read (file, field, picture)
    │   ├── PromptError     the prompt does not fit or cannot be rendered
    │   └── RequestError    the backend refused or failed this one request
    └── EngineDeadError the engine is gone: the actor ends and Ray starts another

Rules: a bad row is data, a dead engine is a crash that heals, a failed write is a failure. Every error takes the
one message that it shows, so that it survives pickling between processes. Only commands turn errors into exit codes.
"""

from __future__ import annotations


class EcsoError(Exception):
    """Base of every error that the engine raises on purpose."""

    exit_code = 1


class UsageError(EcsoError):
    """Flags, configuration, data or environment are unusable; nothing was started."""

    exit_code = 2


class OutputBusyError(EcsoError):
    """Another run holds the output folder."""

    exit_code = 4


class OutputError(EcsoError):
    """A write failed, or what was written does not add up."""


class BreakerError(EcsoError):
    """The share of failed rows passed `--max-error-rate`."""

    exit_code = 3


class RowError(EcsoError):
    """This row cannot be answered; it becomes a row with `error_stage`, and the run goes on."""


class SourceError(RowError):
    """The row cannot be read: file, field or picture."""


class PromptError(RowError):
    """The prompt does not fit the model's context, or cannot be rendered."""


class RequestError(RowError):
    """The backend refused or failed this one request."""


class EngineDeadError(EcsoError):
    """The engine is gone. The actor must end, so that Ray starts another (never caught per row)."""
