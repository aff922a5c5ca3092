# make demo: the main job against a sandbox. make test: all tests but the long matrices.
SHELL := /bin/sh
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && exit; done)
VENV ?= .venv
BIN := $(VENV)/bin
TOOLS := $(VENV)/tools/bin
# What a release is stamped with: the time of its commit, in seconds.
EPOCH = $${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)}
# How long each fuzzing harness runs.
SECONDS ?= 1800
PIP_INSTALL = -m pip install -q --disable-pip-version-check

.PHONY: demo test dev lint types reformat long bench fuzz schemas \
  lock lock-check audit workflows dist dist-check sbom clean

demo: $(VENV)/.installed
	$(BIN)/okta-keys run plans/quickstart.yaml --sandbox

test: $(VENV)/.dev
	$(BIN)/python -m pytest -q -m "not long" -n 2

dev: $(VENV)/.dev

long: $(VENV)/.dev
	$(BIN)/python -m pytest -q -m long -n 3 --dist worksteal

bench: $(VENV)/.dev
	$(BIN)/python -m bench.clone_cpu
	$(BIN)/python -m bench.run_memory
	$(BIN)/python -m bench.plan_load
	$(BIN)/python -m bench.pacing

fuzz: $(VENV)/.fuzz
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

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

# After a change to what pyproject.toml asks for; `make lock UPGRADE=--upgrade` takes newer releases.
lock: $(VENV)/tools/.installed
	UV=$(TOOLS)/uv .ci/lock/write $(UPGRADE)

lock-check: $(VENV)/tools/.installed
	UV=$(TOOLS)/uv .ci/lock/write --check

# `make audit STRICT=--strict` also fails where the advisory database cannot be asked.
audit: $(VENV)/tools/.installed
	$(TOOLS)/python .ci/audit.py $(STRICT)

workflows: $(VENV)/tools/.installed
	$(TOOLS)/zizmor --offline --quiet --no-progress .github

dist: $(VENV)/.installed
	rm -rf dist
	SOURCE_DATE_EPOCH=$(EPOCH) $(BIN)/python -m hatchling build -d dist

dist-check: dist
	SOURCE_DATE_EPOCH=$(EPOCH) $(BIN)/python .ci/dist.py dist

sbom: $(VENV)/tools/.installed
	SOURCE_DATE_EPOCH=$(EPOCH) $(TOOLS)/python .ci/sbom.py dist --validate

$(VENV)/bin/pip:
	@test -n "$(PYTHON)" \
	  || { echo "Python 3.11 or newer is needed; name it with: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { rm -rf $(VENV); echo "venv is missing; on Debian: apt install python3-venv"; exit 1; }

# Only what the lock files name, with the hashes they name; then the project itself, alone.
$(VENV)/.installed: $(VENV)/bin/pip pyproject.toml .ci/lock/run.txt .ci/lock/build.txt
	$(BIN)/python $(PIP_INSTALL) --require-hashes -r .ci/lock/run.txt -r .ci/lock/build.txt
	$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.installed .ci/lock/dev.txt
	$(BIN)/python $(PIP_INSTALL) --require-hashes -r .ci/lock/dev.txt
	@touch $@

$(VENV)/.fuzz: $(VENV)/.dev .ci/lock/fuzz.txt
	$(BIN)/python $(PIP_INSTALL) --require-hashes -r .ci/lock/fuzz.txt
	@touch $@

# Apart from the rest: their requirements are none of the project's.
$(VENV)/tools/.installed: $(VENV)/bin/pip .ci/lock/tools.txt
	$(BIN)/python -m venv $(VENV)/tools
	$(TOOLS)/python $(PIP_INSTALL) --require-hashes -r .ci/lock/tools.txt
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
