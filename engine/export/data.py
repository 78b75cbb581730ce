"""What goes into an export: the curated rows that the format may hold, then the utility rows, counted as they pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from engine.errors import UsageError
from engine.export.base import Dialogue
from engine.export.mix import Mix
from engine.export.read import Curated

EMPTY_HINT = {
    "sft": "curation kept no row; its report says why",
    "preference": "no harmful direct answer was replaced by a safe one (only ecso makes pairs)",
}


@dataclass
class Data:
    """Rows by kind. A row that holds harmful text never leaves through `supervised`."""

    curated: Curated
    mix: Mix | None = None
    two_turn: bool = False
    seed: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    exact: bool = False
    """Texts as they are (training here tokenises them as text), not `neutral` (other loaders would not)."""

    def require(self, *tables: str, optional: tuple[str, ...] = ()) -> None:
        """Check the shards of the tables. UsageError where one that is not optional has no rows."""
        for table in (*tables, *optional):
            if self.curated.rows(table) == 0 and table not in optional:
                raise UsageError(f"{self.curated.store.url}: no rows in {table}/: {EMPTY_HINT[table]}")
            self.curated.check(table)

    def supervised(self) -> Iterator[Dialogue]:
        """sft/ without harmful rows, then the mix."""
        yield from self.safe()
        yield from self.utility()

    def safe(self) -> Iterator[Dialogue]:
        """The rows of sft/ that hold no harmful text (curate writes no others; a set by another hand may)."""
        for row in self.curated.read("sft"):
            if row.contains_harmful:
                self.counts["left out: harmful text in sft/"] += 1
                continue
            self.counts["sft"] += 1
            yield self._text(row)

    def utility(self) -> Iterator[Dialogue]:
        """The rows of the mix: marked by `source`, and without `query_ids`."""
        for row in self.mix.rows() if self.mix else ():
            self.counts["mix"] += 1
            yield self._text(row)

    def pairs(self) -> Iterator[Dialogue]:
        """preference/: rejected texts may be harmful."""
        for row in self.curated.read("preference"):
            if row.rejected == row.turns[-1].text:
                self.counts["left out: chosen is rejected"] += 1
                continue
            self.counts["preference"] += 1
            self.counts["contains_harmful"] += row.contains_harmful
            yield self._text(row)

    def _text(self, row: Dialogue) -> Dialogue:
        return row if self.exact else row.safe_text()
