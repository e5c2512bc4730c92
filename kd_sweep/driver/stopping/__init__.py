"""Stopping rules: which trials end early, decided from the epochs in a study's tables. Neither Ray nor torch."""
