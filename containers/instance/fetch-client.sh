#!/bin/sh
# Run while the image is built: fetch the Claude Code client pinned in claude-code.lock for this architecture
# from npm, check its integrity, leave the program at /out/claude.
set -eu
# shellcheck source=containers/instance/claude-code.lock
. ./claude-code.lock

# npm and Node trust the machine's own certificates only if told so.
if [ -s /run/secrets/ca ]; then export NODE_EXTRA_CA_CERTS=/run/secrets/ca; fi

architecture=$(dpkg --print-architecture)
case $architecture in
  amd64) name=x64 integrity=$integrity_x64 ;;
  arm64) name=arm64 integrity=$integrity_arm64 ;;
  *)
    echo "error: the Claude Code client exists for amd64 and arm64, not for $architecture" >&2
    exit 1
    ;;
esac

archive=$(npm pack --loglevel=error "@anthropic-ai/claude-code-linux-$name@$version")
fetched=sha512-$(openssl dgst -sha512 -binary "$archive" | base64 --wrap=0)
if [ "$fetched" != "$integrity" ]; then
  echo "error: $archive has the integrity $fetched, claude-code.lock says $integrity" >&2
  exit 1
fi
tar --extract --gzip --file "$archive" package/claude
install -D --mode=755 package/claude /out/claude
rm -rf package "$archive"
