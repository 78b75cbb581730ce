"""What `language` knows of languages: which the library chooses from, and which of them look alike."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from engine.curation.filters.text import vocabulary

_GROUPS = (
    "da no nb nn sv|es gl pt ca an|cs sk|hr sr bs sl|id ms jv|ru uk be bg mk|nl af|hi mr ne|zh ja|fr oc wa|it la|"
    "de lb|et fi|xh zu"
)
KNOWN = vocabulary(
    "af ar bg bn bs ca cs da de el en es et eu fa fi fr gl he hi hr hu id is it ja ko lt lv mk mr ms nl no pl pt ro ru "
    "sk sl sq sr sv sw ta th tr uk ur vi zh"
)
"""What the library chooses from: without the small languages it knows, it is surer of the others (142 in all)."""
NEAR = tuple(map(vocabulary, _GROUPS.split("|")))
"""Languages that the library takes for each other on a sentence."""
VERBAL = re.compile(
    r"\b(?:ist|sind|hat|wird|man|sie|est|sont|il|elle|vous|on|es|son|hay|está|se|usted|è|sono|si|het|is|zijn|"
    r"je|wordt|é|são|você|jest|się|är|det|er|man|bir|ve|on|ovat)\b"
)
"""Words of sentences: without one, commas cut a list of dishes or streets, whose particles are foreign words."""


def guess(text: str) -> tuple[str, float]:
    """(language, how sure): near languages are counted together, since the library divides its vote among them."""
    ranked = _identifier().rank(text)
    best = str(ranked[0][0])
    group = next((near for near in NEAR if best in near), frozenset({best}))
    return best, sum(float(sure) for code, sure in ranked[:8] if code in group)


@cache
def _identifier() -> Any:
    """py3langid's model with probabilities; loaded once, at the first text that needs it."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]

    found = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    found.set_languages(sorted(KNOWN))
    return found
