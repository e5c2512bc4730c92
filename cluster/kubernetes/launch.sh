#!/usr/bin/env bash
# `kd-sweep launch` for a job that is run again when it fails.
#
#   cluster/kubernetes/launch.sh SPEC.yaml --root ROOT [options of `kd-sweep launch`]
#
# Trials that failed for good (exit code 3) would fail again on a fresh cluster, so with them the job counts as done.
set -euo pipefail

trap : TERM INT # Ray tells this shell too when it stops the job: wait for the sweep to end
code=0
kd-sweep launch "$@" || code=$?
if [ "$code" -eq 3 ]; then
  code=0
fi
exit "$code"
