# Everything runs from this checkout's own environment in .venv; `make` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Bytecode makes importing Dagster three times faster; some images switch it off.
unexport PYTHONDONTWRITEBYTECODE
# Telemetry of every library is off unless you set these yourself.
export DO_NOT_TRACK ?= 1
export BENTOML_DO_NOT_TRACK ?= True
# uv trusts what the system trusts, as pip does
export UV_SYSTEM_CERTS ?= 1

.PHONY: help env demo test faults huge matrix lint ui bench lock clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

env: $(READY) ## the environment from the pinned requirements

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "Headrace needs Python 3.11 or newer, this is %d.%d: make env PYTHON=python3.12" % v[:2])'
	$(PYTHON) -m venv --clear $(VENV)
	@# pip installs the pinned uv, uv installs the rest: the same hashes, a third of the time
	@awk '/^uv==/ {on=1} on {print} on && !/\\$$/ {exit}' requirements.lock > $(VENV)/uv.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $(VENV)/uv.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(READY)

demo: env ## the main job: a year of real flights, from landed files to a served champion
	$(BIN)/headrace demo

test: env ## the whole test suite
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

faults: env ## kill -9 at every point that changes state, and at random ones; then one rerun and the oracle (20 minutes)
	$(BIN)/pytest -m faults tests/faults -s

huge: env ## the files of gigabytes in the hostile corpus
	$(BIN)/pytest -m huge tests/corpus -s

matrix: env ## `headrace new`, land and run on many data sets, to a live bento or a written refusal (an hour)
	$(BIN)/pytest -m matrix tests/matrix

lint: env ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

ui: env ## Dagster's UI on this home
	$(BIN)/headrace ui

bench: env ## benchmarks, each a ratio against a named rival
	$(BIN)/python benchmarks/journey.py
	$(BIN)/python benchmarks/definitions.py
	$(BIN)/python benchmarks/point_in_time.py
	$(BIN)/python benchmarks/ingest.py
	$(BIN)/python benchmarks/concurrency.py

lock: env ## pin requirements.in again (network)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url requirements.in -o requirements.lock

clean: ## remove environment and caches (not the home)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
