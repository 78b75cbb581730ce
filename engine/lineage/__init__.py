"""Lineages: versions that are appended, each an ordinary run on the queries that no earlier one has answered.

ROOT/v0001, v0002 … are ordinary runs; ROOT/lineage.json lists them; ROOT/sft … are curated over all of them.
See docs/jobs.md.
"""

from engine.lineage.document import LINEAGE, is_lineage, read_lineage
from engine.lineage.versions import expand, refuse

__all__ = ["LINEAGE", "expand", "is_lineage", "read_lineage", "refuse"]
