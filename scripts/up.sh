#!/bin/sh
# `make up`: start the system and say what to type next. Run again it only applies what has changed.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=scripts/system.sh
. scripts/system.sh
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

prepare
(umask 077 && mkdir -p "$CCO_STATE_DIR")
save_credentials
start

cat <<TEXT

cc-orchestrator is running. Dashboard: $(dashboard)

Declare a first instance in a repository of yours (anywhere below $CCO_ROOT):

  cd YOUR-REPOSITORY && $PWD/.venv/bin/cco init
  $PWD/.venv/bin/cco instance spawn first --branch first-instance --permission-mode bypassPermissions \\
    --prompt "Write a short greeting into hello.txt and commit it." --wait

(With bypassPermissions it asks nothing: its container, which sees this one branch, is the limit. Without, it asks in its terminal.)
Stop the system, losing nothing: make down
TEXT
