"""The states of a submitted study, and which of them a driver, a user or time can end."""

STATES = (
    "queued",
    "running",
    "pausing",
    "paused",
    "cancelled",
    "finished",
    "finished_with_failures",
    "budget_used",
    "failed",
)
"""`queued` waits for a slot. `running` has a driver, or gets its next one soon. `pausing`: its driver has been told to
stop. `paused` and `cancelled` are as users wanted. `finished`: every trial is done; `finished_with_failures`: some
failed for good. `budget_used`: trials are left that the study's budget keeps out. `failed`: it could not be run."""

HOLDING = ("running", "pausing")
"""With a driver, or about to get one: what the service has room for."""

ENDED = ("finished", "finished_with_failures", "budget_used", "failed")
"""Reached by the study itself."""
