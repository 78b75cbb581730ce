"""One training, from a configuration to a model folder."""

from __future__ import annotations

import contextlib
import copy
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from engine.backends.processors import load_processor
from engine.backends.prompting import Prompter
from engine.config import TrainConfig
from engine.errors import UsageError
from engine.journal.lock import RunLock
from engine.journal.store import Store
from engine.training import models, progress, record, rows, saving, settings, trainers
from engine.training.collate import collator_of
from engine.training.models import Parts
from engine.training.pictures import PictureStore
from engine.training.plan import RECORD, Job, note_start, plan, state_of
from engine.training.protector import model as text_model
from engine.training.protector.pairs import PairSource
from engine.training.protector.prepare import prepare as prepare_text
from engine.training.protector.rows import PairEncoder
from engine.training.rows import AnyRow, Encoder
from engine.training.settings import Batches, Machine
from engine.training.tokens import Writer, end_tokens


@dataclass(frozen=True, slots=True)
class Prepared:
    """Rows as token ids, and what made them."""

    processor: Any
    prompter: Prompter
    store: PictureStore | None
    """None: text alone."""
    encoder: Encoder | PairEncoder
    train: list[AnyRow]
    validation: list[AnyRow]


def run(config: TrainConfig) -> dict[str, Any]:
    """Train, and write the model folder. The content of its training.json (with --export: of what was exported).

    Raises UsageError before any model is loaded where data, flags, model or output folder cannot be used.
    """
    if config.export is not None:
        from engine.training.recipes import export

        return export(config)
    job = plan(config)
    _quiet()
    here = settings.machine(config)
    done = state_of(job, first=here.writes)
    if done is not None:
        return done if here.writes else {}
    batches = settings.spread(job.recipe, here.processes)
    prepared = prepare(job)
    with RunLock(Store(str(job.out))) if here.writes else contextlib.nullcontext():
        if here.writes:
            note_start(job)
        return _train(job, here, batches, prepared)


def prepare(job: Job) -> Prepared:
    """Read and encode all rows. UsageError where none is left or none has a picture."""
    config, recipe = job.config, job.recipe
    if isinstance(job.source, PairSource):
        text_prompter, pair_encoder, texts = prepare_text(job, job.source)
        train, validation = _split(texts, config)
        return Prepared(text_prompter.tokenizer, text_prompter, None, pair_encoder, train, validation)
    processor = load_processor(job.load, config.revision, trust_remote_code=config.trust_remote_code)
    prompter = Prompter(processor, template_kwargs(job))
    store = PictureStore(
        load_processor(job.load, config.revision, trust_remote_code=config.trust_remote_code),
        prompter.placeholder,
        recipe.picture_prep,
    )
    writer = Writer(prompter, end_tokens(prompter.tokenizer, _generation_eos(job)))
    encoder = Encoder(prompter, writer, store, recipe.max_length)
    found = list(job.source.rows(config.method, encoder))
    rows.require(found, encoder, str(config.data))
    train, validation = _split(found, config)
    return Prepared(processor, prompter, store, encoder, train, validation)


def template_kwargs(job: Job) -> dict[str, Any]:
    """What the chat template gets: as given, else the preset's template for models of LLaVA-1.5's type."""
    given = dict(job.config.chat_template_kwargs)
    if given or job.recipe.template is None:
        return given
    from transformers import AutoConfig

    kind = AutoConfig.from_pretrained(
        job.load, revision=job.config.revision, trust_remote_code=job.config.trust_remote_code
    ).model_type
    return {"chat_template": job.recipe.template} if kind == "llava" else {}


def _generation_eos(job: Job) -> Any:
    from transformers import GenerationConfig

    try:
        return GenerationConfig.from_pretrained(job.load, revision=job.config.revision).eos_token_id
    except OSError:
        return None


def _split(found: list[AnyRow], config: TrainConfig) -> tuple[list[AnyRow], list[AnyRow]]:
    """Rows for training, and those held back by the seed; rows of one dialogue stay together."""
    if not config.validation_share:
        return found, []
    ids = sorted({row.id for row in found})
    held = set(random.Random(f"validation/{config.seed}").sample(ids, round(len(ids) * config.validation_share)))
    train, validation = [row for row in found if row.id not in held], [row for row in found if row.id in held]
    if not train or not validation:
        raise UsageError(
            f"--validation-share {config.validation_share}: of {len(ids)} rows, {len(train)} would be left to train on "
            f"and {len(validation)} to validate with"
        )
    return train, validation


def _train(job: Job, here: Machine, batches: Batches, prepared: Prepared) -> dict[str, Any]:
    import torch

    config = job.config
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    started, began = datetime.now(UTC), time.monotonic()
    args = settings.arguments(config, job.recipe, here, batches, job.out)
    torch.manual_seed(config.seed)
    base = _load_base(job, here, prepared)
    parts = models.parts_of(base) if config.task == "vlm" else models.Parts("", None, (), ())
    trainer = _trainer(job, args, base, parts, prepared)
    shown = progress.callback(shown=here.writes)
    trainer.add_callback(shown)
    checkpoint = trainers.last_checkpoint(job.out / "checkpoints") if config.resume else None
    try:
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    finally:
        shown.close()
    seconds = time.monotonic() - began
    document: dict[str, Any] = {}
    if here.writes:
        facts = record.Facts(started, seconds, None if checkpoint is None else checkpoint.name, here, batches)
        document = _write(job, trainer, prepared, facts)
    trainer.accelerator.wait_for_everyone()
    return document


def _load_base(job: Job, here: Machine, prepared: Prepared) -> Any:
    """Weights that learn are float32 (small steps are lost in bfloat16); frozen ones as small as the arithmetic is."""
    config = job.config
    dtype = "bfloat16" if here.bf16 and job.recipe.peft == "lora" and here.device == "cuda" else "float32"
    trust = config.trust_remote_code
    if config.task != "vlm":
        pad = int(prepared.prompter.tokenizer.pad_token_id)
        return text_model.load(config.task, job.load, config.revision, trust_remote_code=trust, dtype=dtype, pad=pad)
    return models.load(job.load, config.revision, trust_remote_code=trust, dtype=dtype)


def _trainer(job: Job, args: Any, base: Any, parts: Parts, prepared: Prepared) -> Any:
    config, recipe = job.config, job.recipe
    more: dict[str, Any] = {}
    if config.task != "vlm":
        if recipe.peft == "lora":
            base = text_model.with_lora(base, config.task, recipe, job.load, config.revision)
    elif recipe.peft == "lora":
        more["peft_config"] = models.lora_config(
            recipe, parts, projector_lora=config.projector_lora, base=job.load, revision=config.revision
        )
    else:
        models.freeze(base, recipe, parts)
    both = [*prepared.train, *prepared.validation]
    pad = prepared.prompter.tokenizer.pad_token_id
    collator = collator_of(config.objective)(both, prepared.store, 0 if pad is None else pad)
    if config.objective == "kto" and recipe.peft == "full":
        # TRL would load the weights a second time, by name; DPO computes its reference before the first step.
        more["ref_model"] = copy.deepcopy(base).requires_grad_(False)
    if config.patience is not None:
        from transformers import EarlyStoppingCallback

        more["callbacks"] = [EarlyStoppingCallback(config.patience)]
    cut = len(prepared.train)
    with _no_progress_bars():
        trainer = trainers.trainer_class(config.objective)(
            model=base,
            args=args,
            data_collator=collator,
            train_dataset=_numbers(range(cut)),
            eval_dataset=_numbers(range(cut, len(both))) if prepared.validation else None,
            processing_class=prepared.processor,
            **more,
        )
    lengths = [rows.length_of(row) for row in prepared.train]
    size = args.per_device_train_batch_size * args.world_size
    trainer.order = trainers.Order(lengths, size, config.seed, by_length=config.objective != "kto")
    trainer.recipe, trainer.parts = recipe, parts
    _wide_where_it_learns(trainer.model)
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    return trainer


def _wide_where_it_learns(model: Any) -> None:
    """PEFT keeps LoRA in float32, but a copy of a bfloat16 projector in bfloat16, where 2e-5 steps round to nothing."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def _numbers(numbers: range) -> Any:
    """The data set as TRL wants one: numbers of rows; the collator looks them up."""
    from datasets import Dataset

    return Dataset.from_dict({"row": list(numbers)})


def _write(job: Job, trainer: Any, prepared: Prepared, facts: record.Facts) -> dict[str, Any]:
    history = [entry for entry in trainer.state.log_history if "loss" in entry or "eval_loss" in entry]
    (job.out / "logs").mkdir(parents=True, exist_ok=True)
    progress.draw_loss(history, job.out / "loss.png")
    model = trainer.unwrapped(None)
    counted = record.count_parameters(model)
    processor = prepared.processor
    template = template_kwargs(job).get("chat_template")
    if template is not None:
        # Whoever loads the folder asks as it was trained, without a flag.
        processor.chat_template = processor.tokenizer.chat_template = prepared.prompter.template
    if job.config.adapter_only:
        saving.save_adapter(model, processor, job.out)
    else:
        saving.save_merged(model, processor, job.out, job.load, job.config.revision)
    document = record.make(job, prepared, trainer.state, facts, counted)
    record.write(job.out / RECORD, document)
    return document


def _quiet() -> None:
    """No telemetry (TRL pings the Hub at every start), no progress bars and warnings of the libraries."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


@contextlib.contextmanager
def _no_progress_bars() -> Iterator[None]:
    before = os.environ.get("TQDM_DISABLE")
    os.environ["TQDM_DISABLE"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TQDM_DISABLE"]
        else:
            os.environ["TQDM_DISABLE"] = before
