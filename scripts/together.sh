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

# The process of this machine that holds the controller's lock, whoever started it: its number stands in the file, and that it
# has the file open proves that it is still this one. A controller in a container is none of them; Compose ends that one.
controller_pid() {
  lock=$CCO_STATE_DIR/controller.lock
  pid=$(sed -n '1s/ on .*//p' "$lock" 2>/dev/null) || return 1
  case $pid in '' | *[!0-9]*) return 1 ;; esac
  find -L "/proc/$pid/fd" -maxdepth 1 -samefile "$lock" 2>/dev/null | grep -q . || return 1
  echo "$pid"
}

# End the controller, made by `make up` or started by hand; it would start the instances again that are stopped afterwards.
# Says on standard output whether there was one.
together_stop() {
  for find_pid in together_pid controller_pid; do
    pid=$($find_pid) || continue
    say "stopping the system that runs without Compose (process $pid)" >&2
    kill "$pid" || fail "process $pid holds $CCO_STATE_DIR and cannot be ended by you: end it, then run 'make down' again"
    end=$(($(date +%s) + 60))
    while [ "$($find_pid)" = "$pid" ]; do
      [ "$(date +%s)" -lt "$end" ] || fail "process $pid does not end; see $(together_log), or the terminal it was started in"
      sleep 0.2
    done
    echo stopped
  done
  rm -f "$(together_pid_file)"
}

# Refuse to stop instances that somebody would start again at once: a standby, a service that was started anew.
check_no_controller() {
  lock=$CCO_STATE_DIR/controller.lock
  if [ ! -f "$lock" ] || ! command -v flock >/dev/null 2>&1; then return 0; fi
  held=0
  flock --nonblock --shared --conflict-exit-code 9 "$lock" true 2>/dev/null || held=$?
  [ "$held" -ne 9 ] || fail "another controller (process $(cat "$lock")) uses $CCO_STATE_DIR and would start the instances again: stop it, then run 'make down' again"
}

# Claude in every instance gets the time to end well. Worktrees, private git directories and HOME folders stay. Says on standard
# output whether there was anything.
together_stop_instances() {
  if [ -n "$(find "$CCO_STATE_DIR/process/workloads" -name '*.workload' 2>/dev/null)" ]; then
    say "stopping the instances that run without Docker (their conversations and files stay)" >&2
    .venv/bin/python -m controller.runtime.process.shutdown "$CCO_STATE_DIR" >/dev/null
    echo stopped
  fi
}
