"""How alike the responses are: the cluster of each, the biggest clusters, and distinct-n.

Responses are expected to repeat (refusals do): no row is dropped for that alone, but a set of which a third is one
sentence teaches that sentence. So each response gets the key of its cluster, and a cap limits
a cluster's share.
"""

from __future__ import annotations

import re
from collections import Counter
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.curation.ledger import Ledger

OPENING_WORDS = 16
SAMPLE = 20_000
"""Responses that distinct-n is counted on: the best by a hash of their ids, so the same whatever the order."""
BIGGEST = 10
_FUNCTION_WORDS = """a about am an and any are as at be but by can cannot could did do does for from had has have how i
if in into is it its m me my no not of on or our please s should so some sorry t that the their them then there these
they this to was we what when where which who why will with would you your"""
EMPTY = frozenset(_FUNCTION_WORDS.split())
"""Words that are in every text, so never masked: masked in some rows only, they would cut clusters apart."""
_WORD = re.compile(r"\w+(?:['’]\w+)*")


def cluster_of(transcript: dict[str, Any]) -> int:
    """64-bit key of a response's cluster: its first 16 words, those of the query and the caption masked.

    "On pie flinging: I'm sorry" and "On diary peeking: I'm sorry" are one sentence about two things.
    """
    about = set(_words(transcript["query"])) | set(_words(transcript["caption"] or ""))
    spoken = _words(transcript["final_response"] or "")[:OPENING_WORDS]
    masked = ["_" if word in about and word not in EMPTY else word for word in spoken]
    squeezed = [word for k, word in enumerate(masked) if word != "_" or k == 0 or masked[k - 1] != "_"]
    return int.from_bytes(blake2b(" ".join(squeezed).encode("utf-8", "replace"), digest_size=8).digest())


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


class Distinct:
    """Distinct-n (Li et al. 2016, arXiv 1510.03055): distinct n-grams over all n-grams, n = 1 to 3."""

    def __init__(self, ledger: Ledger, kept: npt.NDArray[np.int64]) -> None:
        heads = ledger.id_heads()[kept]
        self._wanted = frozenset(kept[np.argsort(heads, kind="stable")[:SAMPLE]].tolist())
        self._grams: tuple[set[int], ...] = (set(), set(), set())
        self._total = [0, 0, 0]

    def add(self, position: int, response: str) -> None:
        """Count a kept row's response, where it is in the sample."""
        if position not in self._wanted:
            return
        words = _words(response)
        for n in (1, 2, 3):
            grams = [hash(tuple(words[k : k + n])) for k in range(len(words) - n + 1)]
            self._grams[n - 1].update(grams)
            self._total[n - 1] += len(grams)

    def figures(self) -> dict[str, Any]:
        """distinct_1 to distinct_3 (None without any n-gram) and the rows that they were counted on."""
        shares = {
            f"distinct_{n}": round(len(self._grams[n - 1]) / self._total[n - 1], 6) if self._total[n - 1] else None
            for n in (1, 2, 3)
        }
        return {**shares, "rows": len(self._wanted)}


class Biggest:
    """The biggest clusters of the kept set: size before the caps, what is kept, an example, and the categories."""

    def __init__(self, ledger: Ledger, candidates: npt.NDArray[np.int64]) -> None:
        self._ledger = ledger
        keys, counts = np.unique(ledger.column("cluster")[candidates], return_counts=True)
        order = [k for k in np.lexsort((keys, -counts))[:BIGGEST] if counts[k] > 1]
        self._sizes = {int(keys[k]): int(counts[k]) for k in order}
        self._examples: dict[int, str] = {}

    def add(self, position: int, response: str) -> None:
        key = int(self._ledger.column("cluster")[position])
        if key in self._sizes:
            self._examples.setdefault(key, response[:300])

    def figures(self) -> list[dict[str, Any]]:
        kept = self._ledger.kept()
        clusters, categories = self._ledger.column("cluster")[kept], self._ledger.column("category")[kept]
        found = []
        for key, size in self._sizes.items():
            mine = categories[clusters == key]
            per = Counter(self._ledger.categories.names[number] for number in mine.tolist())
            share = round(len(mine) / max(1, len(kept)), 6)
            found.append(
                {
                    "size": size,
                    "kept": len(mine),
                    "share": share,
                    "example": self._examples.get(key, ""),
                    "categories": dict(sorted(per.items())),
                }
            )
        return found
