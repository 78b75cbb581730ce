"""What a person sees of a training: a live line in a terminal, plain lines elsewhere, and the curve afterwards."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from engine.errors import OutputError
from engine.progress import Display


class Steps:
    """Counts of one training, in the form that `engine.progress.Display` shows."""

    def __init__(self, total: int, before: int) -> None:
        self.total, self.before, self.rows = total, before, 0
        self.loss: float | None = None
        self.rate: float | None = None
        self.started = time.monotonic()

    def line(self) -> str:
        """Steps, steps/s, ETA, loss, learning rate."""
        done, seconds = self.before + self.rows, max(1e-3, time.monotonic() - self.started)
        parts = [f"{done:,}/{self.total:,} steps"]
        if self.rows:
            left = round((self.total - done) * seconds / self.rows)
            parts += [f"{self.rows / seconds:.2f} steps/s", f"ETA {left // 60}:{left % 60:02d}"]
        if self.loss is not None:
            parts.append(f"loss {self.loss:.4f}")
        if self.rate is not None:
            parts.append(f"learning rate {self.rate:.2e}")
        return " · ".join(parts)


def callback(*, shown: bool) -> Any:
    """A TrainerCallback: progress where `shown`, and a training whose loss is no number is stopped."""
    from transformers import TrainerCallback

    class Progress(TrainerCallback):
        """Keeps one display from the first step to the last."""

        def __init__(self) -> None:
            self.steps: Steps | None = None
            self.display: Display | None = None

        def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
            self.steps = Steps(state.max_steps, state.global_step)
            if shown:
                self.display = Display(self.steps)  # type: ignore[arg-type]
                self.display.__enter__()

        def on_step_end(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
            if self.steps is not None:
                self.steps.rows = state.global_step - self.steps.before
            if self.display is not None:
                self.display.tick()

        def on_log(self, _args: Any, state: Any, _control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
            found = logs or {}
            if self.steps is not None and "loss" in found:
                self.steps.loss, self.steps.rate = found["loss"], found.get("learning_rate")
            if not math.isfinite(found.get("loss", 0.0)):
                self.close()
                raise OutputError(
                    f"the loss is {found['loss']} at step {state.global_step}: lower --lr, or set --max-grad-norm"
                )

        def on_train_end(self, _args: Any, _state: Any, _control: Any, **_: Any) -> None:
            self.close()

        def close(self) -> None:
            display, self.display = self.display, None
            if display is not None:
                display.__exit__(None, None, None)

    return Progress()


def draw_loss(history: list[dict[str, Any]], path: Path) -> None:
    """The loss curve, and the validation loss where there is one."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    for key, label in (("loss", "training"), ("eval_loss", "validation")):
        points = [(entry["step"], entry[key]) for entry in history if key in entry]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, marker="o" if len(points) < 20 else None)
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.grid(visible=True, alpha=0.3)
    if axes.lines:
        axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
