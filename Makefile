# `make demo` and `make test` set everything up by themselves: Python 3.11, make and a network.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
DEMO_OUTPUT ?= outputs/demo
# Test files run side by side, each on one thread: threads of several busy processes hinder each other.
JOBS ?= 2
FUZZ_SECONDS ?= 3600

.PHONY: demo test gpu fuzz check lint docs bench clean

demo: $(VENV)/.installed
	$(BIN)/sa3d demo --output $(DEMO_OUTPUT) --overwrite

test: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

# All checks that need a CUDA GPU. What could not run (no GPU, no tinycudann) is listed at the end.
gpu: $(VENV)/.installed
	$(BIN)/python -m pytest -m gpu -rs

# Hostile files, names and kills for an hour, with another seed every time; CI runs a minute of it.
fuzz: $(VENV)/.installed
	OMP_NUM_THREADS=1 SA3D_FUZZ_SECONDS=$(FUZZ_SECONDS) SA3D_FUZZ_SEED=$$(date +%s) $(BIN)/python -m pytest -n $(JOBS) --dist loadfile tests/nerfstudio_plugin/fuzz

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/pyright --pythonpath $(BIN)/python

# The documentation site, into site/: open site/index.html.
docs: $(VENV)/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

check: lint docs test

bench: $(VENV)/.installed
	$(BIN)/python scripts/benchmarks/speed.py

# uv resolves everything at once, with the versions of [tool.uv] constraint-dependencies.
$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.5"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) outputs site .pytest_cache .ruff_cache
