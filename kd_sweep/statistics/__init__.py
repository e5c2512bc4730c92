"""Tests, intervals and correlations on plain numbers."""
