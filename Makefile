# The few commands people type. Each creates .venv where it is missing or older than the lock.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: repro test check graph ui lock

repro: $(VENV)/.ready ## rebuild the study: data, both networks, results, figures, pages
	bnn repair # files that a killed DVC left half-written
	dvc repro

test: $(VENV)/.ready ## run all tests, on two cores
	python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: $(VENV)/.ready ## style, types, imports, graph, thresholds, generated pages
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	$(MAKE) --no-print-directory graph
	bnn check
	bnn readme --check

graph: $(VENV)/.ready ## check that every stage is as in dvc.lock; needs no data
	@found=$$(dvc repro --dry --allow-missing) && ! echo "$$found" | grep "Running stage"

ui: $(VENV)/.ready ## browse the MLflow runs
	bnn ui

# The lock has every extra. pip installs uv from it, and uv the rest: six times faster than pip, hashes checked too.
$(VENV)/.ready: requirements.txt
	$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"Python 3.11 or newer is needed, but $(PYTHON) is {v.major}.{v.minor}; try: make PYTHON=python3.11")'
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	sed -n '/^uv==/,/^ *#/p' requirements.txt > $(VENV)/uv.txt
	$(BIN)/python -m pip install --quiet --require-hashes -r $(VENV)/uv.txt
	VIRTUAL_ENV="$(abspath $(VENV))" $(BIN)/uv pip install --quiet --compile-bytecode --require-hashes -r requirements.txt
	VIRTUAL_ENV="$(abspath $(VENV))" $(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

lock: $(VENV)/.ready ## write the lock after a change of pyproject.toml; UPGRADE=--upgrade takes the newest versions
	uv pip compile --universal --generate-hashes --no-emit-index-url --quiet $(UPGRADE) --extra dev \
		pyproject.toml -o requirements.txt
