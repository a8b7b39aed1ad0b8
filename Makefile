# Each target sets up .venv first. ARGS hands further Hydra overrides on, such as ARGS="workers=4".
PYTHON ?= python3
# What is chosen or compared is so at the paper's scale, unless the command or the environment says another.
ifeq ($(origin SCALE), undefined)
tune match compare: SCALE = paper
endif
ifeq ($(origin FIGURE), undefined)
compare: FIGURE = fig1_mnist
endif
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

tune: setup ## choose a figure's settings by the protocol, on seeds of their own; SCALE=paper unless given
	@$(RUN) scripts/tune.py --scale $(SCALE) --figure $(FIGURE) $(ARGS)

match: setup ## find the settings that draw a figure's printed curves; SCALE=paper unless given
	@$(RUN) scripts/match.py --scale $(SCALE) --figure $(FIGURE) $(ARGS)

compare: setup ## place OPTIMIZER=pkg.Mine|file.py:Mine among a figure's, SEARCH='{lr: [...]}'; SCALE=paper unless given
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
