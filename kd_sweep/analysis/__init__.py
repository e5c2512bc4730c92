"""What a study's results say: effects with intervals, correlations, verdicts. Reads the tables; no torch, no ray."""
