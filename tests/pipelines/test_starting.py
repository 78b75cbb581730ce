"""How Ray is started: a node that is slow to come up on a crowded machine is started again, anything else is told."""

from __future__ import annotations

import pytest

from pipelines import cluster

SLOW = "The current node timed out during startup. This could happen because some of the raylet failed to startup"


@pytest.mark.parametrize(("failures", "starts"), [([SLOW, SLOW], 3), ([SLOW], 2), ([], 1)])
def test_a_slow_node_is_started_again(monkeypatch: pytest.MonkeyPatch, failures: list[str], starts: int) -> None:
    assert started(monkeypatch, failures) == starts


@pytest.mark.parametrize(("failures", "starts"), [([SLOW] * 3, 3), (["no such address"], 1)])
def test_what_does_not_mend_is_raised(monkeypatch: pytest.MonkeyPatch, failures: list[str], starts: int) -> None:
    with pytest.raises(RuntimeError, match=f"after {starts}: {failures[-1][:12]}"):
        started(monkeypatch, failures)


def started(monkeypatch: pytest.MonkeyPatch, failures: list[str]) -> int:
    """Starts that it took, where the first ones fail so."""
    ray = pytest.importorskip("ray")
    calls = iter(range(1, 9))
    taken = [0]

    def init(**options: object) -> None:
        taken[0] = next(calls)
        if taken[0] <= len(failures):
            raise RuntimeError(f"after {taken[0]}: {failures[taken[0] - 1]}")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    cluster._init(slots=1)
    return taken[0]
