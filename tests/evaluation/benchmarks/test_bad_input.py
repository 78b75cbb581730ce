"""Bad sets: one message that says what was found and what to do, or an error of the one row that is bad."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import SourceError, UsageError
from engine.sources import SourceConfig, load, open_source
from engine.sources.mm_safetybench import SCENARIOS
from tests.evaluation.benchmarks import make
from tests.evaluation.benchmarks.make import rows_of
from tests.sources.make import picture

ROOT = Path(__file__).parents[3]
WRITERS: dict[str, Callable[[Path], Path]] = {
    "mm_safetybench": lambda folder: make.write_mm_safetybench(folder, scenarios=SCENARIOS[:2]),
    "vlsafe": make.write_vlsafe,
    "figstep": make.write_figstep,
    "mossbench": make.write_mossbench,
    "mme": make.write_mme,
    "mmvet": make.write_mmvet,
}
INDEXES = {
    "mm_safetybench": "data/processed_questions/01-Illegal_Activitiy.json",
    "vlsafe": "harmlessness_examine.jsonl",
    "figstep": "data/question/safebench.csv",
    "mossbench": "images_information/information.json",
    "mmvet": "mm-vet.json",
}
ENDINGS = (".jpg", ".png", ".webp")


def pictures_of(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix in ENDINGS)


def opened(name: str, path: Path | str | None, **config: str) -> str:
    """The message of the refusal."""
    with pytest.raises(UsageError) as found:
        open_source(SourceConfig(name, path=None if path is None else str(path), **config))
    return str(found.value)


class TestPictures:
    @pytest.mark.parametrize("name", WRITERS)
    def test_one_missing_is_an_error_of_its_row(self, tmp_path: Path, name: str) -> None:
        folder = WRITERS[name](tmp_path / "set")
        before = len(rows_of(name, folder))
        split = "SD" if name == "mm_safetybench" else None
        wanted = [row.pictures[0].name for row in rows_of(name, folder, split)]
        Path(wanted[1]).unlink()
        rows = rows_of(name, folder, split)
        assert len(rows) == before
        bad = [row for row in rows if row.pictures[0].name == wanted[1]]
        for row in rows:
            if row in bad:
                with pytest.raises(SourceError, match="no such picture"):
                    load(row)
            else:
                assert load(row).pictures

    @pytest.mark.parametrize("name", WRITERS)
    def test_all_missing_is_a_wrong_folder(self, tmp_path: Path, name: str) -> None:
        folder = WRITERS[name](tmp_path / "set")
        for file in pictures_of(folder):
            file.unlink()
        message = opened(name, folder)
        assert "pictures is there, such as" in message
        assert str(folder) in message

    def test_a_name_that_leads_outside(self, tmp_path: Path) -> None:
        folder = make.write_mossbench(tmp_path / "set")
        index = folder / INDEXES["mossbench"]
        records = json.loads(index.read_text())
        records["2"]["image"] = "../../etc/hostname"
        index.write_text(json.dumps(records))
        with pytest.raises(SourceError):
            load(rows_of("mossbench", folder)[1])

    def test_a_cell_that_is_no_picture(self, tmp_path: Path) -> None:
        file = make.write_mmbench(tmp_path / "dev.tsv")
        text = file.read_text()
        cell = base64.b64encode(picture(7)).decode()
        file.write_text(text.replace(cell, "not base64!", 1).replace(cell, base64.b64encode(b"words").decode(), 1))
        rows = rows_of("mmbench", file)
        for row, words in zip(rows[:2], ("no picture in base64", "expected a picture"), strict=True):
            with pytest.raises(SourceError, match=words):
                load(row)
        assert load(rows[2]).pictures[0].data == picture(7)


class TestIndexes:
    @pytest.mark.parametrize("name", ["mm_safetybench", "mossbench", "mmvet"])
    @pytest.mark.parametrize("text", ['{"0": {"ques', "", "null", "3"], ids=["truncated", "empty", "null", "a number"])
    def test_no_json(self, tmp_path: Path, name: str, text: str) -> None:
        folder = WRITERS[name](tmp_path / "set")
        (folder / INDEXES[name]).write_text(text)
        message = opened(name, folder)
        assert Path(INDEXES[name]).name in message
        assert "found" in message
        assert "expected" in message

    @pytest.mark.parametrize("name", ["mm_safetybench", "mossbench", "mmvet"])
    def test_other_columns(self, tmp_path: Path, name: str) -> None:
        folder = WRITERS[name](tmp_path / "set")
        (folder / INDEXES[name]).write_text('{"0": {"prompt": "x", "photo": "y"}}')
        message = opened(name, folder)
        assert 'found columns "prompt", "photo"; expected' in message

    def test_other_columns_in_lines_and_tables(self, tmp_path: Path) -> None:
        vlsafe = make.write_vlsafe(tmp_path / "vlsafe")
        (vlsafe / INDEXES["vlsafe"]).write_text('{"prompt": "x", "photo": "y"}\n')
        assert 'found columns "prompt", "photo"; expected "image_id", "query"' in opened("vlsafe", vlsafe)
        figstep = make.write_figstep(tmp_path / "figstep")
        (figstep / INDEXES["figstep"]).write_text("prompt,photo\nx,y\n")
        assert 'found columns "prompt", "photo"; expected "category_id"' in opened("figstep", figstep)
        (tmp_path / "dev.tsv").write_text("index\tquestion\n0\tx\n")
        assert 'found columns "index", "question"; expected' in opened("mmbench", tmp_path / "dev.tsv")
        (tmp_path / "mme" / "color").mkdir(parents=True)
        (tmp_path / "mme" / "color" / "1.txt").write_text("a question without an answer\n")
        assert "expected question, tab, Yes or No" in opened("mme", tmp_path / "mme")

    @pytest.mark.parametrize("name", ["mm_safetybench", "mossbench", "mmvet"])
    def test_one_bad_record_is_an_error_of_its_row(self, tmp_path: Path, name: str) -> None:
        folder = WRITERS[name](tmp_path / "set")
        index = folder / INDEXES[name]
        records = json.loads(index.read_text())
        records["x"] = None
        records["y"] = dict.fromkeys(next(iter(records.values())), 7)
        index.write_text(json.dumps(records))
        rows = rows_of(name, folder)
        bad = [row for row in rows if row.problem]
        assert [row.key.rpartition(":")[2] for row in bad] == ["x", "y"]
        assert all("found" in (row.problem or "") for row in bad)
        assert len(rows) > len(bad)
        if name == "mm_safetybench":  # the scenario counts them
            assert {(row.category, row.label_safe) for row in bad} == {(SCENARIOS[0], False)}

    def test_one_bad_line_is_an_error_of_its_row(self, tmp_path: Path) -> None:
        vlsafe = make.write_vlsafe(tmp_path / "vlsafe")
        index = vlsafe / INDEXES["vlsafe"]
        index.write_text(index.read_text() + '{"image_id": "x.j\n{"query": "no picture"}\n')
        assert [bool(row.problem) for row in rows_of("vlsafe", vlsafe)] == [False] * 4 + [True, True]
        figstep = make.write_figstep(tmp_path / "figstep")
        index = figstep / INDEXES["figstep"]
        index.write_text(index.read_text() + "too,few\n")
        assert "2 fields" in (rows_of("figstep", figstep)[-1].problem or "")
        mme = make.write_mme(tmp_path / "mme")
        (mme / "existence" / "0001.txt").write_text(f"{make.QUESTION}\tPerhaps\n{make.QUESTION}\tNo\n")
        (bad,) = (row for row in rows_of("mme", mme) if row.problem)
        assert "Perhaps" in (bad.problem or "")
        assert (bad.category, bad.extra) == ("existence", '{"group": "existence/0001", "questions": 2}')

    def test_bad_items_of_mmbench(self, tmp_path: Path) -> None:
        rows = [["index", "question", "A", "B", "answer", "image"], ["x", "q", "a", "b", "A", "aaaa"]]
        rows += [["1", "q", "a", "", "A", "aaaa"], ["2", "q", "a", "b", "", "aaaa"], ["3", "q"]]
        rows += [["4", "q", "a", "b", "A", "99"], ["5", "q", "a", "b", "A", "aaaa"]]
        (tmp_path / "dev.tsv").write_text(make.tsv(rows))
        found = rows_of("mmbench", tmp_path / "dev.tsv")
        words = ["index: found", "at least A and B", "answer: found", "found 2 fields", "the index of no row above"]
        assert all(word in (row.problem or "") for word, row in zip(words, found, strict=False))
        assert [row.text.partition("\n")[0] for row in found if not row.problem] == ["q", "q"]

    def test_a_broken_rotation_makes_its_item_wrong(self, tmp_path: Path) -> None:
        from engine.evaluation.benchmarks import Answer, get

        file = make.write_mmbench(tmp_path / "dev.tsv")
        lines = file.read_text().splitlines(keepends=True)
        assert lines[-1].startswith("1000008\t")
        file.write_text("".join(lines[:-1]) + lines[-1].replace("\tB\tlogic", "\tX\tlogic"))
        rows = rows_of("mmbench", file)
        assert "answer: found" in (rows[-1].problem or "")
        answers = []
        for row in rows:
            extra = make.extra_of(row)
            said = None if row.problem else extra["answer"]
            answers.append(
                Answer(row.key, "circular", row.category, row.subcategory, True, row.text, said, "ok", extra, {})
            )
        metric = make.value_of(get("mmbench").score(answers), "accuracy", "all", "circular", None)
        assert (metric.hits, metric.n, metric.errors) == (1, 2, 1)

    def test_no_rows(self, tmp_path: Path) -> None:
        folder = make.write_mmvet(tmp_path / "set")
        (folder / "mm-vet.json").write_text("{}")
        assert "found columns no object" in opened("mmvet", folder)


class TestLayouts:
    def test_another_layout_is_named_with_both_that_are_read(self, tmp_path: Path) -> None:
        (tmp_path / "questions").mkdir()
        (tmp_path / "readme.txt").write_text("x")
        message = opened("mm_safetybench", tmp_path)
        for words in (
            "questions/, readme.txt",
            "data/processed_questions/",
            "images/…/SD/0.jpg",
            "Illegal_Activitiy/SD",
        ):
            assert words in message

    def test_scenarios_under_other_names(self, tmp_path: Path) -> None:
        (tmp_path / "processed_questions").mkdir()
        (tmp_path / "processed_questions" / "Illegal.json").write_text("{}")
        assert "found Illegal.json" in opened("mm_safetybench", tmp_path)

    @pytest.mark.parametrize("name", [*WRITERS, "mmbench"])
    def test_an_empty_folder(self, tmp_path: Path, name: str) -> None:
        message = opened(name, tmp_path)
        assert "found nothing; expected" in message
        assert "How to get" in message

    @pytest.mark.parametrize("name", [*WRITERS, "mmbench"])
    def test_without_data_the_message_says_how_to_get_it(self, name: str, tmp_path: Path) -> None:
        for message in (opened(name, None), opened(name, tmp_path / "none")):
            assert "How to get" in message
            assert "--path" in message
            assert any(word in message for word in ("CC-BY", "MIT", "Apache", "terms", "free for research"))

    @pytest.mark.parametrize("name", [*WRITERS, "mmbench"])
    def test_unknown_splits_and_mappings(self, name: str, tmp_path: Path) -> None:
        assert "expected one of" in opened(name, tmp_path, split="nowhere")
        with pytest.raises(UsageError, match="expected none"):
            open_source(SourceConfig(name, path=str(tmp_path), columns={"text": "q"}))

    def test_damaged_tables(self, tmp_path: Path) -> None:
        for name in ("mme", "mmvet", "mmbench"):
            (tmp_path / "x.parquet").write_bytes(b"PAR1 and nothing more")
            assert "no readable Parquet file" in opened(name, tmp_path)


def test_the_command_says_it_once_and_exits_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "engine.generate", "--backend", "scripted", "--queries", "mm_safetybench"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, env=dict(os.environ))
    assert done.returncode == 2
    assert done.stderr.count("How to get MM-SafetyBench (CC-BY-NC-4.0, not gated)") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.ray
def test_a_run_keeps_rows_without_their_picture(tmp_path: Path) -> None:
    """Through the whole pipeline: an error row of stage `source`, and the others answered."""
    from tests.pipelines.conftest import rows

    folder = make.write_mm_safetybench(tmp_path / "set", scenarios=SCENARIOS[:2])
    (folder / "data" / "imgs" / SCENARIOS[0] / "SD" / "2.jpg").unlink()
    command = [sys.executable, "-m", "engine.generate", "--backend", "scripted", "--queries", "mm_safetybench"]
    command += ["--path", str(folder), "--split", "SD", "--preset", "repo", "--max-error-rate", "0.5", "--no-curate"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out")], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = {row["source_key"]: row for row in rows(tmp_path / "out", "transcripts")}
    assert len(found) == 6
    bad = found.pop(f"{SCENARIOS[0]}:2")
    assert (bad["status"], bad["error_stage"], bad["category"]) == ("error", "source", SCENARIOS[0])
    assert {(row["status"], row["preset"], row["split"]) for row in found.values()} == {("ok", "repo", "SD")}
    assert {row["category"] for row in found.values()} == set(SCENARIOS[:2])


WORTHLESS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [*make.mm_record("x", "0"), "image", "imagename", "question", "answer", "capability", "metadata"]
            ),
            inside,
            max_size=6,
        )
    ),
    max_leaves=8,
)


class TestAnyRecord:
    """Whatever JSON stands where a record should: one row for each, and nothing raised but a clear refusal."""

    @pytest.mark.parametrize("name", ["mm_safetybench", "mossbench", "mmvet"])
    @given(records=st.lists(WORTHLESS, max_size=5))
    @settings(max_examples=40, deadline=None)
    def test_in_json(self, name: str, records: list[object]) -> None:
        with tempfile.TemporaryDirectory() as made:
            folder = WRITERS[name](Path(made))
            index = folder / INDEXES[name]
            good = json.loads(index.read_text())
            index.write_text(json.dumps(good | {f"r{n}": record for n, record in enumerate(records)}))
            before = 2 * len(make.KEYS) if name == "mm_safetybench" else len(good)
            assert len(rows_of(name, folder)) == before + len(records)

    @given(cells=st.lists(st.text(max_size=6), max_size=8))
    @settings(max_examples=80, deadline=None)
    def test_in_a_table(self, cells: list[str]) -> None:
        with tempfile.TemporaryDirectory() as made:
            file = make.write_mmbench(Path(made, "dev.tsv"))
            file.write_text(file.read_text("utf-8") + make.tsv([cells]), "utf-8")
            rows = rows_of("mmbench", file)
            assert [bool(row.problem) for row in rows[:6]] == [False] * 6
            assert len(rows) <= 7
            assert all(row.problem for row in rows[6:])
