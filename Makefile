# `make demo` and `make test` do all set-up themselves: a virtual environment in .venv with pinned versions.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test corpus lint setup clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt 'torch==2.13.0'
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[compiler,dev]'
	touch $@

demo: $(READY)
	$(BIN)/python examples/quickstart.py

test: $(READY) lint
	$(BIN)/python -m pytest -n auto

corpus: $(READY)
	$(BIN)/pip install --quiet --no-deps -r tests/corpus/requirements.txt
	$(BIN)/python tests/corpus/run.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

clean:
	rm -rf $(VENV) demo_out
