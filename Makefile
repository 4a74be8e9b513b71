# Everything runs from .venv, which `make setup` makes from what constraints.txt pins.
# Needed beforehand: make, and Python 3.11 or newer (the first one on PATH, or: make PYTHON=/path/to/python3).

NEW_ENOUGH := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
# A name on PATH may be a shim that runs nothing, so each candidate is run.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$p -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && { echo $$p; break; }; done)
BIN := .venv/bin
STAMP := .venv/.installed

# Three test workers on two cores, as one of them often waits for a disk or a process: one thread each, nothing asks
# the hub, and what is compiled is kept for the next process, whatever the shell says of it.
TEST_ENV := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 MPLBACKEND=Agg
PYTEST := $(TEST_ENV) $(BIN)/python -m pytest

.PHONY: setup demo test test-all check bench clean
.DEFAULT_GOAL := setup

setup: $(STAMP)

$(STAMP): pyproject.toml setup.py constraints.txt
	@test -n '$(PYTHON)' && '$(PYTHON)' -c '$(NEW_ENOUGH)' >/dev/null 2>&1 || { \
		echo "logitcache needs Python 3.11 or newer with venv and ensurepip; found '$(or $(PYTHON),python3)'," \
		"$$('$(or $(PYTHON),python3)' -V 2>&1). Install one (Debian: python3-venv too), or: make PYTHON=/path/to/python3" >&2; exit 2; }
	'$(PYTHON)' -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pip setuptools
	$(BIN)/python -m pip install --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	@touch $@

demo: setup
	$(BIN)/logitcache demo

test: setup
	$(PYTEST) -n 3 --dist worksteal -m "not slow"

test-all: setup
	$(PYTEST) -n 2 --dist worksteal

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST) tests/docs

bench: export SST5 := $(SST5)
bench: export MINILM := $(MINILM)
bench: export STSB := $(STSB)
bench: export SUBJ := $(SUBJ)
bench: export FEWREL64 := $(FEWREL64)
bench: setup
	set -e; for f in benchmarks/bench_*.py; do echo "$$f" >&2; $(BIN)/python "$$f"; done

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
