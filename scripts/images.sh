#!/bin/sh
# `make images`: the base image (or its stand-in), then both of ours. Unchanged parts come from the cache.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=scripts/machine.sh
. scripts/machine.sh

sh scripts/base_image.sh
say "building the images (what has not changed comes from the cache)"
# What compose.yaml says, but not built by Compose: that writes its project into the image as labels, and with that into the
# containers of the instances, which are no part of the project.
CA_BUNDLE=${CA_BUNDLE:-$(ca_bundle)} docker buildx bake --file compose.yaml "$@"
# The predecessors, which nothing names or runs any more.
docker image prune --force --filter label=cc-orchestrator.image >/dev/null
