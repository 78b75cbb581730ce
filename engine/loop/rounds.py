"""The loop: which stage comes next. Read from the top at every start; what is done is passed over.

Decisions (when to stop, which candidate is best) are functions of the scores on disk, so a second start makes them
again and the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine.config import LoopConfig
from engine.loop import stages
from engine.loop.drawing import check_drawn, draw_heldout
from engine.loop.heldout import Heldout, check, same_rows
from engine.loop.match import CURATE, match
from engine.loop.measures import read_measures, stop_reasons
from engine.loop.plan import TUNED, Sections, Variant
from engine.loop.runner import Runner, failure
from engine.loop.stages import Model, Stage
from engine.loop.state import State

Measures = dict[str, Any]
ECSO_ONLY = ("calibration", "preset", "retries", "caption", "eyes")
"""Keys of generate that mean nothing to the source's own answers."""


class Loop:
    """One loop over its folder."""

    def __init__(
        self, config: LoopConfig, sections: Sections, state: State, runner: Runner, say: Callable[[str], None]
    ) -> None:
        self.config, self.sections, self.state, self.runner, self.say = config, sections, state, runner, say
        self.root = state.root
        self.base = Model(str(sections.generate.get("model", "tiny")), sections.generate.get("adapter"))
        self.heldout = Heldout()
        self.after_result: Callable[[], None] = lambda: None

    # -- all of it

    def run(self) -> None:
        """Every arm, seed, round and variant. Raises what a failed stage stands for; all before it is kept."""
        self._draw()
        base = self._untouched()
        for seed in self.config.seeds:
            first = self._rounds(seed, base)
            if "tuned_reference" in self.config.arms:
                self._reference(seed, first)
            for variant in self.sections.variants:
                self._variant(seed, variant, first)

    def _draw(self) -> None:
        """The tiny world's held-out sets, whole or not at all."""
        if self.config.draw_heldout is None:
            return
        out = Path(self.config.draw_heldout).resolve()
        seed = self.config.draw_seed
        stage = Stage("draw-heldout", "draw", {"out": str(out), "seed": seed}, out)
        self._do(stage, lambda: draw_heldout(out, seed, self.root))
        check_drawn(out, seed)  # done before, and perhaps drawn again by another loop since

    def _untouched(self) -> Measures:
        """The untouched model, directly and with ECSO at inference; greedy, so once for all seeds."""
        strategies = ["direct", *(["ecso"] if "ecso" in self.config.arms else [])]
        section = self.sections.evaluate
        stage = stages.evaluate("base/evaluate", section, self.base, self.root / "base/evaluate", strategies, "base")
        self._do(stage)
        self.heldout.add(stage.out)
        if self.config.validation and (self.sections.variants or any(arm in TUNED for arm in self.config.arms)):
            self._validation()
        for strategy, arm in (("direct", "untouched"), ("ecso", "ecso")):
            if strategy in strategies:
                self._result(arm, None, 0, stage, strategy)
        return self._measure(stage, "direct")

    def _validation(self) -> None:
        """The rows that candidates are chosen on, known before any training: answered by the untouched model."""
        told = {**self.sections.evaluate, **self.config.validation["evaluate"]}
        stage = stages.evaluate("base/validate", told, self.base, self.root / "base/validate", ["direct"], "base")
        self._do(stage)
        self.heldout.join(stage.out)

    # -- the tuned arms

    def _rounds(self, seed: int, base: Measures) -> Path | None:
        """Rounds of the arm tuned on ECSO's answers, until the stop rule; the folder of the first one."""
        if not any(arm in TUNED for arm in self.config.arms) and not self.sections.variants:
            return None
        model, before, first = self.base, base, self.root / f"seed-{seed}/tuned_ecso/round-1"
        if "tuned_ecso" not in self.config.arms:
            self._data(seed, first, "tuned_ecso/round-1", self.sections, model)
            return first
        for number in range(1, self.config.rounds + 1):
            folder, name = self.root / f"seed-{seed}/tuned_ecso/round-{number}", f"tuned_ecso/round-{number}"
            curated = self._data(seed, folder, name, self.sections, model)
            start = model if self.config.start_from == "previous" else self.base
            model, found = self._tune(seed, folder, name, self.sections, curated, start, "tuned_ecso", number)
            why = stop_reasons(self.config.stop, found, before, base)
            if why:
                if number < self.config.rounds:
                    self._note(f"seed {seed}: stopped after round {number}: {'; '.join(why)}")
                else:
                    self._note(f"seed {seed}, round {number}: {'; '.join(why)}")
                break
            before = found
        return first

    def _reference(self, seed: int, first: Path | None) -> None:
        """The same queries, utility rows, seed and hyper-parameters; the source's own answers."""
        if first is None:
            return
        folder, name = self.root / f"seed-{seed}/tuned_reference", "tuned_reference"
        matched = self._matched(seed, folder, name, first, self.sections)
        self._tune(seed, folder, name, self.sections, matched, self.base, "tuned_reference", 1)

    def _matched(self, seed: int, folder: Path, name: str, first: Path, sections: Sections) -> Path:
        section = {key: value for key, value in sections.generate.items() if key not in ECSO_ONLY}
        section["strategy"] = "reference"
        answered = stages.generate(self._name(seed, name, "generate"), section, self.base, folder / "generate", seed)
        self._do(answered)
        chosen = stages.curate(self._name(seed, name, "curate"), CURATE, (answered.out,), folder / "curated")
        self._do(chosen)
        data = first / "curated"
        told = {"reference": str(chosen.out), "ecso": str(data)}
        stage = Stage(self._name(seed, name, "match"), "match", told, folder / "matched")
        self._do(stage, lambda: match(chosen.out, data, stage.out))
        return stage.out

    def _variant(self, seed: int, variant: Variant, first: Path | None) -> None:
        """One ablation: the arm with some settings changed; stages whose settings are the arm's are not run again."""
        folder, name = self.root / f"seed-{seed}/variants/{variant.name}", f"variants/{variant.name}"
        sections = self.sections.changed(variant)
        assert first is not None
        if variant.arm == "tuned_reference" and not variant.generate and "tuned_reference" in self.config.arms:
            curated = self.root / f"seed-{seed}/tuned_reference/matched"
        elif variant.arm == "tuned_reference":
            curated = self._matched(seed, folder, name, first, sections)
        elif variant.generate:
            curated = self._data(seed, folder, name, sections, self.base)
        elif variant.curate or variant.counterfactuals:
            curated = self._curated(seed, folder, name, sections, first / "generate")
        else:
            curated = first / "curated"
        if variant.counterfactuals:
            curated = self._with_counterfactuals(seed, folder, name, sections, first, curated)
        self._tune(seed, folder, name, sections, curated, self.base, variant.name, 1)
        arm = "tuned_reference" if variant.arm == "tuned_reference" else "tuned_ecso/round-1"
        as_trained = sections.train == self.sections.train and not sections.then
        if as_trained and same_rows(self.state.document["checks"], self._name(seed, name), self._name(seed, arm)):
            label = variant.name.replace("_", " ")
            self._note(f"seed {seed}: {label} was trained on the arm's very rows, answers and all: it compares nothing")

    # -- parts

    def _data(self, seed: int, folder: Path, name: str, sections: Sections, model: Model) -> Path:
        stage = stages.generate(self._name(seed, name, "generate"), sections.generate, model, folder / "generate", seed)
        self._do(stage)
        return self._curated(seed, folder, name, sections, stage.out)

    def _curated(self, seed: int, folder: Path, name: str, sections: Sections, run: Path) -> Path:
        section = dict(sections.curate)
        if sections.counterfactuals:
            folder.mkdir(parents=True, exist_ok=True)
            section["counterfactuals"] = str(folder / "counterfactuals.parquet")
        stage = stages.curate(self._name(seed, name, "curate"), section, (run,), folder / "curated")
        self._do(stage)
        return stage.out

    def _with_counterfactuals(
        self, seed: int, folder: Path, name: str, sections: Sections, first: Path, curated: Path
    ) -> Path:
        """Queries with swapped openers, answered like the others, and both runs curated together."""
        run = first / "generate" if not (folder / "generate").is_dir() else folder / "generate"
        file = curated.parent / "counterfactuals.parquet"
        source: dict[str, Any] = {
            "queries": "parquet",
            "path": str(file),
            "split": None,
            "limit": None,
            "where": {},
            "columns": {},
        }
        section = {**sections.generate, **source}
        stage = stages.generate(
            self._name(seed, name, "generate-swapped"), section, self.base, folder / "generate-swapped", seed
        )
        self._do(stage)
        both = stages.curate(
            self._name(seed, name, "curate-both"), sections.curate, (run, stage.out), folder / "curated-both"
        )
        self._do(both)
        return both.out

    def _tune(
        self, seed: int, folder: Path, name: str, sections: Sections, data: Path, start: Model, arm: str, number: int
    ) -> tuple[Model, Measures]:
        """Train (each candidate, where there are several), evaluate; the model and its measures."""
        candidates = self.config.validation.get("candidates") or [{}]
        models: list[tuple[float, Model]] = []
        for place, changes in enumerate(candidates):
            suffix = f"-{place}" if len(candidates) > 1 else ""
            model = self._train(seed, folder, name, {**sections.train, **changes}, sections, data, start, suffix)
            score = self._validate(seed, folder, name, model, suffix) if len(candidates) > 1 else 0.0
            models.append((score, model))
        best = max(range(len(models)), key=lambda place: (models[place][0], -place))
        if len(candidates) > 1:
            self._note(f"seed {seed}, {name}: candidate {best} {candidates[best]}, validation {models[best][0]:.4f}")
        model = models[best][1]
        stage = stages.evaluate(
            self._name(seed, name, "evaluate"), self.sections.evaluate, model, folder / "evaluate", ["direct"], arm
        )
        self._do(stage)
        return model, self._result(arm, seed, number, stage, "direct")

    def _train(
        self,
        seed: int,
        folder: Path,
        name: str,
        section: Mapping[str, Any],
        sections: Sections,
        data: Path,
        start: Model,
        suffix: str,
    ) -> Model:
        stage = stages.train(
            self._name(seed, name, f"train{suffix}"), section, data, start, folder / f"train{suffix}", seed
        )
        model = self._learn(stage, data)
        for place, more in enumerate(sections.then, start=2):
            out = folder / f"train{suffix}-then-{place}"
            told = {**section, **more}
            if told.get("method") == "dpo":
                told |= {"mix": None, "mix_rows": None}  # utility rows have no rejected answer
            stage = stages.train(self._name(seed, name, f"train{suffix}-then-{place}"), told, data, model, out, seed)
            model = self._learn(stage, data)
        return model

    def _learn(self, stage: Stage, data: Path) -> Model:
        """The one place that trains: never before the rows of exactly this section (`mix` too) were compared."""
        noted = check(stage.name, data, stage.section, self.heldout, self.config.heldout_text)
        self.state.document["checks"].append(noted)
        self._do(stage)
        return stages.trained(stage)

    def _validate(self, seed: int, folder: Path, name: str, model: Model, suffix: str) -> float:
        """The weighted sum of the validation measures of one candidate."""
        told = {**self.sections.evaluate, **self.config.validation["evaluate"]}
        stage = stages.evaluate(
            self._name(seed, name, f"validate{suffix}"),
            told,
            model,
            folder / f"validate{suffix}",
            ["direct"],
            "candidate",
        )
        self._do(stage)
        found = read_measures(stage.out, "direct", self.config.validation["measures"])
        weights: Mapping[str, float] = self.config.validation["score"]
        return sum(weight * float(found[measure]["value"] or 0.0) for measure, weight in weights.items())

    # -- the machine

    def _do(self, stage: Stage, here: Callable[[], object] | None = None) -> None:
        """Run a stage unless it is done. `here`: done in this process (joining files), not by a command."""
        if self.state.is_done(stage):
            return
        self.say(f"{stage.name} …")
        self.state.begin(stage)
        started = time.monotonic()
        code = 1
        try:
            if here is None:
                code = self.runner(stage, self.root)
            else:
                here()
                code = 0
        finally:
            self.state.end(stage, code, time.monotonic() - started)
        if code != 0 or not stage.product.is_file():
            raise failure(stage, code or 1, self.root)
        self.say(f"{stage.name}: {time.monotonic() - started:.0f} s")

    def _measure(self, stage: Stage, strategy: str) -> Measures:
        return read_measures(stage.out, strategy, self.config.measures)

    def _result(self, arm: str, seed: int | None, number: int, stage: Stage, strategy: str) -> Measures:
        found = self._measure(stage, strategy)
        scores = str(stage.out.relative_to(self.root))
        entry = {"arm": arm, "seed": seed, "round": number, "scores": scores, "measures": found}
        self.state.document["results"].append(entry)
        self.after_result()
        return found

    def _note(self, text: str) -> None:
        self.state.document["notes"].append(text)
        self.say(text)

    @staticmethod
    def _name(seed: int, *parts: str) -> str:
        return "/".join((f"seed-{seed}", *parts))
