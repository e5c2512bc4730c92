"""Trials under Ray Tune: which comes next, which stops, what each reports."""
