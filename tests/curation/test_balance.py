"""Caps and the ledger, against slow and simple versions of themselves."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import CurateConfig
from engine.curation.balance import cap, fit, ordinal, response_cap, safe_to_unsafe, shares
from engine.curation.contrast import partners
from engine.curation.ledger import Ledger, position_of, quality
from engine.errors import UsageError

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", None]), st.integers(0, 3), st.sampled_from([True, False, None]), st.integers(0, 2)
    ),
    max_size=60,
)


def ledger_of(rows: list[tuple[str | None, int, bool | None, int]]) -> Ledger:
    found = Ledger()
    for number, (category, cluster, label, picture) in enumerate(rows):
        row: dict[str, Any] = {
            "category": category,
            "source": "s",
            "label_safe": label,
            "query_id": f"{number:064x}",
            "final_verdict": "harmless",
            "final_p_harmful": (number * 7 % 10) / 10,
        }
        found.add(row, step="kept", reason="", refusal=False, cluster=cluster, picture=picture)
    return found


@given(ROWS, st.integers(1, 5))
def test_response_cap(rows: list[tuple[str | None, int, bool | None, int]], least: int) -> None:
    ledger = ledger_of(rows)
    response_cap(ledger, 0.3, least)
    kept = ledger.kept()
    before, after = Counter(row[1] for row in rows), Counter(rows[k][1] for k in kept.tolist())
    limit = max(least, 0.3 * len(kept))
    for cluster, count in before.items():
        assert after[cluster] <= limit
        if after[cluster] < count:  # a cut cluster is as large as any
            assert after[cluster] == max(after.values())
            of = {
                name: Counter(rows[k][0] for k in kept.tolist() if rows[k][1] == cluster)[name]
                for name in ("a", "b", None)
            }
            had = Counter(row[0] for row in rows if row[1] == cluster)
            cut = [n for name, n in of.items() if n < had[name]]
            assert not cut or max(of.values()) - min(cut) <= 1  # spread: only a category without rows has fewer


@given(ROWS, st.integers(0, 5))
def test_category_cap_keeps_the_best(rows: list[tuple[str | None, int, bool | None, int]], most: int) -> None:
    ledger = ledger_of(rows)
    cap(ledger, "category", {"a": most, "*": 1000})
    ranks = ledger.column("rank").tolist()
    mine = sorted((ranks[k], k) for k, row in enumerate(rows) if row[0] == "a")
    assert {k for _, k in mine[:most]} == {k for k in ledger.kept().tolist() if rows[k][0] == "a"}
    assert sum(row[0] != "a" for row in rows) == sum(rows[k][0] != "a" for k in ledger.kept().tolist())


@given(ROWS, st.sampled_from([0.2, 0.5, 1.0]), st.sampled_from([None, 0.25, 0.5]))
def test_target_shares(
    rows: list[tuple[str | None, int, bool | None, int]], first: float, second: float | None
) -> None:
    """Each listed category has its share to within a row, the best rows stay, and no larger set has these shares."""
    targets = {"a": first, **({} if second is None else {"b": second}), "never seen": 1e-9}
    ledger = ledger_of(rows)
    if sum(targets.values()) > 1 + 1e-9:
        with pytest.raises(UsageError, match="expected at most 1"):
            shares(ledger, "category", targets)
        return
    shares(ledger, "category", targets)
    kept, group = ledger.kept().tolist(), [row[0] if row[0] in targets else "rest" for row in rows]
    had, left = Counter(group), Counter(group[k] for k in kept)
    wanted = {name: share for name, share in targets.items() if had[name]}
    rest = 1 - sum(targets.values())
    if had["rest"] and rest > 1e-6:
        wanted["rest"] = rest
    whole = sum(wanted.values())
    for name, share in wanted.items():
        assert abs(left[name] - share / whole * len(kept)) <= len(wanted)
    assert not wanted or any(left[name] == had[name] for name in wanted)
    ranks = ledger.column("rank").tolist()
    for name, count in left.items():
        mine = sorted((ranks[k], k) for k, of in enumerate(group) if of == name)
        assert {k for _, k in mine[:count]} == {k for k in kept if group[k] == name}


@given(ROWS, st.sampled_from([0.5, 1.0, 2.0]))
def test_safe_to_unsafe(rows: list[tuple[str | None, int, bool | None, int]], ratio: float) -> None:
    ledger = ledger_of(rows)
    safe_to_unsafe(ledger, ratio)
    had, left = Counter(row[2] for row in rows), Counter(rows[k][2] for k in ledger.kept().tolist())
    assert left[None] == had[None]
    assert left[True] == min(had[True], int(ratio * had[False]))
    assert left[False] == min(had[False], int(had[True] / ratio))


@given(ROWS, st.sampled_from([None, 0.5, 1.0]), st.integers(0, 9), st.sampled_from([0.1, 0.3]))
def test_the_share_holds_whatever_the_other_caps_cut(
    rows: list[tuple[str | None, int, bool | None, int]], ratio: float | None, most: int, share: float
) -> None:
    ledger = ledger_of(rows)
    fit(ledger, CurateConfig(max_share=share, least_rows=2, cap_category={"a": most}, safe_to_unsafe=ratio))
    kept = ledger.kept().tolist()
    clusters = Counter(rows[k][1] for k in kept)
    assert all(size <= max(2, share * len(kept)) for size in clusters.values())
    assert sum(rows[k][0] == "a" for k in kept) <= most


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40))
def test_ordinal(pairs: list[tuple[int, int]]) -> None:
    rank = np.array([(k * 17) % 41 for k in range(len(pairs))], dtype=np.uint64)
    groups = [np.array([pair[k] for pair in pairs], dtype=np.int64) for k in (0, 1)]
    found = ordinal(rank, *groups).tolist()
    for k, pair in enumerate(pairs):
        assert found[k] == sum(other == pair and rank[j] < rank[k] for j, other in enumerate(pairs))


@given(ROWS)
def test_partners_are_the_best_of_the_other_label(rows: list[tuple[str | None, int, bool | None, int]]) -> None:
    ledger = ledger_of(rows)
    ranks, found = ledger.column("rank").tolist(), partners(ledger).tolist()
    for k, (_, _, label, picture) in enumerate(rows):
        others = [
            (ranks[j], j)
            for j, row in enumerate(rows)
            if label is not None and row[2] is not None and row[2] != label and row[3] == picture != 0
        ]
        assert found[k] == (min(others)[1] if others else -1)


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**39), st.integers(0, 2**39))
def test_quality(p: float, q: float, first: int, second: int) -> None:
    def of(value: float | None, verdict: str, position: int) -> int:
        return quality({"final_p_harmful": value, "final_verdict": verdict}, position)

    assert position_of(of(p, "harmless", first)) == first
    assert of(1.0, "harmless", first) < of(None, "harmless", first) < of(0.0, "unchecked", second)
    if p + 1e-5 < q:
        assert of(p, "harmless", first) < of(q, "harmless", second)
    assert of(None, "unchecked", 2**40 - 1) < 2**63
