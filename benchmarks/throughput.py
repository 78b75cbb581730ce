"""Rows/s and prefix-cache hits of the engine against three other ways to make the same calls with the same model.

    python -m benchmarks.throughput --model 576 --rows 600 --repeats 3 --out docs/benchmarks

a  this engine: Ray Data, one worker, one coroutine a row, rows admitted by the KV cache's capacity
b  step by step: all answers through `LLM.generate`, then all judgements, then all captions, then all safe answers
c  row by row: `model.generate` of transformers, one call at a time, as the method's own scripts do (on fewer rows)
d  the bound: all prompts known in advance and pushed through one `LLM.generate` in picture order

With `--threads 1` on two cores, the engine computes on one core, and whatever feeds it (Ray, drivers, tokenizers, the
coroutines of the rows) has the other: as beside a GPU, where the two do not compete.

The same cores and threads, prompts, hash-assigned verdicts (40 % harmful) and output lengths for all; each contestant
is a fresh process, warmed up before it is timed, on rows that are not timed; repeats are interleaved. "Possible" hits
are what an infinite cache would give: full blocks of the longest prefix shared with any earlier request.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.contestants import CONTESTANTS, Result
from benchmarks.machine import header

CACHE_GIB = 2
"""About 116,000 tokens of the model with 576 picture tokens: what one 80 GB GPU has left for LLaVA-1.5-7B, by count
(0.9 x 80 GB, less 14 GB of weights and some GB of activations, at half a MB a token)."""
MARK = "RESULT "


def one(name: str, arguments: argparse.Namespace) -> Result:
    """Run a contestant in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.throughput", "--contestant", name]
    for key in ("model", "source", "texts", "blocks", "loop_rows", "threads"):
        if getattr(arguments, key) is not None:
            command += ["--" + key.replace("_", "-"), str(getattr(arguments, key))]
    cores = sorted(os.sched_getaffinity(0))[: arguments.threads]
    environment = {
        **os.environ,
        "VLLM_CPU_KVCACHE_SPACE": str(arguments.cache_gib),
        "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores)),
    }
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"contestant {name} failed:\n{done.stderr[-4000:]}")
    line = next(line for line in done.stdout.splitlines() if line.startswith(MARK))  # vLLM prints too
    return Result(*json.loads(line.removeprefix(MARK)))


def report(results: dict[str, list[Result]], best: Result, arguments: argparse.Namespace) -> str:
    """The table: medians, and ratios pair by pair within a repeat."""
    lines = [header(), "", "| | rows/s (median) | prefix hits | a ÷ this |", "|---|---|---|---|"]
    words = {"a": "this engine", "b": "step by step", "c": "row by row", "d": "bound: all prompts known"}
    for name, runs in results.items():
        ratio = median(mine.rate / other.rate for mine, other in zip(results["a"], runs, strict=False))
        hits = f"{median(run.hits for run in runs):.1%}" if runs[0].prompt_tokens else "–"
        rates = ", ".join(f"{run.rate:.2f}" for run in runs)
        lines.append(
            f"| {name} {words[name]} | {median(run.rate for run in runs):.2f} ({rates}) | {hits} | {ratio:.2f} |"
        )
    mine = results["a"][-1]
    lines += [
        "",
        f"possible hits {best.hits:.1%}; a reaches {median(run.hits for run in results['a']) / best.hits:.1%}",
    ]
    if mine.encodes is not None:
        pictures = (arguments.rows + 1) // 2
        lines.append(
            f"picture encodes per picture: {median((run.encodes or 0) / pictures for run in results['a']):.3f}"
        )
    return "\n".join(lines)


def picture(results: dict[str, list[Result]], path: Path) -> None:
    """The bars."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 2.6))
    names = {"a": "this engine", "d": "bound", "b": "step by step", "c": "row by row"}
    rates = [median(run.rate for run in results[name]) for name in names if results.get(name)]
    axes.barh([names[name] for name in names if results.get(name)], rates, color=["#2a6f97", "#bbb", "#bbb", "#bbb"])
    axes.invert_yaxis()
    axes.set_xlabel("rows/s (median)")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--model", default="576", help="576 (random weights), tiny, or a folder")
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--loop-rows", type=int, default=24, help="rows of contestant c, which is slow")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--blocks", type=int, help="KV-cache blocks, to make the cache small on purpose")
    parser.add_argument("--cache-gib", type=int, default=CACHE_GIB, help="key-value cache; 2: about 116,000 tokens")
    parser.add_argument("--contestants", default="abcd")
    parser.add_argument(
        "--threads", type=int, default=len(os.sched_getaffinity(0)), help="the engine's; default: all cores"
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--texts", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contestant:
        print("\n" + MARK + json.dumps(CONTESTANTS[arguments.contestant](arguments)), flush=True)
        return
    with tempfile.TemporaryDirectory() as scratch:
        prepare(arguments, Path(scratch))
        order = [name for name in "bacd" if name in arguments.contestants]  # b first: d takes its texts as known
        results: dict[str, list[Result]] = {name: [] for name in sorted(order)}
        best: Result | None = None
        if "d" in order and "b" not in order:
            one("b", arguments)  # for its texts
        for repeat in range(arguments.repeats):
            for name in order:
                results[name].append(one(name, arguments))
                print(f"repeat {repeat + 1} {name}: {results[name][-1].rate:.2f} rows/s", file=sys.stderr, flush=True)
            best = best or one("possible", arguments)
            # After each repeat, so that a benchmark of an hour that is cut short has measured something.
            text = report(results, best, arguments)
            if arguments.out:
                arguments.out.mkdir(parents=True, exist_ok=True)
                (arguments.out / f"throughput-{arguments.label}.md").write_text(text + "\n")
                picture(results, arguments.out / f"throughput-{arguments.label}.png")
    print(text)


def prepare(arguments: argparse.Namespace, scratch: Path) -> None:
    """Model and rows on disk."""
    from benchmarks.models import make_model, make_rows

    arguments.label = Path(arguments.model).name
    if arguments.threads < len(os.sched_getaffinity(0)):
        arguments.label += f"-threads-{arguments.threads}"
    if arguments.cache_gib != CACHE_GIB:
        arguments.label += f"-cache-{arguments.cache_gib}-gib"
    if arguments.model == "576":
        arguments.model = str(make_model(scratch / "model"))
    elif arguments.model == "tiny":
        from engine.tiny import MODEL_DIR

        arguments.model = str(MODEL_DIR)
    arguments.source = make_rows(scratch / "rows", arguments.rows)
    arguments.texts = scratch / "texts.json"


if __name__ == "__main__":
    main()
