# `make repro` rebuilds the results, `make test` tests the project; both set up .venv if need be.

PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: repro test lint bench lock clean

repro: .venv/installed
	dvc repro
	dvc metrics show

test: .venv/installed
	pytest

lint: .venv/installed
	ruff check
	ruff format --check

bench: .venv/installed
	python -m tools.bench

.venv/installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; \`$(PYTHON)\` is not. Name another one: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing the locked packages into .venv; this takes a few minutes, once."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock >.venv/install.log 2>&1 || \
		{ echo "The packages of requirements.lock could not be installed, which needs the network the first time; .venv/install.log says why. Connect, and run make again." >&2; exit 1; }
	@touch $@
