# Everything a person does with this repository. `make` alone lists it.
.DEFAULT_GOAL := help
.PHONY: help setup check docs test test-all test-survival test-integration demo bench results experiments families constraints \
  clean
MAKEFLAGS += --no-print-directory
# hundreds of processes import the same modules: each module is compiled once and kept
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin
STAMP := .venv/.installed
EXTRAS := .venv/.extras-installed
DOCS := .venv/.docs-installed
# what is run a second time, on PostgreSQL and Redis
ON_POSTGRES := $(patsubst %,tests/flows/%.py,stack/test_stack batches/test_batch_flows \
  commands/test_batch_commands stack/test_survival batches/test_successors stack/test_outages \
  machines/test_hangs stack/test_overtaking stack/test_outside stack/test_browser \
  stack/test_endurance)
# one thread per process: the processes are the parallelism
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-16s %s\n", $$1, $$2 }'

setup: $(STAMP)  ## make .venv and install everything into it, once

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else f"{sys.executable} is Python {v[0]}.{v[1]}: Lamina needs 3.11 or newer; name another with PYTHON=python3.12.")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv (several minutes the first time, most of it PyTorch)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(EXTRAS): $(STAMP)
	@echo "installing what the integration tests need beyond that: PostgreSQL, Redis, Kubernetes and Ray clients"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,classifier,cluster,docs,examples,manifests,ray,skull]'
	@touch $@

check: $(STAMP)  ## style, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo

$(DOCS): $(STAMP)
	@echo "installing what builds the documentation"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs]'
	@touch $@

docs: $(DOCS)  ## the documentation as a site, into site/; a warning is an error, and so is a page that needs the network
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@! grep -rlE '<(script|link|img|iframe)[^>]+(src|href)="?(https?:)?//' site --include='*.html'
	@echo "site/index.html"

test: $(STAMP)  ## the tests, without the slow ones
	$(TEST) -m "not slow"

test-all: $(STAMP)  ## every test
	$(TEST)

test-survival: $(STAMP)  ## the shortest of those that kill real servers and workers; minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m survival $$(grep -rl 'mark\.survival' tests/flows)

test-integration: $(EXTRAS)  ## real servers and workers that are killed while they work
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m integration
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m integration --database postgres $(ON_POSTGRES)

demo: $(STAMP)  ## a sentence to a clip and a thick-slice head to 1 mm, through Prefect
	$(BIN)/lamina demo

bench: $(STAMP)  ## measure speed and cost, and the first rows of the results; print and save
	$(BIN)/python -m tests.benchmarks
	$(BIN)/python -m tests.benchmarks.quality --only ways --only one

results: $(STAMP)  ## measure what the models get right, with pictures; goes on where it was cut
	$(BIN)/python -m tests.benchmarks.quality

experiments: $(STAMP)  ## train small networks at equal time, hours of one core; goes on where cut
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.arms

families: $(STAMP)  ## train every family by equal work on clips and heads; goes on where cut
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.families

constraints:  ## resolve the ranges anew and write constraints.txt
	@rm -rf .venv-resolve && $(PYTHON) -m venv .venv-resolve
	@.venv-resolve/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev,classifier,cluster,docs,examples,manifests,ray,skull]'
	@head -2 constraints.txt > constraints.new
	@.venv-resolve/bin/python -m pip freeze --exclude-editable | sed -E 's/\+.*//' >> constraints.new
	@mv constraints.new constraints.txt && rm -rf .venv-resolve

clean:  ## remove .venv and every cache; results and state stay
	rm -rf .venv site .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
