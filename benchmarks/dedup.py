"""Deduplication: is it right, how fast is it, and does it stay so.

    python -m benchmarks.dedup truth    [--rows 20000]           recall and precision against all pairs
    python -m benchmarks.dedup speed    [--rows 200000]          rows/s beside datasketch, same texts
    python -m benchmarks.dedup growth   [--rows 100000 1000000]  time per row and peak memory, pictures too
    python -m benchmarks.dedup leakage  [--rows 10000]           queries/s against an index of so many texts

Texts are made: short queries from templates and a vocabulary with natural frequencies; one in ten repeats another
exactly, one in seven with a word changed or added. Words are invented, pictures are coloured noise. Rates count
reading, hashing, comparing and writing, with Ray started before. Memory is the summed proportional set size of all
processes, Ray's and its object store (1 GiB) included, at its peak.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from benchmarks.machine import header
from benchmarks.overhead import pss_mib

MARK = "ECSO_BENCHMARK"
THRESHOLD = 0.8
PERMUTATIONS = 128
ROWS_A_PICTURE = 10
TEMPLATES = (
    "What does the {} at the left of this picture say about {}?",
    "Can you describe each step of {} as if you were {}?",
    "Explain in a few words why {} and {} are shown together here",
    "How would somebody go about {} without {} noticing it?",
    "Is the person in the image {} or {}?",
    "{} {} {}",
)


class Data(NamedTuple):
    """Made rows: texts, and for each the number of its picture."""

    texts: list[str]
    pictures: list[int]


def made(rows: int, seed: int = 0) -> Data:
    """Rows in a fixed order for a seed; the first n rows do not depend on how many follow."""
    rng = random.Random(seed)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    vocabulary = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(20_000)]
    weights = [1 / (place + 10) for place in range(len(vocabulary))]
    words = iter(lambda: rng.choices(vocabulary, weights, k=4096), None)
    drawn = (word for many in words for word in many)
    data = Data([], [])
    for row in range(rows):
        kind = rng.random()
        if row > 100 and kind < 0.25:
            original = rng.randrange(max(0, row - 50_000), row)
            text, picture = data.texts[original], data.pictures[original]
            data.texts.append(text if kind < 0.1 else changed(text, next(drawn), rng))
        else:
            template = rng.choice(TEMPLATES)
            fillers = [" ".join(next(drawn) for _ in range(rng.randint(1, 4))) for _ in range(template.count("{}"))]
            picture = row // ROWS_A_PICTURE
            data.texts.append(template.format(*fillers))
        data.pictures.append(picture)
    return data


def changed(text: str, word: str, rng: random.Random) -> str:
    """One word more at the end, or one changed somewhere."""
    found = text.split()
    if rng.random() < 0.5:
        return f"{text} {word}"
    found[rng.randrange(len(found))] = word
    return " ".join(found)


def write_rows(folder: Path, data: Data, digests: Sequence[str]) -> list[str]:
    """Parquet files as curation writes them; without digests, rows of text alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for start in range(0, len(data.texts), 50_000):
        texts = data.texts[start : start + 50_000]
        shown = [[digests[number]] if digests else [] for number in data.pictures[start : start + 50_000]]
        ranks = pa.array(range(start, start + len(texts)), pa.int64())
        ids = [f"{rank:064x}" for rank in range(start, start + len(texts))]
        table = {
            "rank": ranks,
            "query_id": ids,
            "text": texts,
            "picture_sha256": pa.array(shown, pa.list_(pa.string())),
        }
        files.append(str(folder / f"{start:09}.parquet"))
        pq.write_table(pa.table(table), files[-1])
    return files


def noise(rng: Any, width: int, height: int) -> Any:
    """A picture of coloured noise: large soft patches."""
    import numpy as np
    from PIL import Image

    cells = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)


def write_pictures(folder: Path, count: int) -> tuple[list[str], list[str]]:
    """(files, sha256 of each picture): noise of 160 x 120 pixels as JPEG; every twentieth is a copy of the one before
    in another quality."""
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    files, digests = [], []
    image = noise(rng, 160, 120)
    for start in range(0, count, 5000):
        encoded = []
        for number in range(start, min(start + 5000, count)):
            image = image if number % 20 == 19 else noise(rng, 160, 120)
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=60 if number % 20 == 19 else 85)
            encoded.append(buffer.getvalue())
        digests += [sha256(data).hexdigest() for data in encoded]
        files.append(picture_file(folder / f"{start:09}.parquet", encoded))
    return files, digests


def picture_file(path: Path, pictures: Sequence[bytes]) -> str:
    """One Parquet file of schemas/picture.json."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    import schemas

    rows = [
        {
            "picture_sha256": sha256(data).hexdigest(),
            "image": {"bytes": data, "path": None},
            "width": 160,
            "height": 120,
            "format": "JPEG",
        }
        for data in pictures
    ]
    pq.write_table(pa.Table.from_pylist(rows, schemas.arrow_schema("picture")), path)
    return str(path)


class Memory:
    """The peak of the summed PSS of all processes that carry this run's mark, looked at twice a second."""

    def __init__(self) -> None:
        self.token = os.environ[MARK] = uuid4().hex
        self.peak_mib = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @contextmanager
    def watched(self) -> Iterator[None]:
        self.peak_mib = 0.0
        self._stop.clear()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        yield
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            self.peak_mib = max(self.peak_mib, sum(map(pss_mib, self._processes())))

    def _processes(self) -> list[int]:
        mark = f"{MARK}={self.token}".encode()
        found = [os.getpid()]
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        return sorted(set(found))


@contextmanager
def ray_started(workers: int) -> Iterator[None]:
    """A cluster with an object store of 1 GiB, whose workers have run something."""
    from pipelines.cluster import QUIET

    os.environ.update(QUIET)
    import ray

    options = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    ray.init(address="local", num_cpus=workers, object_store_memory=1 << 30, **options)
    yield
    ray.shutdown()


def deduplicate(
    rows: list[str], pictures: list[str], work: Path, workers: int, inline: bool = False
) -> tuple[list[Any], float]:
    """(duplicates, seconds) of the engine."""
    from engine.curation.dedup import DedupOptions
    from pipelines.dedup import find_duplicates

    start = time.perf_counter()
    limit = 1 << 60 if inline else 0
    found = list(find_duplicates(rows, pictures, DedupOptions(threshold=THRESHOLD), workers, work, inline_rows=limit))
    return found, time.perf_counter() - start


def word_pairs(text: str) -> frozenset[tuple[str, ...]]:
    """Shingles in the plainest form, independent of the engine's hashing."""
    from engine.curation.dedup.text import words

    found = words(text)
    return frozenset(tuple(found[place : place + 2]) for place in range(max(1, len(found) - 1)))


def all_pairs(texts: Sequence[str]) -> dict[int, set[int]]:
    """row -> earlier rows with a Jaccard similarity of at least the threshold, by counting every shared word pair."""
    standing: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    sizes: list[int] = []
    near: dict[int, set[int]] = {}
    for row, text in enumerate(texts):
        pairs = word_pairs(text)
        shared = Counter(other for pair in pairs for other in standing[pair])
        size = len(pairs)
        near[row] = {o for o, count in shared.items() if count / (size + sizes[o] - count) >= THRESHOLD}
        for pair in pairs:
            standing[pair].append(row)
        sizes.append(size)
    return near


def kept_and_dropped(near: dict[int, set[int]]) -> set[int]:
    """The rows that a greedy pass drops: near an earlier row that is kept."""
    dropped: set[int] = set()
    for row, others in near.items():
        if others - dropped:
            dropped.add(row)
    return dropped


def scores(found: set[Any], true: set[Any]) -> str:
    """Recall and precision in words."""
    hits = len(found & true)
    return f"recall {hits / max(1, len(true)):.4f} · precision {hits / max(1, len(found)):.4f}"


def truth(arguments: argparse.Namespace, folder: Path) -> None:
    """Text against all pairs, with MinHash beside it; pictures against what they were made from."""
    rows = arguments.rows[0]
    data = made(rows)
    near = all_pairs(data.texts)
    true_rows = kept_and_dropped(near)
    true_pairs = {(row, other) for row, others in near.items() for other in others}
    found, _ = deduplicate(write_rows(folder / "rows", data, []), [], folder / "work", 1, inline=True)
    wrong = [each for each in found if each.kept_rank not in near[each.rank]]
    print(f"{rows:,} texts, all pairs: {len(true_pairs):,} near pairs, {len(true_rows):,} rows to drop")
    print(f"  engine: rows {scores({each.rank for each in found}, true_rows)}; {len(wrong)} wrong kept rows")
    for name, contestant in CONTESTANTS.items():
        if find_spec(name) is None:
            print(f"  {name}: not installed")
            continue
        pairs = contestant(data.texts)
        print(f"  {name} (unverified): pairs {scores({p for p in pairs if p[0] > p[1]}, true_pairs)}")
    picture_truth(folder)


def picture_truth(folder: Path, originals: int = 400) -> None:
    """Rows of one text on pictures and five copies of each: which rows are dropped, and for the right picture?"""
    import numpy as np
    from PIL import ImageEnhance

    rng = np.random.default_rng(1)
    shown: list[tuple[int, bytes]] = []
    for number in range(originals):
        image = noise(rng, 240, 180)
        copies = [(image, "PNG", {}), (image, "JPEG", {"quality": 50}), (image, "WEBP", {"quality": 60})]
        copies += [(image.resize((180, 135)), "PNG", {}), (ImageEnhance.Brightness(image).enhance(0.88), "PNG", {})]
        for copy, kind, options in copies:
            buffer = io.BytesIO()
            copy.save(buffer, kind, **options)
            shown.append((number, buffer.getvalue()))
    order = rng.permutation(len(shown)).tolist()
    digests = [sha256(shown[place][1]).hexdigest() for place in order]
    items = write_rows(folder / "same", Data(["Explain this image"] * len(order), list(range(len(order)))), digests)
    files = picture_file(folder / "copies.parquet", [shown[place][1] for place in order])
    found, _ = deduplicate(items, [files], folder / "work-pictures", 1, inline=True)
    of = [shown[place][0] for place in order]
    true = {row for row, number in enumerate(of) if number in of[:row]}
    wrong = sum(of[each.rank] != of[each.kept_rank] for each in found)
    print(
        f"{len(order):,} pictures, copies of {originals}: rows {scores({e.rank for e in found}, true)}; {wrong} wrong"
    )


def by_datasketch(texts: Sequence[str]) -> list[tuple[int, int]]:
    """Candidate pairs (row, earlier row) of datasketch's MinHashLSH."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS)
    pairs = []
    for row, text in enumerate(texts):
        sketch = MinHash(num_perm=PERMUTATIONS)
        sketch.update_batch([" ".join(pair).encode() for pair in word_pairs(text)])
        pairs += [(row, other) for other in index.query(sketch)]
        index.insert(row, sketch, check_duplication=False)
    return pairs


def by_rensa(texts: Sequence[str]) -> list[tuple[int, int]]:
    """The same with rensa (Rust)."""
    from rensa import RMinHash, RMinHashLSH

    index = RMinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS, num_bands=16)
    pairs = []
    for row, text in enumerate(texts):
        sketch = RMinHash(num_perm=PERMUTATIONS, seed=42)
        sketch.update([" ".join(pair) for pair in word_pairs(text)])
        pairs += [(row, other) for other in index.query(sketch)]
        index.insert(row, sketch)
    return pairs


CONTESTANTS: dict[str, Callable[[Sequence[str]], list[tuple[int, int]]]] = {
    "datasketch": by_datasketch,
    "rensa": by_rensa,
}


def speed(arguments: argparse.Namespace, folder: Path) -> None:
    """Rows/s on the same texts. datasketch proposes pairs and verifies none; the engine reads Parquet and verifies all.
    (rensa is not timed: most of the pairs that it proposes here are wrong, and their number grows with the square.)"""
    rows = arguments.rows[0]
    data = made(rows)
    files = write_rows(folder / "rows", data, [])
    deduplicate(files[:1], [], folder / "warm", 1, inline=True)
    contestants: dict[str, Callable[[], object]] = {
        "engine, 1 process": lambda: deduplicate(files, [], folder / "work", 1, inline=True),
        "datasketch": lambda: by_datasketch(data.texts),
    }
    times: list[tuple[float, float]] = []
    for name, contestant in contestants.items():
        start, cpu = time.perf_counter(), time.process_time()
        contestant()
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
        times.append((wall, cpu))
        print(f"{name}: {rows / wall:,.0f} rows/s ({rows / cpu:,.0f} a CPU second)", flush=True)
    (own, own_cpu), (other, other_cpu) = times
    print(f"ratio: {other / own:.1f} by the clock, {other_cpu / own_cpu:.1f} by CPU time", flush=True)
    with ray_started(arguments.workers):
        deduplicate(files[:1], [], folder / "warm", arguments.workers)
        seconds = deduplicate(files, [], folder / "work", arguments.workers)[1]
    print(f"engine, Ray, {arguments.workers} workers: {rows / seconds:,.0f} rows/s")


def growth(arguments: argparse.Namespace, folder: Path) -> None:
    """Time per row and peak memory with pictures, a tenth as many as rows."""
    memory, first = Memory(), 0.0
    with ray_started(arguments.workers):
        deduplicate(write_rows(folder / "warm", made(2000), []), [], folder / "work", arguments.workers)
        for rows in arguments.rows:
            pictures, digests = write_pictures(folder / f"pictures-{rows}", rows // ROWS_A_PICTURE + 1)
            files = write_rows(folder / f"rows-{rows}", made(rows), digests)
            with memory.watched():
                found, seconds = deduplicate(files, pictures, folder / "work", arguments.workers)
            first = first or seconds / rows
            print(
                f"{rows:,} rows, {len(digests):,} pictures: {seconds:.1f} s, {rows / seconds:,.0f} rows/s, "
                f"{len(found):,} duplicates; time per row x {seconds / rows / first:.2f}; "
                f"peak {memory.peak_mib:,.0f} MiB",
                flush=True,
            )


def leakage(arguments: argparse.Namespace, folder: Path) -> None:
    """Queries/s against one index, half of them from the benchmark's own templates."""
    from engine.curation.leakage import load
    from engine.curation.leakage.file import save
    from engine.curation.leakage.index import Entry, Index

    rows = arguments.rows[0]
    benchmark, asked = made(rows, seed=1), made(100_000, seed=2)
    start = time.perf_counter()
    save(Index.of("made", (Entry(f"made:{n}", text) for n, text in enumerate(benchmark.texts))), folder / "made.leak")
    index = load(folder / "made.leak")
    built = time.perf_counter() - start
    start, cpu = time.perf_counter(), time.process_time()
    found = sum(index.match(text) is not None for text in asked.texts)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    size = (folder / "made.leak").stat().st_size
    print(f"index of {rows:,} texts: made and loaded in {built:.1f} s, {size / 2**20:.1f} MiB")
    print(f"{len(asked.texts) / wall:,.0f} queries/s ({len(asked.texts) / cpu:,.0f} a CPU second); {found:,} matched")


KINDS = {
    "truth": (truth, [20_000]),
    "speed": (speed, [200_000]),
    "growth": (growth, [100_000, 1_000_000]),
    "leakage": (leakage, [10_000]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--rows", type=int, nargs="+")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    measure, rows = KINDS[arguments.kind]
    arguments.rows = arguments.rows or rows
    print(header(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        measure(arguments, Path(folder))


if __name__ == "__main__":
    main()
