"""Figures of what the networks of a trial answer: to each other's images, right or wrong, and how surely."""
