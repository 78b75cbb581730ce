"""Cue audit: how well do the first words of a query alone predict that it is refused?

A model that is trained on a set in which "what" opens the safe queries and "can" the unsafe ones on the same pictures
(VLGuard: 869 of 977 against 847 of 977) can learn to refuse by the opener and never look at the picture.

Method: the refusal rate of the first words, each n-gram backed off to the shorter one and at last to the base rate
(an m-estimate, Cestnik 1990), scored by cross-validation. AUC 0.5: the opener says nothing; 1.0: it says everything.

Covers: any language that writes words apart, and the CJK scripts character by character. Does not cover: cues behind
the first words (the topic is meant to predict refusal), and cues of the picture.
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|\w+(?:['’]\w+)*")
LONGEST_WORD = 24
"""Characters of a word that count: no URL or pasted key is a cue."""
SMOOTHING = 2.0
"""Rows of the shorter opener that stand beside each opener's own: an opener seen once is hardly believed."""
MOST_OPENERS = 200_000
"""Distinct openers that are kept apart (about 200 MB). Later new ones count as their shorter opener; with so many, a
new one has no other rows to be predicted from anyhow."""
MOST_CUES = 20
LEAST_ROWS = 5
"""Rows that an opener needs to be called a cue."""
LEAST_GAIN = 0.05
"""Difference in share that makes a longer or shorter form of a listed cue worth a line of its own."""


@dataclass(frozen=True, slots=True)
class Cue:
    """Opening words, how many rows open with them, how many of these were refused, and the share."""

    cue: str
    rows: int
    refused: int
    share: float


@dataclass(frozen=True, slots=True)
class CueAudit:
    """`auc` is None where it cannot be told, and `note` says why. `top`: the cues that tell most, best first."""

    auc: float | None
    n: int
    n_refused: int
    folds: int
    top: tuple[Cue, ...]
    note: str | None = None

    @property
    def base(self) -> float:
        """Share of refused rows."""
        return self.n_refused / self.n if self.n else 0.0

    def section(self) -> dict[str, Any] | None:
        """The `cues` section of curation.json; None where there is no AUC (then `note` is its `cues_note`)."""
        if self.auc is None:
            return None
        found = asdict(self)
        del found["note"]
        return {**found, "top": list(found["top"])}


def tokens(text: str, words: int) -> tuple[str, ...]:
    """The first words in lower case, without punctuation."""
    found = (match.group()[:LONGEST_WORD] for match in WORD.finditer(unicodedata.normalize("NFKC", text).casefold()))
    return tuple(word for word, _ in zip(found, range(words), strict=False))


def normalised(text: str) -> str:
    """The text by which repeats are found: lower case, without punctuation, single spaces."""
    return " ".join(WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


class CueCounter:
    """Counts of one pass: rows and refusals by opener and fold. No text is kept."""

    def __init__(self, words: int = 3, folds: int = 5, seed: int = 0) -> None:
        if words < 1 or folds < 2:
            raise ValueError(f"words {words}, folds {folds}: expected at least 1 and 2")
        self.words, self.folds, self.seed = words, folds, seed
        self._counts: dict[tuple[str, ...], list[int]] = {}

    def add(self, text: str, refused: bool) -> None:
        """One row. Repeated texts always fall into the same fold, so no fold is predicted from its own texts."""
        opener = tokens(text, self.words)
        while opener not in self._counts and len(self._counts) >= MOST_OPENERS and opener:
            opener = opener[:-1]
        counts = self._counts.setdefault(opener, [0] * (2 * self.folds))
        fold = self._fold(text)
        counts[2 * fold] += 1
        counts[2 * fold + 1] += refused

    def result(self) -> CueAudit:
        """The audit of all rows so far."""
        rows, refused = self._sum(0), self._sum(1)
        n, n_refused = sum(rows), sum(refused)
        totals = self._totals()
        auc = self._auc(totals)
        note = None if auc is not None else _note(n, n_refused, self.folds)
        return CueAudit(auc, n, n_refused, self.folds, _top(totals, n, n_refused), note)

    def beside(self, other: CueCounter) -> CueCounter:
        """The rows of both in one counter (of the same words, folds and seed)."""
        if not other._counts:
            return self
        whole = CueCounter(self.words, self.folds, self.seed)
        for opener, counts in (*self._counts.items(), *other._counts.items()):
            into = whole._counts.setdefault(opener, [0] * (2 * self.folds))
            for index, value in enumerate(counts):
                into[index] += value
        return whole

    def scores(self) -> Iterator[tuple[int, float, int, int]]:
        """(fold, score, rows, refused) of every opener in every fold, scored from the other folds only."""
        totals = self._totals()
        for opener, counts in self._counts.items():
            for fold in range(self.folds):
                if counts[2 * fold]:
                    yield fold, _score(opener, fold, totals), counts[2 * fold], counts[2 * fold + 1]

    def _fold(self, text: str) -> int:
        key = f"{self.seed}\0{normalised(text)}".encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") % self.folds

    def _sum(self, which: int) -> list[int]:
        return [sum(counts[2 * fold + which] for counts in self._counts.values()) for fold in range(self.folds)]

    def _totals(self) -> dict[tuple[str, ...], list[int]]:
        """The counts of every opener and of all its shorter forms; () holds everything."""
        totals: dict[tuple[str, ...], list[int]] = {}
        for opener, counts in self._counts.items():
            for length in range(len(opener) + 1):
                into = totals.setdefault(opener[:length], [0] * (2 * self.folds))
                for index, value in enumerate(counts):
                    into[index] += value
        return totals

    def _auc(self, totals: Mapping[tuple[str, ...], list[int]]) -> float | None:
        """Pairs ranked right over all pairs of a refused and an answered row of the same fold (each fold has a base
        rate of its own, which must not rank rows)."""
        if not totals or sum(totals[()][::2]) < self.folds:
            return None
        right = pairs = 0.0
        by_fold: list[list[tuple[float, int, int]]] = [[] for _ in range(self.folds)]
        for fold, score, rows, refused in self.scores():
            by_fold[fold].append((score, rows, refused))
        for scored in by_fold:
            found = _pairs(scored)
            right, pairs = right + found[0], pairs + found[1]
        return right / pairs if pairs else None


def audit(items: Iterable[tuple[str, bool]], words: int = 3, folds: int = 5, seed: int = 0) -> CueAudit:
    """The audit of (query, refused) pairs, in one pass with bounded memory; the order of the items does not matter.

    Degenerate input (one class, fewer rows than folds) gives `auc=None` and a note. ValueError: words < 1, folds < 2.
    """
    counter = CueCounter(words, folds, seed)
    for text, refused in items:
        counter.add(text, refused)
    return counter.result()


def _score(opener: tuple[str, ...], fold: int, totals: Mapping[tuple[str, ...], list[int]]) -> float:
    """P(refused | opener) from all folds but one: each length is pulled towards the shorter one."""
    rate = 0.5
    for length in range(len(opener) + 1):
        counts = totals[opener[:length]]
        rows = sum(counts[::2]) - counts[2 * fold]
        refused = sum(counts[1::2]) - counts[2 * fold + 1]
        rate = (refused + SMOOTHING * rate) / (rows + SMOOTHING)
    return round(rate, 12)


def _pairs(scored: list[tuple[float, int, int]]) -> tuple[float, float]:
    """(pairs ranked right, pairs) of one fold; a tie is half right."""
    positive: Counter[float] = Counter()
    negative: Counter[float] = Counter()
    for score, rows, refused in scored:
        positive[score] += refused
        negative[score] += rows - refused
    right = below = 0.0
    for score in sorted(positive):
        right += positive[score] * (below + negative[score] / 2)
        below += negative[score]
    return right, sum(positive.values()) * below


def _top(totals: Mapping[tuple[str, ...], list[int]], n: int, n_refused: int) -> tuple[Cue, ...]:
    """Openers by how much they tell: rows times the divergence of their rate from the base rate."""
    if not 0 < n_refused < n:
        return ()
    base = n_refused / n
    found = []
    for opener, counts in totals.items():
        rows, refused = sum(counts[::2]), sum(counts[1::2])
        if opener and rows >= LEAST_ROWS:
            told = rows * _divergence((refused + SMOOTHING * base) / (rows + SMOOTHING), base)
            found.append((-told, opener, Cue(" ".join(opener), rows, refused, round(refused / rows, 4))))
    chosen: list[tuple[tuple[str, ...], Cue]] = []
    for _, opener, cue in sorted(found, key=lambda item: item[:2]):
        if len(chosen) < MOST_CUES and not any(_is_repeat(opener, cue, *other) for other in chosen):
            chosen.append((opener, cue))
    return tuple(cue for _, cue in chosen)


def _is_repeat(opener: tuple[str, ...], cue: Cue, listed: tuple[str, ...], other: Cue) -> bool:
    """A longer or shorter form of a listed cue that says the same."""
    shorter = min(len(opener), len(listed))
    return opener[:shorter] == listed[:shorter] and abs(cue.share - other.share) < LEAST_GAIN


def _divergence(p: float, q: float) -> float:
    """Kullback-Leibler divergence of two Bernoulli rates, in nats."""
    return sum(a * math.log(a / b) for a, b in ((p, q), (1 - p, 1 - q)) if a > 0)


def _note(n: int, n_refused: int, folds: int) -> str:
    if n < folds:
        return f"{n} rows are too few for {folds} folds"
    if n_refused in (0, n):
        return f"all {n} rows are {'refused' if n_refused else 'answered'}: there is nothing to predict"
    return f"no fold holds both refused and answered rows ({n_refused} of {n} refused)"
