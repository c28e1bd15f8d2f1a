#!/bin/sh
# `make down`: stop the system and its instances; no work is lost, and `make up` goes on where they were. What `make
# demo` made is removed altogether.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=scripts/system.sh
. scripts/system.sh
# shellcheck source=scripts/together.sh
. scripts/together.sh

use_real_system
stopped=$(together_stop)

if ! docker version --format '{{.Server.Version}}' >/dev/null 2>&1; then
  check_no_controller
  stopped=$stopped$(together_stop_instances)
  if [ -n "$stopped" ]; then
    say "stopped; your repositories, worktrees and $CCO_STATE_DIR are as they were, 'make up' goes on from there"
  else
    say "no Docker engine answers, so nothing of ours runs"
  fi
  [ ! -d .demo ] || say "the demo's folder .demo stays until 'make down' finds an engine"
  exit 0
fi

# The containers of the instances of this system, and only of this one: each has its folder below the state directory mounted.
instances() {
  docker ps --quiet --no-trunc "$@" --filter label=cc-orchestrator.installation |
    xargs --no-run-if-empty docker inspect --format '{{.Id}}{{range .Mounts}} {{.Source}}{{end}}' 2>/dev/null |
    awk -v folder="$CCO_STATE_DIR/instances/" 'index($0, " " folder) { print $1 }'
}

# First the controller, which would start again what we stop. Then Claude in every instance gets the time to end well; the
# container has nothing that is not in the worktree, the private git directory or the HOME volume, and all three stay.
stop_system() {
  say "stopping the system"
  compose down --remove-orphans
  check_no_controller
  running=$(instances --all)
  [ -n "$running" ] || return 0
  say "stopping the instances (their conversations and files stay)"
  echo "$running" | xargs docker stop --time 10 >/dev/null
  echo "$running" | xargs docker rm >/dev/null
}

# What the containers left in the folder can belong to another user, so it is emptied from inside one.
remove_demo() {
  for installation in $1; do
    docker volume ls --quiet --filter "label=cc-orchestrator.installation=$installation" |
      xargs --no-run-if-empty docker volume rm >/dev/null
  done
  docker run --rm --network none --volume "$DEMO:/demo" --entrypoint find "cc-orchestrator/controller:$(version)" \
    /demo -mindepth 1 -delete
  rmdir "$DEMO"
}

if [ -d .demo ]; then
  say "removing the demo"
  # In a shell of its own, so that nothing of it reaches the real system below.
  (
    use_demo_system
    export DEMO_GATEWAY=none
    installations=$(instances --all | xargs --no-run-if-empty docker inspect \
      --format '{{index .Config.Labels "cc-orchestrator.installation"}}' | sort -u)
    stop_system
    remove_demo "$installations"
  )
fi

use_real_system
if [ -n "$(compose ps --all --quiet)$(instances --all)" ]; then
  stop_system
  stopped=stopped
fi
check_no_controller
stopped=$stopped$(together_stop_instances)
if [ -n "$stopped" ]; then
  say "stopped; your repositories, worktrees and $CCO_STATE_DIR are as they were, 'make up' goes on from there"
else
  say "nothing else of ours runs"
fi
