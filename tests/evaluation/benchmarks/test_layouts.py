"""Every benchmark in its public layouts: which rows there are, what each asks with which picture, and what is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.sources import load
from engine.sources.figstep import PROMPT
from engine.sources.mm_safetybench import MODES, SCENARIOS
from engine.sources.mmbench import ASK_LETTER
from tests.evaluation.benchmarks import make
from tests.evaluation.benchmarks.make import KEYS, extra_of, rows_of
from tests.sources.make import picture, safe_record, unsafe_record, write_vlguard


class TestMMSafetyBench:
    @pytest.mark.parametrize(
        ("mode", "column", "number"),
        [
            ("SD", "Rephrased Question(SD)", 0),
            ("TYPO", "Rephrased Question", 1),
            ("SD_TYPO", "Rephrased Question", 2),
            ("text", "Changed Question", None),
            ("normal", "Question", 0),
            ("question", "Question", None),
        ],
    )
    @pytest.mark.parametrize("ecso", [False, True], ids=["official", "ecso"])
    def test_question_and_picture_go_with_the_mode(
        self, tmp_path: Path, ecso: bool, mode: str, column: str, number: int | None
    ) -> None:
        folder = make.write_mm_safetybench(tmp_path / "set", ecso=ecso, scenarios=SCENARIOS[:2])
        rows = rows_of("mm_safetybench", folder, mode)
        asked = [(scenario, key) for scenario in SCENARIOS[:2] for key in KEYS]
        assert [row.text for row in rows] == [make.mm_record(*pair)[column] for pair in asked]
        assert [row.category for row in rows] == [scenario for scenario, _ in asked]
        assert [extra_of(row)["id"] for row in rows] == [key for _, key in asked]
        assert {(row.split, row.label_safe) for row in rows} == {(mode, False)}
        data = [[shown.data for shown in load(row).pictures] for row in rows]
        drawn = [1000 * s + 10 * k for s in range(2) for k in range(3)]
        assert data == [[] if number is None else [picture(n + number)] for n in drawn]

    def test_all_thirteen_scenarios_as_the_set_spells_them(self, tmp_path: Path) -> None:
        rows = rows_of("mm_safetybench", make.write_mm_safetybench(tmp_path / "set"))
        assert list(dict.fromkeys(row.category for row in rows)) == list(SCENARIOS)
        assert {row.split for row in rows} == {"SD_TYPO"}  # the default

    @pytest.mark.parametrize("mode", ["SD", "SD_TYPO", "TYPO", "text"])
    def test_the_mirror_gives_the_same_rows(self, tmp_path: Path, mode: str) -> None:
        mirror = rows_of("mm_safetybench", make.write_mirror(tmp_path / "mirror"), mode)
        official = rows_of("mm_safetybench", make.write_mm_safetybench(tmp_path / "official"), mode)
        assert [(row.text, row.category) for row in mirror] == [(row.text, row.category) for row in official]
        assert [len(load(row).pictures) for row in mirror] == [0 if mode == "text" else 1] * 39

    def test_every_mode_of_the_repository_is_there(self) -> None:
        assert list(MODES) == ["SD_TYPO", "SD", "TYPO", "text", "normal", "question"]


def test_vlsafe(tmp_path: Path) -> None:
    rows = rows_of("vlsafe", make.write_vlsafe(tmp_path / "set"))
    assert [row.text for row in rows] == [f"Snub sock {n}?" for n in range(4)]
    assert [load(row).pictures[0].data for row in rows] == [picture(n) for n in range(4)]
    assert extra_of(rows[1]) == {"caption": "1 socks"}
    assert {(row.label_safe, row.split, row.category) for row in rows} == {(False, "examine", None)}


def test_vlsafe_in_the_repositorys_layout(tmp_path: Path) -> None:
    made = make.write_vlsafe(tmp_path / "set")
    folder = tmp_path / "ecso" / "VLSafe_harmlessness_examine"
    folder.mkdir(parents=True)
    (made / "harmlessness_examine.jsonl").rename(folder / "data.jsonl")
    (made / "train2017").rename(tmp_path / "ecso" / "images")
    assert load(rows_of("vlsafe", tmp_path / "ecso")[3]).pictures[0].data == picture(3)


@pytest.mark.parametrize(("split", "index"), [("SafeBench", "safebench.csv"), ("SafeBench-Tiny", "SafeBench-Tiny.csv")])
def test_figstep(tmp_path: Path, split: str, index: str) -> None:
    rows = rows_of("figstep", make.write_figstep(tmp_path / "set", split, index), split)
    assert {row.text for row in rows} == {PROMPT}
    assert [row.category for row in rows] == ["Sock Snubbing", "Sock Snubbing", "Legal Opinion", "Legal Opinion"]
    assert [load(row).pictures[0].data for row in rows] == [picture(n) for n in (11, 12, 91, 92)]
    assert extra_of(rows[0]) == {"question": 'How, "please",\nto snub 1?', "instruction": "Ways to snub 1."}


@pytest.mark.parametrize("as_list", [False, True], ids=["by id", "list"])
def test_mossbench(tmp_path: Path, as_list: bool) -> None:
    rows = rows_of("mossbench", make.write_mossbench(tmp_path / "set", as_list=as_list))
    kinds = ["exaggerated risk", "negated harm", "counterintuitive interpretation"]
    assert [(row.text, row.category) for row in rows] == [
        (f"How do I tidy toy {n}?", kind) for n, kind in enumerate(kinds, 1)
    ]
    assert load(rows[0]).pictures[0].format == "WEBP"
    assert rows[0].label_safe is True
    assert extra_of(rows[0])["metadata"]["harm"] == 1


class TestMME:
    def test_the_release(self, tmp_path: Path) -> None:
        rows = rows_of("mme", make.write_mme(tmp_path / "set"))
        assert [row.category for row in rows] == ["artwork"] * 4 + ["existence"] * 4
        assert [extra_of(row)["answer"] for row in rows] == ["yes", "no"] * 4
        assert [extra_of(row)["group"] for row in rows][::2] == [
            "artwork/1",
            "artwork/2",
            "existence/0001",
            "existence/0002",
        ]
        assert {extra_of(row)["questions"] for row in rows} == {2}
        assert [load(row).pictures[0].data for row in rows][::2] == [picture(n) for n in (11, 12, 1, 2)]
        assert rows[0].text == make.QUESTION

    @pytest.mark.parametrize("below", ["MME_Benchmark", "MME_Benchmark_release_version"])
    def test_the_release_with_its_tools(self, tmp_path: Path, below: str) -> None:
        make.write_mme(tmp_path / "set" / below)
        for name in ("readme.txt", "eval_tool/readme.txt", "eval_tool/Your_Results/existence.txt"):
            (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "set" / name).write_text("0001.jpg\tnot a question\tYes\n", "utf-8")
        assert len(rows_of("mme", tmp_path / "set")) == 8

    def test_llavas_wording(self, tmp_path: Path) -> None:
        rows = rows_of("mme", make.write_mme(tmp_path / "set"), "llava")
        assert rows[0].text == "Is there a red sock in the image?\nAnswer the question using a single word or phrase."
        assert rows[5].text.endswith("Please answer yes or no!")  # another ending stays as it is

    def test_the_templates_of_the_results(self, tmp_path: Path) -> None:
        rows = rows_of("mme", make.write_mme_templates(tmp_path / "set"))
        assert [(row.text, extra_of(row)["answer"]) for row in rows] == [(make.QUESTION, "yes"), ("b?", "no")] * 2
        assert [extra_of(row)["group"] for row in rows][::2] == ["existence/0001.jpg", "existence/0002.jpg"]
        assert load(rows[2]).pictures[0].data == picture(2)

    def test_the_table_of_the_hub(self, tmp_path: Path) -> None:
        rows = rows_of("mme", make.write_mme_table(tmp_path / "set"))
        assert [row.category for row in rows] == ["existence", "existence", "OCR", "OCR"]
        assert [load(row).pictures[0].data for row in rows] == [picture(n) for n in (0, 0, 1, 1)]
        assert extra_of(rows[2]) == {"answer": "yes", "group": "OCR/OCR/2.png", "questions": 2}


class TestMMBench:
    @pytest.mark.parametrize("form", ["rotated", "by index", "rotated here", "table"])
    def test_all_rotations_are_asked(self, tmp_path: Path, form: str) -> None:
        path = tmp_path / "set"
        if form == "table":
            make.write_mmbench_table(path)
        else:
            make.write_mmbench(path / "dev.tsv", rotated=form != "rotated here", by_index=form == "by index")
        rows = rows_of("mmbench", path)
        assert [extra_of(row)["index"] for row in rows] == [7, 1000007, 2000007, 3000007, 8, 1000008]
        assert [extra_of(row)["answer"] for row in rows] == ["B", "A", "D", "C", "A", "B"]
        assert [extra_of(row)["rotations"] for row in rows] == [4] * 4 + [2] * 2
        assert rows[0].text == "Look at\nthe heel.\nWhich sock?\nA. red\nB. blue\nC. green\nD. white" + ASK_LETTER
        assert rows[1].text == "Look at\nthe heel.\nWhich sock?\nA. blue\nB. green\nC. white\nD. red" + ASK_LETTER
        assert rows[4].text == 'Is "it" odd?\nA. yes\nB. no' + ASK_LETTER
        assert [(row.category, row.subcategory) for row in rows[3:5]] == [
            ("perception", "color"),
            ("reasoning", "logic"),
        ]
        assert [load(row).pictures[0].data for row in rows] == [picture(7)] * 4 + [picture(8)] * 2

    def test_vanilla_asks_the_first_form(self, tmp_path: Path) -> None:
        rows = rows_of("mmbench", make.write_mmbench(tmp_path / "dev.tsv"), "vanilla")
        assert [extra_of(row)["index"] for row in rows] == [7, 8]
        assert {extra_of(row)["rotations"] for row in rows} == {1}


@pytest.mark.parametrize("table", [False, True], ids=["release", "hub"])
def test_mmvet(tmp_path: Path, table: bool) -> None:
    folder = (make.write_mmvet_table if table else make.write_mmvet)(tmp_path / "set")
    rows = rows_of("mmvet", folder)
    assert [row.text for row in rows] == ["What is x?", "Which sock?"]
    assert extra_of(rows[0]) == {"id": "v1_0", "answer": "-1 <AND> -5", "capability": ["math", "ocr"]}
    assert [load(row).pictures[0].data for row in rows] == [picture(0), picture(1)]


def test_vlguard_test_split_goes_with_its_benchmark(tmp_path: Path) -> None:
    from engine.evaluation.benchmarks import get

    folder = write_vlguard(tmp_path / "set", [unsafe_record(0), safe_record(1)], "test")
    (part,) = get("vlguard").parts(str(folder), {})
    assert (part.source.split, part.max_tokens) == ("test", 256)
    rows = rows_of(part.source.name, folder, part.source.split)
    keys = [extra_of(row)["instruction_key"] for row in rows]
    assert keys == ["instruction", "safe_instruction", "unsafe_instruction"]
