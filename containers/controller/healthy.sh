#!/bin/bash
# Health checks: `healthy.sh listens SOCKET` and `healthy.sh answers HOST PORT PATH`. Neither starts Python.
#
# An exec costs the machine about 40 ms of CPU whatever it runs, so a healthy service is looked at once a minute. While it
# starts, though, `docker compose up --wait` should not wait for a minute: the engine asks every second, and a check that
# has succeeded before sleeps first. (Engines before 25 know no interval of its own for the start.)
set -eu

succeeded=/tmp/healthy
if [ -e "$succeeded" ]; then sleep 60; fi

case $1 in
  listens)
    # The file of a socket can be left over; in this list of the kernel it stands while its process lives. 00010000 is the
    # flag of a listening one.
    grep -q " 00010000 .* $2\$" /proc/net/unix
    ;;
  answers)
    exec 3<>"/dev/tcp/$2/$3"
    printf 'GET %s HTTP/1.0\r\nHost: %s\r\n\r\n' "$4" "$2" >&3
    read -r -t 5 status <&3
    [[ $status == *" 200 "* ]]
    ;;
esac
touch "$succeeded"
