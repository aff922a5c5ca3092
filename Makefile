# make demo: the main job against a sandbox. make test: all tests but the long matrices.
SHELL := /bin/sh
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && exit; done)
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test dev lint types reformat long bench schemas clean

demo: $(VENV)/.installed
	$(BIN)/okta-keys run plans/quickstart.yaml --sandbox

test: $(VENV)/.dev
	$(BIN)/python -m pytest -q -m "not long" -n 2

dev: $(VENV)/.dev

long: $(VENV)/.dev
	$(BIN)/python -m pytest -q -m long -n 2 --dist worksteal

bench: $(VENV)/.dev
	$(BIN)/python -m bench.clone_cpu
	$(BIN)/python -m bench.run_memory
	$(BIN)/python -m bench.plan_load
	$(BIN)/python -m bench.pacing

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy

reformat: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

schemas: $(VENV)/.installed
	$(BIN)/okta-keys schema plan > orchestrator/schemas/plan-v1.schema.json
	$(BIN)/okta-keys schema report > orchestrator/schemas/report-v1.schema.json

$(VENV)/bin/pip:
	@test -n "$(PYTHON)" \
	  || { echo "Python 3.11 or newer is needed; name it with: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { rm -rf $(VENV); echo "venv is missing; on Debian: apt install python3-venv"; exit 1; }

$(VENV)/.installed: $(VENV)/bin/pip pyproject.toml
	$(BIN)/pip install -q --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
