"""Runs a study on Ray Tune. The only importer of ray and optuna."""
