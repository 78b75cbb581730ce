"""The model by its files alone: there, takes pictures, template renders, yes and no are tokens. No weights."""

from __future__ import annotations

import io
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from engine.judges import self as self_judge
from engine.planning import Job
from engine.types import Message, Picture
from engine.validation.check import Check, Context, failed, passed, skipped, warned
from engine.validation.memory import GIB, fit, kv_bytes

NEEDS = {"vllm": ("vllm", "ecso-engine[vllm]"), "transformers": ("torch", "ecso-engine[local]")}
LOCAL = ("vllm", "transformers")
WEIGHTS = (".safetensors", ".bin")
TIMEOUT_S = 10


def backend(context: Context) -> Iterable[Check]:
    """The packages of the backend."""
    job = _job(context)
    if job is None:
        yield skipped("backend", "the config failed")
        return
    needed, package = NEEDS.get(job.backend.name, ("", ""))
    if needed and find_spec(needed) is None:
        yield failed("backend", f"{job.backend.name}: {needed} is not installed", f"pip install '{package}'")
    elif job.scripted:
        yield warned("backend", "scripted: no model answers", "choose --backend auto for real answers")
    else:
        yield passed("backend", job.backend.name)


def model(context: Context) -> Iterable[Check]:
    """Reachable, and takes pictures."""
    job = _job(context)
    if job is None or job.backend.name not in LOCAL:
        yield from _server(context, job)
        return
    if context.validate.offline and not Path(job.backend.model).is_dir():
        yield skipped("model", "--offline, and the model is on the Hub")
        return
    from engine.backends.processors import class_of, load_processor

    trust = job.backend.trust_remote_code
    name = class_of(job.backend.model, job.backend.revision, trust_remote_code=trust)
    context.processor = load_processor(job.backend.model, job.backend.revision, trust_remote_code=trust)
    yield passed("model", f"{job.model}: {name}, takes pictures")


def template(context: Context) -> Iterable[Check]:
    """The chat template renders a question with a picture."""
    job = _job(context)
    if job is None or context.processor is None:
        yield skipped("chat template", "no processor of a model here")
        return
    from engine.backends.prompting import Prompter

    prompter = Prompter(context.processor, job.backend.chat_template_kwargs)
    picture = _picture()
    prompt = prompter.prompt([Message("user", "What is in the picture?", (picture,))])
    if len(prompt.pictures) != 1:
        yield failed("chat template", "the picture is lost on the way", "give a template with --chat-template-kwargs")
        return
    yield passed("chat template", f"renders, {len(prompt.token_ids)} tokens for a short question with a picture")


def labels(context: Context) -> Iterable[Check]:
    """yes and no as single tokens: what p(harmful) is read from."""
    job = _job(context)
    if job is None or context.processor is None:
        yield skipped("yes and no", "no tokenizer of a model here")
        return
    from engine.backends.labels import LabelIds

    words = self_judge.LABELS
    ids = LabelIds(context.processor.tokenizer)(words)
    yield passed("yes and no", ", ".join(f"{word}: {len(ids[word])} spellings as one token" for word in words))


def memory(context: Context) -> Iterable[Check]:
    """Weights and the longest row against one GPU."""
    job = _job(context)
    if job is None or job.backend.name not in LOCAL:
        yield skipped("GPU memory", "no engine of ours")
        return
    gpu = context.validate.gpu_memory
    size = int(gpu * 1e9) if gpu else _gpu_here()
    if not size:
        yield skipped("GPU memory", "no GPU here; --gpu-memory GB says what the cluster's have")
        return
    if not Path(job.backend.model).is_dir():
        yield skipped("GPU memory", "the model's files are not here")
        return
    folder = Path(job.backend.model)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    weights = sum(path.stat().st_size for path in folder.iterdir() if path.suffix in WEIGHTS)
    share = float(job.backend.engine_args.get("gpu_memory_utilization", 0.9 * min(1.0, job.backend.gpus or 1.0)))
    yield _fits(job, weights, size, share, config)


def _fits(job: Job, weights: int, size: int, share: float, config: Mapping[str, Any]) -> Check:
    longest = int(job.backend.engine_args.get("max_model_len", 4096))
    found = fit(
        weights, size, share=share, tensor_parallel=job.backend.tensor_parallel, kv=kv_bytes(config), longest=longest
    )
    words = (
        f"{found.weights / GIB:.1f} GiB of weights on a GPU of {size / GIB:.1f} GiB ({share:.0%} used); "
        f"{max(0, found.tokens):,} tokens of cache, the longest row may need {longest:,}"
    )
    if found.fits:
        return passed("GPU memory", words)
    return failed(
        "GPU memory",
        words,
        "spread it over GPUs (--tensor-parallel), shorten it (--engine-arg max_model_len=), or use a larger GPU",
    )


def _server(context: Context, job: Job | None) -> Iterable[Check]:
    if job is None or job.backend.name != "openai":
        yield skipped("model", "the config failed" if job is None else f"{job.backend.name} loads no model")
        return
    key = job.backend.api_key_env
    if key and not os.environ.get(key):
        yield failed("model", f"{key} is not set", f"export {key} with the server's key, or drop --api-key-env")
        return
    if context.validate.offline:
        yield skipped("model", "--offline")
        return
    url = f"{str(job.backend.base_url).rstrip('/')}/models"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {os.environ[key]}"} if key else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            names = [str(each.get("id")) for each in json.load(answer).get("data", [])]
    except (urllib.error.URLError, OSError, ValueError) as error:
        yield failed("model", f"{url}: {error}", "start the server, or mend --base-url (it ends in /v1)")
        return
    if job.backend.model in names:
        yield passed("model", f"{job.backend.model} at {url}; whether it takes pictures shows in a preview")
    else:
        yield failed("model", f"{url} offers {', '.join(names[:5])}", f"--model one of them, not {job.backend.model}")


def _job(context: Context) -> Job | None:
    return context.job


def _gpu_here() -> int:
    """Bytes of the smallest GPU of this machine; 0 where there is none."""
    import shutil
    import subprocess

    if shutil.which("nvidia-smi") is None:
        return 0
    asked = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=TIMEOUT_S)
    sizes = [int(line) for line in done.stdout.split() if line.isdigit()]
    return min(sizes) * 2**20 if sizes else 0


def _picture() -> Picture:
    from PIL import Image

    from engine.pictures import inspect

    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (120, 110, 100)).save(buffer, "PNG")
    return inspect(buffer.getvalue(), "a drawn picture")
