"""Two evaluations on disk, compared in pairs: what changed, and what is noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import schemas
from engine.commands.evaluate import main
from engine.errors import UsageError
from engine.evaluation import scores
from engine.evaluation.compare import Compared, Difference, compare, p_words, words
from engine.evaluation.intervals import Name
from engine.evaluation.paired import mcnemar
from tests.evaluation.make import ANSWER, REFUSAL, evaluation, rows_of


def before(number: int, strategy: str) -> str | None:
    """One row errored; direct answers are harmful but every fifth, ECSO's but every second."""
    if number == 4:
        return None
    return REFUSAL if number % (5 if strategy == "direct" else 2) == 0 else ANSWER


def after(number: int, strategy: str) -> str | None:
    """Two rows better, one worse: noise. The errored one is answered."""
    return {3: REFUSAL, 6: REFUSAL, 10: ANSWER, 4: ANSWER}.get(number, before(number, strategy))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a: direct and ecso; b: direct, a few rows other."""
    root = tmp_path_factory.mktemp("compare")
    evaluation(root / "a", before, benchmarks=("vlguard",), strategies=("direct", "ecso"))
    evaluation(root / "b", after, benchmarks=("vlguard",), strategies=("direct",), name="tuned")
    return root


def line(found: Compared, name: str, group: str = "all", judge: str = "world") -> Difference:
    return next(each for each in found.differences if each.name == Name(name, group, "test", judge))


def test_a_share_is_tested_on_the_rows_that_changed(folder: Path) -> None:
    (found,) = compare(f"{folder}/a@direct", f"{folder}/b")
    rows = rows_of("vlguard")
    unsafe = [n for n in range(45) if not rows[n]["label_safe"]]
    gained = [n for n in unsafe if after(n, "direct") == REFUSAL and before(n, "direct") != REFUSAL]
    lost = [n for n in unsafe if before(n, "direct") == REFUSAL and after(n, "direct") != REFUSAL]
    assert (gained, lost) == ([3, 6], [10])
    rate = line(found, "harmless_rate")
    assert (rate.n, rate.gained, rate.lost, rate.test) == (30, 2, 1, "mcnemar")
    assert rate.p == mcnemar(2, 1) == 1.0
    assert rate.b - rate.a == pytest.approx(1 / 30)
    assert rate.low is not None
    assert rate.high is not None
    assert rate.low < rate.b - rate.a < rate.high
    assert rate.is_noise
    assert words(rate).endswith("2 rows gained, 1 lost; McNemar p = 1.00: noise")


def test_a_large_difference_is_more_than_noise(folder: Path) -> None:
    (found,) = compare(f"{folder}/a@direct", f"{folder}/a@ecso")
    rate = line(found, "harmless_rate")
    assert rate.gained is not None
    assert rate.lost is not None
    assert rate.gained > rate.lost > 0
    assert rate.p == mcnemar(rate.gained, rate.lost)
    assert not rate.is_noise
    assert words(rate).endswith("more than noise")


def test_direct_and_ecso_against_the_tuned_model(folder: Path) -> None:
    """One strategy on one side: everything of the other is compared with it."""
    assert [(each.a.name, each.b.name) for each in compare(f"{folder}/a", f"{folder}/b")] == [
        ("tiny direct", "tuned direct"),
        ("tiny ecso", "tuned direct"),
    ]


def test_other_rows_are_refused_unless_allowed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.evaluation import make

    fewer = rows_of("vlguard")[:20]
    monkeypatch.setattr(make, "rows_of", lambda _: fewer)
    evaluation(tmp_path / "c", before, benchmarks=("vlguard",), strategies=("direct",))
    with pytest.raises(UsageError, match=r"has 45 rows, .* has 20, and 20 are the same; .*--allow-different"):
        compare(f"{folder}/a@direct", f"{tmp_path}/c")
    (found,) = compare(f"{folder}/a@direct", f"{tmp_path}/c", allow_different=True)
    assert (len(found.rows), found.left_out) == (20, 25)
    assert all(each.a == each.b and each.p == 1.0 for each in found.differences)


def test_what_cannot_be_compared(folder: Path, tmp_path: Path) -> None:
    evaluation(tmp_path / "m", before, benchmarks=("mme",), strategies=("direct",))
    with pytest.raises(UsageError, match="nothing in common"):
        compare(f"{folder}/a@direct", f"{tmp_path}/m")
    with pytest.raises(UsageError, match=r"no scores\.json there"):
        compare(str(folder / "a"), str(tmp_path))
    with pytest.raises(UsageError, match="no answers with strategy 'reference' there; found direct, ecso"):
        compare(f"{folder}/a@reference", f"{folder}/b")


def test_another_judge_is_told(folder: Path, tmp_path: Path) -> None:
    """Same rows, but the judge is not: the difference may be one of judging."""
    import shutil

    shutil.copytree(folder / "b", tmp_path / "b")
    path = tmp_path / "b" / "scores.json"
    document = json.loads(path.read_text())
    for judge in document["runs"][0]["judges"]:
        judge["version"] = "2"
    path.write_text(json.dumps(document))
    (found,) = compare(f"{folder}/a@direct", f"{tmp_path}/b")
    assert "judge world is not the same on both sides: 1 against 2" in found.notes
    del document["runs"][0]["judges"][0]
    path.write_text(json.dumps(document))
    gone = "judge world is on one side only, and left out"
    for first, second in ((f"{folder}/a@direct", f"{tmp_path}/b"), (f"{tmp_path}/b", f"{folder}/a@direct")):
        assert compare(first, second)[0].notes[0] == gone


def test_a_sum_over_tasks_by_paired_draws(tmp_path: Path) -> None:
    """MME's scores are no shares of rows; half of the answers turning right shows, the same answers do not."""

    def says(right: int) -> Any:
        return lambda number, _: ("Yes", "No")[number % 2] if number % 6 < right else "Perhaps"

    for name, right in (("a", 2), ("b", 5)):
        evaluation(tmp_path / name, says(right), benchmarks=("mme",), strategies=("direct",))
    (found,) = compare(str(tmp_path / "a"), str(tmp_path / "b"))
    score = next(each for each in found.differences if each.name[:2] == ("score", "perception"))
    assert (score.test, score.unit, score.gained) == ("bootstrap", "points", None)
    assert score.b > score.a
    assert not score.is_noise
    (same,) = compare(str(tmp_path / "a"), str(tmp_path / "a"))
    assert all(each.is_noise for each in same.differences)


def test_the_command_prints_and_writes(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--compare", f"{folder}/a", f"{folder}/b", "--out", str(tmp_path / "c")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "45 rows in pairs" in said
    assert "one in twenty has p < 0.05 by chance alone" in said
    document = json.loads((tmp_path / "c" / "comparison.json").read_text())
    assert [each["rows"] for each in document["compared"]] == [45, 45]
    assert b"tuned direct" in (tmp_path / "c" / "comparison.html").read_bytes()
    assert main(["--compare", f"{folder}/a", str(tmp_path)]) == 2


def test_scores_are_what_the_schema_says(folder: Path) -> None:
    document = scores.read(str(folder / "a"))
    schemas.check("scores", document, where="a")
    rates = [each for each in document["metrics"] if each["name"] == "harmless_rate" and each["group"] == "all"]
    assert len(rates) == 4
    for each in rates:
        assert each["judge"]
        assert each["version"] == "1"
        assert len(each["prompt_sha256"]) == 64
        assert each["interval"] == "wilson"
        assert (each["n"], each["errors"], each["unparsed"]) == (30, 1, 0)
        assert each["low"] < each["value"] < each["high"]
    flips = [each for each in document["flips"] if each["judge"] == "world" and each["question"].startswith("harmless")]
    ways = [(before(n, "direct"), before(n, "ecso")) for n in range(45) if n % 3 != 2]
    assert (flips[0]["fixed"], flips[0]["broken"]) == (ways.count((ANSWER, REFUSAL)), ways.count((REFUSAL, ANSWER)))


def test_p_in_words() -> None:
    assert [p_words(p) for p in (1.0, 0.34, 0.0312, 0.00001)] == ["= 1.00", "= 0.34", "= 0.031", "< 0.0001"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--judge", "world"], "--judge"),
        (["--limit", "3", "--name", "x"], "--limit, --name"),
        (["--config", "evaluate.yaml"], "--config"),
        (["--trust-remote-code"], "--trust-remote-code"),
    ],
)
def test_flags_of_an_evaluation_are_refused(flags: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--compare", "a", "b", *flags]) == 2
    assert f"{said}: --compare reads two finished evaluations" in " ".join(capsys.readouterr().err.split())
