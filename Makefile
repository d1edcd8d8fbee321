# Two commands are enough on a fresh machine: `make run` and `make test`. Both set up .venv first, once.
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
export PYTHONNOUSERSITE := 1

.PHONY: help run setup test fuzz bench lock format clean

help: ## list the commands
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

run: $(STAMP) ## run scenarios/two_regions.yaml and write its report
	@$(BIN)/arbsim run scenarios/two_regions.yaml

setup: $(STAMP) ## install the locked dependencies and arbsim itself into .venv
	@:

# Installed from the lock, each file checked against its hash; then arbsim itself, editable, built by the
# locked hatchling. A change of the lock or of pyproject.toml installs again, in place.
$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "arbsim needs Python 3.11 or newer; there is no $(PYTHON)."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "arbsim needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1)."; \
	    echo "Name another: make $(or $(MAKECMDGOALS),run) PYTHON=python3.12"; exit 1; }
	@if command -v uv >/dev/null; then \
	    echo "Setting up $(VENV) with uv and $$($(PYTHON) -V) ..."; \
	    [ -e $@ ] || uv venv -q --clear --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV) || exit 1; \
	    install="uv pip install -q --python $(BIN)/python"; \
	else \
	    echo "Setting up $(VENV) with pip and $$($(PYTHON) -V), which takes a minute or so ..."; \
	    { [ -e $@ ] && $(BIN)/python -m pip --version >/dev/null 2>&1; } || $(PYTHON) -m venv --clear $(VENV) || { \
	        echo "$(PYTHON) cannot make a virtual environment. On Debian and Ubuntu: apt install python3-venv"; exit 1; }; \
	    install="$(BIN)/python -m pip install -q --disable-pip-version-check"; \
	fi; \
	$$install --require-hashes -r requirements.lock && $$install --no-deps --no-build-isolation -e .
	@touch $@

test: $(STAMP) ## lint, format, types, import contracts, then the tests; stops at the first that fails
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m pytest -n auto

fuzz: $(STAMP) ## compare 10,000 random schedules with a real PostgreSQL (SEED=1)
	@$(BIN)/arbsim conform --fuzz 10000 --seed $(or $(SEED),1) --embedded

bench: $(STAMP) ## print the speed figures as JSON
	@$(BIN)/python -m benchmarks

# Universal: one lock for every system and for Python 3.11 to 3.13. It names no registry: each machine has its own.
lock: ## resolve the dependencies again
	@command -v uv >/dev/null || { echo "make lock needs uv."; exit 1; }
	@uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-emit-find-links --no-annotate --no-header --upgrade --group dev -o requirements.lock pyproject.toml

format: $(STAMP) ## format the code and mend what ruff can
	@$(BIN)/ruff check --fix --quiet
	@$(BIN)/ruff format --quiet

clean: ## remove .venv and all caches
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -prune -exec rm -rf {} +
