"""What is remembered of every row while a set is curated: about 110 bytes, never a text or a picture.

A row is known by its position: the runs in the order given, and in each the order of its transcripts.
"""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import numpy.typing as npt

KEPT = 0
POSITION_BITS = 40
P_STEPS = (1 << 20) - 1
_VERDICTS = {"harmless": 0, "unchecked": 1}


def position_of(rank: int) -> int:
    """The position inside a rank."""
    return rank & ((1 << POSITION_BITS) - 1)


def quality(transcript: dict[str, Any], position: int) -> int:
    """A row's place in the stated order, lower is better, unique.

    Judged harmless before unchecked; then the lower p(harmful) of the final answer (none counts as 1); then the run and
    the place that came first.
    """
    p = transcript["final_p_harmful"]
    steps = P_STEPS if p is None else round(min(1.0, max(0.0, p)) * (P_STEPS - 1))
    verdict = _VERDICTS.get(transcript["final_verdict"], 2)
    return (((verdict << 20) | steps) << POSITION_BITS) | position


class Names:
    """Texts that repeat, as small numbers."""

    def __init__(self, *first: str) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}
        for name in first:
            self.number(name)

    def number(self, name: str) -> int:
        found = self._numbers.get(name)
        if found is None:
            found = self._numbers[name] = len(self.names)
            self.names.append(name)
        return found


class Ledger:
    """Columns over all rows, in order of position. `step` says where a row was dropped: `KEPT`, or a step's number."""

    def __init__(self) -> None:
        self.steps, self.reasons = Names("kept"), Names("")
        self.categories, self.sources = Names(), Names()
        self._small = {name: array("H") for name in ("step", "reason", "category", "source")}
        self._flags = {name: array("b") for name in ("label", "refusal")}
        self._wide = {name: array("Q") for name in ("rank", "cluster", "picture")}
        self._ids = bytearray()

    def __len__(self) -> int:
        return len(self._small["step"])

    def add(
        self, transcript: dict[str, Any], *, step: str, reason: str, refusal: bool, cluster: int, picture: int
    ) -> None:
        """The next row; `step` is "kept" for one that no filter dropped."""
        position = len(self)
        self._small["step"].append(self.steps.number(step))
        self._small["reason"].append(self.reasons.number(reason))
        self._small["category"].append(self.categories.number(transcript["category"] or ""))
        self._small["source"].append(self.sources.number(transcript["source"]))
        label = transcript["label_safe"]
        self._flags["label"].append(-1 if label is None else int(label))
        self._flags["refusal"].append(int(refusal))
        self._wide["rank"].append(quality(transcript, position))
        self._wide["cluster"].append(cluster)
        self._wide["picture"].append(picture)
        self._ids += bytes.fromhex(transcript["query_id"])

    def column(self, name: str) -> npt.NDArray[Any]:
        """A view of one column, (rows,). Writing to `step` and `reason` is how later steps drop rows; no row may be
        added while a view lives."""
        for group, kind in ((self._small, np.uint16), (self._flags, np.int8), (self._wide, np.uint64)):
            if name in group:
                return np.frombuffer(group[name], dtype=kind)
        raise KeyError(name)

    def query_id(self, position: int) -> str:
        return self._ids[32 * position : 32 * position + 32].hex()

    def last_rank(self) -> int:
        return int(self._wide["rank"][-1])

    def id_heads(self) -> npt.NDArray[np.uint64]:
        """The first 8 bytes of each query id: an order that has nothing to do with the source's."""
        return np.frombuffer(bytes(self._ids), dtype=">u8").reshape(-1, 4)[:, 0]

    def kept(self) -> npt.NDArray[np.int64]:
        """Positions of the rows that no step has dropped so far."""
        return np.flatnonzero(self.column("step") == KEPT)

    def drop(self, positions: npt.NDArray[np.int64], step: str, reason: str) -> None:
        """Note that a step dropped these rows."""
        number, why = self.steps.number(step), self.reasons.number(reason)
        if len(positions):
            self.column("step")[positions] = number
            self.column("reason")[positions] = why

    def where(self, position: int) -> tuple[str, str]:
        """(step, reason) of one row."""
        step, reason = self._small["step"][position], self._small["reason"][position]
        return self.steps.names[step], self.reasons.names[reason]
