#!/usr/bin/env bash
# Runs the service in a pod that it makes a node of a Ray cluster, one on which no trial runs.
#
#   cluster/service/serve_in_pod.sh HEAD:PORT ROOT [options of `kd-sweep serve`]
#
# Drivers join a cluster through a node that Ray finds among the processes that they see, and those are of the same
# container. It joins again whenever the head was away. SIGTERM ends the service first; when the service ends, so does
# the node, and the script with its exit code.
set -euo pipefail
recipes="$(dirname "$0")/../onprem"
# shellcheck source=../onprem/settings.sh
. "$recipes/settings.sh"

if [ $# -lt 2 ]; then
  echo "usage: $0 HEAD:PORT ROOT [options of 'kd-sweep serve']" >&2
  exit 2
fi
address=$1
shift

service='' told=''
tell() {
  told=yes
  if [ -n "$service" ]; then
    kill -TERM "$service" 2>/dev/null || true
  fi
}
trap tell TERM INT

"$recipes/worker.sh" "$address" --num-cpus=0 --num-gpus=0 --object-store-memory=268435456 &
node=$!
kd-sweep serve "$@" --address "$address" &
service=$!
if [ -n "$told" ]; then
  tell
fi

code=0
wait "$service" || code=$?
if [ -n "$told" ]; then # the signal has ended the wait, and not yet the service
  code=0
  wait "$service" || code=$?
fi
kill -TERM "$node" 2>/dev/null || true
wait "$node" || true
exit "$code"
