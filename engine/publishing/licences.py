"""Licences: identifiers that a publisher may assert, and what is known of the sources' own terms.

What stands here was read from the sources' papers, repositories and Hub pages as of 2026; it is no legal advice, and
"not known" is said where it is not known.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import NamedTuple

from engine.catalogue import cards
from engine.catalogue.sources import YOURS
from engine.errors import UsageError

SPDX = {
    "CC0-1.0": "cc0-1.0",
    "CC-BY-2.0": "cc-by-2.0",
    "CC-BY-3.0": "cc-by-3.0",
    "CC-BY-4.0": "cc-by-4.0",
    "CC-BY-SA-3.0": "cc-by-sa-3.0",
    "CC-BY-SA-4.0": "cc-by-sa-4.0",
    "CC-BY-NC-2.0": "cc-by-nc-2.0",
    "CC-BY-NC-3.0": "cc-by-nc-3.0",
    "CC-BY-NC-4.0": "cc-by-nc-4.0",
    "CC-BY-NC-SA-4.0": "cc-by-nc-sa-4.0",
    "CC-BY-NC-ND-4.0": "cc-by-nc-nd-4.0",
    "CC-BY-ND-4.0": "cc-by-nd-4.0",
    "CDLA-Permissive-1.0": "cdla-permissive-1.0",
    "CDLA-Permissive-2.0": "cdla-permissive-2.0",
    "CDLA-Sharing-1.0": "cdla-sharing-1.0",
    "ODbL-1.0": "odbl",
    "ODC-By-1.0": "odc-by",
    "PDDL-1.0": "pddl",
    "Apache-2.0": "apache-2.0",
    "MIT": "mit",
    "BSD-2-Clause": "bsd-2-clause",
    "BSD-3-Clause": "bsd-3-clause",
    "GPL-3.0-only": "gpl-3.0",
    "Unlicense": "unlicense",
}
"""SPDX identifier -> the word that the Hub uses for it."""


class Terms(NamedTuple):
    """What is known of a source: its licence, and whether its pictures may be handed on."""

    source: str
    licence: str
    pictures: str


UNKNOWN_PICTURES = "not known: published by checksum only, unless asserted otherwise"
PICTURES = {
    "sample": "yes",
    "vlguard": "no: each reader asks for access to VLGuard",
    "mm_safetybench": "for non-commercial use, with attribution",
    "mmvet": "for non-commercial use, with attribution; some pictures come from elsewhere",
    "vlsafe": "no: COCO's pictures belong to their Flickr owners; get them from COCO",
}
"""Name of a source (generate --queries) -> what may be done with its pictures. Its licence: engine.catalogue."""


def spdx(found: str | None, flag: str) -> str | None:
    """The identifier in its own spelling. UsageError for one that is not known, with the nearest."""
    if found is None:
        return None
    if found.startswith("LicenseRef-"):
        return found
    known = {each.lower(): each for each in SPDX}
    if found.lower() not in known:
        near = get_close_matches(found.lower(), known, 1)
        hint = f"did you mean {known[near[0]]}?" if near else f"there are {', '.join(SPDX)}, and LicenseRef-NAME."
        raise UsageError(f"{flag} {found}: no SPDX identifier known here; {hint}")
    return known[found.lower()]


def hub_word(identifier: str | None) -> str:
    """The Hub's word for it, `other` where it has none."""
    return SPDX.get(identifier or "", "other")


def terms(sources: Iterable[str]) -> list[Terms]:
    """What is known of each source."""
    known = cards("sources")
    return [
        Terms(source, known[source].licence if source in known else YOURS, PICTURES.get(source, UNKNOWN_PICTURES))
        for source in sorted(set(sources))
    ]
