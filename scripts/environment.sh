#!/bin/sh
# Make the Python environment .venv from the pinned requirements: `environment.sh client` what the `cco` command
# needs, `environment.sh server` what the system and its agents need without Docker, `environment.sh dev` also everything
# for tests and checks (and, as root on Debian or Ubuntu, their programs).
# Run again it does nothing, until a requirement changes.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=scripts/machine.sh
. scripts/machine.sh

kind=${1:?client, server or dev}
stamp=.venv/.cc-orchestrator-$kind
case $kind in
  server) files="requirements/controller.txt requirements/agent.txt" ;;
  *) files="requirements/$kind.txt" ;;
esac

# The first of its arguments that runs.
uv_command() {
  for candidate in .venv/bin/uv .cache/uv/bin/uv uv; do
    if "$candidate" --version >/dev/null 2>&1; then
      echo "$candidate"
      return 0
    fi
  done
}

bootstrap_uv() {
  command -v python3 >/dev/null 2>&1 || fail "Python 3.11 or newer is needed; install it, then run this again"
  say "installing uv from PyPI into .cache/uv"
  if ! python3 -m venv .cache/uv >/dev/null 2>&1; then
    can_install || fail "python3 cannot make a virtual environment; install the python3-venv package or uv, then run this again"
    apt_install python3-venv
    python3 -m venv .cache/uv
  fi
  .cache/uv/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement requirements/build.txt
}

# The programs that tests run, not counting Docker. Names of Debian packages.
test_programs() {
  missing=
  command -v git >/dev/null 2>&1 || missing="$missing git"
  command -v tmux >/dev/null 2>&1 || missing="$missing tmux"
  command -v chromium >/dev/null 2>&1 || missing="$missing chromium fonts-dejavu-core"
  [ -n "$missing" ] || return 0
  # shellcheck disable=SC2086  # a list of words
  if can_install; then apt_install $missing; else
    say "tests need programs that are not here:$missing; install them (here that is left to you: not root on Debian or Ubuntu)"
  fi
}

[ "$kind" != dev ] || test_programs

# shellcheck disable=SC2086  # a list of words
wanted=$(cat $files requirements/build.txt pyproject.toml | cksum)
if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then
  exit 0
fi

uv=$(uv_command)
if [ -z "$uv" ]; then
  bootstrap_uv
  uv=.cache/uv/bin/uv
fi
if ! .venv/bin/python -c '' 2>/dev/null; then
  say "making .venv"
  "$uv" venv --quiet --clear --python '>=3.11' .venv
fi
say "installing $files into .venv"
set --
for file in $files requirements/build.txt; do set -- "$@" --requirement "$file"; done
"$uv" pip install --quiet --python .venv/bin/python --require-hashes "$@"
# The project itself, from these files: a change of the source needs no new installation.
"$uv" pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
echo "$wanted" >"$stamp"
