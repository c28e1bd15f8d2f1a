#!/bin/sh
# Make sure a Docker engine answers and that the docker command has Compose v2 and Buildx.
#
# An engine that answers is left exactly as it is. Otherwise, as root on Debian or Ubuntu, this says what it
# does, installs what is missing and starts an engine; anywhere else it ends with a message and a way out.
# It can be called again at any time, also on a machine where the engine is installed but no longer running.
set -eu
here=$(dirname "$0")
# shellcheck source=scripts/machine.sh
. "$here/machine.sh"

LOG=/var/log/cc-orchestrator-dockerd.log
LOCK=/run/lock/cc-orchestrator-engine.lock
DEADLINE_SECONDS=90
# Debian 12 has neither plugin. These two packages of Debian 13 need only its C library; nothing else is taken.
PLUGIN_SUITE=trixie
PLUGIN_PACKAGES="docker-compose docker-buildx"

answers() { timeout 20 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }
has_plugins() { docker compose version >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1; }

install_engine() {
  command -v dockerd >/dev/null 2>&1 && command -v iptables >/dev/null 2>&1 && return 0
  say "no Docker engine is installed: installing one on this machine (as root, $(distribution))"
  apt_install docker.io iptables
  # From Debian 13 on, the docker command is a package of its own.
  command -v docker >/dev/null 2>&1 || apt_install docker-cli
}

# Fetch the two packages through apt (signatures checked) with lists of its own, so that the machine's
# sources stay as they are and nothing else can come from the newer suite.
install_plugins_from_newer_suite() {
  mirror=$(debian_mirror)
  [ -n "$mirror" ] || fail "no Debian mirror found in the apt sources; install Docker Compose v2 and Buildx by hand, then run this again"
  say "installing Docker Compose v2 and Buildx: two packages of Debian $PLUGIN_SUITE, nothing else from there"
  work=$(mktemp -d)
  mkdir -p "$work/lists/partial" "$work/debs"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $PLUGIN_SUITE main" >"$work/sources.list"
  set -- -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=- \
    -o "Dir::State::Lists=$work/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root
  apt-get "$@" update -qq
  # shellcheck disable=SC2086  # two words on purpose
  (cd "$work/debs" && apt-get "$@" download -qq $PLUGIN_PACKAGES)
  dpkg -i "$work"/debs/*.deb >/dev/null
  rm -rf "$work"
}

install_plugins() {
  has_plugins && return 0
  can_install || fail "the docker command has no Compose v2 or no Buildx; install the docker-compose-plugin and docker-buildx-plugin packages of your Docker distribution, then run this again"
  case $(distribution) in
    debian\ bookworm) install_plugins_from_newer_suite ;;
    ubuntu\ *) apt_install docker-compose-v2 docker-buildx ;;
    *) apt_install docker-compose docker-buildx ;;
  esac
  has_plugins || fail "Docker Compose v2 or Buildx is still missing after the installation; 'docker compose version' and 'docker buildx version' tell which"
}

# A machine that lost its processes keeps their pid files; the engine takes any process of that number for itself.
drop_stale_pid_file() {
  [ -f "$1" ] || return 0
  pid=$(cat "$1")
  [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ] || rm -f "$1"
}

start_engine() {
  if [ -d /run/systemd/system ]; then
    say "starting the docker service"
    systemctl start docker </dev/null
    return 0
  fi
  drop_stale_pid_file /var/run/docker.pid dockerd
  drop_stale_pid_file /var/run/docker/containerd/containerd.pid containerd
  say "starting dockerd (log: $LOG)"
  # A session of its own: it outlives this script and gets no signal of the caller's terminal.
  setsid dockerd </dev/null >>"$LOG" 2>&1 9>&- &
  engine_pid=$!
}

wait_for_engine() {
  end=$(($(date +%s) + DEADLINE_SECONDS))
  until answers; do
    if [ "$(date +%s)" -ge "$end" ]; then
      [ ! -f "$LOG" ] || tail -n 15 "$LOG" >&2
      fail "the Docker engine did not answer within $DEADLINE_SECONDS s; see $LOG"
    fi
    # The first start after a hard stop can fail on what the old processes left behind; the next one succeeds.
    if [ -n "${engine_pid:-}" ] && ! kill -0 "$engine_pid" 2>/dev/null; then start_engine; fi
    sleep 0.5
  done
  say "Docker engine $(docker version --format '{{.Server.Version}}') answers"
}

if answers; then
  install_plugins
  exit 0
fi

[ -z "${DOCKER_HOST:-}" ] || fail "no Docker engine answers at DOCKER_HOST=$DOCKER_HOST; start that engine, or unset DOCKER_HOST to use the local one"
if [ "$(id -u)" -ne 0 ] && [ -S /var/run/docker.sock ] && [ ! -w /var/run/docker.sock ]; then
  fail "the Docker socket /var/run/docker.sock is not open to you; join its group ('sudo usermod -aG docker $(id -un)', then log in again), or use a rootless engine"
fi
can_install || fail "no Docker engine answers, and one is installed by itself only as root on Debian or Ubuntu; start Docker (Docker Desktop: open it; Linux: 'sudo systemctl start docker'), check with 'docker version', then run this again"

# Two runs at once would install and start twice.
exec 9>"$LOCK"
flock -w 600 9 || fail "another run has been busy with the engine for 10 minutes (lock $LOCK)"
if ! answers; then
  install_engine
  answers || start_engine
  wait_for_engine
fi
install_plugins
