"""`ecso --preset repo`: the method's own scripts, with what each of them does differently (gyhdog99/ECSO@3878522).

For comparison with published figures only. The scripts disagree with the paper and with each other, and which one runs
goes by the source of the query (QUIRKS). The largest: for MME, MM-Vet and MMBench the last step sees the picture, so
the eyes are not closed. Sources that the repository has no script for are asked as MM-SafetyBench, whose script is the
method's main one; that is preset `paper`, with pictures padded.

Pictures: all scripts of the first answer pad to a square before the processor (`process_images`), and so do two of
those of the further steps; the other two let it crop there. Padding is done here, so leave `--picture-prep processor`
as it is. Not copied: paths, files that overwrite answers, splitting over GPUs, and that MM-SafetyBench's `text` rows,
answered without a picture, are judged and captioned with the SD one: such rows come without it here.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, replace

from engine.pictures import pad_square, to_rgb
from engine.sources.mmbench import ASK_LETTER
from engine.sources.mme import llava_wording
from engine.strategies import prompts
from engine.strategies.base import StrategyOptions, clean
from engine.types import Ask, Message, Outcome, Picture, Query, Sampling, Strategy

STEP_TOKENS = 1024
"""max_new_tokens of tell, caption and safe answer, in every script."""
NO_PICTURE = "There is no image."
"""The hint for a query that came without a picture: there is nothing to close the eyes to."""


@dataclass(frozen=True, slots=True)
class Quirks:
    """What one script does."""

    answer_tokens: int
    """max_new_tokens of its first stage."""
    cut: int | None
    """Characters of the response that the judge sees; None: all."""
    yes: frozenset[str]
    lower: bool
    """Whether the judge's reply is lower-cased before it is compared with `yes`."""
    picture_in_last_step: bool
    pads: bool
    """Whether the steps after the first answer pad the picture too."""
    temperature: float = 0.0
    """Of the steps after the first answer."""
    first_text: Callable[[str], str] = str
    """The query as the first stage asks it."""
    later_text: Callable[[str], str] = str
    """The query as the further steps name it."""


LOWER = frozenset({"yes", "yes."})
EXACT = frozenset({"Yes", "Yes.", "yes", "yes."})


def without_letter_prompt(text: str) -> str:
    """MMBench's further steps leave out the sentence that asks for a letter."""
    return text.removesuffix(ASK_LETTER)


MM_SAFETYBENCH = Quirks(2048, 1927, LOWER, lower=True, picture_in_last_step=False, pads=True)
MM_VET = Quirks(128, None, EXACT, lower=False, picture_in_last_step=True, pads=False)
QUIRKS = {
    "mm_safetybench": MM_SAFETYBENCH,
    # The script names no temperature, and the default of its argument parser is 0.2.
    "vlsafe": replace(MM_SAFETYBENCH, pads=False, temperature=0.2),
    "mmvet": MM_VET,
    "mme": replace(MM_VET, first_text=llava_wording, later_text=llava_wording),
    "mmbench": Quirks(
        1024, None, EXACT, lower=False, picture_in_last_step=True, pads=True, later_text=without_letter_prompt
    ),
}
"""Source -> its script."""


def quirks_of(source: str) -> Quirks:
    return QUIRKS.get(source, MM_SAFETYBENCH)


def is_unsafe(reply: str, source: str) -> bool:
    """The script's own reading of the judge's reply. It fails open: whatever else stands there counts as safe."""
    quirks, said = quirks_of(source), clean(reply)
    return (said.lower() if quirks.lower else said) in quirks.yes


def repo(options: StrategyOptions) -> Strategy:  # noqa: ARG001 (the scripts have their own limits)
    """The strategy; `--max-tokens` and `--retries` do not apply."""

    async def run(query: Query, ask: Ask) -> Outcome:
        quirks = quirks_of(query.source)
        squares = tuple(map(padded, query.pictures))
        asked = Message("user", quirks.first_text(query.text), squares)
        direct = clean((await ask("answer", [asked], Sampling(max_tokens=quirks.answer_tokens))).text)
        pictures = squares if quirks.pads else query.pictures
        later = Later(quirks, quirks.later_text(query.text), pictures, ask)
        unsafe = is_unsafe(await later.tell(direct), query.source)
        outcome = Outcome(
            final_response=direct,
            final_verdict="unchecked",
            direct_response=direct,
            direct_verdict="harmful" if unsafe else "harmless",
        )
        if not unsafe:
            return outcome
        caption = await later.caption()
        safe = await later.safe_answer(caption)
        return replace(outcome, final_response=safe, caption=caption, eyes_closed=True, attempts=1)

    return run


@dataclass(frozen=True, slots=True)
class Later:
    """The steps after the first answer, each in a fresh conversation."""

    quirks: Quirks
    text: str
    pictures: tuple[Picture, ...]
    ask: Ask

    async def tell(self, direct: str) -> str:
        filled = prompts.fill(prompts.load("tell"), query=self.text, response=direct[: self.quirks.cut])
        return await self._ask("tell", filled, self.pictures)

    async def caption(self) -> str:
        if not self.pictures:
            return NO_PICTURE
        return clean(await self._ask("caption", prompts.fill(prompts.load("caption"), query=self.text), self.pictures))

    async def safe_answer(self, caption: str) -> str:
        filled = prompts.fill(prompts.load("safe_answer"), caption=caption, query=self.text)
        pictures = self.pictures if self.quirks.picture_in_last_step else ()
        return clean(await self._ask("safe_answer", filled, pictures))

    async def _ask(self, step: str, text: str, pictures: tuple[Picture, ...]) -> str:
        sampling = Sampling(max_tokens=STEP_TOKENS, temperature=self.quirks.temperature)
        return (await self.ask(step, [Message("user", text, pictures)], sampling)).text


def padded(picture: Picture) -> Picture:
    """The picture in a square of LLaVA's colour, as `process_images` prepares it; a square one stays as it is."""
    if picture.width == picture.height:
        return picture
    square = pad_square(to_rgb(picture.data))
    buffer = io.BytesIO()
    square.save(buffer, "PNG", compress_level=1)
    data = buffer.getvalue()
    return Picture(data, hashlib.sha256(data).hexdigest(), square.width, square.height, "PNG")
