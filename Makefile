# The few commands people type. Each makes .venv when it is missing or older than the lock.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: repro test check ui lock

repro: $(VENV)/.ready ## rebuild the study: data, both networks, results, figures, README
	bnn mend # what a DVC that was killed left half-written
	dvc repro

test: $(VENV)/.ready ## run all tests, on two cores
	python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: $(VENV)/.ready ## style, types, the graph, the gate, the README
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	@echo "graph: every stage is as dvc.lock says"
	@! dvc repro --dry --allow-missing | grep "Running stage"
	bnn check
	bnn readme --check

ui: $(VENV)/.ready ## look at the logbook
	bnn ui

# pip installs uv from the lock, and uv the rest of it: six times faster than pip, hashes checked all the same.
$(VENV)/.ready: requirements.txt
	$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"Python 3.11 or newer is needed, but $(PYTHON) is {v.major}.{v.minor}; try: make PYTHON=python3.11")'
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	sed -n '/^uv==/,/^ *#/p' requirements.txt > $(VENV)/uv.txt
	$(BIN)/python -m pip install --quiet --require-hashes -r $(VENV)/uv.txt
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip install --quiet --compile-bytecode --require-hashes -r requirements.txt
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

lock: $(VENV)/.ready ## resolve the dependencies anew
	uv pip compile --universal --generate-hashes --no-emit-index-url --quiet --upgrade --extra dev \
		pyproject.toml -o requirements.txt
