#!/bin/sh
# `make images`: the base image (or its stand-in), then both of ours. Unchanged parts come from the cache.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=scripts/machine.sh
. scripts/machine.sh

sh scripts/base_image.sh
say "building the images (what has not changed comes from the cache)"
CA_BUNDLE=${CA_BUNDLE:-$(ca_bundle)} docker compose --file compose.yaml build "$@"
# The predecessors, which nothing names or runs any more.
docker image prune --force --filter label=com.docker.compose.project=cc-orchestrator >/dev/null
