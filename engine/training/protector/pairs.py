"""Safer and less safe answers to a question, from three layouts: PKU-SafeRLHF's columns, question + accepted +
rejected, and a curated set of the engine.

A file is JSONL, JSON (a list of objects) or Parquet; a folder is all such files in it. PKU-SafeRLHF: `prompt,
response_0/1, is_response_0/1_safe, safer_response_id` (facts of harmdetector_train_saferlhf.py). The names of MLLM-
Protector's own file (renjiepi/harmful_vs_unharmful) are not published with it: likely ones are tried, `--columns` names
others. There, accepted is safe and rejected is not.

A curated set gives `preference/`: chosen is safe, rejected as its row says (`contains_harmful`). From such pairs alone
a detector learns to tell a refusal from an answer, and calls every answer harmful. So for the detector each answer of
`sft/` that is no refusal stands beside a harmful one, drawn by the seed, each with its own question.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config import TrainConfig
from engine.errors import UsageError
from engine.export.read import Curated, is_scripted, open_curated, text_of

if TYPE_CHECKING:
    from engine.training.protector.rows import PairEncoder
    from engine.training.rows import AnyRow

PKU = ("prompt", "response_0", "response_1", "is_response_0_safe", "is_response_1_safe", "safer_response_id")
LIKELY = {
    "question": ("question", "prompt", "instruction", "query"),
    "accepted": ("accepted", "accept", "chosen", "unharmful", "harmless", "accepted_answer", "safe_answer"),
    "rejected": ("rejected", "reject", "harmful", "rejected_answer", "unsafe_answer", "harmful_answer"),
}
"""Column -> names that are tried, in this order."""
ENDINGS = (".jsonl", ".json", ".parquet")
OWN = ["query_id", "prompt", "chosen", "rejected", "kind", "contains_harmful"]


@dataclass(frozen=True, slots=True)
class SafetyPair:
    """Two answers, the safer one first. `other_question`: of the other one, where it answers another question."""

    id: str
    question: str
    safer: str
    other: str
    safer_is_safe: bool
    other_is_safe: bool
    other_question: str | None = None
    kind: str = "pair"


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used: where it stands, and why."""

    id: str
    why: str


@dataclass
class PairSource:
    """The opened data, in the place of `engine.training.data.Source`. `counts` fills while rows are read."""

    files: tuple[Path, ...]
    columns: Mapping[str, str]
    curated: Curated | None
    sha256: str
    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    mix: None = None

    def rows(self, objective: str, encoder: PairEncoder) -> Iterator[AnyRow]:
        """The objective's rows, encoded."""
        for found in self.pairs(with_answers=objective == "harm-detector"):
            if isinstance(found, BadRow):
                encoder.leave_out("cannot be read", found.id, found.why)
                continue
            self.counts[found.kind] += 1
            yield from encoder.encode(objective, found)

    def pairs(self, *, with_answers: bool) -> Iterator[SafetyPair | BadRow]:
        """All pairs. `with_answers`: a curated set's harmless answers too (see above)."""
        if self.curated is None:
            for file in self.files:
                yield from _read_file(file, self.columns)
            return
        harmful: list[SafetyPair] = []
        for row in self.curated.raw("preference", OWN):
            pair = _own(row)
            if not pair.other_is_safe:
                harmful.append(pair)
            yield pair
        if with_answers and harmful:
            yield from self._answers(harmful)

    def _answers(self, harmful: Sequence[SafetyPair]) -> Iterator[SafetyPair]:
        assert self.curated is not None
        taken = {pair.id for pair in harmful}
        draw = random.Random(f"answers/{self.seed}")
        for row in self.curated.raw("sft", ["query_id", "query", "response", "contains_harmful", "refusal"]):
            if row["query_id"] in taken or row["contains_harmful"] or row.get("refusal"):
                continue
            other = draw.choice(harmful)
            yield SafetyPair(
                row["query_id"], row["query"], row["response"], other.other, True, False, other.question, "sft"
            )


def open_pairs(config: TrainConfig) -> PairSource:
    """UsageError: no such data, no pairs in it, columns that are not known, answers of the scripted backend."""
    path = Path(str(config.data)).expanduser()
    if (path / "curation.json").is_file() or "://" in str(config.data):
        return _open_own(config)
    files = sorted(p for p in path.iterdir() if p.suffix in ENDINGS) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise UsageError(
            f"--data {config.data}: found no file of {', '.join(ENDINGS)} and no curated set there; expected rows of "
            "PKU-SafeRLHF, rows of question + accepted + rejected, or a folder that curate wrote"
        )
    whole = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            whole.update(hashlib.file_digest(opened, "sha256").digest())
    return PairSource(tuple(files), dict(config.columns), None, whole.hexdigest(), config.seed)


def _open_own(config: TrainConfig) -> PairSource:
    if config.columns:
        raise UsageError("--columns: a curated set has columns of its own; leave it out")
    curated = open_curated(str(config.data), allow_partial=config.allow_partial)
    if curated.rows("preference") == 0:
        raise UsageError(
            f"--data {config.data}: no rows in preference/: no harmful answer was replaced by a safe one in this run "
            "(ecso and mllm_protector make pairs); nothing to learn harm from"
        )
    if is_scripted(curated, ["preference"]):
        raise UsageError(f"--data {config.data}: answers of the scripted backend, which no model wrote")
    for table in ("preference", "sft"):
        curated.check(table)
    return PairSource((), {}, curated, curated.sha256, config.seed)


def _own(row: Mapping[str, Any]) -> SafetyPair:
    """A preference row: an over-refusal pair holds two harmless answers, the chosen one no safer than the other."""
    prompt, chosen, rejected = (text_of(row[name]) for name in ("prompt", "chosen", "rejected"))
    safe = not row.get("contains_harmful", True)
    return SafetyPair(row["query_id"], prompt, chosen, rejected, True, safe, kind=str(row["kind"]))


def _read_file(file: Path, columns: Mapping[str, str]) -> Iterator[SafetyPair | BadRow]:
    layout: Layout | None = None
    for number, row in _rows(file):
        where = f"{file.name} row {number}"
        if not isinstance(row, dict):
            yield BadRow(where, f"found {type(row).__name__}, expected an object")
            continue
        layout = layout or _layout(file, list(row), columns)
        yield _pair(where, row, layout)


@dataclass(frozen=True, slots=True)
class Layout:
    """Column names of one file; `pku`: PKU-SafeRLHF's own."""

    pku: bool
    names: Mapping[str, str]


def _layout(file: Path, found: Sequence[str], columns: Mapping[str, str]) -> Layout:
    """UsageError where the file's columns are not known, with what to say."""
    unknown = sorted(set(columns) - set(LIKELY))
    if unknown:
        raise UsageError(f"--columns {unknown[0]}=…: expected {', '.join(LIKELY)}")
    if not columns and set(PKU) <= set(found):
        return Layout(True, {})
    names = {
        role: columns.get(role) or next((name for name in likely if name in found), "")
        for role, likely in LIKELY.items()
    }
    missing = [role for role, name in names.items() if name not in found]
    if missing:
        raise UsageError(
            f"--data {file}: no column for {', '.join(missing)}; found {', '.join(found)}; expected PKU-SafeRLHF's "
            f"({', '.join(PKU)}), or say --columns question=…,accepted=…,rejected=…"
        )
    return Layout(False, names)


def _pair(where: str, row: Mapping[str, Any], layout: Layout) -> SafetyPair | BadRow:
    wanted: Mapping[str, type | tuple[type, ...]] = dict.fromkeys(layout.names.values(), str)
    if layout.pku:
        wanted = dict(zip(PKU, (str, str, str, bool, bool, int), strict=True))
    for name, kind in wanted.items():
        if not isinstance(row.get(name), kind):
            return BadRow(where, f"{name}: found {type(row.get(name)).__name__}, expected {kind}")
    if not layout.pku:
        question, accepted, rejected = (row[layout.names[role]] for role in LIKELY)
        return SafetyPair(where, question, accepted, rejected, True, False)
    safer = row["safer_response_id"]
    if safer not in (0, 1):
        return BadRow(where, f"safer_response_id: found {safer}, expected 0 or 1")
    texts, safe = (
        [row["response_0"], row["response_1"]],
        [row["is_response_0_safe"], row["is_response_1_safe"]],
    )
    return SafetyPair(where, row["prompt"], texts[safer], texts[1 - safer], safe[safer], safe[1 - safer])


def _rows(file: Path) -> Iterator[tuple[int, Any]]:
    """(number from 1, row). UsageError for a file that is not what its name says."""
    if file.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            opened = pq.ParquetFile(file)
            numbered = (row for batch in opened.iter_batches(256, use_threads=False) for row in batch.to_pylist())
            yield from enumerate(numbered, 1)
        except pa.ArrowException as error:
            raise UsageError(f"--data {file}: no readable Parquet file ({error})") from error
        return
    try:
        text = file.read_text("utf-8")
        if file.suffix == ".json":
            found = json.loads(text)
            if not isinstance(found, list):
                raise UsageError(f"--data {file}: found {type(found).__name__}, expected a list of rows")
            yield from enumerate(found, 1)
            return
    except (ValueError, UnicodeDecodeError) as error:
        raise UsageError(f"--data {file}: not JSON: {error}") from error
    for number, line in enumerate(text.split("\n"), 1):  # other line marks (U+2028) may stand in a text
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError as error:
                raise UsageError(f"--data {file}: line {number}: not JSON: {error}") from error
