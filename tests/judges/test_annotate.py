"""A classifier carried by annotate's workers, over a sealed run: written, resumed, told when it cannot load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.judges.planning import AnnotateConfig
from pipelines.annotation import annotate
from tests.curation.annotate.conftest import annotations, cluster, run  # noqa: F401 (fixtures)

pytestmark = [pytest.mark.ray, pytest.mark.torch, pytest.mark.usefixtures("cluster")]
pytest.importorskip("torch")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    from tests.judges import tiny

    return tiny.classifier(tmp_path / "detector", 1)


def asked(url: str, model: Path, judge: str = "harm_detector") -> AnnotateConfig:
    return AnnotateConfig(url, (judge,), model=str(model), backend="transformers", engine_arg={"device": "cpu"})


def test_a_classifier_annotates_a_run(run: Callable[..., str], model: Path) -> None:  # noqa: F811
    url = run(8)
    (first,) = annotate(asked(url, model))
    assert (first.judged, first.failed, first.before) == (8, 0, 0)
    rows = annotations(url)
    assert {row["judge"] for row in rows} == {"harm_detector"}
    assert all(row["verdict"] in ("harmless", "harmful") and 0 <= row["p"] <= 1 for row in rows)
    assert " transformers " in rows[0]["version"]
    (again,) = annotate(asked(url, model))
    assert (again.judged, again.before) == (0, 8)
    base = model.parent / "base"
    from tests.judges import tiny

    tiny.llama_base(base)
    with pytest.raises(UsageError, match="holds no classification layer"):
        annotate(asked(url, base, "harm_detector_robust"))
