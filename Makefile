# `make repro` rebuilds the results and `make test` tests the project; both make .venv if need be.

PYTHON = python3
# The make of macOS looks for a command in the PATH below only if it runs it through a shell that is
# not /bin/sh.
SHELL := bash
export PATH := $(CURDIR)/.venv/bin:$(PATH)

OLD = Python 3.11 or newer is needed, and $(PYTHON) is not: \
name another one, as in `make repro PYTHON=python3.12`.
OFFLINE = The packages could not be installed, which needs the network on the first run: \
connect and run make again, or read .venv/install.log.

.PHONY: repro test lint bench seeds optimizers lock plots-template

repro: .venv/installed
	dvc repro
	dvc metrics show

test: .venv/installed
	python -m pytest

lint: .venv/installed
	ruff check
	ruff format --check

bench: .venv/installed
	python -m tools.bench

seeds: .venv/installed
	python -m tools.seeds

optimizers: .venv/installed
	python -m tools.optimizers

# Every Python and system in one file, without the CUDA packages, which pip adds where torch asks.
lock:
	$(PYTHON) -m venv --clear .venv/lock
	.venv/lock/bin/python -m pip install --quiet uv
	sed -n '/^#/p' requirements.lock >.venv/new.lock
	.venv/lock/bin/uv pip compile --quiet --universal --fork-strategy fewest --no-annotate \
		--no-header --group dev pyproject.toml | sed -E '/^(nvidia|cuda|triton)/d' >>.venv/new.lock
	mv .venv/new.lock requirements.lock

# DVC's plots are written for vega-lite 5, which needs vega 5 and vega-embed 6. These versions are
# exact; what they are built from is inside them, and only its licences are read from beside them.
plots-template: .venv/installed
	npm install --prefix .venv/npm --silent --no-save --ignore-scripts --no-audit --no-fund \
		vega@5.33.1 vega-lite@5.23.0 vega-embed@6.29.0
	python -m tools.plots_template --packages .venv/npm/node_modules

.venv/installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	|| { echo '$(OLD)' >&2; exit 1; }
	@$(PYTHON) -m venv --clear .venv
	@echo 'Installing the packages of requirements.lock into .venv: a few minutes, once.'
	@python -m pip install --quiet --requirement requirements.lock >.venv/install.log 2>&1 \
	|| { echo '$(OFFLINE)' >&2; exit 1; }
	@touch $@
