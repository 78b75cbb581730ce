"""Measure the journal: `python -m tests.journal.bench [ROWS] [STEPS]` (CPU time where it says so, else wall time)."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from dataclasses import replace

from engine.journal.index import done
from engine.journal.manifest import verify
from engine.journal.seal import seal_in_process
from engine.journal.segments import JournalWriter
from tests.journal.make import RUN, hex_id, picture, step, transcript


def main(rows: int = 20_000, steps: int = 5) -> None:
    text = "some words of an answer " * 10
    base = transcript(steps=0, query=text, final_response=text, caption=text, direct_response=text)
    base = replace(base, steps=tuple(step(text=text, attempt=number) for number in range(steps)))
    shown = [picture(number, 20_000) for number in range(200)]
    with tempfile.TemporaryDirectory() as url:
        with JournalWriter(url, "w") as writer:
            spent = 0.0
            for number in range(rows):
                image = shown[number % 200]
                row = replace(
                    base,
                    query_id=hex_id(number),
                    source_key=f"f:{number}",
                    source_index=number,
                    picture_sha256=(image.sha256,),
                )
                began = time.thread_time()
                writer.add_picture(image)
                writer.append(row)
                spent += time.thread_time() - began
        size = os.path.getsize(f"{url}/journal/w.rows") / rows
        print(f"append + add_picture  {spent / rows * 1e6:8.1f} us a row of {size:.0f} bytes (CPU)")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.perf_counter()
        found = done(url, retry_errors=False)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"done                  {time.perf_counter() - began:8.2f} s, {len(found.ids):,} ids, ", end="")
        print(f"{(found.ids.nbytes + found.keys.nbytes) / rows:.0f} bytes a row, peak +{(peak - before) >> 10} MB")
        began = time.perf_counter()
        manifest = seal_in_process(url, run=replace(RUN, expected=rows))
        wall = time.perf_counter() - began
        child = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(f"seal in a process     {wall:8.2f} s = {rows / wall:,.0f} rows/s, {manifest['status']}, ", end="")
        print(f"CPU {child.ru_utime + child.ru_stime:.1f} s, peak {child.ru_maxrss >> 10} MB")
        began = time.perf_counter()
        verify(url)
        print(f"verify                {time.perf_counter() - began:8.2f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
