"""What the pipeline itself costs: the scripted backend has no model, so every second is ours.

    python -m benchmarks.overhead rate     [--rows 100000]       rows/s at zero latency
    python -m benchmarks.overhead memory   [--rows 10000 300000] peak memory of the driver
    python -m benchmarks.overhead scaling  [--workers 1 2 4 8]   rows/s with 100 ms calls

Rates count from the first engine's readiness to the last row's acknowledgement, as the progress display shows them;
the whole command (Ray's start, planning, sealing) is given beside them. Memory is the driver process's peak PSS.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.machine import header

PICTURES = 500
LOOK_S = 0.1
"""How often memory is looked at: the closing table of a small run is read within a second."""
PER_WORKER = 8
"""Rows in flight of one worker in `scaling`: few enough that latency, not the processor, is what is shared out."""


class Result(NamedTuple):
    """One run of the command."""

    rows: int
    rate: float
    seconds: float
    peak_mib: float


def make_source(folder: Path, rows: int) -> Path:
    """Pictures and a queries.jsonl; each picture is asked about by many rows."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(PICTURES):
        Image.new("RGB", (32, 32), (number % 256, number // 2 % 256, 90)).save(folder / f"{number}.png")
    with (folder / "queries.jsonl").open("w") as file:
        for number in range(rows):
            line = {"text": f"What about case number {number} in this picture?", "image": f"{number % PICTURES}.png"}
            file.write(json.dumps(line) + "\n")
    return folder


def run(source: Path, *arguments: str, watch: bool = False) -> Result:
    """One `engine.generate` with the scripted backend; its driver's memory is watched only where it is asked for (each
    look takes milliseconds from the run)."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "engine.generate", "--backend", "scripted", "--queries", "folder"]
        command += ["--path", str(source), "--out", f"{out}/run", "--no-curate", *arguments]
        with open(f"{out}/told", "w+") as told:
            start, peak = time.monotonic(), 0.0
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=told, text=True)
            while watch and process.poll() is None:
                peak = max(peak, pss_mib(process.pid))
                time.sleep(LOOK_S)
            failed = process.wait()
            seconds = time.monotonic() - start
            told.seek(0)
            text = told.read()
        if failed:
            raise SystemExit(text)
        counts = json.loads(Path(f"{out}/run/manifest.json").read_text())["counts"]
    rates = re.findall(r"([\d,.]+) rows/s", text)
    return Result(counts["read"], float(rates[-1].replace(",", "")), seconds, peak)


def pss_mib(pid: int) -> float:
    """Proportional set size: shared pages counted once over all who share them."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found.group(1)) / 1024 if found else 0.0


def rate(arguments: argparse.Namespace, folder: Path) -> None:
    """Rows/s at zero latency, three times."""
    source = make_source(folder, arguments.rows[0])
    results = [run(source, "--workers", str(arguments.workers[0])) for _ in range(arguments.repeats)]
    for result in results:
        print(f"{result.rows:,} rows: {result.rate:,.0f} rows/s; whole command {result.seconds:.1f} s")
    print(f"median {statistics.median(result.rate for result in results):,.0f} rows/s")


def memory(arguments: argparse.Namespace, folder: Path) -> None:
    """The driver's peak memory, small run against large."""
    peaks = []
    for rows in arguments.rows:
        result = run(make_source(folder / str(rows), rows), "--workers", str(arguments.workers[0]), watch=True)
        peaks.append(result.peak_mib)
        print(f"{rows:,} rows: driver peak {result.peak_mib:,.0f} MiB; {result.rate:,.0f} rows/s")
    print(f"ratio {peaks[-1] / peaks[0]:.3f}")


def scaling(arguments: argparse.Namespace, folder: Path) -> None:
    """Efficiency = rows/s with N workers / (N × rows/s with one)."""
    base = None
    for workers in arguments.workers:
        source = make_source(folder / str(workers), arguments.rows[0] * workers)
        result = run(
            source, "--workers", str(workers), "--scripted-latency-ms", "100", "--engine-arg", f"capacity={PER_WORKER}"
        )
        base = base or result.rate / workers
        print(f"{workers} workers: {result.rate:,.1f} rows/s, efficiency {result.rate / base / workers:.0%}")


KINDS = {"rate": (rate, [100000], [1]), "memory": (memory, [10000, 300000], [1]), "scaling": (scaling, [1500], [1, 8])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--rows", type=int, nargs="+")
    parser.add_argument("--workers", type=int, nargs="+")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    measure, rows, workers = KINDS[arguments.kind]
    arguments.rows = arguments.rows or rows
    arguments.workers = arguments.workers or workers
    print(header())
    with tempfile.TemporaryDirectory() as folder:
        measure(arguments, Path(folder))


if __name__ == "__main__":
    main()
