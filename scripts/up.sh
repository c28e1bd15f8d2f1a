#!/bin/sh
# `make up`: start the system and say what to type next. Run again it only applies what has changed. Where no Docker
# engine can be had it runs without, with a notice: instances are not isolated then.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=scripts/system.sh
. scripts/system.sh
# shellcheck source=scripts/together.sh
. scripts/together.sh
root=${CCO_ROOT:-}
use_real_system

if ! has_credentials; then
  cat >&2 <<TEXT
error: there are no credentials for Claude Code. Set one of these and run 'make up' again:

  export ANTHROPIC_API_KEY=...          an API key
  export CLAUDE_CODE_OAUTH_TOKEN=...    a token of your subscription, from 'claude setup-token'
  export ANTHROPIC_AUTH_TOKEN=...       a gateway's token, with ANTHROPIC_BASE_URL

They are kept in $(secrets_file), readable by you alone; later runs find them there.
To see the whole job without any key: make demo
TEXT
  exit 1
fi

(umask 077 && mkdir -p "$CCO_STATE_DIR")
save_credentials

without=
if together_pid >/dev/null; then
  without="the system runs already, without Docker"
elif [ "${CCO_RUNTIME:-}" = process ]; then
  without="CCO_RUNTIME is process"
elif ! sh scripts/engine.sh; then
  [ "${CCO_RUNTIME:-}" != docker ] || exit 1
  without="no Docker engine can be had here"
fi

if [ -n "$without" ]; then
  not_isolated "$without"
  together_programs
  sh scripts/environment.sh server
  # Without a container, which sees only this part of the machine, there is no need for one.
  [ -n "$root" ] || unset CCO_ROOT
  together_pid >/dev/null || together_start
  limit="they are processes of yours, and nothing limits what they can do"
else
  prepare
  start
  limit="its container, which sees this one branch, is the limit"
fi

cat <<TEXT

cc-orchestrator is running. Dashboard: $(dashboard)

Declare a first instance in a repository of yours${CCO_ROOT:+ (anywhere below $CCO_ROOT)}:

  cd YOUR-REPOSITORY && $PWD/.venv/bin/cco init
  $PWD/.venv/bin/cco instance spawn first --branch first-instance --permission-mode bypassPermissions \\
    --prompt "Write a short greeting into hello.txt and commit it." --wait

(With bypassPermissions it asks nothing: $limit. Without, it asks in its terminal.)
Stop the system, losing nothing: make down
TEXT
