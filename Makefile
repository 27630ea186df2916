# `make help` lists the targets. Each one creates the environment .venv first if it is missing.

PYTHON = python3
# The make of macOS looks for a command in the PATH below only if it runs it through a shell that is
# not /bin/sh.
SHELL := bash
export PATH := $(CURDIR)/.venv/bin:$(PATH)

OLD = Python 3.11 or newer is required, and $(PYTHON) is older: \
name another one, as in `make repro PYTHON=python3.12`.
OFFLINE = The packages could not be installed, which needs the network on the first run: \
connect and run make again, or read .venv/install.log.

.PHONY: help repro restore test coverage lint format docs check-docs bench seeds optimizers lock plots-template

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1|\2/p' Makefile | column -t -s '|'

repro: .venv/installed ## rebuild every result and print the metrics
	dvc repro
	@echo
	@python -m tools.summary

restore: .venv/installed ## go back to the committed parameters, results and models
	git checkout HEAD -- params.yaml dvc.lock metrics
	dvc checkout

test: .venv/installed ## run the tests
	python -m pytest --numprocesses=2 --dist=worksteal

coverage: .venv/installed ## run the tests and show which lines they miss (half as fast)
	python -m pytest --numprocesses=2 --dist=worksteal --cov

lint: .venv/installed ## check style, types, spelling and generated docs
	ruff check
	ruff format --check
	pyrefly check
	codespell
	python -m tools.parameters --check

format: .venv/installed ## format the code
	ruff check --fix
	ruff format

docs: .venv/installed ## run the commands of the docs and update what they print
	python -m tools.parameters
	python -m tools.docs

check-docs: .venv/installed ## run the commands of the docs and compare what they print
	python -m tools.docs --check

bench: .venv/installed ## time the pipeline, and write docs/performance.md
	python -m tools.bench

seeds: .venv/installed ## repeat the workspace's experiment with five other seeds
	python -m tools.seeds

optimizers: .venv/installed ## train the classifier with every optimizer
	python -m tools.optimizers

# Every Python and system in one file, without the CUDA packages, which pip adds where torch asks.
lock: ## renew requirements.lock from pyproject.toml
	$(PYTHON) -m venv --clear .venv/lock
	.venv/lock/bin/python -m pip install --quiet uv
	sed -n '/^#/p' requirements.lock >.venv/new.lock
	.venv/lock/bin/uv pip compile --quiet --universal --fork-strategy fewest --no-annotate \
		--no-header --group dev pyproject.toml | sed -E '/^(nvidia|cuda|triton)/d' >>.venv/new.lock
	mv .venv/new.lock requirements.lock

# DVC's plots are written for vega-lite 5, which needs vega 5 and vega-embed 6. These versions are
# exact; what they are built from is inside them, and only its licenses are read from beside them.
plots-template: .venv/installed ## renew the page of `dvc plots show` (needs npm)
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
