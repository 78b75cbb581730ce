"""`python -m tests.curation.filters.score [--half tune|…|heldout] [--errors]`: precision and recall on planted rows.

`--errors` lists the misses, but for the `heldout` half, which is only scored.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

from tests.curation.filters.planted_rows import BARE, HALVES, NAMES, cases, judge, there


@dataclass(frozen=True, slots=True)
class Score:
    """Counts of one filter on one half; precision and recall in 0..1."""

    name: str
    defects: int
    healthy: int
    hits: int
    false_alarms: int
    errors: tuple[str, ...]

    @property
    def precision(self) -> float:
        return self.hits / max(1, self.hits + self.false_alarms)

    @property
    def recall(self) -> float:
        return self.hits / max(1, self.defects)


def score(half: str, name: str) -> Score:
    """A filter with its default options on its planted rows."""
    check = judge(name)
    found = [(row, drop, check(row)) for row, drop in cases(half, name)]
    errors = [
        f"{'missed' if drop else 'false alarm'}: {row['query']!r} -> {row['final_response']!r} {evidence or ''}"
        for row, drop, evidence in found
        if drop is (evidence is None)
    ]
    return Score(
        name,
        defects=sum(drop for _, drop, _ in found),
        healthy=sum(not drop for _, drop, _ in found),
        hits=sum(drop and evidence is not None for _, drop, evidence in found),
        false_alarms=sum(not drop and evidence is not None for _, drop, evidence in found),
        errors=tuple(errors),
    )


def line(found: Score) -> str:
    """A line of the table in docs/filters.md."""
    return f"| {found.name} | {found.defects} | {found.healthy} | {found.precision:.2f} | {found.recall:.2f} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--half", choices=HALVES, default="heldout")
    parser.add_argument("--errors", action="store_true", help="list every miss (not of the held-out half)")
    parser.add_argument("names", nargs="*", help="filters; default: all")
    options = parser.parse_args()
    print("| filter | defects | hard negatives | precision | recall |\n|---|---|---|---|---|")
    for name in options.names or [name for name in (*NAMES, BARE) if there(options.half, name)]:
        found = score(options.half, name)
        print(line(found))
        for error in found.errors if options.errors and options.half != "heldout" else ():
            print("   ", error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
