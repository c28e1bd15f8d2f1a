# `make` or `make help` lists what there is. Every target sets up what it needs by itself.
.DEFAULT_GOAL := help
.PHONY: help up demo down test test-unit unit static faults simulate soak bench fuzz check setup engine images lock clean

PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest
# Unit tests wait as long as they compute, so each processor has two of them.
UNIT := --numprocesses $$((2 * $$(nproc))) tests/unit

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: ## Start the system; prints the dashboard's address and how to declare a first instance
	@sh scripts/up.sh

demo: ## The whole job without any key: a scripted model, a throw-away repository, one instance
	@sh scripts/demo.sh

down: ## Stop the system and its instances, losing nothing; remove what the demo made
	@sh scripts/down.sh

test: setup images unit ## Every test, with containers and a browser
	@bash scripts/test.sh

test-unit: setup ## The quick tests, a minute; none needs Docker
	$(PYTEST) $(UNIT)

faults: setup images ## Kill the controller, and let all else fail, at every side effect (hours; `make test` tries a spread)
	TEST_FAULTS=all $(PYTEST) --numprocesses auto tests/faults

simulate: setup ## Run the loop in a failing simulated world: SEEDS=1000, or MINUTES, or one SEED again with its trace
	PYTHONPATH=tests:. $(PYTHON) -m simulation $(if $(SEEDS),--seeds $(SEEDS)) $(if $(MINUTES),--minutes $(MINUTES)) \
		$(if $(SEED),--seed $(SEED))

soak: setup images ## A working fleet in which something goes wrong every half minute, for MINUTES (a day): nothing is lost, nothing grows
	PYTHONPATH=tests:. $(PYTHON) -m soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))

bench: setup images ## How fast, against bare scripts, and what it costs (at most 25 minutes); ONLY=start,death, RESULT=FILE, QUICK=1
	PYTHONPATH=tests:. $(PYTHON) -m bench $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick) $(RESULT)

fuzz: setup ## Send the API what nobody would, for FUZZ_SECONDS (600)
	FUZZ_SECONDS=$${FUZZ_SECONDS:-600} $(PYTEST) --capture=no tests/integration/api/test_fuzz.py

check: setup static unit ## Formatting, lint, types, imports, scripts, unit tests, coverage of the reconciler
	.venv/bin/coverage report --include 'controller/reconcile/*' --fail-under 100

static: setup
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	PYTHONPATH=containers .venv/bin/lint-imports
	.venv/bin/shellcheck --external-sources scripts/*.sh containers/*/*.sh .ci/run

# With coverage. `make check test` runs them once for both.
unit: setup
	mkdir -p test-results
	rm -f .coverage .coverage.*
	$(PYTEST) --cov --cov-report= --junitxml=test-results/unit.xml $(UNIT)

setup: ## The Python environment .venv and, as root on Debian or Ubuntu, the programs tests need
	@sh scripts/environment.sh dev

engine: ## A Docker engine with Compose and Buildx; installs one as root on Debian or Ubuntu if none answers
	@sh scripts/engine.sh

images: engine ## The two images, from the cache where nothing has changed
	@sh scripts/images.sh

lock: setup ## Renew requirements/*.txt from pyproject.toml
	@sh scripts/lock.sh

clean: ## Remove what building and testing left here, and the two images
	@sh scripts/clean.sh
