# Read by head.sh and worker.sh: what every node of one cluster must agree on. Each value can be set from outside.

# `token` asks every process for the cluster's token; `disabled` lets in whoever reaches the port. Ray's own default
# depends on whether ~/.ray/auth_token exists, and differs between its commands, so it is always said here.
export RAY_AUTH_MODE="${RAY_AUTH_MODE:-disabled}"

# A host that stops answering is given up after about 9 s instead of 65 s; its trials then go on elsewhere.
export RAY_health_check_initial_delay_ms="${RAY_health_check_initial_delay_ms:-1000}"
export RAY_health_check_period_ms="${RAY_health_check_period_ms:-1000}"
export RAY_health_check_timeout_ms="${RAY_health_check_timeout_ms:-2000}"
export RAY_health_check_failure_threshold="${RAY_health_check_failure_threshold:-3}"

export RAY_USAGE_STATS_ENABLED="${RAY_USAGE_STATS_ENABLED:-0}"
