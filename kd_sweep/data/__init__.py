"""Datasets: which images there are, and their pixels."""
