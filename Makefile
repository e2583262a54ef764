# The only place that knows about .venv. Every target can be run again; nothing is installed twice.

PYTHON ?= python3
VENV := .venv
NEWEST := .venv-newest
INSTALLED := $(VENV)/.installed
IN_VENV := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"
PIP_INSTALL := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check
# Resolves for every platform and Python at once, which pip does not.
UV := uv==0.13.9
# A worker that has none left takes over tests of the other.
WORKERS := -n 2 --dist worksteal

.PHONY: setup demo screenshots test test-newest lint lock bench clean

setup: $(INSTALLED)  ## make .venv and install what requirements.lock pins, with what the tests need

$(INSTALLED): pyproject.toml requirements.lock | $(VENV)/bin/python
	@echo "Installing (PyTorch is large: a minute or more)"
	$(PIP_INSTALL) --require-hashes --requirement requirements.lock
	$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

lock: | $(VENV)/bin/python  ## write requirements.lock anew: the newest releases within the ranges of pyproject.toml
	$(PIP_INSTALL) $(UV)
	$(VENV)/bin/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes --upgrade \
		--custom-compile-command "make lock" --extra dev --output-file requirements.lock pyproject.toml

demo: setup  ## four families of tasks on synthetic corpora, to the leaderboard page, on any laptop
	$(IN_VENV) bash recipes/demo.sh

screenshots: setup  ## pictures of the board that ships, page, comparison and entry, into leaderboard/screenshots
	$(VENV)/bin/sure leaderboard build
	$(VENV)/bin/python -m tests.leaderboard.screenshots

test: setup
	$(VENV)/bin/python -m pytest $(WORKERS)

test-newest: | $(VENV)/bin/python  ## the tests beyond the ranges of pyproject.toml, in an environment of their own
	$(PIP_INSTALL) $(UV)
	$(VENV)/bin/uv venv --quiet --clear --python $(VENV)/bin/python $(NEWEST)
	sed -E 's/,<[0-9.]+//g' pyproject.toml > $(NEWEST)/pyproject.toml
	$(VENV)/bin/uv pip install --python $(NEWEST) --requirements $(NEWEST)/pyproject.toml --extra dev
	$(VENV)/bin/uv pip install --python $(NEWEST) --no-deps --no-build-isolation --editable .
	$(NEWEST)/bin/python -m pytest $(WORKERS)

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

bench: setup  ## what the suite costs beside other ways, into tests/benchmarks/; NAMES="by_hand scaling" for some
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m tests.benchmarks $(NAMES)

clean:  ## remove what the targets above made
	rm -rf $(VENV) $(NEWEST) out build *.egg-info
