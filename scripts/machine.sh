# shellcheck shell=sh
# What the scripts need to know about the machine they run on. To be sourced, not run.

say() { printf '==> %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# The project's version: the images' tag.
version() { sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml; }

# "debian bookworm", "ubuntu noble", ... or "unknown".
# shellcheck disable=SC1091  # the machine's own file
distribution() { (. /etc/os-release 2>/dev/null && echo "${ID:-unknown} ${VERSION_CODENAME:-unknown}") || echo unknown; }

# Only here are packages installed: as root, on Debian or Ubuntu.
can_install() {
  [ "$(id -u)" -eq 0 ] || return 1
  case $(distribution) in debian\ * | ubuntu\ *) return 0 ;; *) return 1 ;; esac
}

# An index older than the mirror names packages that are gone, so it is refreshed before installing.
apt_install() {
  say "installing with apt-get: $*"
  apt-get update -qq </dev/null || say "apt-get update reported a problem; going on with the index that is there"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null
}

# The mirror this machine's apt already uses for an archive, "Debian" (the default) or "Debian-Security"; empty where
# there is none. So no address is written down here.
debian_mirror() {
  command -v apt-get >/dev/null 2>&1 || return 0
  # shellcheck disable=SC2016  # $(...) here is apt's own format language
  apt-get indextargets --format '$(CREATED_BY) $(LABEL) $(COMPONENT) $(REPO_URI)' |
    awk -v label="${1:-Debian}" '$1 == "Packages" && $2 == label && $3 == "main" { print $4; exit }'
}

# The certificates this machine trusts, where it has some of its own (a company's proxy, say); else nothing.
ca_bundle() {
  if [ -n "${SSL_CERT_FILE:-}" ] && [ -s "$SSL_CERT_FILE" ]; then
    echo "$SSL_CERT_FILE"
  elif [ -n "$(find /usr/local/share/ca-certificates -name '*.crt' 2>/dev/null)" ]; then
    echo /etc/ssl/certs/ca-certificates.crt
  fi
}
