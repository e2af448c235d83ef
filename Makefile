# Two commands do all the set-up: `make sweep` and `make test`. `make help` lists the others.

VENV ?= .venv
PYTHON ?= python3
EXPERIMENT ?=
CLUSTER ?=
BIN := $(VENV)/bin
# The value of a variable as one word for the shell, whatever is in it.
quoted = '$(subst ','"'"',$(value $(1)))'
STAMP := $(VENV)/.vqvae-sweeps-installed
INSTALL_LOG := $(VENV)/install.log
ifneq ($(words $(VENV)),1)
$(error VENV='$(VENV)': write the path of one folder, without blanks; a link to it can have another name)
endif
OURS := $(if $(filter .venv,$(VENV)),yes)

.DEFAULT_GOAL := help
SWEEP ?=
TRIAL ?=
SEED ?=
.PHONY: help install docs sweep test test-slurm test-faults test-slurm-faults slurm-testbed fuzz check format ui dashboard promote rollback models report status stop gpu-check bench screenshots clean

help:  ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  EXPERIMENT=experiments/x.toml and CLUSTER=name say what 'sweep' runs, and where;"
	@echo "  VENV=folder uses an environment that exists already (conda on a cluster, say)."

install: $(STAMP)  ## fill .venv (any other target does so by itself)

# An environment of ours gets the exact versions; one that was there keeps what it has (its CUDA
# build of torch above all) and gets only what is missing.
# pip prints some four hundred lines; they go to a file, and a sign of life is shown meanwhile.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $$($(PYTHON) --version) is too old; give one from 3.11 on: make PYTHON=python3.11 …"; exit 2; }
	@echo "[1/3] environment: $(VENV)"
	@$(if $(OURS),test -x $(BIN)/python || $(PYTHON) -m venv $(VENV))
	@test -x $(BIN)/python || { echo "error: $(VENV) is no environment: there is no $(BIN)/python"; exit 2; }
	@echo "[2/3] torch, mlflow, optuna and what they need, from the package index (log: $(INSTALL_LOG))"
	@$(BIN)/python -m pip install --disable-pip-version-check $(if $(OURS),--constraint constraints.txt) \
	    --editable '.[dev]' >$(INSTALL_LOG) 2>&1 & pip=$$!; \
	  trap 'kill $$pip 2>/dev/null; echo; echo "interrupted; the same command continues"; exit 130' INT TERM HUP; \
	  if test -t 1; then every=1; else every=15; fi; \
	  waited=0; \
	  while sleep 1; kill -0 $$pip 2>/dev/null; do \
	    waited=$$((waited + 1)); \
	    test $$((waited % every)) -ne 0 || \
	      if test -t 1; then printf '\r      %s s' $$waited; else echo "      still installing after $$waited s"; fi; \
	  done; \
	  if test -t 1; then printf '\r'; fi; \
	  wait $$pip || { status=$$?; tail -n 15 $(INSTALL_LOG); \
	    echo "error: pip failed with status $$status; all that it printed: $(INSTALL_LOG)"; exit 1; }
	@touch $@
	@echo "[3/3] installed: sweeps and vqvae, in $(BIN)"

sweep: $(STAMP)  ## the main job: start a sweep or continue it, and watch
	@$(BIN)/python -m sweeps run $(if $(EXPERIMENT),$(call quoted,EXPERIMENT)) $(if $(CLUSTER),--cluster $(call quoted,CLUSTER))

test: $(STAMP)  ## the tests
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slurm"

test-slurm: $(STAMP)  ## the tests on a real SLURM, started for them (root; Debian's packages)
	$(BIN)/python -m pytest -n 3 --dist loadgroup -rsx --durations=0 --durations-min=1 tests/slurm

FAULTS ?= 200
test-faults: $(STAMP)  ## FAULTS=n faults at every step of real sweeps (SEED=n repeats them)
	$(BIN)/python -m tests.faults --faults $(call quoted,FAULTS) $(if $(SEED),--seed $(call quoted,SEED))

test-slurm-faults: $(STAMP)  ## FAULTS=n faults of SLURM's daemons, nodes and jobs (SEED=n)
	$(BIN)/python -m tests.slurm.faults --faults $(call quoted,FAULTS) $(if $(SEED),--seed $(call quoted,SEED))

slurm-testbed: $(STAMP)  ## a shell on such a SLURM (SITE=bare for another site's rules)
	@$(BIN)/python -m tests.slurm.testbed $(value SITE)

fuzz: $(STAMP)  ## 10,000 generated inputs through the entry points, and 100 as processes (minutes)
	$(BIN)/python -m tests.fuzz --inputs 10000 --processes 100 $(if $(SEED),--seed $(call quoted,SEED))

check: $(STAMP)  ## lint, types, import walls, dependencies that fit
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pip check

format: $(STAMP)  ## put the source in its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

ui: $(STAMP)  ## compare the runs: MLflow on 127.0.0.1
	@$(BIN)/python -m sweeps ui

dashboard: $(STAMP)  ## the study of the latest sweep (SWEEP=name): optuna-dashboard on 127.0.0.1
	@$(BIN)/python -m sweeps dashboard $(if $(SWEEP),$(call quoted,SWEEP))

promote: $(STAMP)  ## promote the best model of the latest sweep (SWEEP=name, TRIAL=name)
	@$(BIN)/python -m sweeps promote $(if $(SWEEP),$(call quoted,SWEEP)) $(if $(TRIAL),--trial $(call quoted,TRIAL))

rollback: $(STAMP)  ## make the previous champion the champion again
	@$(BIN)/python -m sweeps rollback

models: $(STAMP)  ## the versions of the registered model, and the reason for each
	@$(BIN)/python -m sweeps models

report: $(STAMP)  ## write what the latest sweep shows as one HTML page (SWEEP=name)
	@$(BIN)/python -m sweeps report $(if $(SWEEP),$(call quoted,SWEEP))

status: $(STAMP)  ## show the state of the latest sweep
	@$(BIN)/python -m sweeps status

stop: $(STAMP)  ## end the latest sweep cleanly; make sweep continues it
	@$(BIN)/python -m sweeps stop

docs: $(STAMP)  ## the documentation as a site that needs no network, in site/
	@$(BIN)/python -m docs.reference
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo "open site/index.html in a browser"

gpu-check: $(STAMP)  ## the tests that need a GPU (no network, minutes)
	$(BIN)/python -m pytest -m gpu -rs tests

bench: $(STAMP)  ## the benchmarks (a SLURM on this machine, some twenty minutes)
	$(BIN)/python -m benchmarks.slot_use
	$(BIN)/python -m benchmarks.slurm_queries

screenshots: $(STAMP)  ## the pictures of docs/images (needs chromium and chromium-driver; minutes)
	$(BIN)/python -m benchmarks.screenshots

clean:  ## remove what the tools left (no runs, no data)
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache site *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
