# Reprise. `make` alone lists the targets; `make up` is all that a first visit needs.
#
#   make up ARGS="--port 9000 --no-web"      options go to the command
#   make test ARGS="tests/unit/kernel -x"    or to pytest
#   make test WORKERS=0                      in one process, in order
#   make setup PYTHON=python3.12             another interpreter, 3.11 or newer
#   make setup TORCH_INDEX=https://download.pytorch.org/whl/cpu
#                                            on Linux PyPI's torch brings CUDA along, several gigabytes; this does not

PYTHON ?= python3
TORCH_INDEX ?=
ARGS ?=
# Tests that wait for processes and leases leave a core to others. Each worker loads the models: about 2 GiB.
WORKERS ?= 2
BENCHMARKS ?= ingest growth retrieval answers

BIN := .venv/bin
STAMP := .venv/.reprise-stamp
TORCH := $(shell sed -n 's/^ *"\(torch==[^"]*\)".*/\1/p' pyproject.toml)

.DEFAULT_GOAL := help
.PHONY: help setup up demo test lint types arch integration e2e bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# The stamp holds the folder it was made for: scripts in a virtual environment name their interpreter by its full path,
# so a project that was moved or copied, or whose interpreter went away, gets a new environment.
ifneq ($(shell test -x $(BIN)/python && cat $(STAMP) 2>/dev/null),$(CURDIR))
.PHONY: $(STAMP)
endif

setup: $(STAMP) ## make .venv and install everything (does nothing when that is done)

# All output goes to standard error, so that `make up` prints one line of JSON and nothing else to standard output.
$(STAMP): pyproject.toml
	@exec >&2; set -e; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Reprise needs Python 3.11 or newer, and '$(PYTHON)' is not that: $$($(PYTHON) --version 2>&1 || true)"; \
		echo "Install one, or name it: make setup PYTHON=python3.12"; exit 1; }; \
	if [ "$$(cat $(STAMP) 2>/dev/null || pwd -P)" != "$$(pwd -P)" ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		echo "Making .venv with $$($(PYTHON) --version)"; \
		$(PYTHON) -m venv --clear .venv || { \
			echo "This Python has no venv module. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }; \
	fi; \
	echo "Installing into .venv: minutes the first time, seconds afterwards"; \
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'; \
	$(BIN)/python -m pip install $(if $(TORCH_INDEX),--index-url '$(TORCH_INDEX)') '$(TORCH)'; \
	$(BIN)/python -m pip install --editable . --group dev; \
	pwd -P | tr -d '\n' > $(STAMP)

up: setup ## start the platform: the HTTP API and the web app
	@exec $(BIN)/reprise up $(ARGS)

demo: setup ## play the whole loop once, with a report at the end
	@exec $(BIN)/reprise demo $(ARGS)

test: setup ## every test that can run here; what is missing is skipped and named
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: setup ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: setup ## mypy, strict
	@$(BIN)/mypy

arch: setup ## the rules of the house: imports, rooms, import budget, docker files, documentation
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest tests/architecture

integration: setup ## engines against their contracts, real processes, kills
	@$(BIN)/python -m pytest tests/contracts tests/integration $(ARGS)

e2e: setup ## the whole platform through its doors
	@$(BIN)/python -m pytest tests/e2e $(ARGS)

bench: setup ## the benchmarks, each beside its peer
	@$(BIN)/python -m pip install --quiet --group bench
	@for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name $(ARGS) || exit 1; done

clean: ## remove the environment and all caches; never a home folder with documents in it
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist ./*.egg-info
	@find . -name __pycache__ -type d -not -path './.reprise/*' -prune -exec rm -rf {} +
