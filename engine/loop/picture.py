"""loop.png: the arms as bars, one panel a measure; for a README or slides. Needs matplotlib, else there is none."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from engine.loop.summary import scale_of, words

COLOURS = {"untouched": "#b4532a", "ecso": "#7a5aa6", "tuned_ecso": "#1f5f9e", "tuned_reference": "#5b6770"}
OTHER = "#b9bec4"


def png(document: Mapping[str, Any]) -> bytes | None:
    """The picture of a loop.json; None without matplotlib or without results."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    lines = document["summary"].get("lines", [])
    if not lines:
        return None
    measures = list(lines[0]["measures"])
    figure = Figure(figsize=(2.4 + 2.3 * len(measures), 1.2 + 0.42 * len(lines)), dpi=140, layout="constrained")
    axes = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for axis, name in zip(axes, measures, strict=True):
        _panel(axis, name, lines)
    axes[0].set_yticks(range(len(lines)), [line["label"] for line in lines], fontsize=8)
    axes[0].invert_yaxis()
    if document["config"]["generate"].get("model", "tiny") == "tiny":
        figure.suptitle(
            "Tiny model on a drawn world: a test of the machinery, no evidence about the method", fontsize=8
        )
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _panel(axis: Any, name: str, lines: list[Mapping[str, Any]]) -> None:
    for place, line in enumerate(lines):
        found = line["measures"][name]
        if found["mean"] is None:
            continue
        scale = scale_of(found)
        value = scale * found["mean"]
        axis.barh(place, value, color=COLOURS.get(line["arm"], OTHER), height=0.62)
        if found["low"] is not None and found["high"] is not None:
            axis.plot([scale * found["low"], scale * found["high"]], [place, place], color="#222222", linewidth=1)
        axis.annotate(words(found), (1.02, place), xycoords=("axes fraction", "data"), va="center", fontsize=7)
    if lines[0]["measures"][name]["unit"] == "share":
        axis.set_xlim(0, 100)
    axis.set_title(
        name.replace("_", " ") + (" (%)" if lines[0]["measures"][name]["unit"] == "share" else ""), fontsize=8
    )
    axis.tick_params(labelsize=7)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
