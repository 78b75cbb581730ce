"""The contestants of benchmarks.throughput, and what an infinite prefix cache would give them.

Each runs in a process of its own and is warmed up on rows of the same kind that it is not timed on.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import chain
from benchmarks.models import make_rows
from engine.types import Message, Query, Sampling

BLOCK = 32
WARM = 8
"""Rows of the warm-up."""


class Result(NamedTuple):
    """One contestant's run."""

    rows: int
    seconds: float
    prompt_tokens: int = 0
    cached_tokens: int = 0
    encodes: int | None = None

    @property
    def rate(self) -> float:
        return self.rows / self.seconds

    @property
    def hits(self) -> float:
        return self.cached_tokens / max(1, self.prompt_tokens)


def queries(source: Path) -> list[Query]:
    """The rows, read as the engine reads them."""
    from engine.sources import SourceConfig, iter_rows, load, open_source, select

    plan = select(open_source(SourceConfig("folder", path=str(source))).windows())
    return [load(row) for window, selection in plan.windows for row in iter_rows(window, selection)]


def warm_rows() -> list[Query]:
    """Rows like those that are timed, on other pictures."""
    with tempfile.TemporaryDirectory() as folder:
        return queries(make_rows(Path(folder), WARM, seed=1))


class Calls:
    """`LLM.generate` over prompts made as the engine makes them."""

    def __init__(self, model: str, blocks: int | None) -> None:
        from vllm import LLM

        from engine.backends import BackendConfig, vllm_args
        from engine.backends.labels import LabelIds
        from engine.backends.processors import context_of, load_processor
        from engine.backends.prompting import Prompter

        config = BackendConfig("vllm", model, engine_args=engine_arguments(blocks))
        cores = sorted(os.sched_getaffinity(0))
        openmp = vllm_args.intel_openmp()
        os.environ.update(vllm_args.environment(config, on_cpu=True, cores=cores, given=os.environ, openmp=openmp))
        kwargs = vllm_args.engine_kwargs(config, on_cpu=True, in_ray=False, context=context_of(config))
        self.prompter = Prompter(load_processor(model, None), {})
        self.labels = LabelIds(self.prompter.tokenizer)
        self.llm = LLM(**{name: value for name, value in kwargs.items() if name != "enable_mm_processor_stats"})
        self.prompt_tokens = self.cached_tokens = 0

    def ask(self, asked: Sequence[tuple[list[Message], Sampling]]) -> list[str]:
        """All of these in one call; their texts."""
        from engine.backends.prompting import prepare
        from engine.backends.vllm import _sampling_params

        prompts, params = [], []
        for messages, sampling in asked:
            prompt = self.prompter.prompt(messages)
            given: dict[str, Any] = {"prompt_token_ids": list(prompt.token_ids)}
            if prompt.pictures:
                given["multi_modal_data"] = {"image": [prepare(p, "processor") for p in prompt.pictures]}
                given["multi_modal_uuids"] = {"image": [p.sha256 for p in prompt.pictures]}
            prompts.append(given)
            params.append(_sampling_params(sampling, sampling.max_tokens, self._labels(sampling)))
        outputs = self.llm.generate(prompts, params, use_tqdm=False)
        self.prompt_tokens += sum(len(output.prompt_token_ids) for output in outputs)
        self.cached_tokens += sum(output.num_cached_tokens or 0 for output in outputs)
        return [output.outputs[0].text for output in outputs]

    def _labels(self, sampling: Sampling) -> dict[str, tuple[int, ...]]:
        return self.labels(sampling.labels) if sampling.labels else {}

    def forget(self) -> None:
        """After the warm-up: counters and prefix cache as new."""
        self.llm.reset_prefix_cache()
        self.prompt_tokens = self.cached_tokens = 0


def engine_arguments(blocks: int | None) -> dict[str, Any]:
    return {"num_gpu_blocks_override": blocks} if blocks else {}


def step_by_step(rows: list[Query]) -> Iterator[list[tuple[list[Message], Sampling]]]:
    """(b) yields each stage's requests and is sent their texts."""
    answers = yield [(chain.answer(query), chain.WRITE) for query in rows]
    yield [(chain.tell(query, text), chain.JUDGE) for query, text in zip(rows, answers, strict=True)]
    harmful = [query for query in rows if chain.is_harmful(query)]
    hints = yield [(chain.caption(query), chain.WRITE) for query in harmful]
    yield [(chain.safe_answer(query, hint), chain.WRITE) for query, hint in zip(harmful, hints, strict=True)]


def run_stages(calls: Calls, rows: list[Query]) -> dict[str, list[str]]:
    """All four stages; the texts by stage."""
    stages, texts = step_by_step(rows), {}
    asked = next(stages)
    for name in ("answer", "tell", "caption", "safe_answer"):
        texts[name] = calls.ask(asked)
        try:
            asked = stages.send(texts[name])  # type: ignore[attr-defined]
        except StopIteration:
            break
    return texts


def contestant_b(arguments: argparse.Namespace) -> Result:
    """Step by step; keeps its texts, which `d` takes as known."""
    calls, rows = Calls(arguments.model, arguments.blocks), queries(arguments.source)
    run_stages(calls, warm_rows())
    calls.forget()
    start = time.perf_counter()
    texts = run_stages(calls, rows)
    seconds = time.perf_counter() - start
    arguments.texts.write_text(json.dumps(texts))
    return Result(len(rows), seconds, calls.prompt_tokens, calls.cached_tokens)


def known(rows: list[Query], texts: dict[str, list[str]]) -> list[tuple[list[Message], Sampling]]:
    """Every request of every row, rows of one picture together, as if all responses were known before."""
    hints, asked = iter(texts["caption"]), []
    for query, text in zip(rows, texts["answer"], strict=True):
        asked += [(chain.answer(query), chain.WRITE), (chain.tell(query, text), chain.JUDGE)]
        if chain.is_harmful(query):
            asked += [(chain.caption(query), chain.WRITE), (chain.safe_answer(query, next(hints)), chain.WRITE)]
    return asked


def contestant_d(arguments: argparse.Namespace) -> Result:
    """The bound."""
    calls, rows = Calls(arguments.model, arguments.blocks), queries(arguments.source)
    asked = known(rows, json.loads(arguments.texts.read_text()))
    run_stages(calls, warm_rows())
    calls.forget()
    start = time.perf_counter()
    calls.ask(asked)
    return Result(len(rows), time.perf_counter() - start, calls.prompt_tokens, calls.cached_tokens)


def contestant_c(arguments: argparse.Namespace) -> Result:
    """Row by row with transformers."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from engine.pictures import to_rgb

    torch.set_num_threads(arguments.threads)
    model = AutoModelForImageTextToText.from_pretrained(arguments.model, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(arguments.model)

    @torch.inference_mode()
    def ask(messages: list[Message], sampling: Sampling) -> str:
        (message,) = messages
        images = [to_rgb(picture.data) for picture in message.pictures]
        content = [*({"type": "image"} for _ in images), {"type": "text", "text": message.text}]
        text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        inputs = processor(text=text, images=images or None, return_tensors="pt")
        length = sampling.max_tokens
        output = model.generate(**inputs, do_sample=False, max_new_tokens=length, min_new_tokens=length)
        return str(processor.tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))

    def row(query: Query) -> None:
        text = ask(chain.answer(query), chain.WRITE)
        ask(chain.tell(query, text), chain.JUDGE)
        if chain.is_harmful(query):
            ask(chain.safe_answer(query, ask(chain.caption(query), chain.WRITE)), chain.WRITE)

    row(warm_rows()[0])
    rows = queries(arguments.source)[: arguments.loop_rows]
    start = time.perf_counter()
    for query in rows:
        row(query)
    return Result(len(rows), time.perf_counter() - start)


def contestant_a(arguments: argparse.Namespace) -> Result:
    """This engine, by its command. Time counts from the first engine's readiness (warmed up) to the last
    acknowledgement, both in this process."""
    from engine.config import GenerateConfig
    from engine.planning import plan_job
    from engine.progress import Tally
    from pipelines.generation import execute

    with tempfile.TemporaryDirectory() as out:
        config = GenerateConfig(
            queries="folder",
            path=str(arguments.source),
            model=arguments.model,
            backend="benchmarks.warmed:Warmed",
            strategy="benchmarks.chain:fixed",
            max_tokens=chain.TOKENS,
            engine_arg=engine_arguments(arguments.blocks),
            out=out,
        )
        job = plan_job(config)
        from engine.journal.index import done

        tally = Tally(job.plan.total)
        stop = execute(job, "benchmark", done(out), tally)
        if stop.error is not None:
            raise stop.error
        assert tally.ready is not None
        assert tally.last is not None
        seconds = tally.last - tally.ready
        return Result(tally.rows, seconds, tally.prompt_tokens, tally.cached_tokens, stop.stats.get("picture_encodes"))


def possible(arguments: argparse.Namespace) -> Result:
    """Prompt tokens that an infinite prefix cache would have answered."""
    from engine.backends.processors import load_processor
    from engine.backends.prompting import Prompter

    processor = load_processor(arguments.model, None)
    prompter, seen = Prompter(processor, {}), set()
    placeholder = processor.image_token_id
    size = processor._get_num_multimodal_tokens(image_sizes=[(336, 336)])["num_image_tokens"][0]
    total = cached = 0
    rows = queries(arguments.source)
    for messages, _ in known(rows, json.loads(arguments.texts.read_text())):
        prompt = prompter.prompt(messages)
        pictures = iter(prompt.pictures)
        tokens: list[Any] = []
        for token in prompt.token_ids:
            if token == placeholder:
                picture_sha = next(pictures).sha256
                tokens += [(picture_sha, k) for k in range(size)]
            else:
                tokens.append(token)
        total += len(tokens)
        counting, chained = True, 0
        for block in range((len(tokens) - 1) // BLOCK):  # the last token is always computed
            chained = hash((chained, tuple(tokens[block * BLOCK : (block + 1) * BLOCK])))
            counting = counting and chained in seen
            cached += BLOCK * counting
            seen.add(chained)
    return Result(len(rows), 1.0, total, cached)


CONTESTANTS: dict[str, Callable[[argparse.Namespace], Result]] = {
    "a": contestant_a,
    "b": contestant_b,
    "c": contestant_c,
    "d": contestant_d,
    "possible": possible,
}
