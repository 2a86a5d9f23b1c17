# burnish: `make demo` shows the whole loop, `make test` checks everything.

PYTHON ?= python3
# A CUDA build instead: make setup TORCH=torch
TORCH ?= torch==2.13.0
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2

# Spinning threads slow a shared machine down tenfold.
export OMP_WAIT_POLICY := passive
export TOKENIZERS_PARALLELISM := false
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: setup setup-dev demo test lint mutations oracle bench clean

setup: $(VENV)/.ready
setup-dev: $(VENV)/.ready-dev

# torch first and pinned by a constraint: another resolver order may pull gigabytes of CUDA.
$(VENV)/.torch:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "burnish needs Python 3.11 or newer; try: make setup PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip freeze | grep '^torch==' > $(VENV)/constraints.txt
	@touch $@

$(VENV)/.ready: $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install --quiet --constraint $(VENV)/constraints.txt --editable .
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install --quiet --constraint $(VENV)/constraints.txt --editable '.[dev]'
	@touch $(VENV)/.ready $@

demo: setup
	$(BIN)/burnish run quickstart || [ $$? -eq 4 ]  # 4: the gate let nothing through, as it may
	@echo
	@echo "Open the report in a browser: $(CURDIR)/runs/quickstart/report.html"
	@echo "Talk to the model:            $(BIN)/burnish chat quickstart --turns 0"

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow"

mutations: setup-dev
	$(BIN)/python -m tools.mutations

bench: setup
	$(BIN)/python -m benchmarks.run

oracle: setup
	$(BIN)/python tools/oracle.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
