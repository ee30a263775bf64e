# Two commands: `make run` and `make test`. Each sets up all that it needs in .venv. Needs git, make, and Python 3.11,
# 3.12 or 3.13 (or uv, which brings one). PYTHON=… names another interpreter.

# The newest that works: each is run, as what the PATH finds may be a shim that fails.
works = import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(firstword $(foreach name,python3.13 python3.12 python3.11 python3 python,\
	$(shell $(name) -c '$(works)' > /dev/null 2>&1 && echo $(name))))
SEEDS ?= 1 2 3
MODEL ?= head
PRESET ?= hour
VENV := .venv
PEERS_VENV := .venv-peers
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)

# A virtual environment, by the Python that was found, or by uv.
create = @if [ -n "$(PYTHON)" ]; then $(PYTHON) -m venv $(1); \
	elif command -v uv > /dev/null; then uv venv --quiet --seed --python 3.13 $(1); \
	else echo "error: no working Python 3.11, 3.12 or 3.13 with venv was found; install one (on Debian and Ubuntu:" \
	  "apt-get install python3 python3-venv), install uv, or name one: make run PYTHON=/path/to/python" >&2; exit 1; fi

# What a target's first prerequisite lists, and the page for `dvc plots show` out of one of these packages.
install = python -m pip install --quiet --disable-pip-version-check -r $< && python -m transfer.results.plots_page

# Two at a time: much of their time is the start of a process.
pytest = python -m pytest -rs --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: run preset report serve test test-all durations lint share kills bench load beam serving exports augment matrix seeds sweep learning_curve peers readme docs clean

run: $(VENV)/run  ## the whole pipeline, or what of it has changed
	python -m transfer.lock_file
	python -m transfer.check
	dvc repro; status=$$?; if dvc status --quiet --with-deps compare; then cat metrics/REPORT.md; fi; exit $$status

preset: $(VENV)/run  ## the pipeline with presets/$(PRESET).yaml laid over params.yaml, as an experiment of DVC
	python -m transfer.lock_file
	touch $(VENV)/started
	python -m transfer.preset presets/$(PRESET).yaml; status=$$?; \
	  if [ $$status = 0 ] || [ metrics/REPORT.md -nt $(VENV)/started ]; then cat metrics/REPORT.md; fi; exit $$status

report: $(VENV)/run  ## the results as one HTML file, .report/index.html; after run
	python -m transfer.results.page

serve: $(VENV)/serve  ## the exported classifier behind HTTP, with a page to try it on; after run
	python -m transfer serve

test: $(VENV)/test lint  ## lint, types and the quick tests, in minutes: whether a change is sound
	$(pytest) -m "not slow"

test-all: $(VENV)/test lint  ## all tests
	$(pytest)

durations: $(VENV)/test  ## all tests, and which 30 take longest
	$(pytest) --durations 30

lint: $(VENV)/test
	ruff check .
	ruff format --check .
	lint-imports --no-logo --no-cache
	mypy

share: $(VENV)/remotes  ## push results to DVC's default remote, so that others need not compute them
	dvc push
	python -m transfer.share --push

kills: $(VENV)/test  ## kill the pipeline, made small, in every stage, and see that what comes out is the same
	python -m tests.end_to_end.kills $(KILLS)

bench: $(VENV)/run  ## speed and memory, side by side, into benchmarks/results
	python -m benchmarks.speed
	python -m benchmarks.preprocess

load: $(VENV)/run  ## up to a million small images, into benchmarks/results; half an hour
	python -m benchmarks.load

beam: $(VENV)/beam  ## preprocess and embed here and by one and two workers of Apache Beam, likewise; after run
	python -m benchmarks.beam

serving: $(VENV)/serve  ## images a second from files, and what HTTP costs beside it, likewise; after run
	python -m benchmarks.predict
	python -m benchmarks.serving

exports: $(VENV)/run  ## every kind of backbone in every format, with random weights, into benchmarks/results
	python -m benchmarks.exports

augment: $(VENV)/run  ## what cached views and changes on the fly cost and give, into benchmarks/results
	python -m benchmarks.augment $(EPOCHS)

matrix: $(VENV)/run  ## every backbone on three datasets, at a small size, into benchmarks/results
	python -m benchmarks.matrix

seeds: $(VENV)/run  ## the default pipeline with SEEDS, into benchmarks/results; those already there are kept
	python -m benchmarks.seeds --resume $(SEEDS)

sweep: $(VENV)/run  ## a grid of head settings, beside the loop of TensorFlow's tutorial, into benchmarks/results
	python -m benchmarks.sweep

learning_curve: $(VENV)/run  ## the error of MODEL (head or finetuned) over the training-set size, likewise; after run
	python -m benchmarks.learning_curve --model $(MODEL)

peers: $(VENV)/test $(PEERS_VENV)/run  ## what a user would pick instead, three seeds, into benchmarks/results; hours
	PYTHONPATH=$$(echo $(CURDIR)/$(PEERS_VENV)/lib/python*/site-packages) python -m pytest tests/benchmarks/peers
	python -m benchmarks.peers $(PEERS)

readme: $(VENV)/run  ## copy the figures of metrics/ and benchmarks/results into README.md and docs/
	python -m benchmarks.readme

docs: $(VENV)/docs  ## the documentation as a site, in site/; needs nothing of the pipeline
	NO_MKDOCS_2_WARNING=1 python -m mkdocs build --strict --quiet
	@echo "python -m http.server --directory site  # shows it at http://127.0.0.1:8000/"

$(VENV)/run: requirements.txt requirements/lock.txt | $(VENV)/bin/python
	$(install)
	touch $@

$(VENV)/remotes: requirements/remotes.txt requirements.txt requirements/lock.txt | $(VENV)/bin/python
	$(install)
	touch $@ $(VENV)/run

$(VENV)/beam: requirements/beam.txt requirements.txt requirements/lock.txt | $(VENV)/bin/python
	$(install)
	touch $@ $(VENV)/run

$(VENV)/serve: requirements/serve.txt requirements.txt requirements/lock.txt | $(VENV)/bin/python
	$(install)
	touch $@ $(VENV)/run

$(VENV)/docs: requirements/docs.txt requirements/lock.txt | $(VENV)/bin/python
	python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

$(VENV)/test: requirements/dev.txt requirements/beam.txt requirements/docs.txt requirements/remotes.txt requirements/serve.txt requirements.txt requirements/lock.txt | $(VENV)/bin/python
	$(install)
	touch $@ $(VENV)/run $(VENV)/beam $(VENV)/docs $(VENV)/remotes $(VENV)/serve

$(PEERS_VENV)/run: benchmarks/peers/requirements.txt requirements/lock.txt | $(VENV)/bin/python
	$(call create,$(PEERS_VENV))
	$(PEERS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers/requirements.txt
	touch $@

$(VENV)/bin/python:
	$(call create,$(VENV))

clean:
	rm -rf $(VENV) $(PEERS_VENV) .report site .mypy_cache .pytest_cache .ruff_cache .hypothesis
