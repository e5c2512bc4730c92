#!/usr/bin/env bash
# Runs a worker of a Ray cluster on this machine, in the foreground; joins again whenever the head was away.
#
#   cluster/onprem/worker.sh HEAD:PORT [options of `ray start`]
#
# ADDRESS this machine's address as the head reaches it; Ray guesses it when unset
# RETRY_S seconds between two attempts to join; 5 by default
#
# SIGTERM (a preemption notice, or systemd's stop) ends the node and this script; trials go on on other nodes.
set -euo pipefail
. "$(dirname "$0")/settings.sh"

if [ $# -lt 1 ]; then
  echo "usage: $0 HEAD:PORT [options of 'ray start']" >&2
  exit 2
fi
options=(--address="$1" --block)
shift
if [ -n "${ADDRESS:-}" ]; then
  options+=(--node-ip-address="$ADDRESS")
fi

node=
leave() {
  trap - TERM INT
  if [ -n "$node" ]; then
    kill -TERM "$node" 2>/dev/null || true
    wait "$node" || true
  fi
  exit 0
}
trap leave TERM INT

while true; do
  ray start "${options[@]}" "$@" &
  node=$!
  wait "$node" || true
  sleep "${RETRY_S:-5}" &
  wait $! || true
done
