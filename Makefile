# Everything a checkout needs: Python 3.11 or newer and make. `make test` is the whole check.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check

.PHONY: test lint demo bench clean

# New memory is filled with nonsense (by glibc), so that nothing passes by reading zeros by chance.
test: lint
	MALLOC_PERTURB_=85 $(BIN)/python -m pytest -n auto

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

demo: $(VENV)/.installed
	$(BIN)/lazynet demo

# The peers are large: on a machine without CUDA, PIP_EXTRA_INDEX_URL can name an index of CPU builds.
bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find lazynet tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# A stamp tells which extras the environment has; a change of pyproject.toml makes it old.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(VENV)/.installed-%: pyproject.toml | $(VENV)/.installed
	$(PIP) --editable '.[$*]'
	touch $@
