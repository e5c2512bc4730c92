"""The statistics of a study: effects with intervals, correlations, verdicts. Reads the tables; no torch, no ray."""
