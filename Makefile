# The only place that knows about .venv. Every target can be run again; nothing is installed twice.

PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
IN_VENV := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"

.PHONY: setup demo test lint bench clean

setup: $(INSTALLED)  ## make .venv and install the package with what its tests need

$(INSTALLED): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing (PyTorch is large: a minute or more)"
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@

demo: setup  ## four families of tasks on synthetic corpora, to the leaderboard page, on any laptop
	$(IN_VENV) bash recipes/demo.sh

test: setup
	$(VENV)/bin/python -m pytest

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

bench: setup  ## overhead of the runner over a bare PyTorch loop
	$(VENV)/bin/python tests/benchmarks/runner_overhead.py

clean:  ## remove what the targets above made
	rm -rf $(VENV) out build *.egg-info
