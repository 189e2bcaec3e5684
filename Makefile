# `make demo` and `make test` are all that a newcomer needs; both set up .venv first.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PROTOS := $(wildcard protos/maia/*/v1/*.proto)

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format types imports protos protos-check security bench docs test-images deploy-test clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /|/' | awk -F'|' '{printf "  make %-13s %s\n", $$1, $$2}'

# The stamps hold the inputs of the last successful install, so set-up is done once and again when they change.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; PYTHON=... chooses one")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,test]'
	@touch $@ $(VENV)/.demo

$(VENV)/.bench: $(VENV)/.test
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,test,bench]'
	@touch $@

setup: $(VENV)/.demo  ## Create .venv, install what the demo needs, find the exemplars of its subjects
	$(BIN)/maia exemplars build

demo: $(VENV)/.demo  ## Let an agent explain four units on this machine, nothing to download but packages
	$(BIN)/maia demo

# Files are handed out in their order, so that the longest tests do not come last.
test: $(VENV)/.test  ## Install what the tests need and run them all, some at a time
	$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

lint: $(VENV)/.test  ## Check style of code and protos
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/buf lint

format: $(VENV)/.test  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(VENV)/.test  ## Check types (mypy, strict)
	$(BIN)/mypy

imports: $(VENV)/.test  ## Check who imports whom (import-linter)
	$(BIN)/lint-imports

PROTOC = $(BIN)/python -m grpc_tools.protoc -I protos --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy \
  --plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc

protos: $(VENV)/.test  ## Generate Python code from protos/
	$(PROTOC) --python_out=protos --grpc_python_out=protos --mypy_out=protos --mypy_grpc_out=protos $(PROTOS)

protos-check: $(VENV)/.test  ## Check that the committed generated code is fresh
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && \
	$(PROTOC) --python_out=$$fresh --grpc_python_out=$$fresh --mypy_out=$$fresh --mypy_grpc_out=$$fresh $(PROTOS) && \
	for f in $$(cd $$fresh && find . -type f); do \
	  cmp -s $$fresh/$$f protos/$$f || { echo "protos/$$f is stale: run 'make protos'"; stale=1; }; done; test -z "$$stale"

security: $(VENV)/.test  ## Run all attacks on the sandbox in every tier (the longest: half an hour and more)
	MAIA_TEST_TIERS=$${MAIA_TEST_TIERS:-jail,landlock,docker,gvisor} $(BIN)/pytest tests/security $(PYTEST_ARGS)

test-images: $(VENV)/.test  ## Build the images that deploy-test starts (minutes; needs mmdebstrap)
	.ci/engine
	TAG=test PYTHON=$(BIN)/python deploy/images --from-here

deploy-test: test-images  ## Run the demo in containers, kill a server, try to get out of the sandbox
	MAIA_TEST_IMAGES=test $(BIN)/pytest tests/deploy/test_containers.py $(PYTEST_ARGS)

bench: $(VENV)/.bench  ## Print the figures that docs/performance.md explains
	$(BIN)/python -m tests.bench

docs: $(VENV)/.test  ## Check that links and names in docs/ exist
	$(BIN)/pytest -q tests/unit/test_layout.py

clean:  ## Remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
