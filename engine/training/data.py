"""What is trained on: a curated set or a TRL export, checked before any model is touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from engine.config import TrainConfig
from engine.errors import UsageError
from engine.export.base import Dialogue
from engine.export.data import Data
from engine.export.export import taken_ids
from engine.export.exported import Exported, open_exported
from engine.export.mix import Mix, choose
from engine.export.read import SCRIPTED, Curated, is_scripted, open_curated
from engine.export.trl_kto import labelled
from engine.training.rows import AnyRow, Encoder

MIX_ROWS = 5000
"""VLGuard's post-hoc recipe: its training set with 5,000 rows of LLaVA-instruct. The paper of the data engine does not
say what it mixed in; this is our choice."""
TABLES = {"sft": "sft", "dpo": "preference", "kto": "sft"}


@dataclass(frozen=True, slots=True)
class Source:
    """The opened data. `sha256`: of its seal. `counts` fills while rows are read."""

    data: Data | None
    exported: Exported | None
    mix: Mix | None
    sha256: str
    seed: int

    @property
    def counts(self) -> Counter[str]:
        return self.data.counts if self.data is not None else Counter()

    def rows(self, method: str, encoder: Encoder) -> Iterator[AnyRow]:
        """The method's rows, encoded."""
        if method == "dpo":
            yield from encoder.pairs(self._pairs())
        elif method == "kto":
            yield from encoder.labelled(self._labelled())
        else:
            yield from encoder.supervised(self._supervised())

    def _supervised(self) -> Iterator[Dialogue]:
        if self.data is not None:
            yield from self.data.supervised()
        elif self.exported is not None:
            yield from (row for row, _ in self.exported.read())
            yield from self.mix.rows() if self.mix else ()

    def _pairs(self) -> Iterator[Dialogue]:
        if self.data is not None:
            yield from self.data.pairs()
        elif self.exported is not None:
            yield from (row for row, _ in self.exported.read())

    def _labelled(self) -> Iterator[tuple[Dialogue, bool]]:
        if self.data is not None:
            yield from labelled(self.data)
        elif self.exported is not None:
            yield from self.exported.read()


def open_source(config: TrainConfig) -> Source:
    """UsageError: no data, zero rows, of a scripted run, of another kind than the method needs, a wrong --mix."""
    path = str(config.data)
    if config.mix_rows is not None and config.mix is None:
        raise UsageError("--mix-rows needs --mix PATH")
    if config.mix is not None and config.method == "dpo":
        raise UsageError("--mix: utility rows have no rejected answer; mix them into --method sft or kto")
    exported = open_exported(path)
    if exported is not None:
        return _from_export(config, exported)
    curated = open_curated(path, allow_partial=config.allow_partial)
    table = TABLES[config.method]
    if curated.rows(table) == 0:
        hint = "only ecso makes pairs" if table == "preference" else "curation kept no row; its report says why"
        raise UsageError(f"--data {path}: no rows in {table}/ ({hint})")
    _refuse_scripted(curated, table)
    for name in {table, "sft", "preference"} if config.method == "kto" else {table}:
        curated.check(name)
    mix = _mix(config, taken_ids(curated)) if config.mix else None
    return Source(Data(curated, mix, seed=config.seed, exact=True), None, mix, curated.sha256, config.seed)


def _from_export(config: TrainConfig, exported: Exported) -> Source:
    if exported.kind != config.method:
        raise UsageError(
            f"--data {config.data}: an export {exported.document['config']['format']}, for --method {exported.kind}; "
            f"found --method {config.method}"
        )
    if exported.rows == 0:
        raise UsageError(f"--data {config.data}: this export has no rows")
    if exported.document.get(SCRIPTED):
        raise UsageError(_scripted_words(str(config.data)))
    exported.check()
    if config.mix is not None and config.method == "kto":
        raise UsageError("--mix: an export trl-kto is already shuffled; export it again with --mix")
    mix = _mix(config, set()) if config.mix else None
    return Source(None, exported, mix, exported.sha256, config.seed)


def _mix(config: TrainConfig, taken: set[bytes]) -> Mix:
    return choose(str(config.mix), config.mix_rows or MIX_ROWS, config.seed, taken)


def _refuse_scripted(curated: Curated, table: str) -> None:
    if is_scripted(curated, [table]):
        raise UsageError(_scripted_words(curated.store.url))


def _scripted_words(path: str) -> str:
    return f"--data {path}: answers of the scripted backend, which no model wrote; nothing can be learned from them"
