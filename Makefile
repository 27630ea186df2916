# `make repro` rebuilds the results and `make test` tests the project; both make .venv if need be.

PYTHON = python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)

OLD = Python 3.11 or newer is needed, and $(PYTHON) is not: \
name another one, as in `make repro PYTHON=python3.12`.
OFFLINE = The packages could not be installed, which needs the network on the first run: \
connect and run make again, or read .venv/install.log.

.PHONY: repro test lint bench lock

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

# Every Python and system in one file, without the CUDA packages, which pip adds where torch asks.
lock:
	$(PYTHON) -m venv --clear .venv/lock
	.venv/lock/bin/python -m pip install --quiet uv
	sed -n '/^#/p' requirements.lock >.venv/new.lock
	.venv/lock/bin/uv pip compile --quiet --universal --fork-strategy fewest --no-annotate \
		--no-header --group dev pyproject.toml | sed -E '/^(nvidia|cuda|triton)/d' >>.venv/new.lock
	mv .venv/new.lock requirements.lock

.venv/installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	|| { echo '$(OLD)' >&2; exit 1; }
	@$(PYTHON) -m venv --clear .venv
	@echo 'Installing the packages of requirements.lock into .venv: a few minutes, once.'
	@python -m pip install --quiet --requirement requirements.lock >.venv/install.log 2>&1 \
	|| { echo '$(OFFLINE)' >&2; exit 1; }
	@touch $@
