#!/bin/bash
# The health checks of the two services: `healthy.sh controller` and `healthy.sh server`.
#
# An exec costs the machine about 40 ms of CPU whatever it runs, so a healthy service is looked at once a minute. While it
# starts, though, `docker compose up --wait` should not wait for a minute: the engine asks every second, and a check that
# has succeeded before sleeps first. Neither check starts Python.
set -eu

once=/tmp/healthy-$1
if [ -e "$once" ]; then sleep 60; fi

case $1 in
  controller)
    # A listening socket is the process itself; the file of one could be left over. The column before the state is the
    # kernel's flag for "accepts connections".
    grep -q " 00010000 .* $CCO_STATE_DIR/controller.sock\$" /proc/net/unix
    ;;
  server)
    exec 3<>"/dev/tcp/127.0.0.1/$CCO_PORT"
    printf 'GET /api/health HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' >&3
    read -r -t 5 status <&3
    [[ $status == *" 200 "* ]]
    ;;
esac
touch "$once"
