"""Counterfactual queries: safe ones with the openers of refused ones, and the other way round, on the same pictures.

The openers come from the data (the audit's top cues), the rewordings from a table of frames that ask the same
(`openers.py`). Answered by `generate --queries parquet` and curated together with the first run, they take the
opener's information away: each label then stands behind both kinds of openers.

A query is left out, and counted, where it has no label, where its opener already speaks against its label, where no
frame fits it, where no rewording opens with a cue of the other side, or where the same text on the same pictures was
written before. Refusals are expected of unsafe queries, so "the other side" of a safe query is an opener with a higher
refusal rate than the base, and of an unsafe one an opener with a lower.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from engine.curation.cues import Cue, tokens
from engine.curation.openers import rewordings
from engine.errors import OutputError

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
Images = Callable[[str], dict[str, Any]]
BATCH_ROWS = 256
BATCH_BYTES = 64_000_000
LONGEST_CUE = 16
ORIGIN = "counterfactual_of"
"""Column of the query file, and key in `extra` of what comes of it: the query that was reworded."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the queries; `written` and the reasons add up to `read`."""

    read: int
    written: int
    no_label: int
    already: int
    no_frame: int
    no_opener: int
    repeated: int

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Swap:
    """A query's other wording, and the cue that it opens with."""

    text: str
    cue: str


def is_counterfactual(extra: str | None) -> bool:
    """Whether a transcript's `extra` says that its query is one of those written here."""
    return extra is not None and f'"{ORIGIN}"' in extra and bool(json.loads(extra).get(ORIGIN))


def swap(query: str, label_safe: bool, query_id: str, cues: Sequence[Cue], base: float) -> Swap | str:
    """The counterfactual of one query, or the name of the count that it is left out under.

    Among the openers of the other side one is drawn as often as that side uses it, by a hash of the query's id: so the
    counterfactuals of one label get the other label's spread of openers, and the same query always the same one.
    """
    own = cue_of(query, cues)
    if own is not None and _side(own, base) == (1 if label_safe else -1):
        return "already"
    texts = rewordings(query)
    if not texts:
        return "no_frame"
    offers: dict[Cue, list[str]] = {}
    for text in texts:
        cue = cue_of(text, cues)
        if cue is not None and _side(cue, base) == (1 if label_safe else -1):
            offers.setdefault(cue, []).append(text)
    if not offers:
        return "no_opener"
    point = int.from_bytes(hashlib.sha256(f"opener\0{query_id}".encode()).digest()[:8], "big")
    cue = _draw(sorted(offers, key=lambda found: found.cue), label_safe, point)
    return Swap(offers[cue][point % len(offers[cue])], cue.cue)


def cue_of(text: str, cues: Sequence[Cue]) -> Cue | None:
    """The longest cue that the text opens with."""
    opener = " ".join(tokens(text, LONGEST_CUE)) + " "
    found = [cue for cue in cues if opener.startswith(cue.cue + " ")]
    return max(found, key=lambda cue: len(cue.cue), default=None)


def _side(cue: Cue, base: float) -> int:
    return (cue.share > base) - (cue.share < base)


def _draw(offers: list[Cue], label_safe: bool, point: int) -> Cue:
    """As often as the other side uses it: by the refused rows of each cue, or by the answered ones."""
    weights = [max(1, cue.refused if label_safe else cue.rows - cue.refused) for cue in offers]
    at = point // 7919 % sum(weights)
    for cue, weight in zip(offers, weights, strict=True):
        if at < weight:
            return cue
        at -= weight
    raise AssertionError("unreachable: the point lies inside the sum of the weights")


def base_of(top: Sequence[Cue]) -> float:
    """The refusal rate of the rows behind the cues, for callers without the audit at hand."""
    rows = sum(cue.rows for cue in top)
    return sum(cue.refused for cue in top) / rows if rows else 0.0


def write_counterfactuals(
    rows: Iterable[Row], images: Images, out: str, top: Sequence[Cue], base: float | None = None
) -> Counts:
    """Write the Parquet query file `out` (local or s3://, appears whole) from transcripts; what became of them.

    `images(picture_sha256)` gives {bytes, path} as the Image feature stores it; `base` is `CueAudit.base`. Memory: one
    batch of pictures, and 16 bytes and a set entry a row. Raises OutputError where the write fails.
    """
    pivot = base_of(top) if base is None else base
    counts = dict.fromkeys(Counts.__dataclass_fields__, 0)
    with _File(out) as file:
        for made in _made(rows, top, pivot, counts):
            pictures = [images(sha) for sha in made.pop("picture_sha256")]
            file.add({"images": [{"bytes": found["bytes"], "path": found["path"]} for found in pictures], **made})
    found = Counts(**counts)
    if found.read != sum(found.as_dict().values()) - found.read:
        raise OutputError(f"{out}: the counts of the counterfactuals do not add up: {found.as_dict()}")
    return found


def _made(rows: Iterable[Row], top: Sequence[Cue], base: float, counts: dict[str, int]) -> Iterator[Row]:
    seen: set[bytes] = set()
    for row in rows:
        counts["read"] += 1
        found = "no_label"
        if row["label_safe"] is not None and row["query"]:
            made = swap(row["query"], row["label_safe"], row["query_id"], top, base)
            found = made if isinstance(made, str) else "written"
            if isinstance(made, Swap):
                key = hashlib.sha256("\0".join([made.text, *row["picture_sha256"]]).encode()).digest()[:16]
                if key in seen:
                    found = "repeated"
                else:
                    seen.add(key)
                    yield _query(row, made)
        counts[found] += 1


def _query(row: Row, made: Swap) -> Row:
    """The columns of the query file; those behind `split` come back as `extra` of the new transcripts. The source's
    own answer is left out: it answers the other wording."""
    return {
        "picture_sha256": row["picture_sha256"],
        "text": made.text,
        "category": row["category"],
        "subcategory": row["subcategory"],
        "label_safe": row["label_safe"],
        "split": row["split"],
        ORIGIN: row["query_id"],
        "counterfactual_cue": made.cue,
        "original_query": row["query"],
        "original_source": row["source"],
        "original_key": row["source_key"],
    }


def _schema() -> pa.Schema:
    import pyarrow as pa

    image = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
    texts = ("text", "category", "subcategory", "label_safe", "split", ORIGIN, "counterfactual_cue")
    names = (*texts, "original_query", "original_source", "original_key")
    kinds = {name: pa.bool_() if name == "label_safe" else pa.string() for name in names}
    features: dict[str, Any] = {"images": {"feature": {"_type": "Image"}, "_type": "List"}}
    features |= {name: {"dtype": str(kind), "_type": "Value"} for name, kind in kinds.items()}
    fields = [pa.field("images", pa.list_(image)), *(pa.field(name, kind) for name, kind in kinds.items())]
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


class _File:
    """One Parquet file that appears under its name when it is whole."""

    def __init__(self, out: str) -> None:
        from engine.journal.store import Store

        folder, _, self._name = out.rpartition("/")
        self._store = Store(folder or ("/" if out.startswith("/") else "."))
        self._rows: list[Row] = []
        self._bytes = 0

    def __enter__(self) -> _File:
        import tempfile

        import pyarrow.parquet as pq

        from engine.parquet import write_options

        self._store.ensure()
        self._schema = _schema()
        folder = self._store.spool_dir("") or tempfile.gettempdir()
        self._path = os.path.join(folder, f".{self._name}.{secrets.token_hex(6)}.tmp")
        try:
            self._writer = pq.ParquetWriter(self._path, self._schema, **write_options(self._schema))
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written ({error})") from error
        return self

    def add(self, row: Row) -> None:
        self._rows.append(row)
        self._bytes += sum(len(image["bytes"]) for image in row["images"])
        if len(self._rows) >= BATCH_ROWS or self._bytes >= BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        table = pa.Table.from_pylist(self._rows, schema=self._schema)
        try:
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written ({error})") from error
        self._rows, self._bytes = [], 0

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                self._flush()
            self._writer.close()
            if kind is None:
                self._store.upload(self._path, self._name)
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written ({error})") from error
        finally:
            if os.path.exists(self._path):
                os.unlink(self._path)
