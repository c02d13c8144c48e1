PYTHON ?= python3
SETUP = $(PYTHON) scripts/bootstrap.py
RUN = $(SETUP) --
DEV = $(SETUP) --dev --

.DEFAULT_GOAL := help
.PHONY: help setup demo test crash lint types check docs lock bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' Makefile

setup: ## make .venv and install everything locked
	@$(SETUP) --dev

demo: ## set up, then run kobe's whole day on a made-up market
	@$(RUN) kobe demo

test: ## set up, then run the tests (under ten minutes); TESTS="tests/unit" for a part
	@$(DEV) python -m pytest -n 2 --dist loadfile -m "not long" $(TESTS)

crash: ## the long suites: kills, simulations; what they counted stands at the end
	@$(DEV) python -m pytest -n 2 -rP -m long

lint: ## ruff: every rule, and the format
	@$(DEV) ruff check .
	@$(DEV) ruff format --check .

types: ## mypy, strict
	@$(DEV) mypy

check: lint types test crash ## everything that must hold before a change lands

docs: ## write docs/cli.md and docs/gates.md anew from the code
	@$(DEV) python scripts/generate_docs.py

lock: ## resolve the dependencies anew (needs the network)
	@$(DEV) python -m pip install --quiet uv
	@$(DEV) python scripts/lock.py --upgrade

bench: ## fast? every bar against its peers, measured now (the first time it makes .venv-bench: needs the network)
	@$(DEV) python -m scripts.bench.peers $(PARTS)

clean: ## remove what tests and demo leave; .venv stays
	rm -rf demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
