"""`ecso_transcribe`: `ecso --preset robust --caption transcribe` under a name of its own, so that one evaluation can
hold it beside `ecso`. The picture's text is read out before the answer is judged: where a query only points at a list
in the picture (FigStep), the judge, the caption and the safe answer would else know the query without its subject.
"""

from __future__ import annotations

from dataclasses import replace

from engine.strategies.base import StrategyOptions
from engine.strategies.ecso import robust
from engine.types import Strategy


def ecso_transcribe(options: StrategyOptions) -> Strategy:
    """A strategy of three calls (answer, transcribe, tell), and two or more where the answer is harmful."""
    return robust(replace(options, caption="transcribe"))
