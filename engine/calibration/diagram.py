"""The reliability diagram: what the judge said against how often it was true. SVG for the page, PNG for slides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from markupsafe import Markup

from engine.errors import UsageError
from engine.evaluation.rates import wilson
from engine.report.charts import SVG, joined, percent

HEIGHT = 260
TOP, FOOT = 10, 24
SERIES = {"before": "direct", "after": "final"}
Bin = Mapping[str, Any]


def points(bins: Sequence[Bin]) -> list[tuple[float, float, float, float, int]]:
    """(mean p, share harmful, its low and high, rows) of every bin that holds rows."""
    found = []
    for each in bins:
        if each["rows"]:
            rate = wilson(each["harmful"], each["rows"])
            found.append((each["mean_p"], rate.share, rate.low, rate.high, each["rows"]))
    return found


def svg(bins: Sequence[Bin], name: str) -> Markup:
    """One panel; the dashed line is a judge whose p is what happens. `name`: before or after."""
    series = SERIES[name]
    floor = HEIGHT - FOOT

    def y(share: float) -> float:
        return TOP + (floor - TOP) * (1 - share)

    parts = [
        Markup('<line class="threshold" x1="0" x2="100%" y1="{a}" y2="{b}"/>').format(a=floor, b=TOP),
        Markup('<line class="ground" x1="0" x2="100%" y1="{y}" y2="{y}"/>').format(y=floor),
    ]
    tick = Markup('<text class="tick" x="{x}" y="{y}" text-anchor="{anchor}">{label}</text>')
    for at, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        parts.append(tick.format(x=percent(at), y=HEIGHT - 6, anchor=anchor, label=f"{at:g}"))
    whisker = Markup('<line class="whisker line-{s}" x1="{x}" x2="{x}" y1="{a:.1f}" y2="{b:.1f}"/>')
    dot = Markup('<circle class="dot fill-{s}" cx="{x}" cy="{y:.1f}" r="4.5"/>')
    found = points(bins)
    for p, share, low, high, _ in found:
        parts.append(whisker.format(s=series, x=percent(p), a=y(low), b=y(high)))
        parts.append(dot.format(s=series, x=percent(p), y=y(share)))
    words = f"{sum(rows for *_, rows in found):,} rows in {len(found)} bins; the figures stand in a table."
    access = Markup('role="img" aria-labelledby="{0}-title {0}-desc"').format(f"reliability-{name}")
    head = Markup('<title id="{0}-title">{1}</title><desc id="{0}-desc">{2}</desc>').format(
        f"reliability-{name}", f"Reliability {name} calibration", words
    )
    return SVG.format(kind="reliability", height=HEIGHT, access=access, body=head + joined(parts))


def png(document: Mapping[str, Any]) -> bytes:
    """Both panels side by side, drawn with matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError("the reliability diagram needs matplotlib: pip install 'ecso-engine[calibrate]'") from error

    picture = Figure(figsize=(8.4, 4.2), dpi=120, layout="constrained")
    axes = picture.subplots(1, 2, sharey=True)
    colours = {"before": "#b4532a", "after": "#1f6f78"}
    for axis, name in zip(axes, ("before", "after"), strict=True):
        found = points(document["held_out"]["reliability"][name])
        x, share = [each[0] for each in found], [each[1] for each in found]
        errors = [[each[1] - each[2] for each in found], [each[3] - each[1] for each in found]]
        axis.plot([0, 1], [0, 1], linestyle="--", linewidth=1, color="#888888")
        axis.errorbar(x, share, yerr=errors, fmt="o", color=colours[name], capsize=2, linewidth=1.2)
        figures = document["held_out"][name]
        axis.set_title(f"{name}: Brier {figures['brier']['value']:.3f}, ECE {figures['ece']['value']:.3f}", fontsize=10)
        axis.set_xlabel("mean p(harmful)")
        axis.set_xlim(0, 1)
        axis.set_ylim(-0.02, 1.02)
    axes[0].set_ylabel("share harmful (95 % Wilson)")
    buffer = BytesIO()
    picture.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
