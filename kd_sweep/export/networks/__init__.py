"""Exports of a trained network: its files, and what shows that they compute what it does."""
