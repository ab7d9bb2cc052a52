# Two commands do everything on a machine with Python 3.11 or newer: `make demo` and `make test`.
# Another Python: make PYTHON=python3.12 demo
PYTHON ?= python3
BIN := .venv/bin
SHELL := /bin/sh

.PHONY: help demo test test-slow lint bench clean
.DELETE_ON_ERROR:

help:
	@echo "make demo       install, then map a simulated county by the shipped IIDM into demo/"
	@echo "make test       install, then lint, check types and run the tests"
	@echo "make lint       format, lint and types only"
	@echo "make test-slow  tests that take minutes or gigabytes"
	@echo "make bench      benchmarks: minimum and median of several runs"
	@echo "make clean      remove the environment, the demo and every cache"

demo: .venv/installed
	@mkdir -p demo
	cd demo && ../$(BIN)/carbonmap run ../pipelines/demo.toml
	@echo
	@echo "The maps lie in demo/; open them in QGIS, whose style comes with them:"
	@find demo -name '*_carbon_density.tif' | sort | sed 's/^/    /'
	@echo "Pictures of the labels and of the errors:"
	@find demo/labels demo/evaluation -name '*.png' | sort | sed 's/^/    /'

# One thread for each of the two workers: torch would take all cores in both.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

lint: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test-slow: .venv/installed
	$(BIN)/python -m pytest -m slow

bench: .venv/installed
	@for file in benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python "$$file" || exit 1; done

# One install serves every target until the dependencies change.
.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "carbonmap needs Python 3.11 or newer; $(PYTHON) is older or absent."; \
	    echo "Name one that is there, as in: make PYTHON=python3.12 demo"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { rm -rf .venv; \
	    $(PYTHON) -m virtualenv .venv; } || { rm -rf .venv; \
	    echo "Neither venv nor virtualenv works with $(PYTHON)."; \
	    echo "Debian and Ubuntu: apt install python3-venv; elsewhere: $(PYTHON) -m pip install virtualenv"; \
	    exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
