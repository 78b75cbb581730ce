"""Prompts are text files beside this one. Their slots are filled in one pass, so that a literal `{}` or `{query}`
inside a query, a response or a caption stays text.

tell, caption, safe_answer: ECSO's own strings (arXiv 2403.09572; gyhdog99/ECSO@3878522, Apache-2.0, facts of the
method). safety_prompt: MM-SafetyBench's baseline (arXiv 2311.17600). detector_*, detoxify_*: MLLM-Protector's templates
(arXiv 2401.02906; pipilurj/MLLM-protector@390e326, Apache-2.0), `paper` of its inference, `robust` of its training.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files


@cache
def load(name: str) -> str:
    """The text of `<name>.txt`, unchanged."""
    return files(__package__).joinpath(f"{name}.txt").read_text("utf-8")


def fill(template: str, **values: str) -> str:
    """Replace `{key}` by `values[key]` for the given keys only, in a single pass."""
    return _slots(tuple(values)).sub(lambda match: values[match.group()[1:-1]], template)


@cache
def _slots(keys: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape("{" + key + "}") for key in keys))


def digest(names: Iterable[str]) -> str:
    """sha256 over the named prompts (name, NUL, text, NUL): part of the fingerprint and of every transcript."""
    whole = hashlib.sha256()
    for name in sorted(names):
        whole.update(f"{name}\0{load(name)}\0".encode())
    return whole.hexdigest()
