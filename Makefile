# make demo   see it work        make test   all tests        make check   lint, types, architecture
# Another Python: make test VENV=.venv-3.13 PYTHON=python3.13
VENV ?= .venv
BIN := $(VENV)/bin
PIP_FLAGS ?= --quiet --disable-pip-version-check
STAMP := $(VENV)/.tocsin-installed
# Each of the processes that share the tests starts servers of its own. They wait for these a quarter of their time:
# so there are half as many more of them as there are cores.
JOBS ?= $(shell cores=$$(nproc 2>/dev/null || echo 2); echo $$(( (cores * 3 + 1) / 2 )))
# Which tests; those that kill processes for minutes on end: make test MARKS=faults
MARKS ?= not faults

.DEFAULT_GOAL := help
.PHONY: help setup demo dev test check bench fmt constraints

help:  ## list these targets
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

$(STAMP): pyproject.toml constraints.txt
	@"$(BIN)/python" -c "" 2>/dev/null || { python=$$(.ci/python) && echo "using $$python" && "$$python" -m venv --clear $(VENV); }
	@echo "installing tocsin into $(VENV)"
	@"$(BIN)/python" -m pip install $(PIP_FLAGS) -e '.[dev]' -c constraints.txt
	@touch $@

setup: $(STAMP)  ## install into a virtual environment; quick the second time

demo: setup  ## the whole way of an event, from a flow to a phone, in a minute
	@"$(BIN)/tocsin" demo

dev: setup  ## server, clock, processor, dispatcher and worker in one process
	@"$(BIN)/tocsin" dev

test: setup  ## the tests, with those of Kafka and PostgreSQL where these can be started; MARKS=faults: the killing ones
	@"$(BIN)/python" -m tests.kafka.fetch
	@"$(BIN)/python" -m pytest --numprocesses $(JOBS) --maxprocesses 4 --dist worksteal -m '$(MARKS)'

check: setup  ## ruff, mypy --strict, import contracts
	@"$(BIN)/ruff" check .
	@"$(BIN)/ruff" format --check .
	@"$(BIN)/mypy"
	@"$(BIN)/lint-imports"

bench: setup  ## the figures of docs/benchmarks.md, as JSON
	@set -e; for file in bench/[!_]*.py; do "$(BIN)/python" "$$file"; done

fmt: setup  ## put the code in order
	@"$(BIN)/ruff" check --fix .
	@"$(BIN)/ruff" format .

constraints:  ## choose the exact versions anew
	@.ci/constraints
