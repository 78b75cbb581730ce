"""Sealed transcripts in, data sets out: a pure function of the transcripts (and annotations) and a config.

Two passes over the transcripts. The first puts every row through the filters; what they drop is written at once. Then
duplicates, leakage and caps work on `Ledger`, which holds numbers and no texts. The second pass writes what is left.
Kept + rejected = read, asserted.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import schemas
from engine.config import CurateConfig
from engine.curation import balance
from engine.curation.funnel import funnel
from engine.curation.gates import Gates, find_duplicates, find_leaks
from engine.curation.ledger import Ledger
from engine.curation.options import Options, options_of
from engine.curation.reading import Pictures, Run, open_runs
from engine.curation.reviewed import read_reviews
from engine.curation.selection import Selected, select
from engine.curation.vectors import check_vectors
from engine.curation.writing import Written, cue_sections, kept_rows, write_rows
from engine.errors import OutputError, UsageError
from engine.journal.store import Store
from engine.parquet import TableWriter
from engine.version import SCHEMA_VERSION, version

TABLES = ("sft", "preference", "rejected")


def curate(urls: str | Sequence[str], config: CurateConfig, gates: Gates | None = None) -> dict[str, Any]:
    """Curate one sealed run into its own folder (or `config.out`), or several into `config.out`; `curation.json`.

    Without `gates` (they bring Ray) near duplicates and leakage are left out, and the document says so.
    Raises UsageError for runs and configs that cannot be used; OutputError where a write fails or counts differ.
    """
    urls = [urls] if isinstance(urls, str) else list(urls)
    if len(urls) > 1 and not config.out:
        raise UsageError(f"{len(urls)} runs and no --out: several runs need a folder of their own")
    options = options_of(config)
    runs = open_runs(urls, allow_partial=config.allow_partial)
    target = Store(config.out or urls[0])
    target.ensure()
    with _work() as work:
        return _Curation(runs, target, config, options, work).run(gates)


@contextmanager
def _work() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ecso-curate-") as folder:
        yield Path(folder)


class _Curation:
    """One curation, step by step."""

    def __init__(self, runs: list[Run], target: Store, config: CurateConfig, options: Options, work: Path) -> None:
        self.runs, self.target, self.config, self.options, self.work = runs, target, config, options, work
        self.before = [name for table in TABLES for name in target.list(table)]
        identity = [[run.run_id, run.manifest["files"]] for run in runs]
        stamp = sha256(json.dumps([identity, asdict(config)]).encode()).hexdigest()[:8]
        self.writers = {table: TableWriter(target, table, table, name_prefix=f"{table}-{stamp}-") for table in TABLES}

    def run(self, gates: Gates | None) -> dict[str, Any]:
        reviews = read_reviews(self.options.reviewed)
        dedup = self.options.dedup
        if gates is not None and dedup is not None and dedup.semantic is not None:
            check_vectors(self.runs, dedup.embedding)  # now, not after the first pass
        chosen = select(self.runs, self.options, self.writers["rejected"], self.work, reviews)
        ledger = chosen.ledger
        duplicates = find_duplicates(gates, chosen, self.runs, self.options, self.work)
        leaks = find_leaks(gates, chosen, self.runs, self.options, self.work)
        candidates = ledger.kept()
        balance.fit(ledger, self.config)
        evidence = {**duplicates.evidence, **leaks.evidence}
        written = write_rows(
            self.runs, ledger, self.writers, evidence, leaks.marks, candidates, reviews, balance.words(self.config)
        )
        files = [shard.entry() for writer in self.writers.values() for shard in writer.close()]
        sections = {
            "duplicates": duplicates.section(ledger),
            "leakage": leaks.section(),
            "diversity": written.diversity,
            "reviewed": reviews.section(),
            **cue_sections(written.cues, written.cues_before),
        }
        if self.config.counterfactuals:
            sections["counterfactuals"] = self._counterfactuals(ledger, written)
        document = self._document(chosen, written.counts, sections, files)
        self.target.write("curation.json", json.dumps(document, indent=1).encode())
        kept = {file["path"] for file in files}
        for name in self.before:
            if name not in kept:
                self.target.remove(name)
        return document

    def _counterfactuals(self, ledger: Ledger, written: Written) -> dict[str, Any]:
        """Queries with swapped openers, from the kept rows. Where nothing was refused, the labels say what is cut."""
        from engine.curation.counterfactuals import write_counterfactuals

        cues = written.cues if written.cues.top else written.label_cues
        every = [Pictures(run.store, [file["path"] for file in run.files("pictures")]) for run in self.runs]

        def image(sha: str) -> dict[str, Any]:
            holder = next((pictures for pictures in every if sha in pictures), every[0])
            return holder.images({sha})[sha]

        rows = (row for row, _ in kept_rows(self.runs, ledger))
        counts = write_counterfactuals(rows, image, str(self.config.counterfactuals), cues.top, cues.base)
        return {
            "file": str(self.config.counterfactuals),
            "by": "refusals" if written.cues.top else "labels",
            **counts.as_dict(),
        }

    def _document(
        self, chosen: Selected, written: Counter[str], sections: dict[str, Any], files: list[dict[str, Any]]
    ) -> dict[str, Any]:
        read = len(chosen.ledger) + chosen.duplicates.total
        rejected = chosen.rejected + written["rejected"]
        expected = sum(run.manifest["counts"]["read"] for run in self.runs)
        if written["sft"] + rejected != read or read != expected:
            raise OutputError(
                f"curation does not add up: {written['sft']} kept + {rejected} rejected, {read} read, "
                f"the manifests say {expected}"
            )
        steps = funnel(chosen.ledger, self.options.steps, chosen.duplicates)
        reasons: Counter[str] = Counter()
        for step in steps:
            reasons.update(step["reasons"])
        document = {
            "kind": "curate",
            "schema_version": SCHEMA_VERSION,
            "engine_version": version(),
            "runs": [_sealed(run) for run in self.runs],
            "config": asdict(self.config),
            "counts": {
                "read": read,
                "transcripts": len(chosen.ledger),
                "sft": written["sft"],
                "preference": written["preference"],
                "rejected": rejected,
            },
            "reasons": dict(reasons.most_common()),
            "funnel": steps,
            **sections,
            **({"filters_from": strangers} if (strangers := self.options.strangers()) else {}),
            "files": files,
        }
        # Tuples of the config become lists, as they will be read.
        document = dict(json.loads(json.dumps(document)))
        schemas.check("curation", document, where="curation.json")
        return document


def _sealed(run: Run) -> dict[str, Any]:
    return {"run_id": run.run_id, "manifest_sha256": run.manifest_sha256, "status": run.manifest["status"]}
