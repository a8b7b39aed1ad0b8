# Each target sets up .venv first. ARGS hands further Hydra overrides on, such as ARGS="workers=4".
PYTHON ?= python3
SCALE ?= quick
FIGURE ?= all
ARGS ?=
OPTIMIZER ?=
SEARCH ?=
RUN := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup reproduce report test torture lint data verify tune match compare adopt bench publish wandb-sync clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

setup: ## make .venv and install everything into it (once)
	@$(PYTHON) scripts/setup.py

reproduce: setup ## train, draw and decide: SCALE=smoke|quick|paper FIGURE=all|fig1_mnist|...
	@$(RUN) scripts/reproduce.py --scale $(SCALE) --figure $(FIGURE) $(ARGS)

report: setup ## figures and verdicts anew from the files of SCALE; SCALE=reference: the committed ones and the README
	@$(RUN) scripts/report.py --scale $(SCALE)

test: setup ## the tests
	@$(RUN) -m pytest $(ARGS)

torture: setup ## the long crash tests: kills, full disks, signals, sweeps at once
	@$(RUN) -m pytest tests/test_torture.py -m torture -s --numprocesses=0 --torture-table=results/torture.json $(ARGS)

lint: setup ## style and types
	@$(RUN) -m ruff check . && $(RUN) -m ruff format --check . && $(RUN) -m mypy

data: setup ## download and check the data sets
	@$(RUN) scripts/data.py

verify: setup ## check every record, index, cache and data set
	@$(RUN) scripts/verify.py $(ARGS)

tune: setup ## choose a figure's settings by the protocol, on seeds of their own
	@$(RUN) scripts/tune.py --figure $(FIGURE) $(ARGS)

match: setup ## find the settings that draw a figure's printed curves
	@$(RUN) scripts/match.py --figure $(FIGURE) $(ARGS)

compare: SCALE = paper
compare: FIGURE = fig1_mnist
compare: setup ## place an optimizer among a figure's: OPTIMIZER=my_pkg.MyOpt|file.py:MyOpt [SEARCH='{lr: [...]}']
	@$(RUN) scripts/compare.py --optimizer '$(OPTIMIZER)' --figure $(FIGURE) --scale $(SCALE) --search '$(SEARCH)' $(ARGS)

adopt: setup ## make a figure's paper-scale results and settings part of the committed reference
	@$(RUN) scripts/adopt.py --figure $(FIGURE) $(ARGS)

bench: setup ## speed against the typical loop, as ratios of one run; ARGS=--grid, or ARGS=--device=cuda on a GPU
	@$(RUN) scripts/benchmark.py $(ARGS)

publish: setup ## save figures' workspaces and a report on W&B: SCALE=quick FIGURE=all (needs `wandb login`)
	@$(RUN) scripts/publish.py --scale $(SCALE) --figure $(FIGURE) $(ARGS)

wandb-sync: setup ## upload offline W&B runs; says only which, unless ARGS=--yes
	@$(RUN) scripts/wandb_sync.py $(ARGS)

clean: ## remove .venv and caches; data and results stay
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
