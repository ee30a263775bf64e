# `make` lists the targets. Each sets up all that it needs in .venv. Needs git, make, and Python 3.11, 3.12 or 3.13 (or uv,
# which brings one). PYTHON=… names another interpreter.

# The newest that works: each is run, as what the PATH finds may be a shim that fails.
works = import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(firstword $(foreach name,python3.13 python3.12 python3.11 python3 python,\
	$(shell $(name) -c '$(works)' > /dev/null 2>&1 && echo $(name))))
PRESET ?= hour
NAME := speed
ARGS ?=
VENV := .venv
PEERS_VENV := .venv-peers
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)
# Keep the bytecode of what is imported, also where a container's image says not to: importing TensorFlow then takes 4 s
# and not 14, in each process.
unexport PYTHONDONTWRITEBYTECODE

# A virtual environment, by the Python that was found, or by uv.
create = @if [ -n "$(PYTHON)" ]; then $(PYTHON) -m venv $(1); \
	elif command -v uv > /dev/null; then uv venv --quiet --seed --python 3.13 $(1); \
	else echo "error: no working Python 3.11, 3.12 or 3.13 with venv was found; install one (on Debian and Ubuntu:" \
	  "apt-get install python3 python3-venv), install uv, or name one: make run PYTHON=/path/to/python" >&2; exit 1; fi

# What a target's first prerequisite lists, and the page for `dvc plots show` out of one of these packages. Nothing is
# compiled beforehand, as most modules are never imported.
install = @echo "installing $< into $(VENV), which takes a few minutes the first time" && \
	python -m pip install --quiet --disable-pip-version-check --no-compile -r $< && python -m transfer.results.plots_page

# Two at a time: much of their time is the start of a process.
pytest = python -m pytest -rs --numprocesses 2 --dist loadfile --no-loadscope-reorder

# Run the pipeline, and print the report if it is of this run: if all went well, or compare wrote it before a later stage
# failed.
define pipeline
@touch $(VENV)/started
@$(1); status=$$?; \
  if [ $$status = 0 ] || [ metrics/REPORT.md -nt $(VENV)/started ]; then cat metrics/REPORT.md; fi; exit $$status
endef

# Benchmarks, by their modules in benchmarks/; what they need beyond $(VENV)/run, and options that they always get.
BENCHES := backbones speed preprocess load dask predict serving exports augment matrix seeds sweep learning_curve peers kills
needs_dask := $(VENV)/dask
needs_serving := $(VENV)/serve
needs_peers := $(VENV)/test $(PEERS_VENV)/run
needs_kills := $(VENV)/test
options_seeds := --resume
module = $(if $(filter kills,$(NAME)),tests.end_to_end.kills,benchmarks.$(NAME))
ifeq ($(filter $(NAME),$(BENCHES)),)
$(error NAME=$(NAME): there is no such benchmark; give one of $(BENCHES))
endif

.PHONY: help setup run preset report serve test test-all durations lint format share bench readme docs clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/run  ## install what the pipeline needs into .venv, and the command `transfer`

run: $(VENV)/run  ## run the pipeline, or what of it has changed, and print the report
	$(call pipeline,python -m transfer run)

preset: $(VENV)/run  ## run it with presets/PRESET.yaml applied to params.yaml, as an experiment (PRESET=hour)
	$(call pipeline,python -m transfer preset presets/$(PRESET).yaml)

report: $(VENV)/run  ## write the results as one HTML file, .report/index.html; after run
	python -m transfer report

serve: $(VENV)/serve  ## serve the exported classifier over HTTP, with a page to try it; after run
	python -m transfer serve

share: $(VENV)/remotes  ## push results to DVC's default remote, so that nobody repeats a finished run
	dvc push
	python -m transfer share --push

test: $(VENV)/test lint  ## run linters, type checks and the quick tests, in minutes
	$(pytest) -m "not slow"

test-all: $(VENV)/test lint  ## run linters, type checks and all tests
	$(pytest)

durations: $(VENV)/test  ## run all tests, and list the 30 slowest
	$(pytest) --durations 30

lint: $(VENV)/test  ## run ruff, import-linter and mypy
	ruff check .
	ruff format --check .
	lint-imports --no-logo --no-cache
	mypy

format: $(VENV)/test  ## format the code, and fix what ruff can
	ruff check --fix .
	ruff format .

# PyTorch stands first on the path, in versions of its own.
bench: $(or $(needs_$(NAME)),$(VENV)/run)  ## run a benchmark into benchmarks/results (NAME=speed ARGS=…; docs/benchmarks/)
ifeq ($(NAME),peers)
	PYTHONPATH=$$(echo $(CURDIR)/$(PEERS_VENV)/lib/python*/site-packages) python -m pytest tests/benchmarks/peers
endif
	python -m $(module) $(strip $(options_$(NAME)) $(ARGS))

readme: $(VENV)/run  ## copy the figures of metrics/ and benchmarks/results into README.md and docs/
	python -m benchmarks.readme

docs: $(VENV)/docs  ## build the documentation into site/; needs nothing of the pipeline
	NO_MKDOCS_2_WARNING=1 python -m mkdocs build --strict --quiet
	@echo "python -m http.server --directory site  # shows it at http://127.0.0.1:8000/"

$(VENV)/run: requirements.txt requirements/lock.txt | $(VENV)/bin/transfer
	$(install)
	@touch $@

$(VENV)/remotes: requirements/remotes.txt requirements.txt requirements/lock.txt | $(VENV)/bin/transfer
	$(install)
	@touch $@ $(VENV)/run

$(VENV)/dask: requirements/dask.txt requirements.txt requirements/lock.txt | $(VENV)/bin/transfer
	$(install)
	@touch $@ $(VENV)/run

$(VENV)/serve: requirements/serve.txt requirements.txt requirements/lock.txt | $(VENV)/bin/transfer
	$(install)
	@touch $@ $(VENV)/run

$(VENV)/docs: requirements/docs.txt requirements/lock.txt | $(VENV)/bin/transfer
	python -m pip install --quiet --disable-pip-version-check --no-compile -r $<
	@touch $@

$(VENV)/test: requirements/dev.txt requirements/dask.txt requirements/docs.txt requirements/remotes.txt requirements/serve.txt requirements.txt requirements/lock.txt | $(VENV)/bin/transfer
	$(install)
	@touch $@ $(VENV)/run $(VENV)/dask $(VENV)/docs $(VENV)/remotes $(VENV)/serve

$(PEERS_VENV)/run: benchmarks/peers/requirements.txt requirements/lock.txt | $(VENV)/bin/transfer
	$(call create,$(PEERS_VENV))
	$(PEERS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -r benchmarks/peers/requirements.txt
	@touch $@

# The command `transfer`, which also works outside of this folder.
$(VENV)/bin/transfer: | $(VENV)/bin/python
	@printf '#!/bin/sh\nPYTHONPATH="%s$${PYTHONPATH:+:$$PYTHONPATH}" exec "%s/python" -m transfer "$$@"\n' "$(CURDIR)" "$(BIN)" > $@
	@chmod +x $@

$(VENV)/bin/python:
	$(call create,$(VENV))

clean:  ## remove environments, reports, the site, caches of tools and scratch; never data, models, results, DVC's cache
	rm -rf $(VENV) $(PEERS_VENV) .report site dvc_plots .bench .dask-* .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
	find .ci benchmarks stages tests transfer -name __pycache__ -prune -exec rm -rf {} +
