"""Our scores against an independent implementation's: lmms-eval, in an environment of its own (environments.sh)."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.evaluation.benchmarks import Answer, get
from engine.evaluation.benchmarks.mmbench import chosen
from engine.evaluation.benchmarks.mme import parse
from engine.sources.mme import COGNITION, PERCEPTION
from tests.evaluation.benchmarks.make import answer, value_of

PYTHON = os.environ.get("ECSO_LMMS_PYTHON") or str(Path(sys.prefix, "lmms", "bin", "python"))
pytestmark = pytest.mark.skipif(not Path(PYTHON).exists(), reason=f"no lmms-eval: no {PYTHON} (ECSO_LMMS_PYTHON)")

REPLIES = [
    "Yes",
    "No",
    "yes.",
    "no, it is not",
    "Yes, there is one.",
    " No",
    "The answer is yes",
    "Not at all",
    "Know",
    "",
]
LETTER_FORMS = [
    "{}",
    "{}.",
    "({})",
    "{}, I think",
    "Answer: {}",
    "{}. {text}",
    "{text}",
    "It is the {text}.",
    "hm",
    "{}:",
]
CAPABILITIES = ["rec", "ocr", "know", "gen", "spat", "math"]


def mme_answers(rng: random.Random) -> list[Answer]:
    rows = []
    for task in (*PERCEPTION, *COGNITION):
        for n in range(rng.randint(3, 9)):
            for right in ("yes", "no"):
                known = {"answer": right, "group": f"{task}/{n}", "questions": 2}
                rows.append(answer(rng.choice(REPLIES), category=task, **known))
    return rows


def mmbench_answers(rng: random.Random) -> list[Answer]:
    rows = []
    for group in range(120):
        letters = "ABCD"[: rng.randint(2, 4)]
        first = rng.randrange(len(letters))
        chance = rng.choice([1.0, 0.9])
        labels = {
            "category": rng.choice(["perception", "reasoning"]),
            "subcategory": rng.choice(["color", "logic", "count"]),
        }
        for shift in range(len(letters)):
            right = letters[(first - shift) % len(letters)]
            options = {x: f"sock number {(k + shift) % len(letters)}" for k, x in enumerate(letters)}
            letter = right if rng.random() < chance else rng.choice(letters)
            reply = rng.choice(LETTER_FORMS if rng.random() < 0.2 else LETTER_FORMS[:8])
            extra = {"index": group + shift * 1_000_000, "group": group, "rotations": len(letters), "options": options}
            text = reply.format(letter, text=options[letter])
            rows.append(answer(text, **labels, answer=right, **extra))
    return rows


def mmvet_answers(rng: random.Random) -> list[Answer]:
    return [
        answer("x", {"grade": rng.randint(0, 10) / 10}, capability=sorted(rng.sample(CAPABILITIES, rng.randint(1, 3))))
        for _ in range(218)
    ]


def asked(rows: dict[str, list[Answer]]) -> dict[str, Any]:
    mme = [
        {"question_id": r.extra["group"], "category": r.category, "answer": r.extra["answer"], "reply": r.response}
        for r in rows["mme"]
    ]
    mmbench = [
        {**dict.fromkeys("ABCD"), **r.extra["options"], "index": r.extra["index"], "answer": r.extra["answer"]}
        | {"prediction": r.response, "category": r.subcategory, "L2-category": r.category, "question": "q"}
        for r in rows["mmbench"]
    ]
    mmvet = [
        {"score": r.verdicts["grade"].score, "capabilities": ",".join(r.extra["capability"])} for r in rows["mmvet"]
    ]
    return {"mme": mme, "mmbench": mmbench, "mmvet": mmvet}


@pytest.mark.parametrize("seed", range(5))
def test_the_same_figures(seed: int) -> None:
    rng = random.Random(seed)
    rows = {"mme": mme_answers(rng), "mmbench": mmbench_answers(rng), "mmvet": mmvet_answers(rng)}
    command = [PYTHON, str(Path(__file__).parent.parent / "lmms_scores.py")]
    done = subprocess.run(command, input=json.dumps(asked(rows)), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    theirs = json.loads(done.stdout)

    ours = get("mme").score(rows["mme"])
    assert [parse(row.response or "") for row in rows["mme"]] == theirs["mme"]["parsed"]
    for group in ("perception", "cognition"):
        value = value_of(ours, "score", group, judge=None).value
        assert value == pytest.approx(theirs["mme"][f"mme_{group}_score"])

    ours = get("mmbench").score(rows["mmbench"])
    assert [chosen(row) for row in rows["mmbench"]] == theirs["mmbench"]["letters"]
    assert value_of(ours, "accuracy", "all", judge=None).value == pytest.approx(theirs["mmbench"]["overall"])
    for name, value in {**theirs["mmbench"]["category"], **theirs["mmbench"]["l2"]}.items():
        assert value_of(ours, "accuracy", name, judge=None).value == pytest.approx(value)

    ours = get("mmvet").score(rows["mmvet"])
    assert value_of(ours, "score", "all", judge="grade").value == pytest.approx(theirs["mmvet"]["overall"])
