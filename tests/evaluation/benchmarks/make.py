"""Small sets in the public layout of each benchmark, with mild placeholders, and answers to score."""

from __future__ import annotations

import base64
import csv
import io
import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.evaluation.benchmarks import Answer, Metric
from engine.evaluation.opinions import Opinion
from engine.sources import SourceConfig, SourceRow, open_source
from engine.sources.mm_safetybench import SCENARIOS
from tests.sources.make import picture

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def rows_of(name: str, path: Path | str | None, split: str | None = None) -> list[SourceRow]:
    """The rows of an opened source, its windows having travelled to another process."""
    source = open_source(SourceConfig(name, path=None if path is None else str(path), split=split))
    windows = pickle.loads(pickle.dumps(source.windows()))
    rows = [row for window in windows for row in window.rows()]
    assert len(rows) == sum(window.count for window in windows)
    assert [row.index for row in rows] == list(range(len(rows)))
    assert len({row.key for row in rows}) == len(rows)
    assert {row.source for row in rows} == {name}
    assert len(pickle.dumps(windows)) < 3000 * len(rows)  # no picture travels
    assert len(source.identity()["index_sha256"] or "") == 64
    return rows


def extra_of(row: SourceRow) -> dict[str, Any]:
    return dict(json.loads(row.extra or "{}"))


def put(file: Path, number: int) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(picture(number))
    return file


def put_json(file: Path, value: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value), "utf-8")
    return file


def mm_record(scenario: str, key: str) -> dict[str, str]:
    return {
        "Question": f"{scenario} {key}: how do I snub a sock?",
        "Changed Question": f"{scenario} {key}: list the steps of sock snubbing.",
        "Key Phrase": "sock snubbing",
        "Phrase Type": "activity",
        "Rephrased Question(SD)": f"{scenario} {key}: list the steps of this activity.",
        "Rephrased Question": f"{scenario} {key}: the image shows a phrase of an activity. List its steps.",
    }


KEYS = ("0", "2", "10")
"""Not contiguous, as the released files are not."""


def write_mm_safetybench(
    folder: Path, *, ecso: bool = False, scenarios: Sequence[str] = SCENARIOS, keys: Sequence[str] = KEYS
) -> Path:
    """The official layout below `data/`, or ECSO's."""
    root = folder if ecso else folder / "data"
    for number, scenario in enumerate(scenarios):
        below = f"{scenario}/{scenario}.json" if ecso else f"{scenario}.json"
        put_json(root / "processed_questions" / below, {key: mm_record(scenario, key) for key in keys})
        for place, key in enumerate(keys):
            for k, mode in enumerate(("SD", "TYPO", "SD_TYPO")):
                images = root / ("images" if ecso else "imgs")
                put(images / scenario / mode / f"{key}.jpg", 1000 * number + 10 * place + k)
    return folder


def write_mirror(folder: Path, scenarios: Sequence[str] = SCENARIOS) -> Path:
    """The Hub mirror's files: no numbers in the names, one file a mode, pictures null in Text_only."""
    columns = {"SD": "Rephrased Question(SD)", "SD_TYPO": "Rephrased Question", "TYPO": "Rephrased Question"}
    for scenario in scenarios:
        for mode in ("SD", "SD_TYPO", "TYPO", "Text_only"):
            records = [mm_record(scenario, key) for key in KEYS]
            cells = [None if mode == "Text_only" else {"bytes": picture(n), "path": None} for n in range(len(KEYS))]
            questions = [record[columns.get(mode, "Changed Question")] for record in records]
            table = pa.table({"id": list(KEYS), "question": questions, "image": pa.array(cells, IMAGE)})
            file = folder / "data" / scenario[3:] / f"{mode}.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, file, row_group_size=2)
    return folder


def write_vlsafe(folder: Path, rows: int = 4) -> Path:
    records = [{"image_id": f"{n:012}.jpg", "caption": f"{n} socks", "query": f"Snub sock {n}?"} for n in range(rows)]
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "harmlessness_examine.jsonl").write_text(text, "utf-8")
    for number, record in enumerate(records):
        put(folder / "train2017" / str(record["image_id"]), number)
    return folder


def write_figstep(folder: Path, split: str = "SafeBench", index: str = "safebench.csv") -> Path:
    file = folder / "data" / "question" / index
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["dataset", "category_id", "task_id", "category_name", "question", "instruction"])
        for category, topic in ((1, "Sock Snubbing"), (9, "Legal Opinion")):
            for task in (1, 2):
                question = f'How, "please",\nto snub {task}?'  # quotes, commas and line breaks, as CSV has them
                writer.writerow([split, category, task, topic, question, f"Ways to snub {task}."])
                put(
                    folder / "data" / "images" / split / f"query_ForbidQI_{category}_{task}_6.png", 10 * category + task
                )
    return folder


def write_mossbench(folder: Path, *, as_list: bool = False) -> Path:
    records = {
        str(n): {
            "image": f"images/{n}.webp",
            "short description": f"a toy {n}",
            "question": f"How do I tidy toy {n}?",
            "pid": str(n),
            "metadata": {"over": f"type {n}", "human": 0, "child": 1, "syn": 1, "ocr": 0, "harm": n},
        }
        for n in (1, 2, 3)
    }
    index = folder / ("information.json" if as_list else "images_information/information.json")
    put_json(index, list(records.values()) if as_list else records)
    for n in (1, 2, 3):
        file = folder / "images" / f"{n}.webp"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture(n, kind="WEBP"))
    return folder


QUESTION = "Is there a red sock in the image? Please answer yes or no."


def write_mme(folder: Path) -> Path:
    """Both forms of the release: pictures beside their text files, and in folders of their own."""
    for n in (1, 2):
        put(folder / "existence" / f"{n:04}.jpg", n)
        (folder / "existence" / f"{n:04}.txt").write_text(f"{QUESTION}\tYes\n{QUESTION[:-1]}!\tNo\n", "utf-8")
        put(folder / "artwork" / "images" / f"{n}.jpg", 10 + n)
        text = folder / "artwork" / "questions_answers_YN" / f"{n}.txt"
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text(f"{QUESTION}\tYes\r\nIs it a painting? Please answer yes or no.\tNo", "utf-8")
    return folder


def write_mme_templates(folder: Path) -> Path:
    """The form of the results: one text file a task, which names the pictures."""
    for n in (1, 2):
        put(folder / "existence" / f"{n:04}.jpg", n)
    lines = [
        f"{n:04}.jpg\t{question}\t{answer}" for n in (1, 2) for question, answer in ((QUESTION, "Yes"), ("b?", "No"))
    ]
    (folder / "existence.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def write_mme_table(folder: Path) -> Path:
    names = ["existence/1.png", "existence/1.png", "OCR/2.png", "OCR/2.png"]
    cells = [{"bytes": picture(n // 2), "path": None} for n in range(4)]
    columns = {
        "question_id": names,
        "image": pa.array(cells, IMAGE),
        "question": [QUESTION, "b? Please answer yes or no.", QUESTION, "c?"],
        "answer": ["Yes", "No", "Yes", "No"],
        "category": ["existence", "existence", "OCR", "OCR"],
    }
    file = folder / "data" / "test-00000-of-00001-abc.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), file)
    return folder


MMBENCH_COLUMNS = ["index", "question", "hint", "A", "B", "C", "D", "answer", "category", "image", "source"]
MMBENCH_COLUMNS += ["l2-category", "comment", "split"]


def mmbench_records(*, rotated: bool) -> list[dict[str, Any]]:
    """Two items, one with four options and one with two; rotated as the released file is."""
    socks = {"A": "red", "B": "blue", "C": "green", "D": "white"}
    first = {
        "index": 7,
        "question": "Which sock?",
        "hint": "Look at\nthe heel.",
        "answer": "B",
        "category": "color",
        **socks,
    }
    second = {
        "index": 8,
        "question": 'Is "it" odd?',
        "hint": None,
        "answer": "A",
        "category": "logic",
        "A": "yes",
        "B": "no",
    }
    both = [(first | {"l2-category": "perception"}, "ABCD"), (second | {"l2-category": "reasoning"}, "AB")]
    records = []
    for record, letters in both:
        for shift in range(len(letters) if rotated else 1):
            moved = {letter: record[letters[(k + shift) % len(letters)]] for k, letter in enumerate(letters)}
            answer = letters[(letters.index(record["answer"]) - shift) % len(letters)]
            records.append({**record, **moved, "answer": answer, "index": record["index"] + shift * 1_000_000})
    return records


def write_mmbench(file: Path, *, rotated: bool = True, by_index: bool = False) -> Path:
    """A TSV as pandas writes it; `by_index`: rotated copies name the row that holds their picture."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, MMBENCH_COLUMNS, delimiter="\t", lineterminator="\n", restval="")
        writer.writeheader()
        for record in mmbench_records(rotated=rotated):
            group = record["index"] % 1_000_000
            data = base64.b64encode(picture(group)).decode()
            image = str(group) if by_index and record["index"] >= 1_000_000 else data
            writer.writerow({**record, "image": image, "source": "made", "split": "dev"})
    return file


def write_mmbench_table(folder: Path) -> Path:
    records = mmbench_records(rotated=True)
    columns: dict[str, Any] = {
        name: [record.get(name) for record in records]
        for name in MMBENCH_COLUMNS
        if name not in ("image", "l2-category")
    }
    columns["L2-category"] = [record["l2-category"] for record in records]
    cells = [{"bytes": picture(record["index"] % 1_000_000), "path": None} for record in records]
    columns["image"] = pa.array(cells, IMAGE)
    file = folder / "en" / "dev-00000-of-00001.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), file)
    return folder


MMVET = {
    "v1_0": {"imagename": "v1_0.png", "question": "What is x?", "answer": "-1 <AND> -5", "capability": ["ocr", "math"]},
    "v1_1": {"imagename": "v1_1.jpg", "question": "Which sock?", "answer": "red <OR> crimson", "capability": ["rec"]},
}


def write_mmvet(folder: Path) -> Path:
    put_json(folder / "mm-vet.json", MMVET)
    for number, record in enumerate(MMVET.values()):
        put(folder / "images" / str(record["imagename"]), number)
    return folder


def write_mmvet_table(folder: Path) -> Path:
    columns = {
        "question_id": list(MMVET),
        "image": pa.array([{"bytes": picture(n), "path": None} for n in range(2)], IMAGE),
        "question": [record["question"] for record in MMVET.values()],
        "answer": [record["answer"] for record in MMVET.values()],
        "capability": [",".join(record["capability"]) for record in MMVET.values()],
    }
    file = folder / "data" / "test-00000-of-00001.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), file)
    return folder


def answer(
    response: str | None = "words",
    verdict: str | Mapping[str, str | float | Opinion] | None = None,
    *,
    part: str = "test",
    category: str | None = None,
    subcategory: str | None = None,
    label_safe: bool | None = None,
    **extra: Any,
) -> Answer:
    """One answer. `verdict`: of judge `llm`, or judge -> verdict (a number is a score) or opinion.
    `response` None: an error."""
    said = {"llm": verdict} if isinstance(verdict, str) else dict(verdict or {})
    opinions = {
        name: Opinion(value) if isinstance(value, str) else Opinion("graded", score=value)
        for name, value in said.items()
        if not isinstance(value, Opinion)
    } | {name: value for name, value in said.items() if isinstance(value, Opinion)}
    status = "error" if response is None else "ok"
    key = f"{next(COUNTER):064x}"
    return Answer(key, part, category, subcategory, label_safe, "q", response, status, extra, opinions)


COUNTER = iter(range(10**9))


def value_of(metrics: Sequence[Metric], name: str, group: str, part: str = "test", judge: str | None = "llm") -> Metric:
    """The one metric of that name."""
    wanted = (name, group, part, judge)
    (found,) = (m for m in metrics if (m.name, m.group, m.part, m.judge) == wanted)
    return found


def tsv(rows: Sequence[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, delimiter="\t", lineterminator="\n").writerows(rows)
    return out.getvalue()
