#!/bin/sh
# Make sure the image our Dockerfiles start from is there: as it is if present or pullable, else a local stand-in.
#
# The stand-in is the same Debian release made from the machine's own Debian mirror, under the same name, with
# the label cc-orchestrator.stand-in=1. `docker pull debian:trixie-slim` replaces it wherever a registry answers.
set -eu
here=$(dirname "$0")
# shellcheck source=scripts/machine.sh
. "$here/machine.sh"

SUITE=trixie
BASE_IMAGE=debian:$SUITE-slim

docker image inspect "$BASE_IMAGE" >/dev/null 2>&1 && exit 0

say "pulling $BASE_IMAGE"
if timeout 600 docker pull -q "$BASE_IMAGE" >/dev/null 2>&1; then
  exit 0
fi

say "no registry gives $BASE_IMAGE: making a local stand-in of the same Debian release"
can_install || fail "$BASE_IMAGE can be neither pulled nor made here (a stand-in needs root on Debian); check 'docker pull $BASE_IMAGE', or load it from another machine with 'docker save' and 'docker load'"
mirror=$(debian_mirror)
[ -n "$mirror" ] || fail "$BASE_IMAGE cannot be pulled and the apt sources name no Debian mirror to make a stand-in from; load it from another machine with 'docker save' and 'docker load'"
command -v mmdebstrap >/dev/null 2>&1 || apt_install mmdebstrap

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "deb $mirror $SUITE main" >"$work/sources.list"
security_mirror=$(debian_mirror Debian-Security)
[ -z "$security_mirror" ] || echo "deb $security_mirror $SUITE-security main" >>"$work/sources.list"
# As in the public slim image: no manuals and translations, no waiting for the disk.
mmdebstrap --quiet --variant=minbase --include=ca-certificates \
  --aptopt='Acquire::Languages "none"' --dpkgopt=force-unsafe-io \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  "$SUITE" "$work/root.tar" - <"$work/sources.list"
docker import --change 'CMD ["bash"]' --change 'LABEL cc-orchestrator.stand-in=1' "$work/root.tar" "$BASE_IMAGE" >/dev/null
say "made $BASE_IMAGE"
