#!/bin/sh
# The two services of the image: `start.sh controller` and `start.sh server`.
set -eu

# The variable Claude Code itself reads is the one people have set; ours wins where both are.
if [ -z "${CCO_MODEL_BASE_URL:-}" ] && [ -n "${ANTHROPIC_BASE_URL:-}" ]; then
  export CCO_MODEL_BASE_URL="$ANTHROPIC_BASE_URL"
fi

owner_of() { stat --format %u:%g "$1"; }

case $1 in
  controller)
    # `docker compose up` by itself lets the engine make a missing state directory, as root; it is meant for the user
    # whose repositories lie below CCO_ROOT.
    if [ "$(owner_of "$CCO_STATE_DIR")" = 0:0 ] && [ -z "$(ls -A "$CCO_STATE_DIR")" ]; then
      chown "$(owner_of "$CCO_ROOT")" "$CCO_STATE_DIR"
    fi
    chmod 0700 "$CCO_STATE_DIR"
    # Claude's credentials; the server has an empty folder mounted in its place.
    if [ ! -d "$CCO_STATE_DIR/secrets" ]; then
      mkdir -m 0700 "$CCO_STATE_DIR/secrets"
      chown "$(owner_of "$CCO_STATE_DIR")" "$CCO_STATE_DIR/secrets"
    fi
    exec python -m controller run
    ;;
  server)
    # The API needs no more than the state directory's owner may do; from here on it is that user.
    owner=$(owner_of "$CCO_STATE_DIR")
    exec setpriv --reuid "${owner%:*}" --regid "${owner#*:}" --clear-groups --inh-caps=-all \
      -- python -m ui.server
    ;;
  *)
    exec "$@"
    ;;
esac
