# Two commands do everything on a fresh machine with Python 3.11 or newer:
#   make quickstart   the main job for real: train in a sandbox, one ONNX out, predictions back
#   make test         all set-up, then lint, types, layers and the whole suite on a real Docker Engine
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STATE ?= .trainbox
# Processes in parallel; the suite's groups say which tests must share one.
JOBS ?= 2

.PHONY: help quickstart test lint types layers format suite bench lock clean

help:
	@sed -n '2,3p' Makefile | cut -c3-

$(VENV)/bin/python:
	@if [ -z "$(PYTHON)" ]; then echo "trainbox needs Python 3.11 or newer: install it, or run make PYTHON=/path/to/python3" >&2; exit 1; fi
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) has no venv module: install python3-venv" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

$(VENV)/.runtime: locks/runtime.lock locks/build.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install -q --require-hashes -r locks/build.lock
	$(PIP) install -q --require-hashes -r locks/runtime.lock
	$(PIP) install -q --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: locks/dev.lock $(VENV)/.runtime
	$(PIP) install -q --require-hashes -r locks/dev.lock
	@touch $@

quickstart: $(VENV)/.runtime
	@$(BIN)/trainbox quickstart --state-dir $(STATE)

test: $(VENV)/.dev
	@bash scripts/ensure_docker.sh
	@sh scripts/ensure_gvisor.sh
	@bash scripts/run_tests.sh $(JOBS)

suite: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

layers: $(VENV)/.dev
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev
	@bash scripts/ensure_docker.sh
	$(BIN)/python benchmarks/submissions.py
	$(BIN)/python benchmarks/start_latency.py

# Resolve again; only when a dependency changes.
lock: $(VENV)/bin/python
	bash scripts/lock.sh

clean:
	rm -rf $(VENV) $(STATE) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
