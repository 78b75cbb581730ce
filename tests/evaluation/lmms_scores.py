"""Run by a Python that has lmms-eval: its scores for the replies given on stdin, as JSON.

    python tests/evaluation/lmms_scores.py < {"mme": [rows], "mmbench": [rows], "mmvet": [rows]}

Its modules are loaded from their files: the package around them imports every task it has. MM-Vet's asks for a grading
server when it is loaded; a stand-in says that nobody may be asked, since only its arithmetic is wanted.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any


def load(task: str, file: str) -> Any:
    found = importlib.util.find_spec("lmms_eval")
    assert found is not None
    assert found.submodule_search_locations
    path = Path(found.submodule_search_locations[0], "tasks", task, file)
    spec = importlib.util.spec_from_file_location(f"lmms_{task}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def mme(rows: list[dict[str, Any]]) -> dict[str, Any]:
    module = load("mme", "utils.py")
    by_key: dict[str, list[Any]] = {}
    for row in rows:
        for key, value in module.mme_process_results(row, [row["reply"]]).items():
            by_key.setdefault(key, []).append(value)
    parsed = [module.parse_pred_ans(row["reply"]) for row in rows]
    return {"parsed": parsed} | {key: module.mme_aggregate_results(values) for key, values in by_key.items()}


def mmbench(rows: list[dict[str, Any]]) -> dict[str, Any]:
    module = load("mmbench", "mmbench_evals.py")
    judge = module.MMBench_Evaluator()
    # `static` would guess by a further rule where the first two find nothing; here such a row is wrong, as with us.
    judge.extract_answer_from_item = lambda item: (None, "nobody is asked")
    with contextlib.redirect_stdout(sys.stderr):
        overall, category, level2 = judge.eval_result(rows, eval_method="openai")
    letters = [judge.prefetch_answer({"A": None, **row}) or None for row in rows]
    return {"overall": overall, "category": category, "l2": level2, "letters": letters}


def mmvet(rows: list[dict[str, Any]]) -> dict[str, Any]:
    stand_in = types.ModuleType("lmms_eval.llm_judge")
    stand_in.Request = stand_in.ServerConfig = lambda **options: options  # type: ignore[attr-defined]
    stand_in.get_server = lambda **options: None  # type: ignore[attr-defined]
    sys.modules["lmms_eval.llm_judge"] = stand_in
    return {"overall": load("mmvet", "utils.py").mmvet_aggregate_results(rows)}


def main() -> None:
    asked = json.load(sys.stdin)
    found = {"mme": mme(asked["mme"]), "mmbench": mmbench(asked["mmbench"]), "mmvet": mmvet(asked["mmvet"])}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
