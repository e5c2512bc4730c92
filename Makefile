# `make sweep` and `make test` make .venv by themselves, once; pyproject.toml changing makes it anew.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
COMPILED := $(VENV)/compiled
# Tests of sweeps wait as much as they compute: on two cores three files of tests at a time take less than two.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
SHARED := --numprocesses=3 --dist=loadfile --no-loadscope-reorder --durations=15
FAST := -m "not slow and not long"
FAILED := $(PYTEST) --last-failed --last-failed-no-failures=none -m "not long"
# The other two files make a study and visits for them.
BENCHMARKS := $(filter-out %/generated_study.py %/service_visits.py, $(wildcard benchmarks/*.py))

# Tests start hundreds of processes of Python: each reads what the first has compiled, whatever the shell says of it.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: sweep serve test coverage test-all check types failed lint architecture metrics results bench install clean

sweep: $(INSTALLED)
	$(BIN)/kd-sweep launch sweeps/digits.yaml --root results

serve: $(INSTALLED)
	$(BIN)/kd-sweep serve results

test: $(COMPILED)
	$(PYTEST) $(SHARED) $(FAST)

# How much of each package the tests of `make test` run, also in the processes that they start.
coverage: $(COMPILED)
	$(BIN)/coverage erase
	OMP_NUM_THREADS=1 $(BIN)/coverage run -m pytest $(SHARED) $(FAST)
	$(BIN)/coverage combine --quiet
	$(BIN)/python -m tests.project.package_coverage

# With the tests that kill whole sweeps, those of several hosts, Slurm and object stores, and all of what others sample.
test-all: $(INSTALLED)
	KD_SWEEP_SOAK_KILLS=8 $(PYTEST)

# Changes nothing: formatting, lint, types, and all tests but the long ones.
check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(MAKE) --jobs=2 --output-sync types $(COMPILED)
	$(PYTEST) $(SHARED) -m "not long" || $(FAILED)

types: $(INSTALLED)
	$(BIN)/mypy

# The tests that failed last, once more, one at a time: what passes now was starved by its neighbours.
failed: $(INSTALLED)
	$(FAILED)

# Mends what can be mended.
lint: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Draws docs/architecture.svg anew, of docs/architecture.toml and the imports.
architecture: $(INSTALLED)
	$(BIN)/python -m tests.project.draw_architecture

# Writes the table of docs/metrics.md anew, of kd_sweep/study/metric_catalogue.py.
metrics: $(INSTALLED)
	$(BIN)/python -m tests.project.write_metrics

# Draws the figures and the analysis of docs/results/ anew, of the table of trials there.
results: $(INSTALLED)
	$(BIN)/python -m tests.project.results_page.draw_results

bench: $(INSTALLED)
	for benchmark in $(BENCHMARKS); do PYTHONPATH=. $(BIN)/python $$benchmark || exit 1; done

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --editable ".[dev]"
	touch $@

# What the tests import is compiled by one process before several start, each of which would compile all of it.
$(COMPILED): $(INSTALLED)
	$(PYTEST) --collect-only --quiet > $@.log || { cat $@.log; exit 1; }
	touch $@

clean:
	rm -rf $(VENV) results build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*
