#!/usr/bin/env bash
# Runs the head of a Ray cluster on this machine, in the foreground, until it is told to end.
#
#   cluster/onprem/head.sh [options of `ray start`]
#
# PORT    where workers and drivers connect; 6379 by default
# ADDRESS this machine's address as the workers reach it; Ray guesses it when unset
set -euo pipefail
. "$(dirname "$0")/settings.sh"

options=(--head --port="${PORT:-6379}" --block)
if [ -n "${ADDRESS:-}" ]; then
  options+=(--node-ip-address="$ADDRESS")
fi
exec ray start "${options[@]}" "$@"
