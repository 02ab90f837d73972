# Everything happens inside .venv; a target sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint types check sanitize qemu clean

demo: $(VENV)/.demo
	$(BIN)/nestbit demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

# The kernels once more under address and undefined-behaviour sanitizers, on every ISA of this CPU.
sanitize:
	tests/native/run_sanitizers.sh

# The kernels of other CPUs (NEON, AVX2, baseline) under qemu-user.
qemu:
	tests/native/run_qemu.sh

check: lint types test sanitize

SOURCES := pyproject.toml CMakeLists.txt $(shell find native -type f)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python $(SOURCES)
	$(BIN)/pip install --quiet -e '.[demo]'
	touch $@

$(VENV)/.dev: $(VENV)/bin/python $(SOURCES)
	$(BIN)/pip install --quiet -e '.[dev]'
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) build
