# The front door. Every target sets up what it needs; `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CASE ?=
RUNS ?=
ONLY ?=
JOBS ?= 2
SEEDS ?= 1000
FROM ?= 0

.DEFAULT_GOAL := help
.PHONY: help demo test coverage lab crashes check lint types layers tidy models sim bench bench-idle bench-scale bench-probing matrix soak docs lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/lab: requirements/lab.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing evac and the lab's servers into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/lab.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev: $(VENV)/lab requirements/dev.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@touch $@

demo: $(VENV)/lab ## three regions on this machine, a real region failover, a report
	@$(BIN)/evac demo

test: coverage lab ## all tests: unit, contract, golden, properties, lab; not the models

coverage: $(VENV)/dev ## the tests without a lab; fails below 100 % of the branches of core and engine
	@rm -rf build/coverage && mkdir -p build/coverage
	@$(BIN)/coverage run -m pytest -q -rfEs -n $(JOBS) -m "not lab" --ignore tests/models
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report

lab: $(VENV)/dev
	@$(BIN)/pytest -q -rfEs -m lab --ignore tests/models

crashes: $(VENV)/dev ## kill evac at every entry of a switchover's and a failover's journal, in a lab
	@EVAC_FULL=1 $(BIN)/pytest -q -rfEs tests/lab/test_crash.py

check: lint types layers models sim test ## what CI runs

lint: $(VENV)/dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(VENV)/dev
	@$(BIN)/mypy

layers: $(VENV)/dev
	@$(BIN)/lint-imports

tidy: $(VENV)/dev
	@$(BIN)/pytest -q tests/tidy

models: $(VENV)/dev ## search the models of lease and run to the end; needs Debian's spin, and gcc
	@$(BIN)/pytest -q -rs tests/models

bench: $(VENV)/dev ## measure: make bench [CASE=pattern] [RUNS=n], writes build/bench.json
	@$(BIN)/python -m evac.lab.bench --case '$(CASE)' --runs $(or $(RUNS),5) --out build/bench.json

bench-idle: $(VENV)/dev ## measure what an idle evac costs its database, by pgbench with and without it: make bench-idle [RUNS=n]
	@$(BIN)/python -m evac.lab.bench.idle --quads $(or $(RUNS),10) --out build/idle.json

bench-scale: $(VENV)/dev ## measure what an estate costs as it grows to 9 x 10,000, writes build/scale.json
	@$(BIN)/python -m evac.lab.bench.scale

bench-probing: $(VENV)/dev ## measure the most probes a second one agent holds, by kind, writes build/probing.json
	@$(BIN)/python -m evac.lab.bench.probing

matrix: $(VENV)/dev ## real faults in every mode: make matrix [ONLY=pattern] [RUNS=n], goes on where build/matrix.json ends
	@$(BIN)/python -m evac.lab.matrix --only '$(ONLY)' --runs $(or $(RUNS),3) --out build/matrix.json

soak: $(VENV)/dev ## 30 simulated days of 10 % packet loss, and 10 real minutes in the lab: no failover may happen
	@$(BIN)/python -m evac.lab.bench.soak

sim: $(VENV)/dev ## simulate: make sim [SEEDS=1000] [FROM=0] [JOBS=2], regions through faults, every promise checked
	@$(BIN)/evac sim --seeds $(SEEDS) --from $(FROM) --jobs $(JOBS)

docs: $(VENV)/dev ## regenerate the reference pages from the code
	@$(BIN)/python -m evac.config.reference

lock: ## lock the dependencies anew: versions and hashes, no addresses
	@$(PYTHON) -m venv build/lock && build/lock/bin/pip install --quiet uv
	@build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --extra lab --extra build pyproject.toml -o requirements/lab.lock
	@build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --extra lab --extra zookeeper --extra dev --extra build -c requirements/lab.lock pyproject.toml -o requirements/dev.lock

clean: ## remove what the targets made
	@rm -rf $(VENV) build .evac .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
