# `make run` and `make test` need git, make and Python 3.11 to 3.13; everything else comes from the hash-locked requirements.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Each has a PostgreSQL and a broker of its own. ARGS=-n0 stays in one process, as a debugger wants it.
WORKERS := --numprocesses logical --maxprocesses 4 --dist worksteal

# Only wheels: an sdist would fetch its build requirements from outside the locks.
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input --root-user-action=ignore
LOCKED := $(PIP_INSTALL) --require-hashes --only-binary=:all:
ITSELF := $(PIP_INSTALL) --no-index --no-deps --no-build-isolation --editable .

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test lint format docs bench chaos lock audit clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/run.stamp ## a whole gateway on this machine: meter up --demo (ARGS="--data-dir D ...")
	@exec $(BIN)/meter up --demo $(ARGS)

test: $(VENV)/dev.stamp ## the test suite against real parts (ARGS="tests/rating -x")
	@$(BIN)/python -m pytest $(WORKERS) $(ARGS)

lint: $(VENV)/dev.stamp ## ruff, mypy --strict, import rules, dependencies
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/deptry meter edge

format: $(VENV)/dev.stamp ## what ruff can mend by itself
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

docs: $(VENV)/dev.stamp ## docs/sources.md and docs/targets.md anew from the registries
	@$(BIN)/python -c "from meter.sources.page import page; print(page(), end='')" >docs/sources.md
	@$(BIN)/python -c "from meter.export.targets.page import page; print(page(), end='')" >docs/targets.md

bench: $(VENV)/dev.stamp ## throughput and latency beside their limits (ARGS="--short")
	@$(BIN)/python -m bench $(ARGS)

chaos: $(VENV)/dev.stamp ## real processes killed, frozen and cut off, and what is left judged (ARGS="--short --seed 2")
	@$(BIN)/python -m chaos $(ARGS)

# The three locks agree: run and edge take their versions from dev. An existing pin stays unless ARGS="--upgrade".
COMPILE := $(BIN)/uv pip compile --no-config --quiet --no-header --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate pyproject.toml requirements/build.in
lock: $(VENV)/dev.stamp ## writes requirements/*.txt anew from pyproject.toml (ARGS="--upgrade")
	@$(COMPILE) --all-extras --output-file requirements/dev.txt $(ARGS)
	@$(COMPILE) --extra gateway --constraint requirements/dev.txt --output-file requirements/run.txt $(ARGS)
	@$(COMPILE) --extra edge --constraint requirements/dev.txt --output-file requirements/edge.txt $(ARGS)

audit: $(VENV)/dev.stamp ## known advisories for what the locks pin, where an advisory source is reachable
	@$(BIN)/python requirements/audit.py

clean: ## removes the environment and the caches, never the data
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './data/*' -prune -exec rm -rf {} +

# A changed lock makes a new environment, so that nothing stays that is no longer named.
$(VENV)/python.stamp: requirements/dev.txt requirements/run.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
		echo "Python 3.11 to 3.13 is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1): make PYTHON=/path/to/python3.12 ..."; exit 1; }
	@echo "preparing $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV) || { \
		echo "$(PYTHON) cannot make environments: install its venv module (Debian: apt-get install python3-venv)"; exit 1; }
	@touch $@

$(VENV)/run.stamp: $(VENV)/python.stamp pyproject.toml
	@echo "installing what requirements/run.txt locks (about a minute the first time)"
	@$(LOCKED) --requirement requirements/run.txt
	@$(ITSELF)
	@touch $@

# dev.txt holds all of run.txt, so this stamp stands for both.
$(VENV)/dev.stamp: $(VENV)/python.stamp pyproject.toml
	@echo "installing what requirements/dev.txt locks (about a minute the first time)"
	@$(LOCKED) --requirement requirements/dev.txt
	@$(ITSELF)
	@touch $(VENV)/run.stamp $@
