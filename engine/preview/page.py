"""preview.html: rows step by step with the report's look (pictures blurred, harmful text closed), and the estimate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.curation.reading import Run
from engine.preview.words import lines_of, notes_of
from engine.report.rows import PICTURES, row_view
from engine.report.thumbs import thumbnails

NAME = "preview.html"


def render(document: Mapping[str, Any], rows: Sequence[dict[str, Any]], run: Run) -> bytes:
    """The page; the same preview gives the same bytes."""
    from engine.report.page import render as render_page

    shown = [sha for row in rows for sha in row["picture_sha256"][:PICTURES]]
    thumbs = thumbnails([run], shown)
    return render_page(
        {
            "document": document,
            "rows": [row_view(row, thumbs, [f"status {row['status']}"]) for row in rows],
            "lines": lines_of(document),
            "notes": notes_of(document),
        },
        "preview.html",
    )
