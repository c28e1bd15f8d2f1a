# shellcheck shell=sh
# What up.sh, demo.sh and down.sh share: where the system keeps its things and how Compose is called. To be sourced.
# shellcheck source=scripts/machine.sh
. scripts/machine.sh

# The names Claude Code reads its credentials from.
CREDENTIALS="ANTHROPIC_API_KEY CLAUDE_CODE_OAUTH_TOKEN ANTHROPIC_AUTH_TOKEN"

use_real_system() {
  CCO_STATE_DIR=${CCO_STATE_DIR:-${XDG_STATE_HOME:-$HOME/.local/state}/cc-orchestrator}
  CCO_ROOT=${CCO_ROOT:-$HOME}
  export CCO_STATE_DIR CCO_ROOT
  project=cc-orchestrator
  compose_files="--file compose.yaml"
}

# Everything the demo makes lies below this one folder, so that `make down` can throw it away.
DEMO=$PWD/.demo

use_demo_system() {
  CCO_STATE_DIR=$DEMO/state
  CCO_ROOT=$DEMO
  export CCO_STATE_DIR CCO_ROOT
  project=cc-orchestrator-demo
  compose_files="--file compose.yaml --file compose.demo.yaml"
}

compose() {
  # shellcheck disable=SC2086  # a list of words
  docker compose --project-name "$project" $compose_files "$@"
}

# The login link for a person at a terminal; it holds the token, so it goes nowhere else.
if [ -t 1 ]; then on_terminal=yes; else on_terminal=; fi
dashboard() {
  if [ -z "$on_terminal" ] || ! .venv/bin/cco dashboard 2>/dev/null; then
    echo "http://127.0.0.1:${CCO_PORT:-8080}/"
  fi
}

secrets_file() { echo "$CCO_STATE_DIR/secrets/claude.env"; }

# Put the credentials in the environment, if there are any, where only the controller reads them.
save_credentials() {
  (
    umask 077
    mkdir -p "$CCO_STATE_DIR/secrets"
    for name in $CREDENTIALS; do
      value=$(printenv "$name" || true)
      [ -z "$value" ] || printf '%s=%s\n' "$name" "$value"
    done >"$(secrets_file).new"
    if [ -s "$(secrets_file).new" ]; then mv -f "$(secrets_file).new" "$(secrets_file)"; else rm "$(secrets_file).new"; fi
  )
}

has_credentials() {
  for name in $CREDENTIALS; do
    [ -z "$(printenv "$name" || true)" ] || return 0
    ! grep -q "^$name=." "$(secrets_file)" 2>/dev/null || return 0
  done
  return 1
}

# Everything but the system itself; seconds when nothing has changed.
prepare() {
  sh scripts/engine.sh
  sh scripts/images.sh
  sh scripts/environment.sh client
}

start() {
  say "starting the system"
  compose up --no-build --detach --wait --wait-timeout 180 --remove-orphans || {
    compose logs --tail 20 >&2 || true
    fail "the system did not become healthy; above are its last lines, 'docker compose --project-name $project logs' has them all"
  }
}
