"""The search space: its dimensions, the points in it, and the trials that they stand for."""
