# make demo          train, measure and look: TensorFlow, a few minutes
# make test          lint, then every test on TensorFlow, JAX and PyTorch
# make test-slow     the tests that take minutes each
# make docs          the documentation, into site/
# make dist          wheel and source distribution, checked, into dist/
# make export-table  which models can be exported as what: measured, and written into the docs
# make setup         only install, with all backends and tools

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
BACKENDS ?= tensorflow jax torch
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable
export TF_CPP_MIN_LOG_LEVEL ?= 3
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: setup demo test test-slow dist export-table lint docs clean

setup: $(VENV)/all

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo: $(BIN)/python pyproject.toml constraints.txt
	$(INSTALL) '.[tensorflow]'
	touch $@

$(VENV)/all: $(BIN)/python pyproject.toml constraints.txt
	$(INSTALL) '.[tensorflow,jax,torch,probability,tensorboard,tune,export,serve,studies,docs,dev]'
	touch $@ $(VENV)/demo

demo: $(VENV)/demo
	$(BIN)/keras-disent demo --backend tensorflow --out runs/demo

# A Ray and a Dask cluster, which only slow tests start.
$(VENV)/clusters: $(VENV)/all
	$(INSTALL) '.[ray,dask]'
	touch $@

# Metrics, charts and data sets work on arrays: their tests run once.
ARRAYS := tests/metrics tests/datasets

test: lint
	@echo "== arrays"; OMP_NUM_THREADS=1 KERAS_BACKEND=$(lastword $(BACKENDS)) \
		$(BIN)/python -m pytest -n 2 -m "not slow" $(ARRAYS)
	@set -e; for backend in $(BACKENDS); do \
		echo "== $$backend"; KERAS_BACKEND=$$backend $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder \
			-m "not slow" $(ARRAYS:%=--ignore %); \
	done

test-slow: $(VENV)/clusters
	@echo "== arrays"; KERAS_BACKEND=$(lastword $(BACKENDS)) $(BIN)/python -m pytest -m slow $(ARRAYS)
	@set -e; for backend in $(BACKENDS); do \
		echo "== $$backend"; KERAS_BACKEND=$$backend $(BIN)/python -m pytest -m slow $(ARRAYS:%=--ignore %); \
	done
	@echo "== tensorflow, every step compiled with XLA, as on a GPU"; JIT_COMPILE=1 \
		KERAS_BACKEND=tensorflow $(BIN)/python -m pytest -m "not slow" $(ARRAYS:%=--ignore %)

# The same bytes for the same commit: the times of all files are those of the commit.
dist: setup
	rm -rf dist
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/python -m build --quiet --no-isolation
	$(BIN)/twine check --strict dist/*

export-table: setup
	@set -e; for backend in tensorflow torch; do \
		WRITE_TABLE=1 KERAS_BACKEND=$$backend $(BIN)/python -m pytest -m slow tests/test_export.py \
			-k every_model_in_every_format; \
	done

lint: setup
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --no-cache --check .
	$(BIN)/mypy

docs: setup
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) site dist .pytest_cache .ruff_cache .mypy_cache
