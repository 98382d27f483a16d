# make help lists what there is. Everything runs in .venv, which the first target makes.
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DO_NOT_TRACK := 1
# Compiling all modules and rewriting all tests anew would take a third of the start of the tests.
unexport PYTHONDONTWRITEBYTECODE
INSTALLED := .venv/installed

.PHONY: help repro report back quick style types check test ui bench cluster pictures screenshots rooms pages wheel lock
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

repro: $(INSTALLED) ## set up, then run the pipeline (dvc repro)
	@python -m experiments.params
	@python -m experiments.sources
	dvc repro

report: repro ## set up, run the pipeline and open the report in a browser, where there is a display
	@echo "The report: file://$(CURDIR)/report/index.html"
	@if [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ] || [ "$$(uname)" = Darwin ]; then \
	  python -m webbrowser "file://$(CURDIR)/report/index.html"; fi

back: $(INSTALLED) ## after a try: params.yaml, figures and outputs as the last commit has them
	git restore --staged --worktree -- $$(git ls-files params.yaml dvc.lock metrics)
	dvc checkout --quiet --force --allow-missing dvc.yaml
	@dvc status --quiet dvc.yaml || echo "Some of that was made on another machine only: make repro makes it here"

PYTEST := OMP_NUM_THREADS=1 python -m pytest --numprocesses auto --dist loadfile \
  --no-loadscope-reorder

quick: $(INSTALLED) ## set up, then run the pure tests, which take a minute
	$(PYTEST) -m "not slow"

style: $(INSTALLED) ## check the style (ruff)
	ruff check --quiet .
	ruff format --check --quiet .

types: $(INSTALLED) ## check the types (mypy)
	mypy --no-error-summary

check: style types ## check the style and the types

test: check ## check, then run all tests
	$(PYTEST)

ui: $(INSTALLED) ## set up, then start the Prefect server and the deployments
	python -m flows.serve

bench: $(INSTALLED) ## set up, then measure speed, as ratios (an hour; GPU=1: what needs a GPU)
	python -m benchmarks $(if $(GPU),--gpu)

SHOWN := s0/shufflenet s0/googlenet s1/mobilenet s1/b0 s3/b0-rnn s4/resnet18-bce s4/resnet34 \
  s4/plain-cnn

cluster: $(INSTALLED) ## start a Ray cluster of two nodes of one core on this machine, until Ctrl-C
	@python -m benchmarks.nodes

pictures: repro ## take the README's pictures anew (eight experiments, ten minutes)
	python -m flows.sweep $(SHOWN:%=presets/%.yaml) -S train.weights=none -S train.epochs=4 \
	  -S train.augment.crop=null -S ingest.image_size=64 -S ingest.digits.train=1500
	python -m experiments.compare
	install -D -m 644 data/predictions.png docs/predictions.png
	install -D -m 644 comparison/comparison.png docs/comparison.png

screenshots: repro ## take the README's pictures of the report and of Prefect's pages anew (needs Chromium)
	python -m docs.screenshots

rooms: $(INSTALLED) ## draw the rooms and their imports anew, into ARCHITECTURE.md
	python -m docs.rooms

pages: $(INSTALLED) ## make pages of the documents, with a search, in site/
	sphinx-build --quiet --conf-dir docs . site
	@echo "The documents: file://$(CURDIR)/site/README.html"

wheel: $(INSTALLED) ## build the commit's wheel into dist/, with what tagloom init makes projects of
	@rm -rf build/wheel && git clone --quiet . build/wheel
	@cd build/wheel && git archive --format=zip --output=experiments/template.zip HEAD
	python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist ./build/wheel

lock: $(INSTALLED) ## write requirements.lock anew from pyproject.toml (needs uv)
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras \
	  --no-header --no-annotate pyproject.toml --output-file requirements.lock

$(INSTALLED): requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else \
	  "Tagloom needs Python 3.11 to 3.13, but $(PYTHON) is %d.%d; say which: make PYTHON=python3.12 …" % v)'
	@echo "Installing the locked versions into .venv (several GB with CUDA's libraries; minutes) …"
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
	  --requirement requirements.lock
	@.venv/bin/python -m compileall -qq -j 0 .venv/lib || true  # some are templates; pip has one core
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@
