# shellcheck shell=sh
# The system without Docker: `cco up` in the background, with log and pid file in the state directory. To be sourced
# after system.sh, by up.sh and down.sh.

together_pid_file() { echo "$CCO_STATE_DIR/up.pid"; }
together_log() { echo "$CCO_STATE_DIR/up.log"; }

# The process id of the one that runs; pids come again, so its command line must be ours.
together_pid() {
  pid=$(cat "$(together_pid_file)" 2>/dev/null) || return 1
  case $pid in '' | *[!0-9]*) return 1 ;; esac
  tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q 'cco up ' || return 1
  echo "$pid"
}

# $1: why there is no Docker.
not_isolated() {
  cat >&2 <<TEXT

NOTICE: $1, so instances run as processes of this machine and are
NOT isolated: they run as you and can read and change whatever you can. With an engine each gets a container: 'make down',
then 'CCO_RUNTIME=docker make up', which refuses to go on without an engine.

TEXT
}

# What instances need on this machine, where no image brings it.
together_programs() {
  [ "$(uname)" = Linux ] || fail "without Docker instances run only on Linux; start Docker, then run this again"
  missing=
  for program in git tmux; do
    command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
  done
  if [ -n "$missing" ]; then
    can_install || fail "instances need programs that are not here:$missing; install them, then run this again"
    # shellcheck disable=SC2086  # a list of words
    apt_install $missing
  fi
  command -v "${CCO_CLAUDE:-claude}" >/dev/null 2>&1 ||
    fail "Claude Code is not here: install it ('npm install --global @anthropic-ai/claude-code'), or name the program with CCO_CLAUDE, then run this again"
}

# It gets its credentials from the file that save_credentials wrote, so that they are in no environment.
together_start() {
  log=$(together_log)
  [ ! -f "$log" ] || mv -f "$log" "$log.1"
  say "starting the system without Docker (log: $log)"
  (
    umask 077
    # shellcheck disable=SC2086  # a list of words
    for name in $CREDENTIALS; do unset "$name"; done
    # A session of its own: it outlives this script and gets no signal of the caller's terminal.
    setsid .venv/bin/cco up --runtime process </dev/null >"$log" 2>&1 &
    echo $! >"$(together_pid_file)"
  )
  end=$(($(date +%s) + 60))
  until grep -q '^cc-orchestrator runs at ' "$log"; do
    if ! together_pid >/dev/null || [ "$(date +%s)" -ge "$end" ]; then
      tail -n 20 "$log" >&2
      fail "the system did not come up; above are its last lines"
    fi
    sleep 0.2
  done
}

# First the controller, which would start again what we stop; then Claude in every instance gets the time to end well.
# Worktrees, private git directories and HOME folders stay. Says on standard output whether there was anything.
together_stop() {
  if pid=$(together_pid); then
    say "stopping the system that runs without Docker" >&2
    kill "$pid"
    end=$(($(date +%s) + 60))
    while together_pid >/dev/null; do
      [ "$(date +%s)" -lt "$end" ] || fail "process $pid does not end; see $(together_log)"
      sleep 0.2
    done
    echo stopped
  fi
  rm -f "$(together_pid_file)"
  if [ -n "$(find "$CCO_STATE_DIR/process/workloads" -name '*.workload' 2>/dev/null)" ]; then
    say "stopping the instances that run without Docker (their conversations and files stay)" >&2
    .venv/bin/python -m controller.runtime.process.shutdown "$CCO_STATE_DIR" >/dev/null
    echo stopped
  fi
}
