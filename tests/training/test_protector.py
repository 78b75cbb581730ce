"""The detector's and the detoxifier's training: objective by hand, rows, layouts, and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.config import TrainConfig
from engine.errors import UsageError
from engine.training.plan import check_flags, plan
from engine.training.presets import resolve
from engine.training.protector.pairs import BadRow, SafetyPair, open_pairs
from tests.export import make

PKU = {
    "prompt": "What is a sock?",
    "response_0": "Snub it.",
    "response_1": "A garment.",
    "is_response_0_safe": False,
    "is_response_1_safe": True,
    "safer_response_id": 1,
}


def config(data: Path, **changes: Any) -> TrainConfig:
    given = {"task": "harm-detector", "model": "unused", "out": "unused", "data": str(data)}
    return TrainConfig(**given | changes)  # type: ignore[arg-type]


def written(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return path


def pairs(data: Path, **changes: Any) -> list[SafetyPair | BadRow]:
    return list(open_pairs(config(data, **changes)).pairs(with_answers=True))


def test_the_published_numbers() -> None:
    found = resolve(TrainConfig(task="harm-detector"))
    assert (found.peft, found.lora_r, found.lora_alpha, found.lora_dropout) == ("lora", 32, 32, 0.1)
    assert (found.lr, found.epochs, found.batch_size, found.scheduler) == (2e-5, 4, 8, "linear")
    assert (found.weight_decay, found.max_length) == (0.0, 512)
    assert resolve(TrainConfig(task="detoxifier")).lora_r == 128
    with pytest.raises(UsageError, match="There are protector, tiny"):
        resolve(TrainConfig(task="detoxifier", preset="llava-lora"))


def test_pku_layout(tmp_path: Path) -> None:
    both = {**PKU, "is_response_1_safe": False}
    rows = [PKU, both, {**PKU, "safer_response_id": 0}, {**PKU, "prompt": None}, {**PKU, "safer_response_id": 7}, [1]]
    found = pairs(written(tmp_path / "a.jsonl", rows))
    assert found[0] == SafetyPair("a.jsonl row 1", "What is a sock?", "A garment.", "Snub it.", True, False)
    assert found[1] == SafetyPair("a.jsonl row 2", "What is a sock?", "A garment.", "Snub it.", False, False)
    assert found[2] == SafetyPair("a.jsonl row 3", "What is a sock?", "Snub it.", "A garment.", False, True)
    assert [bad.why for bad in found[3:] if isinstance(bad, BadRow)] == [
        "prompt: found NoneType, expected <class 'str'>",
        "safer_response_id: found 7, expected 0 or 1",
        "found list, expected an object",
    ]


def test_question_accepted_rejected(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    expected = SafetyPair("x", "Q", "good", "bad", True, False)
    likely = {"question": "Q", "accepted": "good", "rejected": "bad"}
    own = {"ask": "Q", "yes": "good", "no": "bad"}
    (tmp_path / "a.json").write_text(json.dumps([likely]))
    pq.write_table(pa.Table.from_pylist([likely]), tmp_path / "b.parquet")
    named = {"question": "ask", "accepted": "yes", "rejected": "no"}
    for data, columns in (("a.json", {}), ("b.parquet", {}), ("c.jsonl", named)):
        if data == "c.jsonl":
            written(tmp_path / data, [own])
        (found,) = pairs(tmp_path / data, columns=columns)
        assert isinstance(found, SafetyPair)
        assert (found.question, found.safer, found.other) == (expected.question, expected.safer, expected.other)
        assert (found.safer_is_safe, found.other_is_safe) == (True, False)
    with pytest.raises(UsageError, match="no column for question, accepted, rejected; found ask, yes, no; expected"):
        pairs(tmp_path / "c.jsonl")
    with pytest.raises(UsageError, match=r"--columns wrong=…: expected question, accepted, rejected"):
        pairs(tmp_path / "c.jsonl", columns={"wrong": "x"})


def test_the_engines_own_pairs(tmp_path: Path) -> None:
    """Harmful answers are labelled so, over-refusal pairs hold two harmless ones, and answers of sft/ come along."""
    found = [pair for pair in pairs(make.curated(tmp_path / "set")) if isinstance(pair, SafetyPair)]
    kinds = {kind: [pair for pair in found if pair.kind == kind] for kind in ("harm", "over_refusal", "sft")}
    assert [(pair.safer, pair.other_is_safe) for pair in kinds["harm"]] == [
        ("No. Let us bake a pie instead.", False),
        ("No, a diary is private.", False),
    ]
    assert [pair.other_is_safe for pair in kinds["over_refusal"]] == [True]
    assert {pair.safer for pair in kinds["sft"]} >= {"A red square on grey.", "Green."}
    harmful = {(pair.question, pair.other) for pair in kinds["harm"]}
    assert {(pair.other_question, pair.other) for pair in kinds["sft"]} <= harmful
    assert not {pair.id for pair in kinds["sft"]} & {pair.id for pair in kinds["harm"]}


def test_a_line_ends_at_its_newline_alone(tmp_path: Path) -> None:
    """JSON leaves U+2028 and its like as they are: they stand inside a text."""
    told = {**PKU, "response_1": "A garment.\u2028Of wool.\x85"}
    (tmp_path / "a.jsonl").write_text(json.dumps(told, ensure_ascii=False) + "\r\n", "utf-8")
    (found,) = pairs(tmp_path / "a.jsonl")
    assert isinstance(found, SafetyPair)
    assert found.safer == told["response_1"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("none.jsonl", "found no file of .jsonl, .json, .parquet and no curated set"),
        ("empty", "found no file of .jsonl, .json, .parquet and no curated set"),
        ("broken.jsonl", "broken.jsonl: line 2: not JSON"),
        ("object.json", "found dict, expected a list of rows"),
        ("unpaired", "no rows in preference/: no harmful answer was replaced"),
    ],
)
def test_data_that_cannot_be_used(data: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.jsonl").write_text(json.dumps(PKU) + "\n{\n")
    (tmp_path / "object.json").write_text("{}")
    make.curated(tmp_path / "unpaired", [ask for ask in make.ROWS if ask.rejected is None])
    with pytest.raises(UsageError, match=words):
        pairs(tmp_path / data)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "tiny"}, "openlm-research/open_llama_3b_v2, or a tiny one"),
        ({"method": "dpo"}, "--method: not with --task harm-detector"),
        ({"mix": "x"}, "--mix: not with --task"),
        ({"export": "llava"}, "--export: not with --task"),
        ({"projector_lr": 0.0}, "--projector-lr: not with --task"),
    ],
)
def test_flags_of_other_trainings(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        plan(config(tmp_path, **change))


def test_columns_are_for_files() -> None:
    asked = TrainConfig(columns={"question": "q"})
    with pytest.raises(UsageError, match="--columns: only with --task"):
        check_flags(asked, resolve(asked))


@pytest.mark.torch
def test_the_objective_by_hand() -> None:
    """Two pairs: 2 (BCE_j + BCE_k) + mean(-log sigmoid(r_j - r_k))."""
    torch = pytest.importorskip("torch")
    from engine.training.protector.objective import detector_loss

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    logits, labels = [2.0, -1.0, 0.5, -3.0], [1.0, 0.0, 0.0, 0.0]
    bce_j = -(math.log(sigmoid(2.0)) + math.log(1 - sigmoid(-1.0))) / 2
    bce_k = -(math.log(1 - sigmoid(0.5)) + math.log(1 - sigmoid(-3.0))) / 2
    pairwise = -(math.log(sigmoid(2.0 - 0.5)) + math.log(sigmoid(-1.0 + 3.0))) / 2
    found = detector_loss(torch.tensor(logits), torch.tensor(labels))
    assert found.item() == pytest.approx(2 * (bce_j + bce_k) + pairwise, abs=1e-6)


@pytest.mark.torch
def test_rows(tmp_path: Path) -> None:
    """The detector's text, the detoxifier's masked prompt, the fixed sentence, and what is left out."""
    pytest.importorskip("torch")
    from engine.backends.processors import TextProcessor
    from engine.backends.prompting import Prompter
    from engine.backends.templates import RAW
    from engine.training.protector.rows import PairEncoder
    from engine.training.rows import IGNORED, Compared, Row
    from tests.judges.tiny import tokenizer

    prompter = Prompter(TextProcessor(tokenizer()), {"chat_template": RAW})
    end = prompter.tokenizer.eos_token_id
    encoder = PairEncoder(prompter, end, 400)
    pair = SafetyPair("a", "What </s>?", "A garment.", "Snub it.", True, False, other_question="Why?")
    (compared,) = encoder.encode("harm-detector", pair)
    assert isinstance(compared, Compared)
    assert prompter.decode(compared.other) == "Question: Why?\n\nAnswer: Snub it."
    assert end not in compared.safer, "a special-token string in a question stays text"
    (row,) = encoder.encode("detoxifier", pair)
    assert isinstance(row, Row)
    learned = [index for index in row.labels if index != IGNORED]
    assert row.ids[-len(learned) :] == tuple(learned)
    assert (prompter.decode(learned), learned[-1]) == ("A garment.", end)
    asked = prompter.decode(row.ids[: -len(learned)])
    assert asked.endswith("\nQuestion: What </s>?\nOriginal response: Snub it.\nCorrected response: ")
    (sorry,) = encoder.encode("detoxifier", SafetyPair("b", "Q", "bad", "worse", False, False))
    assert isinstance(sorry, Row)
    assert prompter.decode([i for i in sorry.labels if i != IGNORED]) == "Sorry, I can not answer this question."
    for left_out in (
        SafetyPair("c", "Q", "long " * 200, "x", True, False),
        SafetyPair("d", "Q", " ", "x", True, False),
        SafetyPair("e", "Q", "yes", "no", True, True, kind="over_refusal"),
    ):
        assert list(encoder.encode("detoxifier", left_out)) == []
    assert encoder.left_out == {"too long": 1, "empty text": 1, "over-refusal": 1}
