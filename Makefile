# What people run: `make demo`, `make up`, `make test`. Needs Python 3.11 or later and nothing else;
# the first run downloads what it needs, every later one works without a network.

PYTHON ?= $(shell for each in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	"$$each" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && \
	{ command -v "$$each"; break; }; done)

VENV := .venv
BIN := $(VENV)/bin
# Tests mostly wait, for servers and for each other: more at a time than there are cores. A file's
# tests stay together, as they share what it starts. `make test ARGS='-n 0 ...'`: one by one.
TESTS := --numprocesses 3 --dist loadfile --no-loadscope-reorder
# A file for each finished step: newer than what the step reads, it need not be done again.
DONE := $(VENV)/.done
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet --no-compile

.PHONY: help setup product demo up test lint clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo    scan a demo cloud on this machine (ARGS=--full: every service)'
	@echo 'make up      run the stack until Ctrl-C'
	@echo 'make test    run the tests (ARGS: passed to pytest)'
	@echo 'make lint    formatting, lint, types, import rules'
	@echo 'make setup   only install'
	@echo 'make clean   remove what was installed; keeps the data in .cloudsweep'

demo: product
	$(BIN)/cloudsweep demo $(ARGS)

up: product
	$(BIN)/cloudsweep up

test: setup $(DONE)/scanners
	$(BIN)/python -m pytest $(TESTS) $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Our environment and Prowler's are made at the same time.
product:
	@$(MAKE) --no-print-directory --silent --jobs=2 $(DONE)/ours $(DONE)/prowler

setup:
	@$(MAKE) --no-print-directory --silent --jobs=2 $(DONE)/tools $(DONE)/prowler

$(DONE)/environment:
	@test -n "$(PYTHON)" || { echo 'Cloudsweep needs Python 3.11 or later, and there is none on the' \
		'PATH. Install one, or name it: make PYTHON=/path/to/python3.12 ...' >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Cloudsweep needs' \
		'Python 3.11 or later; this is another: $(PYTHON)' >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo 'This Python cannot make virtual' \
		'environments: $(PYTHON). On Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	@echo 'Installing into $(VENV) with' $$("$(PYTHON)" --version)
	@"$(PYTHON)" -m venv --clear $(VENV)
	@mkdir -p $(DONE)
	@touch $@

# On the path as it lies here, which needs no build: edited files count at once. The script is what
# pip would make of pyproject.toml's entry point.
$(DONE)/project: $(DONE)/environment
	@echo '$(CURDIR)' > "$$($(BIN)/python -c 'import sysconfig as s; print(s.get_path("purelib"))')/cloudsweep.pth"
	@printf '#!/bin/sh\nexec "%s" -P -m cli "$$@"\n' '$(CURDIR)/$(BIN)/python' > $(BIN)/cloudsweep
	@chmod +x $(BIN)/cloudsweep
	@touch $@

# The little of ours that installing Prowler needs.
$(DONE)/settings: $(DONE)/project requirements.txt
	@$(PIP) --constraint requirements.txt pydantic-settings pyyaml
	@touch $@

$(DONE)/ours: $(DONE)/settings requirements.txt requirements-demo.txt
	@$(PIP) --requirement requirements.txt --requirement requirements-demo.txt
	@touch $@

$(DONE)/tools: $(DONE)/ours requirements-dev.txt
	@$(PIP) --requirement requirements-dev.txt
	@touch $@

$(DONE)/prowler: $(DONE)/settings $(wildcard scanners/requirements-prowler-*.txt) \
		scanners/prowler/prowler_install.py
	@$(BIN)/python -m scanners.prowler.prowler_install
	@touch $@

# Programs that the tests run for real; without one, its tests are skipped and named at the end.
$(DONE)/scanners: $(DONE)/settings $(wildcard scanners/requirements-*.txt) scanners/processes/python_tools.py
	@$(BIN)/python -m scanners.processes.python_tools sslyze checkov
	@if ! command -v nmap >/dev/null || ! command -v testssl >/dev/null; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
				apt-get install -qq -y nmap testssl.sh >/dev/null; } || \
				echo 'apt-get could not install: nmap, testssl.sh' >&2; \
		else \
			echo 'Not here, and not installed without root and apt-get: nmap, testssl.sh' >&2; \
		fi; \
	fi
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build
	rm -rf *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
