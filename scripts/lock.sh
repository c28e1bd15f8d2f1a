#!/bin/sh
# Write requirements/*.txt (pinned, with hashes, without addresses) from the lower bounds in pyproject.toml, and the
# integrity lines of the Claude Code client pinned in containers/instance/claude-code.lock.
#
# One resolution for every supported Python: dev.txt is resolved first, the others may only choose from it.
#   scripts/lock.sh                  renew what pyproject.toml asks for
#   scripts/lock.sh --client 2.2.0   pin another version of Claude Code as well (needs npm)
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=scripts/machine.sh
. scripts/machine.sh
PATH="$PWD/.venv/bin:$PATH"

CLIENT_LOCK=containers/instance/claude-code.lock

# resolve NAME ARGUMENT...: the local wheel folders and indexes a machine may have configured are not for a lock file.
resolve() {
  output=requirements/$1.txt
  shift
  say "resolving $output"
  env -u UV_FIND_LINKS -u UV_INDEX -u UV_EXTRA_INDEX_URL uv pip compile --quiet --no-config --upgrade \
    --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --custom-compile-command "make lock" --output-file "$output" "$@"
}

resolve dev --extra dev pyproject.toml
resolve client --constraint requirements/dev.txt pyproject.toml
resolve controller --extra server --constraint requirements/dev.txt pyproject.toml
# The agent's packages alone, without what the client of the API needs.
python - agent >requirements/agent.in <<'PYTHON'
import sys, tomllib
with open("pyproject.toml", "rb") as file:
    extras = tomllib.load(file)["project"]["optional-dependencies"]
print(*extras[sys.argv[1]], sep="\n")
PYTHON
resolve agent --constraint requirements/dev.txt requirements/agent.in
rm requirements/agent.in
printf 'editables\nhatchling\nuv\n' >requirements/build.in
resolve build --constraint requirements/dev.txt requirements/build.in
rm requirements/build.in

if grep -nE '://' requirements/*.txt; then
  fail "a requirements file holds an address; see the lines above"
fi

if [ "${1:-}" = --client ]; then
  version=${2:?name the version after --client}
  say "pinning Claude Code $version in $CLIENT_LOCK"
  integrity() { npm view --silent "@anthropic-ai/claude-code-linux-$1@$version" dist.integrity; }
  sed -i -e "s|^version=.*|version=$version|" -e "s|^integrity_x64=.*|integrity_x64=$(integrity x64)|" \
    -e "s|^integrity_arm64=.*|integrity_arm64=$(integrity arm64)|" "$CLIENT_LOCK"
fi
