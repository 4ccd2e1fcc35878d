# make demo          train, measure and look: one person's face, in minutes
# make test          lint, and the tests on TensorFlow, JAX and PyTorch
# make test-slow     those that take long, or that the other backends leave to PyTorch in `make test`
# make docs          the documentation, into site/
# make test-oldest   the tests with the oldest releases that pyproject.toml allows
# make test-newest   the tests with the newest releases, on the newest Python here
# make test-newest-quick  a part of them, on JAX alone
# make constraints   look up the oldest and the newest releases again
# make dist          wheel and source distribution, checked, into dist/
# make test-trackio  the experiment trackers, trackio among them
# make export-table  which models can be exported as what: measured, and written into the docs
# make presets       train the ready models again, about half an hour
# make setup         only install, with all backends and tools

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
BACKENDS ?= tensorflow jax torch
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints/tested.txt --editable
export TF_CPP_MIN_LOG_LEVEL ?= 3
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: setup demo presets test tests test-slow test-trackio test-oldest test-newest test-newest-quick constraints dist export-table lint docs clean

setup: $(VENV)/all

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo: $(BIN)/python pyproject.toml constraints/tested.txt
	$(INSTALL) '.[jax,tensorflow,export]'
	touch $@

$(VENV)/all: $(BIN)/python pyproject.toml constraints/tested.txt
	$(INSTALL) '.[tensorflow,jax,torch,probability,tensorboard,mlflow,wandb,tune,export,serve,studies,notebook,docs,dev]'
	touch $@ $(VENV)/demo

demo: $(VENV)/demo
	$(BIN)/keras-disent demo --backend jax --out runs/demo

# A Ray and a Dask cluster, which only slow tests start.
$(VENV)/clusters: $(VENV)/all
	$(INSTALL) '.[ray,dask]'
	touch $@

# Trackio, whose range of Pillow leaves out the tested one, in an environment of its own.
$(VENV)-trackio/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-trackio
	$(VENV)-trackio/bin/python -m pip install --quiet --editable '.[jax,tensorboard,trackio]' pytest
	touch $@

test-trackio: $(VENV)-trackio/ready
	KERAS_BACKEND=jax $(VENV)-trackio/bin/python -m pytest tests/test_trackers.py

# Metrics, charts and data sets work on arrays: their tests run once.
ARRAYS := tests/metrics tests/datasets
# Half of the time of PyTorch's tests, which alone run all of them: a suite of their own.
RUNS := tests/experiments tests/cli tests/export

# Suites of one process each, two at a time and the longest first; each is shown when it has ended.
SUITES := $(filter-out torch,$(BACKENDS)) $(if $(filter torch,$(BACKENDS)),torch-runs torch) $(ARRAYS)
TWO_AT_A_TIME := $(MAKE) --no-print-directory --jobs 2 --output-sync=target --keep-going

test: setup
	@$(TWO_AT_A_TIME) lint $(SUITES:%=suite/%)

tests:
	@$(TWO_AT_A_TIME) $(SUITES:%=suite/%)

suite/%:
	@echo "== $*"; KERAS_BACKEND=$(SUITE_BACKEND) $(BIN)/python -m pytest -m "not slow" $(SUITE_TESTS)

suite/%: SUITE_BACKEND = $*
suite/%: SUITE_TESTS = $(ARRAYS:%=--ignore %)
suite/torch: SUITE_TESTS = $(ARRAYS:%=--ignore %) $(RUNS:%=--ignore %)
suite/torch-runs: SUITE_BACKEND = torch
suite/torch-runs: SUITE_TESTS = $(RUNS)
suite/tests/%: SUITE_BACKEND = $(lastword $(BACKENDS))
suite/tests/%: SUITE_TESTS = $*

test-slow: $(VENV)/clusters
	@echo "== arrays"; KERAS_BACKEND=$(lastword $(BACKENDS)) $(BIN)/python -m pytest -m slow $(ARRAYS)
	@set -e; for backend in $(BACKENDS); do \
		echo "== $$backend"; KERAS_BACKEND=$$backend $(BIN)/python -m pytest -m slow $(ARRAYS:%=--ignore %); \
	done
	@echo "== tensorflow, every step compiled with XLA, as on a GPU"; JIT_COMPILE=1 \
		KERAS_BACKEND=tensorflow $(BIN)/python -m pytest -m "not slow" $(ARRAYS:%=--ignore %)

# -- the range of releases, each in an environment of its own -------------------------------------

OLDEST_PYTHON ?= python3.11
NEWEST_PYTHON ?= $(shell tests/support/newest_python.sh)
EXTRAS := tensorboard tune export serve studies
RUNNER := hypothesis psutil pytest pytest-xdist
TOOLS := $(RUNNER) ai-edge-litert 'tritonclient[http]'
QUICK := tests/engine tests/layers tests/test_imports.py
comma := ,
space := $(subst ,, )

define environment # (folder, python, constraints, extras, tools)
	$(2) -m venv $(1)
	$(1)/bin/python -m pip install --quiet --constraint constraints/$(3).txt \
		--editable '.[$(subst $(space),$(comma),$(4))]' $(5)
	touch $(1)/ready
endef

$(VENV)-oldest/ready: pyproject.toml constraints/oldest.txt
	$(call environment,$(VENV)-oldest,$(OLDEST_PYTHON),oldest,tensorflow jax probability $(EXTRAS),$(TOOLS))

$(VENV)-newest/ready: pyproject.toml constraints/newest.txt
	$(call environment,$(VENV)-newest,$(NEWEST_PYTHON),newest,tensorflow jax $(EXTRAS),$(TOOLS))

$(VENV)-newest-jax/ready: pyproject.toml constraints/newest.txt
	$(call environment,$(VENV)-newest-jax,$(NEWEST_PYTHON),newest,jax,$(RUNNER))

test-oldest: $(VENV)-oldest/ready
	$(MAKE) tests BIN=$(VENV)-oldest/bin BACKENDS="tensorflow jax"

test-newest: $(VENV)-newest/ready
	$(MAKE) tests BIN=$(VENV)-newest/bin BACKENDS="tensorflow jax"

test-newest-quick: $(VENV)-newest-jax/ready
	KERAS_BACKEND=jax $(VENV)-newest-jax/bin/python -m pytest -n 2 -m "not slow" $(QUICK)

LOOK_UP := $(BIN)/uv pip compile --quiet --upgrade --no-header --no-annotate - pyproject.toml \
	$(foreach extra,tensorflow jax torch $(EXTRAS),--extra $(extra))

# TensorFlow is named first, so that its newest release decides on those of others.
constraints: setup
	echo | $(LOOK_UP) --extra probability --python-version 3.11 --resolution lowest-direct \
		--output-file constraints/oldest.txt
	echo tensorflow | $(LOOK_UP) --python-version 3.13 --output-file constraints/newest.txt

# -- the package ----------------------------------------------------------------------------------

# The same bytes for the same commit: the times of all files are those of the commit.
dist: setup
	rm -rf dist
	$(BIN)/python -m keras_disent.knobs # a wheel that is published has the engine
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/python -m build --quiet --no-isolation
	$(BIN)/twine check --strict dist/*

export-table: setup
	@set -e; for backend in tensorflow torch; do \
		WRITE_TABLE=1 KERAS_BACKEND=$$backend $(BIN)/python -m pytest -m slow tests/export/test_export.py \
			-k every_model_in_every_format; \
	done

presets: setup
	KERAS_BACKEND=jax $(BIN)/python -m keras_disent.presets --again --pictures docs/images/presets

lint: setup
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --no-cache --check .
	$(BIN)/mypy

docs: setup
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) site dist .pytest_cache .ruff_cache .mypy_cache
