"""Curation with its dataflows: `engine.curation.curate`, deduplication and leakage on Ray Data, then the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from engine.config import CurateConfig
from engine.curation.curate import curate
from engine.curation.gates import Gates
from engine.lineage import expand
from pipelines import dedup

GATES = Gates(dedup.find_duplicates, dedup.hash_pictures, dedup.picture_table)


def run(urls: str | Sequence[str], config: CurateConfig) -> dict[str, Any]:
    """Curate one run or several, and write `report.html` beside the data; `curation.json`'s document.

    Raises what `engine.curation.curate.curate` raises.
    """
    given = [urls] if isinstance(urls, str) else list(urls)
    every = expand(given)
    if len(given) == 1 and every != given and config.out is None:
        config = replace(config, out=given[0])  # a lineage is curated into its own root
    document = curate(every, config, GATES)
    if config.report:
        from engine.report import write_report

        write_report(config.out or every[0], runs=every)
    return document
