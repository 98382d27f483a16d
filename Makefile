# make help lists what there is. Everything runs in .venv, which the first target makes.
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DO_NOT_TRACK := 1
INSTALLED := .venv/installed

.PHONY: help repro test ui pictures lock
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

repro: $(INSTALLED) ## set up, then run the pipeline (dvc repro)
	dvc repro

test: $(INSTALLED) ## set up, then check the style and run the tests
	ruff check --quiet .
	ruff format --check --quiet .
	python -m pytest

ui: $(INSTALLED) ## set up, then start the Prefect server and the deployments
	python -m flows.serve

pictures: repro ## take the README's pictures anew (ten small experiments, minutes)
	python -m flows.sweep --prefix picture --grid train.inputs=image,image+caption \
	  --grid train.backbone=small_cnn,squeezenet1_1,shufflenet_v2_x0_5,mobilenet_v3_small,resnet18
	python -m flows.compare
	install -D -m 644 data/predictions.png docs/predictions.png
	install -D -m 644 report/4.png docs/report.png
	install -D -m 644 comparison/comparison.png docs/comparison.png

lock: $(INSTALLED) ## write requirements.lock anew from pyproject.toml (needs uv)
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras \
	  --no-header --no-annotate pyproject.toml --output-file requirements.lock

$(INSTALLED): requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else \
	  "Tagloom needs Python 3.11 to 3.13, but $(PYTHON) is %d.%d; say which: make PYTHON=python3.12 …" % v)'
	@echo "Installing the locked versions into .venv (several GB with CUDA's libraries; minutes) …"
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	@touch $@
