#!/bin/sh
# `make clean`: remove what building and testing left behind. The state directory is not touched, and images in use stay.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=scripts/machine.sh
. scripts/machine.sh

if [ -d .demo ]; then fail "the demo is still there; 'make down' removes it"; fi
rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.* htmlcov dist test-results
find . -name __pycache__ -type d -prune -exec rm -rf {} +
for image in "cc-orchestrator/controller:$(version)" "cc-orchestrator/instance:$(version)"; do
  docker image inspect "$image" >/dev/null 2>&1 || continue
  docker rmi "$image" >/dev/null || say "$image is in use and stays ('make down' first)"
done
