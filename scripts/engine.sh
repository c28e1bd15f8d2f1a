#!/bin/sh
# Make sure a Docker engine answers and that the docker command has Compose v2 and Buildx.
#
# An engine that answers is left exactly as it is. Otherwise, as root on Debian or Ubuntu, this says what it
# does, installs what is missing and starts an engine; anywhere else it ends with a message and a way out.
# It can be called again at any time, also on a machine where the engine is installed but no longer running.
set -eu

LOG=/var/log/cc-orchestrator-dockerd.log
LOCK=/run/lock/cc-orchestrator-engine.lock
DEADLINE_SECONDS=90
# Debian 12 has neither plugin. These two packages of Debian 13 need only its C library; nothing else is taken.
PLUGIN_SUITE=trixie
PLUGIN_PACKAGES="docker-compose docker-buildx"

say() { printf '==> %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

answers() { timeout 20 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }
has_plugins() { docker compose version >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1; }
ready() { answers && has_plugins; }

# shellcheck disable=SC1091  # the machine's own file
distribution() { (. /etc/os-release 2>/dev/null && echo "${ID:-unknown} ${VERSION_CODENAME:-unknown}") || echo unknown; }

can_install() {
  [ "$(id -u)" -eq 0 ] || return 1
  case $(distribution) in debian\ * | ubuntu\ *) return 0 ;; *) return 1 ;; esac
}

apt_install() {
  say "installing with apt-get: $*"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null
}

# An index from before the machine image was cut names packages that are gone, so it is refreshed once per run.
apt_update() {
  say "refreshing the package index"
  apt-get update -qq </dev/null || say "apt-get update reported a problem; going on with the index that is there"
}

install_engine() {
  command -v dockerd >/dev/null 2>&1 && command -v iptables >/dev/null 2>&1 && return 0
  say "no Docker engine is installed: installing docker.io and iptables on this machine (as root, from $(distribution))"
  apt_update
  apt_install docker.io iptables
  # From Debian 13 on, the docker command is a package of its own.
  command -v docker >/dev/null 2>&1 || apt_install docker-cli
}

# The mirror this machine already uses for Debian itself (the archive that carries the suite's main component).
debian_mirror() {
  # shellcheck disable=SC2016  # $(...) here is apt's own format language
  apt-get indextargets --format '$(CREATED_BY) $(ORIGIN) $(COMPONENT) $(CODENAME) $(REPO_URI)' |
    awk -v codename="$1" '$1 == "Packages" && $2 == "Debian" && $3 == "main" && $4 == codename { print $5; exit }'
}

# Fetch the two packages through apt (signatures checked) with lists of its own, so that the machine's
# sources stay as they are and nothing else can come from the newer suite.
install_plugins_from_newer_suite() {
  mirror=$(debian_mirror "$1")
  [ -n "$mirror" ] || fail "no Debian mirror found in the apt sources; install Docker Compose v2 and Buildx by hand, then run this again"
  say "installing Docker Compose v2 and Buildx (the two packages of Debian $PLUGIN_SUITE)"
  work=$(mktemp -d)
  mkdir -p "$work/lists/partial" "$work/debs"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $PLUGIN_SUITE main" >"$work/sources.list"
  chmod -R a+rX "$work"
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
    debian\ bookworm) install_plugins_from_newer_suite bookworm ;;
    ubuntu\ *) apt_update && apt_install docker-compose-v2 docker-buildx ;;
    *) apt_update && apt_install docker-compose docker-buildx ;;
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
}

if ready; then
  exit 0
fi

if ! answers; then
  [ -z "${DOCKER_HOST:-}" ] || fail "no Docker engine answers at DOCKER_HOST=$DOCKER_HOST; start that engine, or unset DOCKER_HOST to use the local one"
  if [ "$(id -u)" -ne 0 ] && [ -S /var/run/docker.sock ] && [ ! -w /var/run/docker.sock ]; then
    fail "the Docker socket /var/run/docker.sock is not open to you; join its group ('sudo usermod -aG docker $(id -un)', then log in again), or use a rootless engine"
  fi
  can_install || fail "no Docker engine answers, and one is installed by itself only as root on Debian or Ubuntu; start Docker (Docker Desktop: open it; Linux: 'sudo systemctl start docker'), check with 'docker version', then run this again"
fi

# Two runs at once would install and start twice.
if can_install; then
  exec 9>"$LOCK"
  flock -w 600 9 || fail "another run has been busy with the engine for 10 minutes (lock $LOCK)"
fi
if ! answers; then
  install_engine
  answers || start_engine
  wait_for_engine
  say "Docker engine $(docker version --format '{{.Server.Version}}') answers"
fi
install_plugins
